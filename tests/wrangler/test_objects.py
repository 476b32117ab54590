"""Durable Objects with each wrangler: classes made, renamed and deleted, and what they store meanwhile."""

from typing import Any

import pytest

from tests.platform import Platform
from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

WORKER = """
import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  async increment() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return count;
  }
}
// Empty where it is deleted.
CACHE
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const id = env.COUNTER.idFromName(pathname);
    return Response.json({ id: id.toString(), count: await env.COUNTER.get(id).increment() });
  },
};
"""
CACHE = "export class Cache extends DurableObject {}"
NAMESPACES = "workers/durable_objects/namespaces"
COUNTER = {"name": "COUNTER", "class_name": "Counter"}


def _write(
    project: Project, *steps: dict[str, Any], renamed: bool = False, cache: str = CACHE
) -> None:
    source = WORKER.replace("CACHE", cache)
    name = "Tally" if renamed else "Counter"
    project.write({"index.js": source.replace("class Counter", f"class {name}")})
    project.configure(
        durable_objects={"bindings": [{**COUNTER, "class_name": name}]},
        migrations=[{"tag": f"v{number}", **step} for number, step in enumerate(steps, 1)],
    )


def _classes(platform: Platform, project: Project) -> dict[str, dict[str, Any]]:
    found = platform.api.result("GET", NAMESPACES)
    return {one["class"]: one for one in found if one["script"] == project.name}


def test_classes_from_first_to_last(
    wrangler: Wrangler, project: Project, platform: Platform
) -> None:
    made = {"new_sqlite_classes": ["Counter"], "new_classes": ["Cache"]}
    renamed = {"renamed_classes": [{"from": "Counter", "to": "Tally"}]}
    deleted = {"deleted_classes": ["Cache"]}

    def count(expected: int) -> str:
        answer = platform.get(project.hostname, "/some").json()
        assert answer["count"] == expected
        return str(answer["id"])

    _write(project, made)
    wrangler("deploy")
    id_ = count(1)
    classes = _classes(platform, project)
    assert {name: one["use_sqlite"] for name, one in classes.items()} == {
        "Cache": False,
        "Counter": True,
    }
    first = project.versions()[0]["id"]
    wrangler("deploy")
    assert count(2) == id_

    _write(project, made, renamed, renamed=True)
    wrangler("deploy")
    assert count(3) == id_
    found = _classes(platform, project)
    assert {name: one["id"] for name, one in found.items()} == {
        "Cache": classes["Cache"]["id"],
        "Tally": classes["Counter"]["id"],
    }
    objects = platform.api.result("GET", f"{NAMESPACES}/{found['Tally']['id']}/objects")
    assert objects == [{"id": id_, "hasStoredData": True}]

    # The class is still there, and its migration is not: nothing changes.
    _write(project, made, renamed, renamed=True, cache="")
    assert "10064" in wrangler.refused("deploy")
    _write(project, made, renamed, deleted, renamed=True, cache="")
    wrangler("deploy")
    assert count(4) == id_
    assert set(_classes(platform, project)) == {"Tally"}
    assert "10212" in wrangler.refused("rollback", first, "--message", "back", "--yes")
    wrangler("secret", "put", "KEY", stdin="value")
    assert count(5) == id_

    wrangler("delete", "--force")
    assert _classes(platform, project) == {}
    _write(project, made)
    wrangler("deploy")
    count(1)


def test_refusals_change_nothing(newest: Wrangler, project: Project) -> None:
    made = {"new_sqlite_classes": ["Counter"]}
    bindings = {"durable_objects": {"bindings": [COUNTER]}}
    project.write({"index.js": WORKER.replace("CACHE", "")})
    project.configure(**bindings)
    assert "10061" in newest.refused("deploy")
    _write(project, {"new_sqlite_classes": ["Counter", "Missing"]})
    assert "10070" in newest.refused("deploy")
    elsewhere = {"bindings": [{**COUNTER, "script_name": "another"}]}
    project.configure(durable_objects=elsewhere)
    assert "10143" in newest.refused("deploy")
    project.is_not_there()

    _write(project, made, cache="")
    newest("deploy")
    _write(project, made, {"new_classes": ["Cache"]})
    assert "pending Durable Object migration" in newest.refused("versions", "upload").text
    project.configure()
    project.answer_with("no objects")
    assert "10064" in newest.refused("deploy")


def test_a_class_goes_to_another_script(
    newest: Wrangler, project: Project, platform: Platform
) -> None:
    giver, taker = project.name, f"{project.name}-2"
    _write(project, {"new_sqlite_classes": ["Counter"]}, cache="")
    newest("deploy")
    given = platform.get(project.hostname, "/some").json()
    moved = {"from": "Counter", "from_script": giver, "to": "Counter"}
    configuration = {
        "name": taker,
        "durable_objects": {"bindings": [COUNTER]},
        "migrations": [{"tag": "v1", "transferred_classes": [moved]}],
    }
    project.configure(**configuration)
    assert "still binds the class 'Counter'" in newest.refused("deploy")
    project.configure(migrations=[{"tag": "v1", "new_sqlite_classes": ["Counter"]}])
    newest("deploy")
    project.configure(**configuration)
    newest("deploy")
    taken = platform.get(platform.hostname(taker), "/some").json()
    assert taken == {"id": given["id"], "count": given["count"] + 1}
    assert [one["script"] for one in platform.api.result("GET", NAMESPACES)].count(giver) == 0
