"""Where a script is reachable: its live URL on and off, and environments beside each other."""

import pytest

from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")


def test_live_url_off_and_on(newest: Wrangler, project: Project) -> None:
    project.answer_with("reachable")
    project.configure(workers_dev=False)
    newest("deploy")
    project.platform.has_nothing_at(project.hostname)
    project.configure(workers_dev=True)
    newest("deploy")
    project.answers("reachable")


def test_environments(newest: Wrangler, project: Project) -> None:
    project.write(
        {"index.js": "export default { fetch: (request, env) => new Response(env.STAGE) };\n"}
    )
    project.configure(vars={"STAGE": "production"}, env={"stg": {"vars": {"STAGE": "staging"}}})
    newest("deploy", "--env", "")
    newest("deploy", "--env", "stg")
    staging = project.platform.hostname(f"{project.name}-stg")
    project.answers("production")
    project.platform.answers(staging, "staging")
    newest("delete", "--env", "stg")
    project.platform.has_nothing_at(staging)
    project.answers("production")
