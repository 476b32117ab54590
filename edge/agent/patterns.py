"""Patterns of routes: which URLs lead to a script. What passes here goes into the front's files as it is."""

import re
from dataclasses import dataclass

from edge.wire import WireError

# Goes into the front's map files as it is: nothing but a hostname may pass.
HOSTNAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
SCHEMES = ("http", "https")
PATTERN_LENGTH = 1024
# Printable ASCII without what ends a word, a command or a path in HAProxy: blanks, " ' \ ; # $ ?, and *.
_PATTERN = re.compile(
    r"((?P<scheme>https?)://)?(?P<any>\*\.?)?(?P<host>[^/*]+)"
    r"(?P<path>/[!%&(-)+-:<->@-\[\]-~]*)?(?P<open>\*)?"
)


@dataclass(frozen=True)
class Pattern:
    scheme: str
    """Empty for both."""
    host: str
    """A hostname, or `*` and what hostnames end with."""
    path: str
    open: bool
    """Whether more may follow the path."""

    @property
    def ending(self) -> str | None:
        """What a hostname must end with, where that is not a whole one."""
        return self.host[1:] if self.host.startswith("*") else None

    @property
    def text(self) -> str:
        return f"{self.scheme}{'://' * bool(self.scheme)}{self.host}{self.path}{'*' * self.open}"


def read_pattern(text: str, where: str) -> Pattern:
    """Raises WireError for what the front cannot look up, or is not to see."""
    found = _PATTERN.fullmatch(text) if len(text) <= PATTERN_LENGTH else None
    if not found or (found["open"] and not found["path"]):
        raise WireError(f"{where} holds {text[:PATTERN_LENGTH]!r}, which is no pattern of a route")
    host = found["host"].rstrip(".").lower()
    if not HOSTNAME.fullmatch(host):
        raise WireError(f"{where} holds {text!r}, in which {host!r} is no hostname")
    return Pattern(
        scheme=found["scheme"] or "",
        host=f"{found['any'] or ''}{host}",
        path=found["path"] or "/",
        open=bool(found["open"]),
    )
