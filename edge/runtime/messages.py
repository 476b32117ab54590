"""What workerd says when a script does not start, in the words its author should read."""

import json
import re

# The service that runs the customer's script. workerd names it in each complaint, and uses it as
# the file name in stack traces of service-worker syntax.
MODULES_SERVICE = "script"
CLASSIC_SERVICE = "worker.js"

_COMPLAINT = re.compile(r"^service (\S+): (.*)$")
_INTERNAL = re.compile(r"^(stack: |\*\*\* |workerd/|\s*$)")
_REDUNDANT_FLAG = "so does not need to be specified anymore"

_OUT_OF_MEMORY = re.compile(r"V8 fatal error.*out of memory|bad_alloc|Fatal .*out of memory", re.I)

_UNCAUGHT = re.compile(r"^Uncaught exception: .*?\bjsg\.(.*)$", re.S)

# Said at each start: the runtime compiles its own scripts, since those it has are for other options of V8.
CACHE_REFUSED = b"per-isolate bootstrap compile cache failed its compatibility check"

# Cloudflare's codes.
STARTUP_FAILED = 10021
NO_HANDLERS = 10068


def complaints(stderr: str, service: str) -> tuple[list[str], list[str]]:
    """Split workerd's complaints about one service into errors and warnings.

    A complaint is its first line and the indented stack lines below it.
    """
    found: list[list[str]] = []
    ours = False
    for line in _plain(stderr).splitlines():
        start = _COMPLAINT.match(line)
        if start:
            ours = start.group(1) == service
            if ours:
                found.append([start.group(2)])
        elif ours and not _INTERNAL.match(line):
            found[-1].append(line)
    texts = ["\n".join(lines) for lines in found]
    return (
        [text for text in texts if _REDUNDANT_FLAG not in text],
        [text for text in texts if _REDUNDANT_FLAG in text],
    )


def failure(stderr: str, service: str) -> str:
    """One message for a script that did not start. Internal traces of workerd are left out."""
    errors, _ = complaints(stderr, service)
    if errors:
        return "\n".join(errors)
    for line in _plain(stderr).splitlines():
        if not _INTERNAL.match(line):
            return f"The runtime did not start: {line.strip()}"
    return "The runtime ended while it started the script."


def uncaught(message: str) -> str | None:
    """What a script threw while it answered, from the runtime's own line about it; else None."""
    found = _UNCAUGHT.match(message)
    return f"Uncaught {found.group(1)}" if found else None


def ran_out_of_memory(stderr: str) -> bool:
    """Whether a cell ended because V8 or the allocator got no more memory."""
    return _OUT_OF_MEMORY.search(stderr) is not None


def _plain(stderr: str) -> str:
    """The text inside of JSON lines, which a cell prints because of its structured logging."""
    return "\n".join(_message(line) for line in stderr.splitlines())


def _message(line: str) -> str:
    try:
        return str(json.loads(line)["message"])
    except (ValueError, KeyError, TypeError):
        return line


def code_of(message: str) -> int:
    """Cloudflare's error code for a message of `failure`."""
    return NO_HANDLERS if message.startswith("No event handlers") else STARTUP_FAILED
