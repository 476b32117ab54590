"""The life of a script: deployed, changed, tried out, rolled back, deleted."""

import pytest

from tests.wrangler.conftest import NEWEST, Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")


def test_life(wrangler: Wrangler, project: Project) -> None:
    assert project.platform.api.id in wrangler("whoami")

    project.answer_with("one")
    deployed = wrangler("deploy")
    one = deployed.version_id
    project.answers("one")
    if wrangler.version == NEWEST:
        assert project.hostname in deployed
        assert "workers.dev" not in deployed

    project.answer_with("two")
    two = wrangler("deploy").version_id
    project.answers("two")

    unchanged = wrangler("deploy").version_id
    project.answers("two")
    versions = project.versions()
    assert [version["id"] for version in versions] == [unchanged, two, one]
    assert [version["number"] for version in versions] == [3, 2, 1]
    assert versions[0]["digest"] == versions[1]["digest"] != versions[2]["digest"]
    assert {version["metadata"]["source"] for version in versions} == {"wrangler"}

    listed = wrangler("deployments", "list")
    assert all(version in listed for version in (one, two, unchanged))
    status = wrangler("deployments", "status")
    assert unchanged in status
    assert two not in status

    project.answer_with("tried")
    tried = wrangler("versions", "upload", "--tag", "v2", "--message", "try it").version_id
    project.answers("two")
    listed = wrangler("versions", "list")
    assert all(words in listed for words in (unchanged, tried, "v2", "try it"))
    viewed = wrangler("versions", "view", tried)
    assert all(words in viewed for words in (tried, "v2", "fetch", "2026-01-01"))

    wrangler("versions", "deploy", f"{tried}@100%", "--yes")
    project.answers("tried")
    assert wrangler("rollback").version_id == unchanged
    project.answers("two")
    wrangler("rollback", tried, "--message", "forward again")
    project.answers("tried")
    newest = project.platform.api.result("GET", f"{project.path}/deployments")["deployments"][0]
    assert newest["versions"] == [{"version_id": tried, "percentage": 100}]
    assert newest["annotations"]["workers/message"] == "forward again"

    wrangler("delete")
    project.platform.has_nothing_at(project.hostname)
    project.is_not_there()
