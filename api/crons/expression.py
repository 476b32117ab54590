"""Cloudflare's dialect of cron: five fields, names, `L`, `W` and `#`; Sunday is 1.

Its days of the month and of the week are joined by "or" when both are given. A time zone may stand
in front, which is ours: `CRON_TZ=Europe/Berlin 0 9 * * *`.
"""

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
LENGTH_MAX = 200
# 29 February of a given weekday comes once in 28 years, and not in 2100.
_DAYS_AHEAD = 366 * 41

_ZONE = re.compile(r"(?:CRON_TZ|TZ)=(\S+)\s+(.*)", re.S)
_RANGE = re.compile(r"(\w+)(?:-(\w+))?(?:/(\d+))?")

Day = Callable[[date], bool]


class CronError(ValueError):
    """An expression that means nothing; the message says which part."""


@dataclass(frozen=True)
class Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        if text.upper() in self.names:
            return self.names.index(text.upper()) + self.first
        if not text.isascii() or not text.isdigit() or not self.first <= int(text) <= self.last:
            raise CronError(f"{text!r} is no {self.name}: it goes from {self.first} to {self.last}")
        return int(text)

    def values(self, text: str) -> frozenset[int]:
        """`*`, `5`, `1-5`, `*/2`, `1-9/3`, `5/15`, and lists of them."""
        return frozenset(value for part in text.split(",") for value in self._part(part))

    def _part(self, part: str) -> range:
        if part == "*":
            return range(self.first, self.last + 1)
        if part.startswith("*/"):
            part = f"{self.first}-{self.last}{part[1:]}"
        found = _RANGE.fullmatch(part)
        if not found:
            raise CronError(f"{part!r} cannot be read as a {self.name}")
        first = self.number(found[1])
        step = int(found[3]) if found[3] else 1
        last = self.number(found[2]) if found[2] else self.last if found[3] else first
        if last < first or step == 0:
            raise CronError(f"{part!r} is no range of {self.name}s")
        return range(first, last + 1, step)


MINUTE, HOUR = Field("minute", 0, 59), Field("hour", 0, 23)
MONTH_DAY, MONTH = Field("day of the month", 1, 31), Field("month", 1, 12, MONTHS)
WEEKDAY = Field("day of the week", 1, 7, WEEKDAYS)


@dataclass(frozen=True)
class Expression:
    """One that was read; `text` is what stands in the configuration."""

    text: str
    zone: ZoneInfo
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    on: Day

    def next(self, after: datetime) -> datetime | None:
        """The first occurrence after a moment, in UTC; None when there is none for decades.

        A local time that a change of clocks leaves out occurs when the clocks have changed; one that
        comes twice occurs the first time.
        """
        after = after.astimezone(UTC)
        local = after.astimezone(self.zone)
        for day in _days(local.date()):
            if day.month not in self.months or not self.on(day):
                continue
            for moment in self._moments(day):
                if moment > after:
                    return moment
        return None

    def coming(self, after: datetime, count: int) -> list[datetime]:
        found: list[datetime] = []
        moment = self.next(after)
        while moment and len(found) < count:
            found.append(moment)
            moment = self.next(moment)
        return found

    def _moments(self, day: date) -> Iterator[datetime]:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                yield local.astimezone(UTC)


def _days(first: date) -> Iterator[date]:
    # From the day before: a zone's midnight may lie on either side.
    for ahead in range(-1, _DAYS_AHEAD):
        yield first + timedelta(days=ahead)


def read(text: str) -> Expression:
    """Raises CronError with what is wrong, also for one that never occurs."""
    if len(text) > LENGTH_MAX:
        raise CronError(f"it has more than {LENGTH_MAX} characters")
    zoned = _ZONE.fullmatch(text.strip())
    zone_name, rest = (zoned[1], zoned[2]) if zoned else ("UTC", text)
    fields = rest.split()
    if len(fields) != 5:
        raise CronError(f"it has {len(fields)} fields instead of 5")
    minutes, hours, month_day, months, weekday = fields
    expression = Expression(
        text=text,
        zone=_zone(zone_name),
        minutes=MINUTE.values(minutes),
        hours=HOUR.values(hours),
        months=MONTH.values(months),
        on=_day_of(month_day, weekday),
    )
    if expression.next(datetime.now(UTC)) is None:
        raise CronError("it never occurs")
    return expression


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise CronError(f"there is no time zone {name!r}") from error


def _day_of(month_day: str, weekday: str) -> Day:
    of_month = [_month_day(part) for part in month_day.split(",")]
    of_week = [_weekday(part) for part in weekday.split(",")]
    if month_day == "*":
        return lambda day: any(fits(day) for fits in of_week)
    if weekday == "*":
        return lambda day: any(fits(day) for fits in of_month)
    return lambda day: any(fits(day) for fits in (*of_month, *of_week))


def _month_day(part: str) -> Day:
    upper = part.upper()
    if upper == "L":
        return lambda day: day.day == _last_day(day)
    if upper in ("LW", "WL"):
        return lambda day: day.day == _nearest_workday(day, _last_day(day))
    if upper.endswith("W"):
        wanted = MONTH_DAY.number(upper[:-1])
        return lambda day: wanted <= _last_day(day) and day.day == _nearest_workday(day, wanted)
    values = MONTH_DAY.values(part)
    return lambda day: day.day in values


def _weekday(part: str) -> Day:
    upper = part.upper()
    if upper == "L":
        return lambda day: _number(day) == WEEKDAY.last
    if upper.endswith("L"):
        last = WEEKDAY.number(upper[:-1])
        return lambda day: _number(day) == last and day.day + 7 > _last_day(day)
    if "#" in upper:
        name, _, nth = upper.partition("#")
        wanted = WEEKDAY.number(name)
        if nth not in ("1", "2", "3", "4", "5"):
            raise CronError(f"{part!r}: a month has the first to the fifth of a weekday")
        return lambda day: _number(day) == wanted and (day.day - 1) // 7 + 1 == int(nth)
    values = WEEKDAY.values(part)
    return lambda day: _number(day) in values


def _number(day: date) -> int:
    """1 for Sunday."""
    return day.isoweekday() % 7 + 1


def _last_day(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _nearest_workday(day: date, wanted: int) -> int:
    """The working day of this month that is nearest to the wanted day; it never leaves the month."""
    weekday = day.replace(day=wanted).isoweekday()
    if weekday == 6:
        return wanted - 1 if wanted > 1 else wanted + 2
    if weekday == 7:
        return wanted + 1 if wanted < _last_day(day) else wanted - 2
    return wanted
