"""Slots as the control plane sends them: what this node should run for one script."""

import re
from dataclasses import dataclass
from functools import cached_property

from edge.agent.patterns import HOSTNAME, Pattern, read_pattern
from edge.spec import Workflow, owned_by, workflows_of
from edge.wire import Fields, WireError

_SCRIPT_ID = re.compile(r"[0-9a-f]{32}")
_NODE_ID = re.compile(r"[0-9a-f]{32}")
_FUNCTION_URL = re.compile(r"https://(?P<host>[^/:]+)(:(?P<port>[0-9]{1,5}))?/?")
_SECRET = re.compile(r"[0-9a-f]{16,64}")
HTTPS = 443
# Ends the id of the slot with the second of two versions.
_COMPANION = "-companion"


@dataclass(frozen=True)
class Version:
    version_id: str
    number: int
    percentage: float
    spec: object
    """As it came; read when a cell is built from it, so that a spec we cannot read loses nothing."""

    @cached_property
    def owned(self) -> tuple[str, ...]:
        """The ids of the storage that only one cell of it may open: it is stopped, then started."""
        return owned_by(self.spec)

    @cached_property
    def workflows(self) -> tuple[Workflow, ...]:
        return workflows_of(self.spec)

    def as_json(self) -> dict[str, object]:
        return {
            "version_id": self.version_id,
            "number": self.number,
            "percentage": self.percentage,
            "spec": self.spec,
        }


@dataclass(frozen=True)
class Scaling:
    """When a script has how many processes; None leaves it to the node."""

    idle_seconds: int | None = None
    """It is stopped after so long without visitors; 0 means never."""
    max_cells: int | None = None

    def as_json(self) -> dict[str, int | None]:
        return {"idle_seconds": self.idle_seconds, "max_cells": self.max_cells}


@dataclass(frozen=True)
class Home:
    """The node that alone runs a script, because it has its Durable Objects."""

    node_id: str
    name: str
    """For people."""

    def as_json(self) -> dict[str, str]:
        return {"node_id": self.node_id, "name": self.name}


@dataclass(frozen=True)
class Function:
    """A function of the script's in a cloud, which answers visitors while this node cannot."""

    host: str
    port: int
    secret: str
    """By which the function knows that a request comes from the front of a node."""

    def as_json(self) -> dict[str, str]:
        return {"url": f"https://{self.host}:{self.port}/", "secret": self.secret}


@dataclass(frozen=True)
class DesiredSlot:
    script_id: str
    account_id: str
    name: str
    generation: int
    deployment_id: str | None
    hostnames: tuple[str, ...]
    versions: tuple[Version, ...]
    """Empty when the script is withdrawn, or runs on another node."""
    scaling: Scaling = Scaling()
    data_node: str | None = None
    """The node that has the account's data, when it is another one."""
    data_bucket: str | None = None
    """The bucket in which that node keeps it, if it does."""
    function: Function | None = None
    home: Home | None = None
    """Where visitors are forwarded to, when that is another node: then nothing runs here."""
    routes: tuple[Pattern, ...] = ()
    """The URLs that lead to the script beside those of its hostnames."""
    companion: bool = False
    """Whether it is the node's own, for the second version of a script that is split between two."""

    @property
    def slot_id(self) -> str:
        return companion_of(self.script_id) if self.companion else self.script_id

    @property
    def wanted(self) -> bool:
        """Whether visitors are to be answered."""
        return bool(self.versions or self.home)


def companion_of(script_id: str) -> str:
    """The id of the slot that has the second version of a script, if it is split between two."""
    return script_id + _COMPANION


def script_of(slot_id: str) -> str:
    return slot_id.removesuffix(_COMPANION)


def read_slot(fields: Fields) -> DesiredSlot:
    script_id = fields.text("script_id")
    if not _SCRIPT_ID.fullmatch(script_id):
        raise WireError(f"{fields.where}.script_id must be 32 hex digits")
    hostnames = tuple(name.rstrip(".").lower() for name in fields.texts("hostnames"))
    for hostname in hostnames:
        if not HOSTNAME.fullmatch(hostname):
            raise WireError(f"{fields.where}.hostnames holds {hostname!r}, which is no hostname")
    return DesiredSlot(
        script_id=script_id,
        account_id=fields.text("account_id"),
        name=fields.text("name"),
        generation=fields.whole_number("generation"),
        deployment_id=fields.optional_text("deployment_id"),
        hostnames=hostnames,
        versions=fields.objects("versions", read_version),
        scaling=read_scaling(fields.get("scaling"), f"{fields.where}.scaling"),
        data_node=fields.optional_text("data_node"),
        data_bucket=fields.optional_text("data_bucket"),
        home=read_home(fields.get("home"), f"{fields.where}.home"),
        function=read_function(fields.get("function"), f"{fields.where}.function"),
        routes=read_routes(fields),
    )


def read_routes(fields: Fields) -> tuple[Pattern, ...]:
    """None, where the control plane is an older one that knows no routes."""
    texts = () if fields.get("routes") is None else fields.texts("routes")
    return tuple(read_pattern(text, f"{fields.where}.routes") for text in texts)


def read_home(source: object, where: str) -> Home | None:
    if source is None:
        return None
    fields = Fields(source, where)
    return Home(node_id(fields, "node_id"), fields.text("name"))


def node_id(fields: Fields, key: str) -> str:
    """An id as the front's files may hold it: raises WireError for anything else."""
    found = fields.text(key)
    if not _NODE_ID.fullmatch(found):
        raise WireError(f"{fields.where}.{key} must be 32 hex digits")
    return found


def read_function(source: object, where: str) -> Function | None:
    if source is None:
        return None
    fields = Fields(source, where)
    found, secret = _FUNCTION_URL.fullmatch(fields.text("url")), fields.text("secret")
    if not found or not HOSTNAME.fullmatch(found["host"]):
        raise WireError(f"{where}.url must be https:// and a hostname")
    if not _SECRET.fullmatch(secret):
        raise WireError(f"{where}.secret must be hex digits")
    return Function(found["host"], int(found["port"] or HTTPS), secret)


def read_scaling(source: object, where: str) -> Scaling:
    """None, and fields that are missing or null, leave it to the node."""
    fields = Fields({} if source is None else source, where)
    idle_seconds = fields.optional_whole_number("idle_seconds")
    max_cells = fields.optional_whole_number("max_cells")
    if max_cells == 0:
        raise WireError(f"{where}.max_cells must be at least 1")
    return Scaling(idle_seconds, max_cells)


def read_version(fields: Fields) -> Version:
    percentage = fields.get("percentage")
    if not isinstance(percentage, int | float) or isinstance(percentage, bool):
        raise WireError(f"{fields.where}.percentage must be a number")
    return Version(
        version_id=fields.text("version_id"),
        number=fields.whole_number("number"),
        percentage=float(percentage),
        spec=fields.get("spec"),
    )
