"""Which TCP ports an instance uses: flags first, then what it remembered, then defaults that are free."""

import errno
import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from launcher.config import LOOPBACK, Config
from launcher.errors import LauncherError, PortTakenError

CONTROL, GATEWAY, POSTGRES, VALKEY = "control", "gateway", "postgres", "valkey"
DEFAULT_CONTROL, DEFAULT_GATEWAY, DEFAULT_AGENT = 8700, 8701, 8710
DEFAULT_HTTP, DEFAULT_HTTPS = 8080, 8443
# What a URL means that names no port, such as those that wrangler prints.
STANDARD_HTTP, STANDARD_HTTPS = 80, 443

# net.ipv4.ip_unprivileged_port_start of a Linux that nobody changed.
PRIVILEGED_BELOW = 1024
# As the end of a sentence that begins with the port.
TAKEN, FORBIDDEN = "is taken", "is for root to open"
_OBSTACLES = {errno.EADDRINUSE: TAKEN, errno.EACCES: FORBIDDEN}

# Below Linux's default range for outgoing connections (32768-60999), which could occupy a port while we are down.
INTERNAL_PORTS = range(20_000, 32_000)


@dataclass(frozen=True)
class Wish:
    """One port that an instance needs."""

    name: str
    purpose: str
    default: int | None
    """None: any free internal port will do, and nobody needs to hear which."""
    flag: str = ""
    demanded: int | None = None
    """The flag's value; 0 asks for any free port."""
    bind: str = LOOPBACK
    best: int | None = None
    """Taken instead of the default where it is free and may be opened, by an instance that remembers none."""


def node_names(count: int) -> list[str]:
    return [f"edge-{number}" for number in range(1, count + 1)]


def wishes(config: Config, *, control: int | None = None, http: int | None = None, https: int | None = None,
           embedded: Iterable[str] = (POSTGRES, VALKEY)) -> list[Wish]:  # fmt: skip
    """Every port of an instance, those that people type first: they have the first choice.

    Who asks for any free port wants that for those without a flag too: instances that come and go
    beside each other would take each other's defaults. Who asks for nothing gets visitors' own ports.
    """
    bind = config.bind
    other = 0 if control == 0 else None
    plain = control is None and http is None and https is None
    found = [
        Wish(CONTROL, "the dashboard and the API", DEFAULT_CONTROL, "--port", control, bind),
    ]
    for position, node in enumerate(node_names(config.nodes)):
        first = position == 0
        found += [
            Wish(f"{node}.http", f"{node}'s HTTP", DEFAULT_HTTP + position,
                 "--http-port", http if first else other, bind,
                 STANDARD_HTTP if plain and first else None),
            Wish(f"{node}.https", f"{node}'s HTTPS", DEFAULT_HTTPS + position,
                 "--https-port", https if first else other, bind,
                 STANDARD_HTTPS if plain and first else None),
            Wish(f"{node}.agent", f"{node}'s agent", DEFAULT_AGENT + position, demanded=other, bind=bind),
        ]  # fmt: skip
    found.append(Wish(GATEWAY, "the gateway for nodes", DEFAULT_GATEWAY, demanded=other, bind=bind))
    found += [Wish(name, name, None) for name in embedded]
    return found


class Reservations:
    """Ports that an instance has chosen and not opened yet, so that another one that starts now chooses others.

    A name of the abstract kind for each (unix(7)): one holder at a time, and gone with its process.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def add(self, ports: Iterable[int]) -> bool:
        """Reserve all of these, or none of them and answer False."""
        taken = [_reservation(port) for port in ports]
        if None in taken:
            for one in taken:
                if one is not None:
                    one.close()
            return False
        self._held += [one for one in taken if one is not None]
        return True

    def release(self) -> None:
        for one in self._held:
            one.close()
        self._held.clear()


def _reservation(port: int) -> socket.socket | None:
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0skerry-port-{port}")
    except OSError:
        name.close()
        return None
    return name


def choose(asked: Iterable[Wish], remembered: dict[str, int]) -> tuple[dict[str, int], list[str]]:
    """A free port for every wish, and a sentence for each that is not the one people expect.

    Raises PortTakenError for a port that a flag demands and that is in use, before anything is started.
    """
    chosen: dict[str, int] = {}
    notes: list[str] = []
    for wish in asked:
        port, note = _choose_one(wish, remembered.get(wish.name), set(chosen.values()))
        chosen[wish.name] = port
        notes += [note] if note else []
    return chosen, notes


def _choose_one(wish: Wish, remembered: int | None, used: set[int]) -> tuple[int, str]:
    if wish.demanded:
        if why := _in_the_way(wish.demanded, wish.bind, used):
            by = " by another program" if why == TAKEN else ""
            raise PortTakenError(
                f"Port {wish.demanded} ({wish.flag}) {why}{by}: choose another one."
            )
        return wish.demanded, ""
    first = remembered or (None if wish.demanded == 0 else wish.best or wish.default)
    if first is None:
        return _any_free(wish.bind, used), ""
    why = _in_the_way(first, wish.bind, used)
    if not why:
        return first, ""
    port = _next_free(first, wish, used)
    note = "" if wish.default is None else f"Port {first} {why}: {wish.purpose} is on {port}."
    return port, note


def _next_free(taken: int, wish: Wish, used: set[int]) -> int:
    if wish.default is None:
        return _any_free(wish.bind, used)
    # The ports beside 80 and 443 belong to other protocols.
    start = taken + 1 if taken >= PRIVILEGED_BELOW else wish.default
    for port in range(start, min(start + 1_000, 65_536)):
        if not _in_the_way(port, wish.bind, used):
            return port
    return _any_free(wish.bind, used)


def _any_free(bind: str, used: set[int]) -> int:
    # At random, so that two instances that start at the same moment hardly ever meet.
    for port in random.sample(INTERNAL_PORTS, k=500):
        if not _in_the_way(port, bind, used):
            return port
    raise LauncherError("500 ports between 20000 and 32000 were tried and none is free.")


def _in_the_way(port: int, bind: str, used: set[int]) -> str:
    return TAKEN if port in used else obstacle(port, bind)


def obstacle(port: int, bind: str = LOOPBACK) -> str:
    """What keeps a server from listening there now, TAKEN or FORBIDDEN; empty when nothing does.

    A port that another instance is about to open is taken. Raises LauncherError for an address that this machine does
    not have.
    """
    reservation = _reservation(port)
    if reservation is None:
        return TAKEN
    reservation.close()
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a past run that linger in TIME_WAIT are no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in _OBSTACLES:
                return _OBSTACLES[error.errno]
            raise LauncherError(
                f"Cannot listen on {bind} port {port}: {error.strerror}."
            ) from error
    return ""
