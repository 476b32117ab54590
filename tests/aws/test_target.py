"""A Lambda target from its adding to the withdrawal of a script, against an AWS that is strict."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.db import transaction
from api.deployments import flows, lambdas, rollouts
from api.deployments.models import Rollout
from api.nodes.service import Enrolment
from api.targets import logs
from api.targets.access import Access, client
from api.targets.costs import Traffic, estimate
from api.targets.models import LambdaFunction, LambdaTarget
from edge.lambda_zip import FRONT_VARIABLE
from tests.aws.cloud import ACCESS_ROLE, KEY_ID, ROLE, SECRET, Cloud
from tests.cast import Tenant, upload_parts
from worker.deployments import push
from worker.lambdas import look
from worker.targets import aws_lambda

pytestmark = pytest.mark.edge

SCRIPT = "workers/scripts/my-app"
SECRETS = [{"name": "TOKEN", "type": "secret_text", "text": "hidden"}]


@pytest.fixture
def deployed(alice: Tenant, target: LambdaTarget, session: Session) -> Rollout:
    """A script that has chosen the target, and its rollout there."""
    alice.result("PUT", SCRIPT, **upload_parts(bindings=SECRETS))
    lambdas.choose_target(alice.id, "my-app", target.id, by=alice.actor)
    return rollout(session)


def rollout(session: Session) -> Rollout:
    session.expire_all()
    return session.scalars(select(Rollout).order_by(Rollout.generation.desc()).limit(1)).one()


def again(session: Session, rollout_id: str) -> None:
    """Let a settled rollout be pushed once more, as when its record was lost."""
    session.expire_all()
    session.get_one(Rollout, rollout_id).state = "queued"
    session.commit()
    push(rollout_id)


def seen(target: LambdaTarget) -> Any:
    return client(Access.of(target).session(), "lambda")


def function(session: Session) -> LambdaFunction:
    session.expire_all()
    return session.scalars(select(LambdaFunction)).one()


def test_a_push_makes_everything_that_an_answer_needs(
    deployed: Rollout, target: LambdaTarget, session: Session, cloud: Cloud
) -> None:
    push(deployed.id)
    assert (rollout(session).state, rollout(session).reason) == ("acknowledged", "")
    name = function(session).name
    found = seen(target).get_function(FunctionName=name)
    configuration = found["Configuration"]
    assert (configuration["Runtime"], configuration["Handler"]) == ("nodejs22.x", "index.handler")
    assert configuration["Architectures"] == ["arm64"]
    assert found["Tags"]["skerry:script"] == deployed.script_id
    assert "hidden" not in json.dumps(found["Configuration"]["Environment"])
    alias = seen(target).get_alias(FunctionName=name, Name="live")
    assert alias["FunctionVersion"] == "1"
    url = seen(target).get_function_url_config(FunctionName=name, Qualifier="live")
    assert (url["AuthType"], url["InvokeMode"]) == ("NONE", "RESPONSE_STREAM")
    assert function(session).url == url["FunctionUrl"]
    logs = client(Access.of(target).session(), "logs").describe_log_groups()["logGroups"]
    assert {one["logGroupName"]: one["retentionInDays"] for one in logs}[
        f"/aws/lambda/{name}"
    ] == 30


def test_the_same_version_twice_changes_nothing(
    deployed: Rollout, session: Session, cloud: Cloud
) -> None:
    push(deployed.id)
    cloud.calls.clear()
    again(session, deployed.id)
    assert rollout(session).state == "acknowledged"
    assert cloud.calls
    assert cloud.changes() == []


def test_a_roll_back_uploads_nothing(
    deployed: Rollout, alice: Tenant, session: Session, cloud: Cloud, target: LambdaTarget
) -> None:
    push(deployed.id)
    first = alice.result("GET", f"{SCRIPT}/versions")["items"][0]["id"]
    alice.result(
        "PUT", SCRIPT, **upload_parts("export default { fetch() { return new Response('2') } }")
    )
    push(rollout(session).id)
    name = function(session).name
    assert seen(target).get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "2"
    cloud.calls.clear()
    flows.roll_back(alice.id, "my-app", first, by=alice.actor)
    push(rollout(session).id)
    assert cloud.changes() == ["UpdateAlias"]
    assert seen(target).get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1"


def test_a_version_that_does_not_start_there_serves_nobody(
    deployed: Rollout, alice: Tenant, session: Session, target: LambdaTarget
) -> None:
    push(deployed.id)
    # Node lacks it, a cell has it.
    source = "const name = 'URLPattern'; new globalThis[name]({ pathname: '/' }); export default { fetch() {} }"
    alice.result("PUT", SCRIPT, **upload_parts(source))
    push(rollout(session).id)
    found = rollout(session)
    assert found.state == "failed"
    assert (
        found.reason == "Version 2 does not start on Lambda: globalThis[name] is not a constructor"
    )
    name = function(session).name
    assert seen(target).get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1"


@pytest.mark.parametrize(
    ("operation", "permission"),
    [
        ("CreateFunction", "lambda:CreateFunction"),
        ("AddPermission", "lambda:AddPermission"),
        ("CreateLogGroup", "logs:CreateLogGroup"),
    ],
)
def test_a_missing_permission_is_named_and_the_rest_resumed(
    deployed: Rollout, session: Session, cloud: Cloud, operation: str, permission: str
) -> None:
    cloud.denied = {permission}
    push(deployed.id)
    assert rollout(session).state == "failed"
    assert rollout(session).reason == f"AWS refused it: the credentials lack {permission}."
    cloud.denied = set()
    cloud.calls.clear()
    again(session, deployed.id)
    assert rollout(session).state == "acknowledged"
    assert cloud.changes()[0] == operation, "what was done before is not done again"


def test_what_breaks_off_is_resumed(deployed: Rollout, session: Session, cloud: Cloud) -> None:
    cloud.broken_at = "CreateAlias"
    push(deployed.id)
    assert rollout(session).state == "queued"
    assert "AWS is busy" in rollout(session).reason
    cloud.broken_at = ""
    cloud.calls.clear()
    push(deployed.id)
    assert rollout(session).state == "acknowledged"
    assert "CreateFunction" not in cloud.calls
    assert "PublishVersion" not in cloud.calls


def test_throttling_is_waited_out(deployed: Rollout, session: Session, cloud: Cloud) -> None:
    cloud.throttled = 2
    push(deployed.id)
    assert rollout(session).state == "acknowledged"


def test_a_wrong_key_is_told(deployed: Rollout, session: Session, cloud: Cloud) -> None:
    cloud.keys = set()
    push(deployed.id)
    assert rollout(session).reason == (
        "AWS does not accept the access key: it is wrong, deactivated or expired."
    )


def test_a_role_is_assumed_with_its_external_id(
    deployed: Rollout, session: Session, cloud: Cloud, target: LambdaTarget
) -> None:
    target = session.get_one(LambdaTarget, target.id)
    target.access_role_arn = ACCESS_ROLE
    session.commit()
    cloud.external_id = "of somebody else"
    push(deployed.id)
    assert "sts:AssumeRole is missing" in rollout(session).reason
    cloud.external_id = target.external_id
    again(session, deployed.id)
    assert rollout(session).state == "acknowledged"


def test_a_function_of_somebody_else_is_left_alone(
    deployed: Rollout, session: Session, cloud: Cloud, target: LambdaTarget
) -> None:
    with transaction() as reading:
        pushed = aws_lambda.Function(_lambda_push(reading, deployed.id))
    seen(target).create_function(
        FunctionName=pushed.name, Runtime="nodejs22.x", Role=ROLE, Handler="x.y", Code={"ZipFile": _a_zip()},
    )  # fmt: skip
    push(deployed.id)
    assert "that Skerry did not make. It was left alone" in rollout(session).reason
    assert "UpdateFunctionCode" not in cloud.calls


def _lambda_push(session: Session, rollout_id: str) -> Any:
    found = session.get_one(Rollout, rollout_id)
    return rollouts._lambda_push(session, found, session.get_one(LambdaTarget, found.target_id))


def _a_zip() -> bytes:
    from edge.lambda_zip import _zip  # noqa: PLC0415

    return _zip({"x.js": b""})


def test_drift_is_found(
    deployed: Rollout, session: Session, target: LambdaTarget, cloud: Cloud
) -> None:
    push(deployed.id)
    name = function(session).name
    with transaction() as reading:
        wanted = _lambda_push(reading, deployed.id)
    assert aws_lambda.describe(wanted) == []
    api = seen(target)
    api.delete_function_url_config(FunctionName=name, Qualifier="live")
    api.update_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    look()
    assert function(session).drift == "\n".join(aws_lambda.describe(wanted))
    assert aws_lambda.describe(wanted) == [
        "The alias live leads to other versions or shares.",
        "The function's URL is gone, closed or does not stream.",
    ]
    again(session, deployed.id)
    assert aws_lambda.describe(wanted) == [], "a push puts it right"


def test_withdrawing_removes_what_was_made(
    deployed: Rollout, session: Session, alice: Tenant, target: LambdaTarget
) -> None:
    push(deployed.id)
    name = function(session).name
    lambdas.leave_target(alice.id, "my-app", target.id)
    push(rollout(session).id)
    assert rollout(session).state == "acknowledged"
    assert session.scalars(select(LambdaFunction)).all() == []
    api = seen(target)
    with pytest.raises(api.exceptions.ResourceNotFoundException):
        api.get_function(FunctionName=name)
    logs = client(Access.of(target).session(), "logs").describe_log_groups()["logGroups"]
    assert f"/aws/lambda/{name}" not in [one["logGroupName"] for one in logs]


def test_a_deleted_script_leaves_lambda_too(
    deployed: Rollout, session: Session, alice: Tenant, target: LambdaTarget
) -> None:
    push(deployed.id)
    alice.result("DELETE", SCRIPT)
    assert alice.refusal("DELETE", f"skerry/targets/{target.id}")[0] == 409, "it is still there"
    push(rollout(session).id)
    assert session.scalars(select(LambdaFunction)).all() == []
    alice.result("DELETE", f"skerry/targets/{target.id}")


def test_every_node_hears_of_the_function_and_that_it_is_gone(
    alice: Tenant, node: Enrolment, target: LambdaTarget, session: Session, cloud: Cloud
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    chosen = lambdas.choose_target(alice.id, "my-app", target.id, by=alice.actor)
    assert chosen
    (before,) = rollouts.desired(session, node.node, 0)
    assert before["function"] is None
    push(chosen.id)
    session.expire_all()
    (told,) = rollouts.desired(session, node.node, before["generation"])
    assert told["function"]["url"] == function(session).url
    _, variables = cloud.live(function(session).name)
    assert told["function"]["secret"] == variables[FRONT_VARIABLE]
    again(session, chosen.id)
    assert rollouts.desired(session, node.node, told["generation"]) == [], "it is where it was"
    lambdas.leave_target(alice.id, "my-app", target.id)
    session.expire_all()
    (left,) = rollouts.desired(session, node.node, told["generation"])
    assert left["function"] is None, "before the function is deleted"


def test_traffic_is_shifted_step_by_step(
    deployed: Rollout, alice: Tenant, session: Session, cloud: Cloud, target: LambdaTarget
) -> None:
    """Whatever the steps: the alias has the weights, and the same step again changes nothing."""
    with transaction() as reading:
        old = _lambda_push(reading, deployed.id).slot["versions"][0]
    alice.result("PUT", SCRIPT, **upload_parts(SECOND))
    with transaction() as reading:
        pushed = _lambda_push(reading, rollout(session).id)
    new = pushed.slot["versions"][0]
    for old_share, new_share in ((90, 10), (40, 60), (0, 100)):
        shares = [(old, old_share), (new, new_share)]
        versions = [{**version, "percentage": share} for version, share in shares if share]
        split = replace(pushed, slot={**pushed.slot, "versions": versions})
        assert [report.state for report in aws_lambda.put(split)[1]] == ["live"]
        found = seen(target).get_alias(FunctionName=function(session).name, Name="live")
        weights = found["RoutingConfig"]["AdditionalVersionWeights"]
        main, other = ("1", new_share) if old_share > new_share else ("2", old_share)
        assert found["FunctionVersion"] == main
        assert list(weights.values()) == ([other / 100] if other else [])
        assert aws_lambda.describe(split) == []
        cloud.calls.clear()
        aws_lambda.put(split)
        assert cloud.changes() == []


SECOND = "export default { fetch() { return new Response('2') } }"


def test_a_gradual_deployment_over_rest(
    deployed: Rollout, alice: Tenant, session: Session, cloud: Cloud, target: LambdaTarget
) -> None:
    push(deployed.id)
    (one,) = [found["id"] for found in alice.result("GET", f"{SCRIPT}/versions")["items"]]
    two = alice.result("POST", f"{SCRIPT}/versions", **upload_parts(SECOND))["id"]
    name = function(session).name

    def step(*shares: tuple[str, int]) -> tuple[str, dict[str, float]]:
        """Which published version the alias leads to, and the weights of others."""
        named = [{"version_id": version, "percentage": share} for version, share in shares]
        alice.result("POST", f"{SCRIPT}/deployments", json={"versions": named})
        cloud.calls.clear()
        push(rollout(session).id)
        assert (rollout(session).state, rollout(session).reason) == ("acknowledged", "")
        alias = seen(target).get_alias(FunctionName=name, Name="live")
        return alias["FunctionVersion"], alias["RoutingConfig"]["AdditionalVersionWeights"]

    assert step((two, 10), (one, 90)) == ("1", {"2": 0.1})
    look()
    assert function(session).drift == "", "nothing differs from what was pushed"
    assert step((one, 0), (two, 100)) == ("2", {})
    assert cloud.changes() == ["UpdateAlias"]
    look()
    assert function(session).drift == ""
    assert step((one, 50), (two, 50)) == ("2", {"1": 0.5})
    assert cloud.changes() == ["UpdateAlias"]
    assert step((one, 100)) == ("1", {}), "rolled back"
    assert cloud.changes() == ["UpdateAlias"], "and nothing was uploaded"


def test_one_of_two_versions_that_cannot_run_there_is_named(
    alice: Tenant, target: LambdaTarget, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    source = "export default { fetch() { return new HTMLRewriter().transform(new Response('')) } }"
    one = alice.result("GET", f"{SCRIPT}/versions")["items"][0]["id"]
    two = alice.result("POST", f"{SCRIPT}/versions", **upload_parts(source))["id"]
    shares = [{"version_id": one, "percentage": 90}, {"version_id": two, "percentage": 10}]
    alice.result("POST", f"{SCRIPT}/deployments", json={"versions": shares})
    report = alice.result("GET", f"{SCRIPT}/skerry-targets")
    verdicts = {(line["kind"], line["name"]): line["verdict"] for line in report["lines"]}
    assert verdicts["API", "HTMLRewriter"] == "impossible"
    assert len(verdicts) == len(report["lines"]), "each thing once"
    refused = alice.refusal("PUT", f"{SCRIPT}/skerry-targets/{target.id}")
    assert "Version 2 cannot run on AWS Lambda" in refused[2]
    assert session.scalars(select(Rollout)).all() == []


def test_what_an_invocation_printed_is_found_in_the_logs(
    deployed: Rollout, session: Session, cloud: Cloud, target: LambdaTarget
) -> None:
    push(deployed.id)
    name = function(session).name
    said = client(Access.of(target).session(), "logs")
    where = {"logGroupName": f"/aws/lambda/{name}", "logStreamName": "s"}
    said.create_log_stream(**where)
    request, moment = "1b2d86f0-0000-4000-8000-0123456789ab", round(time.time() * 1000)
    printed = [
        f"START RequestId: {request} Version: 1",
        f"2026-11-26T02:00:00.000Z\t{request}\tERROR\tUncaught Error: boom\n    at index.js:1",
        *(f"line {number}" for number in range(100)),
    ]
    events = [{"timestamp": moment + n, "message": text} for n, text in enumerate(printed)]
    said.put_log_events(**where, logEvents=events[:2])
    found = logs.newest(Access.of(target), name)
    assert found.complete
    assert [(line.level, line.request) for line in found.lines] == [
        ("ERROR", request),
        ("START", request),
    ]
    assert found.lines[0].text == "Uncaught Error: boom\n    at index.js:1"
    said.put_log_events(**where, logEvents=events[2:])
    found = logs.newest(Access.of(target), name)
    assert (len(found.lines), found.complete) == (logs.SHOWN, False)
    assert (found.lines[0].text, found.lines[-1].text) == ("line 99", "line 0")


# --- over REST --------------------------------------------------------------------------------

BODY = {
    "name": "aws-2",
    "region": "eu-west-1",
    "role_arn": ROLE,
    "access_key_id": KEY_ID,
    "secret_access_key": SECRET,
}


def test_a_target_over_rest(alice: Tenant, mallory: Tenant, cloud: Cloud) -> None:
    made = alice.result("POST", "skerry/targets", json=BODY)
    assert SECRET not in json.dumps(made)
    assert made["external_id"].startswith("skx_")
    assert [one["name"] for one in alice.result("GET", "skerry/targets")] == ["aws-2"]
    assert mallory.refusal("GET", f"skerry/targets/{made['id']}")[0] == 404
    assert "called aws-2 already" in alice.refusal("POST", "skerry/targets", json=BODY)[2]
    wrong = {**BODY, "name": "x", "region": "Frankfurt", "memory_mib": 1, "architecture": "mips"}
    assert alice.refusal("POST", "skerry/targets", json=wrong)[2] == (
        "A region looks like eu-central-1. The memory is from 128 to 10,240. Choose one of arm64, x86_64."
    )
    assert alice.result("DELETE", f"skerry/targets/{made['id']}") == {"id": made["id"]}


def test_the_dry_run_names_each_permission(
    alice: Tenant, target: LambdaTarget, cloud: Cloud
) -> None:
    found = alice.result("POST", f"skerry/targets/{target.id}/permissions")
    assert len(found) > 20
    assert [one for one in found if not one["granted"]] == []
    before = len(seen(target).list_functions()["Functions"])
    cloud.denied = {"lambda:CreateFunction", "logs:PutRetentionPolicy"}
    found = alice.result("POST", f"skerry/targets/{target.id}/permissions")
    assert {one["permission"] for one in found if not one["granted"]} == cloud.denied
    assert len(seen(target).list_functions()["Functions"]) == before, "nothing was made"
    cloud.keys = set()
    (only,) = alice.result("POST", f"skerry/targets/{target.id}/permissions")
    assert (only["granted"], only["reason"][:28]) == (False, "AWS does not accept the acce")


def test_the_report_and_a_refusal_before_any_push(
    alice: Tenant, target: LambdaTarget, session: Session, cloud: Cloud
) -> None:
    source = "export default { async fetch() { await fetch('https://a.example'); return new HTMLRewriter().transform(new Response('')) } }"
    alice.result("PUT", SCRIPT, **upload_parts(source, bindings=SECRETS))
    report = alice.result("GET", f"{SCRIPT}/skerry-targets")
    verdicts = {line["name"]: line["verdict"] for line in report["lines"]}
    assert verdicts["TOKEN"] == "same"
    assert verdicts["fetch"] == "different"
    assert verdicts["HTMLRewriter"] == "impossible"
    status, code, message = alice.refusal("PUT", f"{SCRIPT}/skerry-targets/{target.id}")
    assert (status, code) == (400, 10400)
    assert "HTMLRewriter: Lambda's Node.js 22 has no such thing." in message
    assert session.scalars(select(Rollout)).all() == []
    alice.result("PUT", SCRIPT, **upload_parts())
    alice.result("PUT", f"{SCRIPT}/skerry-targets/{target.id}")
    alice.result("PUT", SCRIPT, **upload_parts(source))
    push(rollout(session).id)
    assert rollout(session).reason.startswith("Version 3 cannot run on AWS Lambda. HTMLRewriter:")
    assert cloud.calls == []
    assert alice.refusal("DELETE", f"skerry/targets/{target.id}")[0] == 409


def test_what_a_month_costs(target: LambdaTarget) -> None:
    found = estimate(target, Traffic(requests=10_000_000, duration_ms=70_000_000, bytes_out=10**10))
    assert round(found.requests, 2) == 2.00
    assert round(found.compute, 4) == round(70_000 * 0.25 * 0.0000133334, 4)
    assert round(found.transfer, 2) == 0.90
