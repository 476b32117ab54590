"""Pushing to AWS Lambda: one function for each script, an alias that says which versions answer.

Every step first reads what is there and then does what is missing. So a push that broke off is
resumed where it was, and one that is made again changes nothing.
"""

import hashlib
import json
import time
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from api.db import transaction
from api.deployments import lambdas
from api.deployments.rollouts import LambdaPush, SlotReport
from api.settings import settings
from api.targets import credentials, parity, remote, service as targets, words
from api.targets.access import client
from api.versions.models import Version
from edge.lambda_zip import (
    CREDENTIAL_VARIABLE,
    FRONT_VARIABLE,
    HANDLER,
    KEY_VARIABLE,
    URL_VARIABLE,
)
from edge.spec import SpecError
from worker.targets import TargetUnreachable
from worker.targets.packages import Package, packages_of

log = structlog.get_logger()

RUNTIME = "nodejs22.x"
ALIAS = "live"
# Tags that say whose a function is; without them Skerry touches nothing.
SCRIPT_TAG, ACCOUNT_TAG = "skerry:script", "skerry:account"
# Statements of the alias's policy: whoever knows the URL may call it, and only through the URL.
STATEMENTS: dict[str, dict[str, Any]] = {
    "skerry-url": {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    "skerry-function": {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
}
# How many published versions stay, so that a roll back needs no upload.
KEPT_VERSIONS = 5
POLL_SECONDS = 0.5
NAME_LENGTH_MAX = 64
PROBE = {"skerry": "probe"}


class Refusal(Exception):  # noqa: N818 - what a rollout fails with
    """A sentence for people: why this target cannot have this deployment."""


def put(push: LambdaPush) -> tuple[int, list[SlotReport]]:
    """Bring the target to what the slot says; raises TargetUnreachable when waiting may help."""
    script_id = push.slot["script_id"]
    try:
        if push.slot["versions"]:
            _place(push)
        else:
            _withdraw(push)
    except (Refusal, SpecError) as error:
        return push.generation, [SlotReport(script_id, push.generation, "failed", str(error))]
    except (ClientError, BotoCoreError) as error:
        said = words.said(error)
        if said.passing:
            raise TargetUnreachable(said.sentence) from error
        return push.generation, [SlotReport(script_id, push.generation, "failed", said.sentence)]
    return push.generation, [SlotReport(script_id, push.generation, "live")]


def describe(push: LambdaPush) -> list[str]:
    """What on the target differs from the slot, a sentence each; empty: nothing."""
    function = Function(push)
    found = function.found()
    if found is None:
        return ["The function is gone."]
    return function.drift(packages_of(push, credentials.in_use))


def _place(push: LambdaPush) -> None:
    _check(push)
    packages = packages_of(push, credentials.for_push)
    function = Function(push)
    function.check_owner()
    numbers = {package.version_id: function.published(package) for package in packages}
    for package in packages:
        function.probe(numbers[package.version_id], package)
    # One with 0 % is there, so that a later share needs no upload; nobody can ask a function for it.
    function.shift({numbers[one.version_id]: one.percentage for one in packages if one.percentage})
    url = function.reach()
    function.keep_logs()
    function.prune(set(numbers.values()))
    script_id = push.slot["script_id"]
    secrets = [one.credential for one in packages]
    with transaction() as session:
        moved = targets.placed(session, push.target_id, script_id, function.name, url)
        credentials.placed(session, push.target_id, script_id, secrets)
    if moved:
        lambdas.tell_nodes(push.slot["account_id"], push.slot["name"])


def _check(push: LambdaPush) -> None:
    """The report's word counts here too: a version may have come since the target was chosen."""
    with transaction() as session:
        for version in push.slot["versions"]:
            found = session.get_one(Version, version["version_id"])
            if why := parity.impossible(found):
                raise Refusal(f"Version {version['number']} cannot run on AWS Lambda. {why}")


def _withdraw(push: LambdaPush) -> None:
    """Remove what Skerry made, and nothing else."""
    function = Function(push)
    if function.found() is not None and function.is_ours():
        function.remove()
    with transaction() as session:
        targets.withdrawn(session, push.target_id, push.slot["script_id"])
        credentials.revoke(session, push.target_id, push.slot["script_id"])


class Function:
    """A script's function, as it is in AWS."""

    def __init__(self, push: LambdaPush) -> None:
        self.push = push
        name, script_id = push.slot["name"], push.slot["script_id"]
        self.name = f"skerry-{name}"[: NAME_LENGTH_MAX - 9] + f"-{script_id[:8]}"
        session = push.access.session()
        self._lambda, self._logs = client(session, "lambda"), client(session, "logs")

    # What is there

    def found(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = _or_none(self._lambda.get_function, FunctionName=self.name)
        return found

    def is_ours(self) -> bool:
        tags = (self.found() or {}).get("Tags", {})
        return bool(tags.get(SCRIPT_TAG) == self.push.slot["script_id"])

    def check_owner(self) -> None:
        if self.found() is not None and not self.is_ours():
            raise Refusal(
                f"There is a function called {self.name} in {self.push.access.region} that Skerry did not "
                "make. It was left alone: rename or delete it there, then deploy again."
            )

    def _versions(self) -> list[dict[str, Any]]:
        pages = self._lambda.get_paginator("list_versions_by_function")
        found = [
            version
            for page in pages.paginate(FunctionName=self.name)
            for version in page["Versions"]
        ]
        return [version for version in found if version["Version"] != "$LATEST"]

    # A version's way there

    def published(self, package: Package) -> str:
        """The number under which Lambda has this version; uploaded and published if it has none."""
        found = self.found()
        if found is not None:
            number = self._number_of(package)
            if number:
                return number
        if found is None:
            self._create(package)
        else:
            self._update(package, found["Configuration"])
        answer = self._lambda.publish_version(
            FunctionName=self.name,
            CodeSha256=package.code_sha256,
            Description=self._description(package),
        )
        return str(answer["Version"])

    def _number_of(self, package: Package) -> str:
        for version in self._versions():
            if (
                version.get("Description") == self._description(package)
                and version["CodeSha256"] == package.code_sha256
            ):
                return str(version["Version"])
        return ""

    def _description(self, package: Package) -> str:
        """Names the version and everything else that a published version freezes."""
        frozen = json.dumps([self._configuration(package), self.push.architecture], sort_keys=True)
        digest = hashlib.sha256(frozen.encode()).hexdigest()
        return f"{package.version_id} {digest[:16]}"

    def _configuration(self, package: Package) -> dict[str, Any]:
        variables = {
            KEY_VARIABLE: package.key,
            FRONT_VARIABLE: targets.front_secret(self.push.slot["script_id"]),
        }
        if package.credential:
            variables |= {
                URL_VARIABLE: remote.address(),
                CREDENTIAL_VARIABLE: package.credential,
            }
        return {
            "Role": self.push.role_arn,
            "Handler": HANDLER,
            "Runtime": RUNTIME,
            "Timeout": self.push.timeout_seconds,
            "MemorySize": self.push.memory_mib,
            "Environment": {"Variables": variables},
        }

    def _create(self, package: Package) -> None:
        slot = self.push.slot
        self._lambda.create_function(
            FunctionName=self.name,
            Code={"ZipFile": package.zip},
            Architectures=[self.push.architecture],
            Tags={SCRIPT_TAG: slot["script_id"], ACCOUNT_TAG: slot["account_id"]},
            **self._configuration(package),
        )
        self._await_active()

    def _update(self, package: Package, found: dict[str, Any]) -> None:
        """Only what differs: an update of code or configuration each makes the function pending."""
        self._await_active()  # one that was broken off may still be under way
        if found["CodeSha256"] != package.code_sha256 or found.get("Architectures") != [
            self.push.architecture
        ]:
            self._lambda.update_function_code(
                FunctionName=self.name,
                ZipFile=package.zip,
                Architectures=[self.push.architecture],
            )
            self._await_active()
        wanted = self._configuration(package)
        if any(found.get(field) != value for field, value in wanted.items()):
            self._lambda.update_function_configuration(FunctionName=self.name, **wanted)
            self._await_active()

    def _await_active(self) -> None:
        deadline = time.monotonic() + settings().lambda_active_seconds
        while True:
            found = self._lambda.get_function_configuration(FunctionName=self.name)
            states = {found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")}
            if "Failed" in states:
                reason = (
                    found.get("StateReason") or found.get("LastUpdateStatusReason") or "no reason"
                )
                raise Refusal(f"Lambda could not make the function ready: {reason}")
            if states <= {"Active", "Inactive", "Successful"}:
                return
            if time.monotonic() > deadline:
                raise TargetUnreachable("Lambda still makes the function ready.")
            time.sleep(POLL_SECONDS)

    def probe(self, number: str, package: Package) -> None:
        """Start a published version once, before anybody visits it."""
        alias = self._alias()
        if alias is not None and number in _shares(alias):
            return
        answer = self._lambda.invoke(
            FunctionName=self.name, Qualifier=number, Payload=json.dumps(PROBE).encode()
        )
        told = json.loads(answer["Payload"].read() or "null")
        if answer.get("FunctionError"):
            reason = told.get("errorMessage", "no reason") if isinstance(told, dict) else told
            raise Refusal(f"Version {package.number} does not start on Lambda: {reason}")
        if not isinstance(told, dict) or told.get("version_id") != package.version_id:
            raise Refusal(f"Lambda runs something else than version {package.number}.")

    # Who answers

    def _alias(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = _or_none(
            self._lambda.get_alias, FunctionName=self.name, Name=ALIAS
        )
        return found

    def shift(self, shares: dict[str, int]) -> None:
        """Send each published version its percentage of the visitors."""
        alias = self._alias()
        if alias is not None and _shares(alias) == shares:
            return
        main, *others = sorted(shares, key=lambda number: -shares[number])
        wanted = {
            "FunctionVersion": main,
            "RoutingConfig": {
                "AdditionalVersionWeights": {number: shares[number] / 100 for number in others}
            },
        }
        change = self._lambda.update_alias if alias else self._lambda.create_alias
        change(FunctionName=self.name, Name=ALIAS, **wanted)

    def reach(self) -> str:
        """The function's URL, open to everybody."""
        where = {"FunctionName": self.name, "Qualifier": ALIAS}
        wanted = {"AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM"}
        found = _or_none(self._lambda.get_function_url_config, **where)
        if found is None:
            found = self._lambda.create_function_url_config(**where, **wanted)
        elif any(found.get(field) != value for field, value in wanted.items()):
            found = self._lambda.update_function_url_config(**where, **wanted)
        present = self._statements()
        for sid, statement in STATEMENTS.items():
            if sid not in present:
                self._lambda.add_permission(**where, StatementId=sid, Principal="*", **statement)
        return str(found["FunctionUrl"])

    def _statements(self) -> set[str]:
        policy = _or_none(self._lambda.get_policy, FunctionName=self.name, Qualifier=ALIAS)
        if policy is None:
            return set()
        return {statement["Sid"] for statement in json.loads(policy["Policy"])["Statement"]}

    # Around it

    @property
    def _log_group(self) -> str:
        return f"/aws/lambda/{self.name}"

    def keep_logs(self) -> None:
        """Made before Lambda makes it, which would keep the logs for ever."""
        found = self._logs.describe_log_groups(logGroupNamePrefix=self._log_group)["logGroups"]
        group = next((one for one in found if one["logGroupName"] == self._log_group), None)
        if group is None:
            tags = {SCRIPT_TAG: self.push.slot["script_id"]}
            self._logs.create_log_group(logGroupName=self._log_group, tags=tags)
        if group is None or group.get("retentionInDays") != self.push.log_retention_days:
            self._logs.put_retention_policy(
                logGroupName=self._log_group, retentionInDays=self.push.log_retention_days
            )

    def prune(self, serving: set[str]) -> None:
        """Delete published versions beyond the latest few; their code counts against the account."""
        numbers = sorted((version["Version"] for version in self._versions()), key=int)
        for number in numbers[:-KEPT_VERSIONS]:
            if number not in serving:
                self._lambda.delete_function(FunctionName=self.name, Qualifier=number)

    def remove(self) -> None:
        self._lambda.delete_function(FunctionName=self.name)
        _or_none(self._logs.delete_log_group, logGroupName=self._log_group)

    def drift(self, packages: list[Package]) -> list[str]:
        """What somebody else has changed since the push."""
        alias = self._alias()
        if not self.is_ours():
            return ["The function has lost Skerry's tag: Skerry leaves it alone now."]
        if alias is None:
            return ["The alias live is gone."]
        wanted = {
            self._number_of(package): package.percentage
            for package in packages
            if package.percentage
        }
        found = []
        if _shares(alias) != wanted:
            found.append("The alias live leads to other versions or shares.")
        url = _or_none(
            self._lambda.get_function_url_config, FunctionName=self.name, Qualifier=ALIAS
        )
        if url is None or url["AuthType"] != "NONE" or url.get("InvokeMode") != "RESPONSE_STREAM":
            found.append("The function's URL is gone, closed or does not stream.")
        if STATEMENTS.keys() - self._statements():
            found.append("The permission to call the function's URL is gone.")
        return found


def _shares(alias: dict[str, Any]) -> dict[str, int]:
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights") or {}
    others = {number: round(weight * 100) for number, weight in weights.items()}
    return {alias["FunctionVersion"]: 100 - sum(others.values()), **others}


def _or_none(call: Any, **arguments: Any) -> Any:
    """The answer, or None when there is no such thing."""
    try:
        return call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ResourceNotFoundException", "404"):
            return None
        raise
