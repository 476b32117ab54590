"""Another account on an instance: python -m launcher.bench.tenant NAME  →  one JSON object, its id and a token."""

import json
import sys

import api.nodes.models  # noqa: F401 - accounts refer to its table
from api.accounts import tokens
from api.accounts.models import Account
from api.db import connect, transaction


def main() -> None:
    connect()
    name = sys.argv[1]
    with transaction() as session:
        account = Account(name=name, subdomain=name)
        session.add(account)
        session.flush()
        token = tokens.issue(session, account, "bench")
        sys.stdout.write(json.dumps({"id": account.id, "token": token}) + "\n")


if __name__ == "__main__":
    main()
