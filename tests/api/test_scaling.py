"""How many cells a script gets and when they are stopped: set, kept, sent to the nodes."""

from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.deployments import rollouts
from api.deployments.models import Rollout
from api.nodes.models import Node
from api.nodes.service import Enrolment
from api.scripts import service as scripts
from api.scripts.models import Script
from tests.cast import Tenant, upload_parts

SCRIPT = "workers/scripts/my-app"
SETTINGS = f"{SCRIPT}/script-settings"
DEFAULTS = {"idle_seconds": None, "max_cells": None}


@pytest.fixture
def script(alice: Tenant, node: Enrolment) -> str:
    return str(alice.result("PUT", SCRIPT, **upload_parts())["tag"])


def _change(alice: Tenant, scaling: Any) -> Any:
    return alice.result("PATCH", SETTINGS, json={"scaling": scaling})["scaling"]


def _sent(session: Session, node: Enrolment) -> Any:
    session.expire_all()
    (slot,) = rollouts.desired(session, session.get_one(Node, node.node.id), 0)
    return slot["scaling"]


def _generation(session: Session) -> int:
    session.expire_all()
    return max(session.scalars(select(Rollout.generation)))


def test_a_script_has_the_nodes_defaults_until_it_says_otherwise(
    alice: Tenant, script: str, node: Enrolment, session: Session
) -> None:
    assert alice.result("GET", SETTINGS)["scaling"] == DEFAULTS
    assert _sent(session, node) == DEFAULTS


def test_a_change_is_sent_to_the_nodes_field_by_field(
    alice: Tenant, script: str, node: Enrolment, session: Session
) -> None:
    assert _change(alice, {"idle_seconds": 0}) == {"idle_seconds": 0, "max_cells": None}
    assert _change(alice, {"max_cells": 4}) == {"idle_seconds": 0, "max_cells": 4}
    assert _sent(session, node) == {"idle_seconds": 0, "max_cells": 4}
    assert alice.result("GET", SETTINGS)["scaling"] == {"idle_seconds": 0, "max_cells": 4}
    assert _change(alice, {"idle_seconds": None}) == {"idle_seconds": None, "max_cells": 4}
    assert _change(alice, None) == DEFAULTS
    assert _sent(session, node) == DEFAULTS


def test_a_change_rolls_the_same_deployment_out_again_and_says_so(
    alice: Tenant, script: str, session: Session
) -> None:
    answer = alice.call("PATCH", SETTINGS, json={"scaling": {"max_cells": 2}}).json()
    assert "edge-1 has not answered yet" in answer["messages"][0]["message"]
    first, second = session.scalars(select(Rollout).order_by(Rollout.generation))
    assert first.deployment_id == second.deployment_id


def test_what_changes_nothing_moves_nothing(alice: Tenant, script: str, session: Session) -> None:
    _change(alice, {"idle_seconds": 60})
    before = _generation(session)
    for body in ({"scaling": {"idle_seconds": 60, "max_cells": None}}, {"scaling": {}}, {}):
        assert alice.call("PATCH", SETTINGS, json=body).json()["messages"] == []
    assert _generation(session) == before


def test_wranglers_own_settings_leave_it_alone(
    alice: Tenant, script: str, session: Session
) -> None:
    """What `wrangler deploy` sends after each upload."""
    _change(alice, {"idle_seconds": 60, "max_cells": 2})
    before = _generation(session)
    wrangler = {"tags": None, "logpush": False, "tail_consumers": [], "observability": None}
    alice.result("PATCH", SETTINGS, json=wrangler)
    assert _generation(session) == before
    alice.result("PUT", SCRIPT, **upload_parts())
    assert alice.result("GET", SETTINGS)["scaling"] == {"idle_seconds": 60, "max_cells": 2}


def test_a_script_without_a_deployment_can_be_set_too(alice: Tenant, session: Session) -> None:
    scripts.lock_or_create(session, alice.id, "my-app")
    session.commit()
    assert _change(alice, {"max_cells": 1})["max_cells"] == 1


@pytest.mark.parametrize("idle", [0, 30, 86_400])
@pytest.mark.parametrize("cells", [1, 32])
def test_the_ends_of_what_is_allowed(alice: Tenant, script: str, idle: int, cells: int) -> None:
    asked = {"idle_seconds": idle, "max_cells": cells}
    assert _change(alice, asked) == asked


@pytest.mark.parametrize(
    ("scaling", "said"),
    [
        ({"idle_seconds": 29}, "body.scaling.idle_seconds: use 30 to 86,400 seconds, or 0"),
        ({"idle_seconds": 86_401}, "body.scaling.idle_seconds: use 30 to 86,400 seconds, or 0"),
        ({"idle_seconds": -1}, "body.scaling.idle_seconds: use 30 to 86,400 seconds, or 0"),
        ({"idle_seconds": "60"}, "body.scaling.idle_seconds: "),
        ({"idle_seconds": True}, "body.scaling.idle_seconds: "),
        ({"idle_seconds": 60, "max_cells": 0}, "body.scaling.max_cells: use 1 to 32 processes"),
        ({"max_cells": 33}, "body.scaling.max_cells: use 1 to 32 processes"),
        ({"max_cells": 1.5}, "body.scaling.max_cells: "),
        ({"max_cell": 2}, "body.scaling.max_cell: "),
        ([], "body.scaling: "),
    ],
)
def test_what_is_not_allowed_is_refused_and_changes_nothing(
    alice: Tenant, script: str, session: Session, scaling: Any, said: str
) -> None:
    before = _generation(session)
    status, code, message = alice.refusal("PATCH", SETTINGS, json={"scaling": scaling})
    assert (status, code) == (422, 10004)
    assert message.startswith(said)
    assert alice.result("GET", SETTINGS)["scaling"] == DEFAULTS
    assert _generation(session) == before


def test_a_stored_scaling_that_is_not_allowed_counts_as_none(
    alice: Tenant, script: str, node: Enrolment, session: Session
) -> None:
    """A release that allows less must not keep a node from its whole desired state."""
    session.execute(update(Script).values(settings={"scaling": {"max_cells": 1000}}))
    session.commit()
    assert _sent(session, node) == DEFAULTS
    assert _change(alice, {"idle_seconds": 30}) == {"idle_seconds": 30, "max_cells": None}
