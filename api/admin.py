"""Operator commands: `python -m api.admin bootstrap | join-token | remove-node | reset-password`."""

import argparse
import json
import os
import sys
from pathlib import Path

from sqlalchemy.orm import Session

from api.accounts import service as accounts, tokens
from api.db import connect, transaction
from api.errors import BodyInvalid, NotFound
from api.nodes import authority, service as nodes
from api.sealing import make_master_key
from api.settings import settings


def bootstrap(token_file: Path) -> dict[str, str | None]:
    """Make what a fresh installation needs; a second call changes nothing but the set-up token.

    Writes an API token to `token_file` (mode 0600) if that is missing or its token revoked.
    """
    make_master_key(settings().master_key_file)
    with transaction() as session:
        account = accounts.bootstrap(session)
        authority.ensure(session)
        setup = None
        if accounts.setup_pending(session):
            setup = accounts.issue_setup_token(session, account)
        if not _is_good(session, token_file):
            _write_secret(token_file, tokens.issue(session, account, tokens.OF_THE_LAUNCHER))
        return {"account_id": account.id, "setup_token": setup}


def _is_good(session: Session, token_file: Path) -> bool:
    return token_file.exists() and bool(tokens.recognise(session, token_file.read_text().strip()))


def _write_secret(path: Path, secret: str) -> None:
    temporary = path.with_name(path.name + ".part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m api.admin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    setup = commands.add_parser("bootstrap", help="make account, CA and API token once")
    setup.add_argument("--token-file", type=Path, required=True)
    commands.add_parser("join-token", help="print a token with which one node can enrol")
    removal = commands.add_parser("remove-node", help="forget a node that is gone for good")
    removal.add_argument("name")
    reset = commands.add_parser(
        "reset-password", help="give a member the password that is the first line of stdin"
    )
    reset.add_argument("email")
    arguments = parser.parse_args()
    connect()
    if arguments.command == "bootstrap":
        sys.stdout.write(json.dumps(bootstrap(arguments.token_file)) + "\n")
    elif arguments.command == "join-token":
        with transaction() as session:
            token = nodes.issue_join_token(session)
        sys.stdout.write(token + "\n")
    elif arguments.command == "reset-password":
        return reset_password(arguments.email, sys.stdin.readline().rstrip("\n"))
    else:
        return remove_node(arguments.name)
    return 0


def reset_password(email: str, password: str) -> int:
    """Give a member another password, for when they forgot theirs; the exit status."""
    try:
        with transaction() as session:
            member = accounts.reset_password(session, email, password)
            known_as = member.email
    except (BodyInvalid, NotFound) as problem:
        sys.stderr.write(f"{problem.message}\n")
        return 1
    sys.stdout.write(f"{known_as} has the new password and is logged out everywhere.\n")
    return 0


def remove_node(name: str) -> int:
    """Forget a node that is gone for good; the exit status."""
    try:
        with transaction() as session:
            nodes.remove(session, name)
    except NotFound as problem:
        sys.stderr.write(f"{problem.message}\n")
        return 1
    sys.stdout.write(f"{name} is removed. If it still runs, it goes on with what it has.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
