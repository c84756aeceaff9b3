"""By when a request has to be answered: GDPR art. 12(3), counted as Regulation (EEC, Euratom) 1182/71 does. Pure.

A period in months ends with the day that has the same date as the one on which the request came in; where the last
month has no such day, with its last one (art. 3(2)(c)). Where that is a Saturday, a Sunday or a public holiday, it ends
with the next working day (art. 3(4)).
"""

import calendar
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

MONTHS = 1
EXTENDED_MONTHS = 3
"""One, and two further ones."""

IsHoliday = Callable[[date], bool]


def months_after(day: date, months: int) -> date:
    """The same date `months` later, or the last day of a month that is too short for it."""
    number = day.year * 12 + day.month - 1 + months
    year, month = divmod(number, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def working_day_from(day: date, is_holiday: IsHoliday) -> date:
    """`day` itself, or the first working day after it."""
    while not _works(day, is_holiday):
        day += timedelta(days=1)
    return day


@dataclass(frozen=True, slots=True)
class Reckoning:
    """How a deadline came about, step by step."""

    received: date
    months: int
    ends: date
    """The same date so many months later, or the last day of a month that is too short."""
    paused_days: int
    paused_to: date
    """Moved by as many days as the clock stood still."""
    skipped: tuple[date, ...]
    """Days on which it would have ended, had they been working days."""
    due: date


def reckoned(received: date, is_holiday: IsHoliday, *, extended: bool = False, paused_days: int = 0) -> Reckoning:
    """The deadline with how it is counted.

    The days for which the clock stood still, because who asks was in reasonable doubt, are added before the end is
    moved to a working day.
    """
    months = EXTENDED_MONTHS if extended else MONTHS
    ends = months_after(received, months)
    paused_to = ends + timedelta(days=paused_days)
    due = working_day_from(paused_to, is_holiday)
    skipped = tuple(paused_to + timedelta(days=day) for day in range((due - paused_to).days))
    return Reckoning(received, months, ends, paused_days, paused_to, skipped, due)


def due_on(received: date, is_holiday: IsHoliday, *, extended: bool = False, paused_days: int = 0) -> date:
    """The last day on which the answer is in time."""
    return reckoned(received, is_holiday, extended=extended, paused_days=paused_days).due


def working_days_left(today: date, due: date, is_holiday: IsHoliday) -> int:
    """How many working days there are after `today` up to and with `due`; 0 on the day itself, and after it."""
    days = (today + timedelta(days=ahead) for ahead in range(1, (due - today).days + 1))
    return sum(_works(day, is_holiday) for day in days)


def working_days_ahead(today: date, count: int, is_holiday: IsHoliday) -> date:
    """The day that is `count` working days after `today`."""
    day = today
    while count:
        day += timedelta(days=1)
        count -= _works(day, is_holiday)
    return day


def _works(day: date, is_holiday: IsHoliday) -> bool:
    return day.weekday() < calendar.SATURDAY and not is_holiday(day)
