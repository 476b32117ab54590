"""What is refused: wrangler fails, says why, and everything is as it was before."""

import socket
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

ROOM = """
    export class Room {}
    export default { fetch: () => new Response("never") };
"""
VECTORS = {"vectorize": [{"binding": "CACHE", "index_name": "words"}]}
NOT_YET = "not supported by Skerry yet"


def test_a_bad_deploy_changes_nothing(newest: Wrangler, project: Project) -> None:
    project.answer_with("good")
    newest("deploy")
    before = project.versions()

    project.write({"index.js": "const fine = 1;\nboom();\nexport default {};\n"})
    said = newest.refused("deploy")
    assert "ReferenceError: boom is not defined" in said
    assert "index.js:2" in said
    assert "10021" in said

    project.answer_with("better")
    project.configure(**VECTORS)
    said = newest.refused("deploy")
    assert "CACHE" in said
    assert NOT_YET in said

    project.answers("good")
    assert project.versions() == before


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param(VECTORS, "CACHE of type vectorize", id="vectorize"),
        pytest.param({"ai": {"binding": "AI"}}, "AI of type ai", id="ai"),
    ],
)
def test_products_that_are_not_there_yet(
    newest: Wrangler, project: Project, config: dict[str, Any], words: str
) -> None:
    project.write({"index.js": ROOM, "public/page.html": "<h1>hi</h1>"})
    project.configure(**config)
    said = newest.refused("deploy")
    assert words in said
    assert NOT_YET in said
    project.is_not_there()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param({"compatibility_flags": ["no_such_flag"]}, "no_such_flag", id="flag"),
        pytest.param({"compatibility_date": "2999-01-01"}, "in the future", id="date"),
    ],
)
def test_a_runtime_that_does_not_exist(
    newest: Wrangler, project: Project, config: dict[str, Any], words: str
) -> None:
    project.answer_with("never")
    project.configure(**config)
    said = newest.refused("deploy")
    assert words in said
    assert "10021" in said
    project.is_not_there()


def test_todays_compatibility_date_is_taken(newest: Wrangler, project: Project) -> None:
    """Also on a day after the newest that the pinned runtime knows."""
    today = datetime.now(UTC).date().isoformat()
    project.answer_with("up to date")
    project.configure(compatibility_date=today)
    newest("deploy")
    project.answers("up to date")
    runtime = project.versions()[0]["resources"]["script_runtime"]
    assert runtime["compatibility_date"] == today


def test_too_large(newest: Wrangler, project: Project) -> None:
    project.write(
        {"index.js": "import big from './big.bin';\nexport default { fetch: () => big };\n"}
    )
    with (project.folder / "big.bin").open("wb") as file:
        file.truncate(65 * 2**20)
    said = newest.refused("deploy")
    assert "10027" in said
    assert "size limit of 64 MiB" in said
    project.is_not_there()


def test_a_name_that_cannot_be_a_hostname(newest: Wrangler, project: Project) -> None:
    project.answer_with("never")
    said = newest.refused("deploy", "--name", "Not.A_Name")
    assert "Not.A_Name" in said
    assert "lower-case" in said


def test_a_token_that_is_not_known(newest: Wrangler, project: Project) -> None:
    project.answer_with("never")
    said = newest.refused("deploy", CLOUDFLARE_API_TOKEN="wrong")
    assert "this API token is unknown or revoked" in said
    project.is_not_there()


def test_an_api_that_is_away(newest: Wrangler, project: Project) -> None:
    project.answer_with("never")
    # Bound and not listening: the port is ours, and a connection to it is refused.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/client/v4"
        assert "fetch failed" in newest.refused("deploy", CLOUDFLARE_API_BASE_URL=nowhere)
