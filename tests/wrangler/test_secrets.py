"""Variables and secrets: what a script finds on `env`, and what nobody else gets to see."""

import json
from typing import Any

import pytest

from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

SHOW_ENV = "export default { fetch: (request, env) => Response.json({ ...env }) };\n"


def _env(project: Project) -> Any:
    return project.platform.get(project.hostname).json()


def test_secrets(wrangler: Wrangler, project: Project) -> None:
    variables = {"STAGE": "test", "LIMITS": {"deep": [1, 2.5, None]}}
    project.write({"index.js": SHOW_ENV, "bulk.json": json.dumps({"A": "1", "B": "two words"})})
    project.configure(vars=variables)
    wrangler("deploy")
    assert _env(project) == variables

    wrangler("secret", "put", "TOKEN", stdin="s3cret")
    assert _env(project) == {**variables, "TOKEN": "s3cret"}
    wrangler("secret", "bulk", "bulk.json")
    secrets = {"TOKEN": "s3cret", "A": "1", "B": "two words"}
    assert _env(project) == {**variables, **secrets}
    listed = wrangler("secret", "list")
    assert all(f'"{name}"' in listed for name in secrets)
    assert "s3cret" not in listed

    project.configure(vars={"STAGE": "live"})
    wrangler("deploy")
    assert _env(project) == {"STAGE": "live", **secrets}
    project.configure(vars={"REGION": "eu"}, keep_vars=True)
    wrangler("deploy")
    assert _env(project) == {"STAGE": "live", "REGION": "eu", **secrets}

    wrangler("secret", "delete", "A")
    del secrets["A"]
    assert _env(project) == {"STAGE": "live", "REGION": "eu", **secrets}

    later = wrangler("versions", "secret", "put", "LATER", stdin="soon")
    assert "LATER" not in _env(project)
    latest = project.versions()[0]
    assert {"name": "LATER", "type": "secret_text"} in latest["resources"]["bindings"]
    wrangler("versions", "deploy", f"{latest['id']}@100%", "--yes")
    assert _env(project)["LATER"] == "soon", later


def test_a_secret_for_a_script_that_is_not_there_makes_a_draft(
    newest: Wrangler, project: Project
) -> None:
    newest("secret", "put", "TOKEN", stdin="s3cret")
    assert project.platform.api.result("GET", f"{project.path}/secrets") == [
        {"name": "TOKEN", "type": "secret_text"}
    ]
    assert project.platform.get(project.hostname).status_code == 404
    project.write({"index.js": SHOW_ENV})
    newest("deploy")
    assert _env(project) == {"TOKEN": "s3cret"}
