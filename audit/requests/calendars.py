"""Which days are public holidays where a workspace is, and what day it is there."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays


@dataclass(frozen=True, slots=True)
class WorkingCalendar:
    """A country (ISO 3166-1 alpha-2) and a region of it, as the package holidays names them, and a time zone (IANA).

    Without a country only Saturdays and Sundays are no working days.
    """

    country: str = ""
    subdivision: str = ""
    time_zone: str = "UTC"

    def is_holiday(self, day: date) -> bool:
        return bool(self.country) and day in _holidays(self.country, self.subdivision, day.year)

    def day_of(self, moment: datetime) -> date:
        """The day that `moment` belongs to there."""
        return moment.astimezone(ZoneInfo(self.time_zone)).date()


def known_region(country: str, subdivision: str) -> bool:
    """Whether holidays are known for it."""
    regions = holidays.list_supported_countries(include_aliases=False)
    return country in regions and (not subdivision or subdivision in regions[country])


def known_zone(name: str) -> bool:
    """Whether it names a time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=1024)
def _holidays(country: str, subdivision: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, subdiv=subdivision or None, years=year))
