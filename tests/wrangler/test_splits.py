"""Gradual deployments with `wrangler versions deploy`: two versions, then one, then back."""

from collections import Counter

import httpx2
import pytest

from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

ASKED, ASKED_AGAIN = 200, 20


def live(project: Project) -> list[tuple[str, float]]:
    listed = project.platform.api.result("GET", f"{project.path}/deployments")["deployments"]
    return [(one["version_id"], one["percentage"]) for one in listed[0]["versions"]]


def answers(project: Project, times: int = ASKED_AGAIN, **headers: str) -> Counter[str]:
    """How often the live URL said what."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    url = f"http://127.0.0.1:{project.platform.http_port}/"
    # One client for all of them: making one takes longer than a hundred requests.
    with httpx2.Client(trust_env=False, headers={"Host": project.hostname, **named}) as client:
        return Counter(client.get(url, timeout=10).text for _ in range(times))


def asking_for(project: Project, version: str) -> Counter[str]:
    return answers(project, Cloudflare_Workers_Version_Overrides=f'{project.name}="{version}"')


def test_a_version_comes_step_by_step(wrangler: Wrangler, project: Project) -> None:
    project.answer_with("one")
    one = wrangler("deploy").version_id
    project.answers("one")
    project.answer_with("two")
    two = wrangler("versions", "upload").version_id

    wrangler("versions", "deploy", f"{one}@60%", f"{two}@40%", "-y", "--message", "a first step")
    assert live(project) == [(one, 60), (two, 40)]
    listed = wrangler("deployments", "list")
    assert all(words in listed for words in (f"(60%) {one}", f"(40%) {two}", "a first step"))
    status = wrangler("deployments", "status")
    assert all(words in status for words in (f"(60%) {one}", f"(40%) {two}"))
    assert two in wrangler("versions", "list")

    # Between 72 and 168 of 200 but once in millions of runs.
    found = answers(project, ASKED)
    assert set(found) == {"one", "two"}
    assert found["one"] > found["two"] / 2
    assert asking_for(project, two) == {"two": ASKED_AGAIN}
    assert asking_for(project, one) == {"one": ASKED_AGAIN}
    assert len(answers(project, Cloudflare_Workers_Version_Key="ada")) == 1

    refused = wrangler.refused("secret", "put", "TOKEN")
    assert "latest version of your Worker isn't currently deployed" in refused
    assert live(project) == [(one, 60), (two, 40)]

    # With 0 % only who names it is answered by it.
    wrangler("versions", "deploy", f"{two}@100%", f"{one}@0%", "-y")
    assert answers(project) == {"two": ASKED_AGAIN}
    assert asking_for(project, one) == {"one": ASKED_AGAIN}

    wrangler("versions", "deploy", f"{two}@100%", "-y")
    assert live(project) == [(two, 100)]
    project.answers("two")
    wrangler("versions", "deploy", f"{one}@50%", f"{two}@50%", "-y")
    assert set(answers(project, ASKED)) == {"one", "two"}
    wrangler("rollback", one)
    assert live(project) == [(one, 100)]
    assert answers(project) == {"one": ASKED_AGAIN}


def test_what_wrangler_says_of_shares_that_are_not_taken(
    newest: Wrangler, project: Project
) -> None:
    project.answer_with("one")
    one = newest("deploy").version_id
    project.answer_with("two")
    two = newest("versions", "upload").version_id
    refused = newest.refused("versions", "deploy", f"{one}@33.5%", f"{two}@66.5%", "-y")
    assert "Percentages are whole numbers" in refused
    assert live(project) == [(one, 100)]


def test_a_deploy_ends_a_split(newest: Wrangler, project: Project) -> None:
    project.answer_with("one")
    one = newest("deploy").version_id
    project.answer_with("two")
    two = newest("versions", "upload").version_id
    newest("versions", "deploy", f"{one}@50%", f"{two}@50%", "-y")
    project.answer_with("three")
    three = newest("deploy").version_id
    assert live(project) == [(three, 100)]
    assert answers(project) == {"three": ASKED_AGAIN}
