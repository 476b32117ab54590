"""How values look on a page."""

from datetime import datetime, timedelta

from markupsafe import Markup

from api.clock import now

_UNITS = (("day", 86_400), ("h", 3_600), ("min", 60))
_LONG_AGO = timedelta(days=7)


def time(moment: datetime) -> Markup:
    """`6 min ago` for the last week, a date before; the exact time stands in the title."""
    utc = moment.astimezone(now().tzinfo)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), utc.strftime("%Y-%m-%d %H:%M:%S UTC"), _words(utc)
    )


def _words(moment: datetime) -> str:
    age = now() - moment
    if age >= _LONG_AGO:
        return moment.strftime("%-d %b %Y")
    for unit, seconds in _UNITS:
        count = int(age.total_seconds() // seconds)
        if count >= 1:
            plural = "s" if unit == "day" and count > 1 else ""
            return f"{count} {unit}{plural} ago"
    return "just now"


def size(count: int) -> str:
    """Bytes in decimal units, as Cloudflare prints them: `812 B`, `23.4 kB`, `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    amount = count / 1000
    for unit in ("kB", "MB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def number(count: int) -> str:
    """Thousands set apart: `48,210`."""
    return f"{count:,}"


def short_digest(text: str) -> str:
    """The first eight characters of a digest or a version's id."""
    return text.removeprefix("sha256:")[:8]
