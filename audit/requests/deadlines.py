"""By when a request has to be answered: GDPR art. 12(3), counted as Regulation (EEC, Euratom) 1182/71 does. Pure.

A period in months ends with the day that has the same date as the one on which the request came in; where the last
month has no such day, with its last one (art. 3(2)(c)). Where that is a Saturday, a Sunday or a public holiday, it ends
with the next working day (art. 3(4)).
"""

import calendar
from collections.abc import Callable
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
    while day.weekday() >= calendar.SATURDAY or is_holiday(day):
        day += timedelta(days=1)
    return day


def due_on(received: date, is_holiday: IsHoliday, *, extended: bool = False, paused_days: int = 0) -> date:
    """The last day on which the answer is in time.

    The days for which the clock stood still, because who asks was in reasonable doubt, are added before the end is
    moved to a working day.
    """
    end = months_after(received, EXTENDED_MONTHS if extended else MONTHS)
    return working_day_from(end + timedelta(days=paused_days), is_holiday)
