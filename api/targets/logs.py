"""What the invocations of a function printed lately, asked of CloudWatch Logs."""

import re
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api.clock import now
from api.targets.access import Access, client

SHOWN = 100
SINCE = timedelta(hours=1)
# Of AWS's answers, a megabyte each at most: whoever logs more in an hour sees where it was cut.
PAGES_MAX = 10
# What the runtime writes before each line of a script: time, request, level.
_PRINTED = re.compile(r"[0-9T:.-]+Z\t(?P<request>[0-9a-f-]{36}|undefined)\t(?P<level>[A-Z]+)\t")
_OF_LAMBDA = re.compile(r"(?P<level>START|END|REPORT|INIT_START) ?(RequestId: (?P<request>\S+))?")


@dataclass(frozen=True)
class Line:
    at: datetime
    level: str
    """As Lambda's runtime writes it: INFO, ERROR …; START, END and REPORT are Lambda's own."""
    request: str
    """Lambda's id of the invocation, empty outside of one."""
    text: str


@dataclass(frozen=True)
class Newest:
    lines: list[Line]
    """The newest first."""
    complete: bool
    """Whether nothing of the hour is missing."""


def newest(access: Access, function: str) -> Newest:
    """Not in a transaction: AWS is asked. Raises ClientError and BotoCoreError."""
    logs = client(access.session(), "logs")
    since = round((now() - SINCE).timestamp() * 1000)
    asked = {"logGroupName": f"/aws/lambda/{function}", "startTime": since}
    found: deque[Line] = deque(maxlen=SHOWN)
    count, token = 0, None
    for _ in range(PAGES_MAX):
        page = logs.filter_log_events(**asked, **({"nextToken": token} if token else {}))
        found.extend(_line(event["timestamp"], event["message"]) for event in page["events"])
        count += len(page["events"])
        token = page.get("nextToken")
        if not token:
            break
    newest_first = sorted(found, key=lambda line: line.at, reverse=True)
    return Newest(newest_first, complete=token is None and count <= SHOWN)


def _line(timestamp_ms: int, message: str) -> Line:
    text = message.rstrip()
    at = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    if found := _PRINTED.match(text):
        request = found["request"] if found["request"] != "undefined" else ""
        return Line(at, found["level"], request, text[found.end() :])
    if found := _OF_LAMBDA.match(text):
        return Line(at, found["level"], found["request"] or "", text)
    return Line(at, "", "", text)
