"""What a version would be like on AWS Lambda: same, different, or impossible, thing by thing."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from api.bindings.kinds import RESOURCE_KINDS, callee_of
from api.bindings.models import Binding
from api.errors import NotSupported
from api.targets import remote
from api.versions.models import Version


class Verdict(StrEnum):
    SAME = "same"  #: nobody can tell where it runs
    DIFFERENT = "different"  #: it works, in the way that is said
    IMPOSSIBLE = "impossible"  #: a push is refused


@dataclass(frozen=True)
class Line:
    kind: str
    name: str
    verdict: Verdict
    how: str = ""


_REMOTE = (
    "Over HTTPS to this platform: each call takes its way there and back, and fails while the node "
    "that has the data is away."
)
_CALLED = "Each call goes over HTTPS to this platform, to {callee} on a node, and back."
_CALLED_WITHIN = "Calls of the Worker itself stay in the function."
_CALLING = (
    " There are no WebSockets, and methods (RPC) take and give what can be cloned: functions, stubs, streams, "
    "requests and responses throw."
)
_NO_HTTPS = (
    "A function reaches {what} over HTTPS, and this platform has no such address: set "
    "SKERRY_BINDINGS_URL, or SKERRY_PUBLIC_URL, to one that begins with https:// and is open to AWS."
)
_ASSETS = "Static assets are not packed for AWS Lambda yet."
_SAME_BINDINGS = frozenset(
    {
        "plain_text",
        "secret_text",
        "json",
        "version_metadata",
        "wasm_module",
        "text_blob",
        "data_blob",
    }
)
_WHY_NOT = {"assets": _ASSETS}
# How a source uses what Node.js lacks. Names that are only mentioned do not count.
_USES = {
    "HTMLRewriter": re.compile(r"\b(?:new|extends)\s+HTMLRewriter\b"),
    "WebSocketPair": re.compile(r"\b(?:new|extends)\s+WebSocketPair\b"),
    "URLPattern": re.compile(r"\b(?:new|extends)\s+URLPattern\b"),
    "EventSource": re.compile(r"\b(?:new|extends)\s+EventSource\b|\bEventSource\.from\b"),
    "DurableObject": re.compile(r"\bextends\s+(?:\w+\.)?DurableObject\b"),
    "cloudflare:sockets": re.compile(r"""["']cloudflare:sockets["']"""),
    "cloudflare:email": re.compile(r"""["']cloudflare:email["']"""),
    "cloudflare:workflows": re.compile(r"""["']cloudflare:workflows["']"""),
}
_CACHES = re.compile(r"\bcaches\s*\.\s*(?:default|open)\b")
_FETCH = re.compile(r"\bfetch\s*\(")
_HANDLERS = {
    "fetch": (Verdict.SAME, ""),
    "scheduled": (Verdict.SAME, "Cron triggers call it on a node, once for each time."),
    "queue": (
        Verdict.SAME,
        "Queues of this platform call it on a node; on Lambda an SQS queue that you connect does.",
    ),
}


def report(version: Version, crons: Sequence[str] = ()) -> list[Line]:
    """Everything that the version uses."""
    return [
        *_format(version),
        *(_binding(version, binding) for binding in version.bindings),
        *_triggers(version, crons),
        *_apis(version),
    ]


def impossible(version: Version) -> str:
    """Why the version cannot go to AWS Lambda, in a sentence or two; empty when it can."""
    lines = [line for line in report(version) if line.verdict == Verdict.IMPOSSIBLE]
    return " ".join(f"{line.name}: {line.how}" for line in lines)


def check(version: Version) -> None:
    """Raises NotSupported when the version cannot go there."""
    if why := impossible(version):
        raise NotSupported(f"Version {version.number} cannot run on AWS Lambda. {why}")


def _format(version: Version) -> Iterator[Line]:
    if version.assets is not None:
        yield Line("Format", "static assets", Verdict.IMPOSSIBLE, _ASSETS)
    if version.main_module:
        words = "ES modules" if version.syntax == "modules" else "service-worker syntax"
        yield Line("Format", words, Verdict.SAME)
        yield Line(
            "Runtime",
            f"compatibility date {version.compatibility_date}",
            Verdict.DIFFERENT,
            "The code runs on Node.js 22, whatever the date and the flags say; process and Buffer are always there.",
        )


def _binding(version: Version, binding: Binding) -> Line:
    name, kind = binding.name, binding.type
    if kind in _SAME_BINDINGS:
        return Line("Binding", name, Verdict.SAME)
    if kind in RESOURCE_KINDS:
        return _remote(name, "the storage", _REMOTE)
    if kind == "service":
        return _service(name, callee_of(binding.attributes), version.script.name)
    how = _WHY_NOT.get(kind, f"A binding of type {kind} cannot be offered on AWS Lambda yet.")
    return Line("Binding", name, Verdict.IMPOSSIBLE, how)


def _service(name: str, callee: str, own: str) -> Line:
    if callee == own:
        return Line("Binding", name, Verdict.DIFFERENT, _CALLED_WITHIN + _CALLING)
    return _remote(name, "another Worker", _CALLED.format(callee=callee) + _CALLING)


def _remote(name: str, what: str, how: str) -> Line:
    if remote.address():
        return Line("Binding", name, Verdict.DIFFERENT, how)
    return Line("Binding", name, Verdict.IMPOSSIBLE, _NO_HTTPS.format(what=what))


def _triggers(version: Version, crons: Sequence[str]) -> Iterator[Line]:
    for handler in version.handlers:
        verdict, how = _HANDLERS.get(
            handler, (Verdict.DIFFERENT, "Nothing calls this handler on AWS Lambda.")
        )
        yield Line("Handler", handler, verdict, how)
    for cron in crons:
        yield Line("Trigger", cron, Verdict.SAME, "It fires on a node, and not on Lambda as well.")


def _apis(version: Version) -> Iterator[Line]:
    sources = [
        entry.module.content.decode(errors="replace")
        for entry in version.modules
        if entry.type in ("esm", "cjs") or entry.name == version.main_module
    ]
    for name, use in _USES.items():
        if any(use.search(source) for source in sources):
            yield Line("API", name, Verdict.IMPOSSIBLE, "Lambda's Node.js 22 has no such thing.")
    if any(_CACHES.search(source) for source in sources):
        yield Line(
            "API", "caches", Verdict.DIFFERENT, "A cache that keeps nothing: every match misses."
        )
    if any(_FETCH.search(source) for source in sources):
        yield Line(
            "API",
            "fetch",
            Verdict.DIFFERENT,
            "Requests leave from AWS: other addresses, Node's own default headers, none of this platform's rules.",
        )
