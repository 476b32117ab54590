"""HTTP to a process of the node behind a unix socket."""

from pathlib import Path

import httpx2


def transport_to(socket: Path) -> httpx2.AsyncHTTPTransport:
    """Connections to this socket, which speaks no TLS.

    `verify=False` because the library would otherwise read and parse all authorities of its bundle for each transport:
    25 ms during which the agent's only thread does nothing else.
    """
    return httpx2.AsyncHTTPTransport(uds=str(socket), verify=False)
