"""Fill an empty database with scripts, versions, deployments and nodes, by the services that do it otherwise.

python -m launcher.bench.seeding SCRIPTS  →  one JSON object: the session of a member, and addresses
"""

import json
import sys

from alembic import command
from alembic.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import queue
from api.accounts import service as accounts
from api.accounts.actor import Actor
from api.accounts.models import Account
from api.clock import now
from api.db import connect, transaction
from api.deployments import rollouts, service as deployments
from api.deployments.models import Rollout
from api.nodes import service as nodes
from api.nodes.models import Node
from api.scripts import service as scripts
from api.versions import service as versions
from api.versions.bundle import Upload, UploadedModule
from api.versions.checking import Start
from launcher.paths import ROOT

EMAIL, PASSWORD = "bench@example.org", "a password of the bench"
BUSY, NODES = "busy", ("edge-1", "edge-2")
VERSIONS_OF_BUSY = 60
PER_TRANSACTION = 50


def join(session: Session, name: str) -> Node:
    """A node that is enrolled and was heard of."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    token = nodes.issue_join_token(session)
    node = nodes.enrol(session, token, name, "https://127.0.0.1:9", csr).node
    node.seen_at = now()
    return node


def deploy(session: Session, account: Account, name: str, number: int) -> str:
    """A version of a script, deployed; the script is made if there is none. Gives the version's id.

    It is not started before, and no task is sent: nothing but rows comes of it.
    """
    source = f"export default {{ fetch: () => new Response('{number}') }};"
    upload = Upload(
        main_module="index.js",
        modules=[UploadedModule("index.js", "esm", source.encode())],
        bindings=[{"name": "GREETING", "type": "plain_text", "text": "Ahoy"}],
        compatibility_date="2026-01-01",
    )
    by = Actor(account.id, EMAIL, "0" * 32, "wrangler")
    script = scripts.lock_or_create(session, account.id, name)
    script.subdomain_enabled = True
    start = Start(startup_ms=12, handlers=["fetch"], warnings=[])
    version = versions.store(session, script, upload, start, by=by)
    deployments.deploy(session, script, {version: 100}, by=by)
    queue.forget(session)
    return version.id


def seed(count: int) -> dict[str, object]:
    """So many scripts, one of them with many versions; one node runs all, for the other everything waits."""
    with transaction() as session:
        account = accounts.bootstrap(session)
        token = accounts.issue_setup_token(session, account)
        member = accounts.create_administrator(session, token, EMAIL, PASSWORD)
        cookie = accounts.open_session(session, member)
        first, second = (join(session, name) for name in NODES)
    for begin in range(0, count - 1, PER_TRANSACTION):
        with transaction() as session:
            for number in range(begin, min(begin + PER_TRANSACTION, count - 1)):
                deploy(session, account, f"script-{number:04d}", number)
    with transaction() as session:
        deployed = [deploy(session, account, BUSY, number) for number in range(VERSIONS_OF_BUSY)]
    _acknowledge(first)
    return {"cookie": cookie, "version": deployed[-1], "nodes": [first.id, second.id]}


def _acknowledge(node: Node) -> None:
    """Say for a node that it runs all it should."""
    with transaction() as session:
        waiting = session.execute(
            select(Rollout.script_id, Rollout.generation).where(
                Rollout.target_id == node.id, Rollout.state.in_(rollouts.WAITING)
            )
        )
        for script_id, generation in waiting.all():
            report = rollouts.SlotReport(script_id, generation, "live")
            rollouts.record_one(session, node.id, report)
        nodes.heard(session, node.id, session.get_one(Node, node.id).generation)


def main(arguments: list[str]) -> int:
    command.upgrade(Config(ROOT / "migrations" / "alembic.ini", stdout=sys.stderr), "head")
    connect()
    print(json.dumps(seed(int(arguments[0]))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
