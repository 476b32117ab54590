"""Where a script's Cache API leads. Every script has one, without a binding."""

from typing import Any

from edge.runtime.reach import STORE_HEADER, Reached, StoreDoor

SERVICE = "skerry-cache"
KIND = "cache"


def reached_cache(door: StoreDoor, script_id: str) -> Reached:
    """Of one script: what it puts there no other one finds."""
    return Reached("", SERVICE, door.socket, door.ticket(script_id))


def fill_service(service: Any, reached: Reached, proto_header: str) -> None:
    """`proto_header` says the scheme of what is cached, which a request to a socket does not have.
    Both headers replace what a script puts there."""
    service.name = reached.service
    external = service.init("external")
    external.address = f"unix:{reached.socket}"
    http = external.init("http")
    http.forwardedProtoHeader = proto_header
    header = http.init("injectRequestHeaders", 1)[0]
    header.name, header.value = STORE_HEADER, reached.ticket
