"""Where: nodes enrol, are recognised and say how they are."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api import ids, sealing
from api.clock import now
from api.errors import AlreadyExists, NotAuthenticated, NotFound, Refused
from api.nodes import authority
from api.nodes.models import CertificateAuthority, JoinToken, Node, Target
from api.settings import settings

JOIN_TOKEN_PREFIX = "skj1"  # noqa: S105 - the form's name, no secret


@dataclass(frozen=True)
class Enrolment:
    """What a node needs from now on; the secrets are given this once."""

    node: Node
    token: str
    push_key: str
    certificate: str
    ca: str


def issue_join_token(session: Session) -> str:
    """`skj1.<fingerprint of the CA>.<secret>`, good for one node."""
    ca = authority.ensure(session)
    secret = ids.secret("")
    lifetime = timedelta(hours=settings().join_token_lifetime_hours)
    session.add(JoinToken(digest=ids.digest(secret.encode()), expires_at=now() + lifetime))
    return f"{JOIN_TOKEN_PREFIX}.{authority.fingerprint(ca)}.{secret}"


def enrol(session: Session, join_token: str, name: str, agent_url: str, csr: str) -> Enrolment:
    """Take a node in. Raises NotAuthenticated, AlreadyExists or Refused; then the token stays good."""
    join = _usable(session, join_token)
    _check_place(session, name, agent_url)
    ca: CertificateAuthority = authority.ensure(session)
    token, push_key = ids.secret("skn_"), ids.secret("skp_")
    node = Node(
        id=ids.hex32(),
        name=name,
        agent_url=checked_agent_url(agent_url),
        token_digest=ids.digest(token.encode()),
        sealed_push_key=sealing.seal(push_key),
    )
    certificate = authority.sign_request(ca, csr, authority.node_name(node.id))
    session.add(node)
    join.used_at = now()
    session.flush()  # rollouts for it refer to its row
    return Enrolment(node, token, push_key, certificate, ca.certificate)


def _usable(session: Session, join_token: str) -> JoinToken:
    secret = join_token.rpartition(".")[2]
    join = session.scalar(
        select(JoinToken).where(JoinToken.digest == ids.digest(secret.encode())).with_for_update()
    )
    if join is None or join.used_at is not None or join.expires_at < now():
        raise NotAuthenticated(
            "This join token is unknown, used or expired. Make a new one: python -m api.admin join-token"
        )
    return join


def _check_place(session: Session, name: str, agent_url: str) -> None:
    checked_agent_url(agent_url)
    if not name or len(name) > 63 or not name.isprintable():
        raise Refused("A node's name has 1 to 63 printable characters.")
    if session.scalar(select(Target).where(Target.name == name)):
        raise AlreadyExists(f"There is a target called {name} already. Choose another --name.")


def checked_agent_url(text: str) -> str:
    """The address of an agent without a trailing slash; raises Refused for another form."""
    url = urlsplit(text)
    if url.scheme != "https" or not url.hostname:
        raise Refused(f"`agent_url` must be https://host:port, not {text!r}.")
    return text.rstrip("/")


def locked(session: Session, name: str) -> Node:
    """A node by its name. Raises NotFound."""
    node = session.scalar(select(Node).where(Node.name == name).with_for_update(of=Node.__table__))
    if node is None:
        raise NotFound(f"There is no node called {name}.")
    return node


def remove(session: Session, node: Node) -> None:
    """Forget a node: its credential is void and nothing is pushed to it any more."""
    session.delete(node)


def neighbours(session: Session, node: Node) -> list[dict[str, Any]]:
    """The doors of the other nodes, as a node is told of them."""
    others = select(Node).where(Node.id != node.id, Node.door_port > 0).order_by(Node.id)
    return [
        {"id": one.id, "host": urlsplit(one.agent_url).hostname, "port": one.door_port}
        for one in session.scalars(others)
    ]


def recognise(session: Session, token: str) -> Node:
    node = session.scalar(select(Node).where(Node.token_digest == ids.digest(token.encode())))
    if node is None:
        raise NotAuthenticated("This node is not enrolled here, or no longer.")
    return node


def heard(session: Session, node_id: str, generation: int) -> None:
    """Note that a node answered a push; its next report would say the same, only later."""
    session.execute(
        update(Node)
        .where(Node.id == node_id, Node.reported_generation <= generation)
        .values(reported_generation=generation, seen_at=now())
    )


def get(session: Session, node_id: str) -> Node:
    node = session.get(Node, node_id)
    if node is None:
        raise NotFound("There is no such node. It may have been removed.")
    return node


def list_nodes(session: Session) -> list[Node]:
    return list(session.scalars(select(Node).order_by(Node.name)))
