"""Route patterns in Cloudflare's dialect: `[http://|https://]HOST/PATH`.

HOST may begin with `*` (`*.example.com` is every name below, `*example.com` the name itself too) and PATH may
end with one. Which pattern answers a request is decided on the nodes: the most specific host first, then the
most specific path. Nodes look at how a host ends and know no zones: what they are told begins with `*.` only, or
`*example.com` would catch `notexample.com`, which may be somebody else's.
"""

import re
from dataclasses import dataclass

from api.errors import RouteInvalid
from api.zones.names import HostNameError, as_ascii

PATTERN_LENGTH_MAX = 1024
SCHEMES = ("http", "https")
# Printable ASCII but for what HAProxy takes for its own (`edge/agent/patterns.py`), and the wildcard.
_PATH = re.compile(r"/[!%&()+-:<=>@-\[\]-~]*\*?")


@dataclass(frozen=True)
class Pattern:
    """A pattern that was read."""

    scheme: str
    """`http`, `https`, or empty for both."""
    host: str
    """In lower case, with the wildcard if it has one."""
    path: str

    @property
    def base(self) -> str:
        """The host without its wildcard: what has to be in the zone."""
        return self.host.removeprefix("*").removeprefix(".")

    def fits(self, scheme: str, host: str, path: str) -> tuple[object, ...] | None:
        """None for a request that this does not lead; else how specific it is, to compare with others.

        As on the nodes (`edge/agent/precedence.py`), where `*example.com/` is `example.com/` or `*.example.com/`.
        """
        exact = host == self.base and not self.host.startswith("*.")
        below = self.host.startswith("*") and host.endswith(f".{self.base}")
        path = path.partition("?")[0]
        start = self.path.removesuffix("*")
        open_ = start != self.path
        led = path.startswith(start) if open_ else path == start
        if self.scheme not in ("", scheme) or not (exact or below) or not led:
            return None
        # The last decides between two that say the same, which one script may have.
        plain = not self.host.startswith("*")
        return exact, len(self.base), not open_, len(start), bool(self.scheme), plain

    @property
    def forms(self) -> list[str]:
        """As nodes are told it: `*example.com/` is short for `example.com/` and `*.example.com/`."""
        if self.host.startswith("*") and not self.host.startswith("*."):
            return [str(self.at(self.base)), str(self.at(f"*.{self.base}"))]
        return [str(self)]

    @property
    def rivals(self) -> list[str]:
        """The patterns that share a form with this one, itself among them."""
        return [*{str(self), *self.forms, str(self.at(f"*{self.base}"))}]

    def at(self, host: str) -> "Pattern":
        return Pattern(self.scheme, host, self.path)

    def __str__(self) -> str:
        prefix = f"{self.scheme}://" if self.scheme else ""
        return f"{prefix}{self.host}{self.path}"


def read(text: str) -> Pattern:
    """Read a pattern; raises RouteInvalid with what is wrong about it."""
    _refuse_long(text)
    scheme, separator, rest = text.strip().partition("://")
    if not separator or "/" in scheme:
        scheme, rest = "", text.strip()
    elif (scheme := scheme.lower()) not in ("http", "https"):
        raise _invalid(text, "it may begin with http:// or https://, and with no other scheme")
    host, slash, path = rest.partition("/")
    read = Pattern(scheme, _host(text, host), _path(text, slash + path or "/"))
    # A-labels are longer than what they stand for, and so is a form.
    for form in read.forms:
        _refuse_long(form)
    return read


def _refuse_long(text: str) -> None:
    if len(text) > PATTERN_LENGTH_MAX:
        raise RouteInvalid(
            f"A route pattern has at most {PATTERN_LENGTH_MAX:,} characters. Nothing was changed."
        )


def _host(text: str, host: str) -> str:
    if ":" in host:
        raise _invalid(text, "a pattern has no port")
    star = "*." if host.startswith("*.") else "*" if host.startswith("*") else ""
    name = host.removeprefix(star)
    if "*" in name:
        raise _invalid(text, "a host has one wildcard at most, at its beginning")
    if not name:
        raise _invalid(text, "it names no host")
    try:
        return star + as_ascii(name)
    except HostNameError as error:
        raise _invalid(text, f"{name[:80]!r} is no host name: {error}") from error


def _path(text: str, path: str) -> str:
    if "?" in path or "#" in path:
        raise _invalid(text, "a pattern has no query and no fragment")
    if "*" in path.removesuffix("*"):
        raise _invalid(text, "a path has one wildcard at most, at its end")
    if not _PATH.fullmatch(path):
        raise _invalid(
            text,
            "a path is printable ASCII without blanks and \"'\\;$; write other characters "
            "percent-encoded, as browsers do",
        )
    return path


def _invalid(text: str, reason: str) -> RouteInvalid:
    return RouteInvalid(
        f'The route pattern "{text[:200]}" cannot be used: {reason}. Nothing was changed.'
    )
