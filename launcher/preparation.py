"""Bring the database to what the other processes expect: migrations, account, join tokens.

    python -m launcher.preparation --token-file F [--join NODE …]  →  one JSON object

The same as `alembic upgrade head`, `python -m api.admin bootstrap` and `python -m api.admin join-token` after each
other, which is how docker-compose.yml does it; as one process they import the API's code once instead of three times,
which is most of the time that they take.
"""

import argparse
import json
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from api.admin import bootstrap
from api.db import connect, transaction
from api.nodes import service as nodes
from launcher.paths import ROOT


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m launcher.preparation")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--join", nargs="*", default=[], metavar="NODE")
    options = parser.parse_args(arguments)
    # Alembic prints nothing by itself; what it does say goes to the log, not between our JSON.
    command.upgrade(Config(ROOT / "migrations" / "alembic.ini", stdout=sys.stderr), "head")
    connect()
    answer: dict[str, object] = dict(bootstrap(options.token_file))
    with transaction() as session:
        answer["join_tokens"] = {name: nodes.issue_join_token(session) for name in options.join}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
