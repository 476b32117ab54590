"""The network as scripts may see it: what is public, what the operator allows, never the node's own addresses."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.runtime.sandbox import Level
from edge.spec import Spec

# What only a network of the script's own can do: TLS does not cross from a cell to the egress.
_SOCKETS = re.compile(rb"cloudflare:sockets")
_NODE_SOCKETS = re.compile(rb"""["'](?:node:)?(?:net|tls)["']""")
_CODE = frozenset({"esm", "cjs"})

# What gives a cell a network of its own.
_PROGRAMS = ("slirp4netns", "nft", "nsenter")
_TUN = Path("/dev/net/tun")


@dataclass(frozen=True)
class Network:
    allow: tuple[str, ...] = ()
    """Networks (CIDR) besides what is public."""
    deny: tuple[str, ...] = ()
    """Networks (CIDR) that are refused although they are public or allowed."""
    authorities: tuple[str, ...] = ()
    """Certificates (PEM) that are believed besides the system's."""

    def fill(self, service: Any) -> None:
        """Make a service of workerd's that reaches it. Addresses are judged after the name's
        resolution: what may not be reached does not exist."""
        network = service.init("network")
        network.allow = ["public", *self.allow]
        network.deny = list(self.deny)
        network.tlsOptions.trustBrowserCas = True
        if self.authorities:
            network.tlsOptions.trustedCertificates = list(self.authorities)


def dials(spec: Spec, files: Mapping[str, bytes]) -> bool:
    """Whether a script names a module with which it opens connections itself. One that makes up the
    name while it runs is not noticed. `files` are contents by digest."""
    code = [files[one.digest] for one in spec.modules if one.type in _CODE and one.digest in files]
    patterns = [_SOCKETS]
    if any(flag.startswith("nodejs_compat") for flag in spec.compatibility_flags):
        patterns.append(_NODE_SOCKETS)
    return any(pattern.search(text) for pattern in patterns for text in code)


def missing(level: Level) -> str:
    """Why cells have no network of their own here; empty when they can have one."""
    if level is not Level.FULL:
        return "cells have no user of their own"
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"{' and '.join(absent)} not installed"
    return "" if _TUN.exists() else f"{_TUN} is not there"
