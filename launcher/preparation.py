"""Bring the database to what the other processes expect: migrations, account, join tokens, certificates.

    python -m launcher.preparation --data DIR [--join NODE …]  →  one JSON object

The same as `alembic upgrade head`, `python -m api.admin bootstrap` and `python -m api.admin join-token` after each
other, which is how docker-compose.yml does it; as one process they import the API's code once instead of three times,
which is most of the time that they take.
"""

from api import garbage  # noqa: F401 - for what it does

# isort: split
import argparse
import json
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import select

from api.accounts.models import Account
from api.admin import bootstrap
from api.db import connect, transaction
from api.nodes import service as nodes
from api.settings import settings
from launcher import authority
from launcher.paths import ROOT, DataDirectory


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m launcher.preparation")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--join", nargs="*", default=[], metavar="NODE")
    options = parser.parse_args(arguments)
    # Alembic prints nothing by itself; what it does say goes to the log, not between our JSON.
    try:
        command.upgrade(Config(ROOT / "migrations" / "alembic.ini", stdout=sys.stderr), "head")
    except CommandError as error:
        print(
            f"The database cannot be brought to what this version expects: {error}. A newer version has used it: start "
            "that one, or restore a backup from before. Nothing was changed."
        )
        return 1
    connect()
    data = DataDirectory(options.data)
    answer: dict[str, object] = dict(bootstrap(data.api_token))
    with transaction() as session:
        subdomains = list(session.scalars(select(Account.subdomain)))
        answer["join_tokens"] = {name: nodes.issue_join_token(session) for name in options.join}
    authority.ensure(data, settings().apps_domain, subdomains)
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
