"""Operator commands: `python -m api.admin bootstrap | join-token | remove-node | reset-password`."""

import argparse
import json
import sys
from pathlib import Path

from sqlalchemy.orm import Session

from api.accounts import service as accounts, tokens
from api.db import connect, transaction
from api.deployments import rollouts
from api.errors import BodyInvalid, Conflict, NotFound
from api.nodes import authority, service as nodes
from api.private_file import write_private
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
            token = tokens.issue(session, account, tokens.OF_THE_LAUNCHER)
            write_private(token_file, f"{token}\n")
        return {"account_id": account.id, "setup_token": setup}


def _is_good(session: Session, token_file: Path) -> bool:
    return token_file.exists() and bool(tokens.recognise(session, token_file.read_text().strip()))


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m api.admin",
        description="What the launcher does with the database, for installations without it, such as containers.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    setup = command("bootstrap", "Make account, CA and API token once.")
    setup.add_argument(
        "--token-file", type=Path, required=True, metavar="FILE", help="where the API token goes"
    )
    command("join-token", "Print a token with which one node can enrol.")
    removal = command("remove-node", "Forget a node that is gone for good.")
    removal.add_argument("name", metavar="NAME", help="the node")
    removal.add_argument(
        "--abandon-objects",
        action="store_true",
        help="also if it has Durable Objects: they start empty on another node",
    )
    reset = command("reset-password", "Give a member the password that is the first line of stdin.")
    reset.add_argument("email", metavar="EMAIL", help="the member's address")
    return parser


def main() -> int:
    arguments = argument_parser().parse_args()
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
        return remove_node(arguments.name, abandon_objects=arguments.abandon_objects)
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


def remove_node(name: str, *, abandon_objects: bool = False) -> int:
    """Forget a node that is gone for good; the exit status."""
    try:
        with transaction() as session:
            rollouts.forget_node(session, nodes.locked(session, name), abandon=abandon_objects)
    except (Conflict, NotFound) as problem:
        sys.stderr.write(f"{problem.message}\n")
        return 1
    sys.stdout.write(f"{name} is removed. If it still runs, it goes on with what it has.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
