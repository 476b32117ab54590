"""Every operation asks who is there, and answers strangers as if there were nothing."""

from typing import Any

import pytest
from sqlalchemy import update

from tests.cast import upload_parts
from tests.contract.conftest import SCRIPT, World

NOBODY: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Bearer "},
    {"Authorization": "Basic b3duZXI6cGFzc3dvcmQ="},
    {"X-Auth-Key": "wrong", "X-Auth-Email": "owner@example.org"},
]


def _assert_refusal(answer: Any, status: int, codes: set[int]) -> None:
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert (body["success"], body["result"], body["messages"]) == (False, None, [])
    assert body["errors"][0]["code"] in codes
    assert body["errors"][0]["message"]


@pytest.mark.parametrize("headers", NOBODY, ids=["none", "unknown", "empty", "basic", "key"])
def test_no_operation_without_a_known_token(world: World, headers: dict[str, str]) -> None:
    for method, template in world.operations():
        answer = world.owner.client.request(method, world.path(template), headers=headers)
        _assert_refusal(answer, 401, {1000, 10000})
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_no_operation_on_a_strangers_account(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.stranger.token}"}
    of_accounts = [
        found
        for found in world.operations()
        # An upload of assets goes by its session's token, whatever the path says.
        if "{account_id}" in found[1] and not found[1].endswith("/workers/assets/upload")
    ]
    assert len(of_accounts) > 30
    for method, template in of_accounts:
        path = world.path(template)
        answer = world.owner.client.request(method, path, headers=headers)
        _assert_refusal(answer, 403, {10000})
        elsewhere = path.replace(world.owner.id, "0" * 32)
        assert world.owner.client.request(method, elsewhere, headers=headers).text == answer.text


def test_a_revoked_token_is_an_unknown_one(world: World) -> None:
    from api.accounts.models import Token  # noqa: PLC0415 - reads the settings
    from api.clock import now  # noqa: PLC0415
    from api.db import transaction  # noqa: PLC0415

    assert world.owner.call("GET", "/user/tokens/verify").status_code == 200
    with transaction() as session:
        session.execute(
            update(Token).where(Token.account_id == world.owner.id).values(revoked_at=now())
        )
    _assert_refusal(world.owner.call("GET", "/user/tokens/verify"), 401, {1000})


def test_ids_of_a_stranger_lead_nowhere(world: World) -> None:
    """Not below one's own script of the same name either."""
    script = f"workers/scripts/{SCRIPT}"
    version, deployment = world.real["version_id"], world.real["deployment_id"]
    stranger = world.stranger
    stranger.result("PUT", script, **upload_parts())
    assert stranger.refusal("GET", f"{script}/versions/{version}")[:2] == (404, 10224)
    assert stranger.refusal("GET", f"{script}/content/v2?version={version}")[:2] == (404, 10224)
    assert stranger.refusal("GET", f"{script}/deployments/{deployment}")[:2] == (404, 10225)
    body = {"versions": [{"version_id": version, "percentage": 100}]}
    assert stranger.refusal("POST", f"{script}/deployments", json=body)[:2] == (404, 10224)
