"""What `./skerry doctor` prints: one line each."""

from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: str
    subject: str
    text: str
    """What is there, and unless the level is OK, what to do about it."""
