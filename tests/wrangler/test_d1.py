"""D1 with each wrangler: databases, SQL, files, exports, migrations, and a Worker that binds one."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.platform import Platform
from tests.wrangler.conftest import Project, Said, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

WORKER = """
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/batch") {
      const add = env.DB.prepare("INSERT INTO people (name) VALUES (?)");
      try {
        await env.DB.batch([add.bind("lost"), env.DB.prepare("INSERT INTO nowhere VALUES (1)")]);
      } catch (error) {
        return new Response(error.message);
      }
    }
    if (request.method === "PUT") {
      const name = await request.text();
      const { meta } = await env.DB.prepare("INSERT INTO people (name) VALUES (?)").bind(name).run();
      return Response.json(meta.changes);
    }
    const names = await env.DB.withSession().prepare("SELECT name FROM people ORDER BY id").raw();
    return Response.json(names.flat());
  },
};
"""
SCHEMA = """
-- People; and a trigger with a semicolon inside.
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE seen (name TEXT);
CREATE TRIGGER noted AFTER INSERT ON people BEGIN INSERT INTO seen VALUES (new.name); END;
INSERT INTO people (name) VALUES ('ada; lovelace');
"""
TOWNS = "SELECT count(*) AS towns FROM towns"


def _id(said: Said) -> str:
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", said.text)
    assert found, said.text
    return found[0]


def test_d1(wrangler: Wrangler, project: Project, platform: Platform) -> None:
    project.write({"index.js": WORKER, "schema.sql": SCHEMA})
    project.configure()
    name = f"db-{wrangler.version}"
    database_id = _id(wrangler("d1", "create", name))
    database = {"binding": "DB", "database_name": name, "database_id": database_id}
    project.configure(d1_databases=[database])
    assert database_id in wrangler("d1", "list")

    wrangler("d1", "execute", name, "--remote", "--yes", "--file", "schema.sql")
    selected = "SELECT name AS who FROM people; SELECT count(*) AS number FROM seen"
    said = wrangler("d1", "execute", name, "--remote", "--yes", "--json", "--command", selected)
    assert all(words in said for words in ('"who": "ada; lovelace"', '"number": 1'))
    assert "2" in wrangler("d1", "info", name)

    wrangler("deploy")
    assert platform.get(project.hostname).json() == ["ada; lovelace"]
    assert platform.put(project.hostname, "/", b"grace").json() == 2
    assert "no such table: nowhere" in platform.get(project.hostname, "/batch").text
    assert platform.get(project.hostname).json() == ["ada; lovelace", "grace"]

    _migrate(wrangler, project, name)
    if wrangler.version != "3.114":
        wrangler("d1", "export", name, "--remote", "--output", "out.sql")
        exported = (project.folder / "out.sql").read_text()
        assert 'INSERT INTO "people" ("id","name") VALUES(2,\'grace\');' in exported
    wrangler("delete")
    wrangler("d1", "delete", name, "--skip-confirmation")
    assert platform.api.refusal("GET", f"d1/database/{database_id}")[0] == 404


def _migrate(wrangler: Wrangler, project: Project, name: str) -> None:
    wrangler("d1", "migrations", "create", name, "towns")
    (file,) = (project.folder / "migrations").iterdir()
    file.write_text("CREATE TABLE towns (name TEXT);\nINSERT INTO towns VALUES ('here');\n")
    assert file.name in wrangler("d1", "migrations", "list", name, "--remote")
    wrangler("d1", "migrations", "apply", name, "--remote")
    said = wrangler("d1", "execute", name, "--remote", "--json", "--command", TOWNS)
    assert '"towns": 1' in said


def test_what_d1_refuses_is_said_and_undone(newest: Wrangler, project: Project) -> None:
    project.write({"bad.sql": "CREATE TABLE towns (name TEXT);\nBOOM;"})
    database_id = _id(newest("d1", "create", "refusing"))
    database = {"binding": "DB", "database_name": "refusing", "database_id": database_id}
    project.configure(d1_databases=[database])
    newest.refused("d1", "create", "refusing")
    on_it = ["refusing", "--remote"]
    newest.refused("d1", "execute", *on_it, "--yes", "--file", "bad.sql")
    assert "towns" in newest.refused("d1", "execute", *on_it, "--command", TOWNS)
    newest("d1", "migrations", "create", "refusing", "towns")
    (file,) = (project.folder / "migrations").iterdir()
    file.write_text("CREATE TABLE towns (name TEXT);\nINSERT INTO towns VALUES ('here');\n")
    newest("d1", "migrations", "apply", *on_it)
    assert "No migrations" in newest("d1", "migrations", "list", *on_it)
    second = file.with_name("0002_broken.sql")
    second.write_text("INSERT INTO towns VALUES ('there');\nINSERT INTO nowhere VALUES (1);\n")
    assert "nowhere" in newest.refused("d1", "migrations", "apply", *on_it)
    assert '"towns": 1' in newest("d1", "execute", *on_it, "--json", "--command", TOWNS)
    newest("d1", "delete", "refusing", "--skip-confirmation")


def test_a_database_that_is_not_there(newest: Wrangler, project: Project) -> None:
    project.write({"index.js": WORKER})
    gone = "0" * 8 + "-0000-0000-0000-" + "0" * 12
    project.configure(d1_databases=[{"binding": "DB", "database_name": "x", "database_id": gone}])
    assert "10181" in newest.refused("deploy")
    project.is_not_there()


def test_time_travel(newest: Wrangler, project: Project) -> None:
    project.write({"more.sql": "INSERT INTO t VALUES (2);\nINSERT INTO t VALUES (3);\n"})
    project.configure()
    began = datetime.now(UTC)
    newest("d1", "create", "travels")

    def count(also: str = "") -> int:
        sql = " ".join((also, "SELECT count(*) AS n FROM t"))
        said = newest("d1", "execute", "travels", "--remote", "--json", "--command", sql)
        return int(_printed(said)[-1]["results"][0]["n"])

    def travel(*arguments: str) -> Any:
        return _printed(newest("d1", "time-travel", *arguments, "--json"))

    assert count("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1);") == 1
    said = newest("d1", "time-travel", "info", "travels").text
    bookmark = travel("info", "travels")["bookmark"]
    assert f"The current bookmark is '{bookmark}'" in said
    newest("d1", "execute", "travels", "--remote", "--yes", "--file", "more.sql")
    imported = travel("info", "travels")["bookmark"]
    assert count("DELETE FROM t;") == 0

    restored = travel("restore", "travels", f"--bookmark={bookmark}")
    assert restored["bookmark"] == bookmark
    assert count() == 1
    travel("restore", "travels", f"--bookmark={restored['previous_bookmark']}")
    assert count() == 0
    later = datetime.fromtimestamp(int(imported[:16], 16) / 1000, UTC) + timedelta(milliseconds=1)
    again = travel("restore", "travels", f"--timestamp={later.isoformat(timespec='milliseconds')}")
    assert again["bookmark"] == imported
    assert count() == 3

    before = (began - timedelta(hours=1)).isoformat(timespec="milliseconds")
    assert "7504" in newest.refused("d1", "time-travel", "info", "travels", "--timestamp", before)
    assert "7504" in newest.refused("d1", "time-travel", "restore", "travels", "--bookmark=x")
    assert count() == 3
    newest("d1", "delete", "travels", "--skip-confirmation")


def _printed(said: Said) -> Any:
    """The JSON among what wrangler said."""
    found = re.search(r"^[\[{].*^[\]}]$", said.text, re.DOTALL | re.MULTILINE)
    assert found, said.text
    return json.loads(found[0])
