"""By when a request has to be answered, against PostgreSQL's calendar and days counted one by one."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from audit.requests.calendars import WorkingCalendar, known_region, known_zone
from audit.requests.deadlines import (
    due_on,
    months_after,
    reckoned,
    working_day_from,
    working_days_ahead,
    working_days_left,
)

BERLIN = WorkingCalendar("DE", "BE", "Europe/Berlin")
DAYS = st.dates(min_value=date(2000, 1, 1), max_value=date(2090, 12, 31))


def no_holiday(day: date) -> bool:
    return False


@pytest.mark.parametrize(
    ("received", "due"),
    [
        (date(2025, 1, 31), date(2025, 2, 28)),
        (date(2028, 1, 31), date(2028, 2, 29)),
        (date(2026, 1, 31), date(2026, 3, 2)),  # 28 February 2026 is a Saturday
        (date(2026, 3, 5), date(2026, 4, 7)),  # Easter Sunday, and Easter Monday
        (date(2025, 11, 25), date(2025, 12, 29)),  # both days of Christmas, then a weekend
        (date(2026, 8, 31), date(2026, 9, 30)),
    ],
)
def test_a_month_ends_on_the_same_date_or_the_next_working_day(received: date, due: date) -> None:
    assert due_on(received, BERLIN.is_holiday) == due


def test_a_holiday_of_a_region_counts_there_alone() -> None:
    womens_day = date(2027, 3, 8)  # a Monday; a holiday in Berlin
    assert due_on(date(2027, 2, 8), BERLIN.is_holiday) == date(2027, 3, 9)
    assert due_on(date(2027, 2, 8), WorkingCalendar("DE", "HE").is_holiday) == womens_day
    assert due_on(date(2027, 2, 8), WorkingCalendar().is_holiday) == womens_day


def test_extension_counts_from_the_day_of_receipt_and_pauses_are_added_before_the_working_day() -> None:
    received = date(2026, 1, 15)
    assert due_on(received, no_holiday, extended=True) == date(2026, 4, 15)
    assert due_on(received, no_holiday, paused_days=6) == date(2026, 2, 23)  # 21 February is a Saturday


def test_the_day_is_that_of_the_workspace() -> None:
    late = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    assert BERLIN.day_of(late) == date(2026, 2, 1)
    assert WorkingCalendar(time_zone="America/Lima").day_of(late) == date(2026, 1, 31)


def test_what_is_no_region_or_zone_is_known() -> None:
    assert known_region("DE", "BE") and known_region("PT", "")
    assert not known_region("ZZ", "") and not known_region("DE", "QQ")
    assert known_zone("Europe/Lisbon") and not known_zone("Mars/Olympus") and not known_zone("../etc/passwd")
    assert not known_zone("")


def check(received: date, extended: bool, paused: int) -> None:
    """The deadline is the first working day not before the month is over."""
    due = due_on(received, BERLIN.is_holiday, extended=extended, paused_days=paused)
    # The month is over when its own calendar says so: walk through the days, counting firsts of months.
    months, day = 3 if extended else 1, received
    while months:
        day += timedelta(days=1)
        months -= day.day == 1
    while day.day < received.day and (day + timedelta(days=1)).day != 1:
        day += timedelta(days=1)
    end = day + timedelta(days=paused)
    between = [end + timedelta(days=n) for n in range((due - end).days)]
    assert due >= end
    assert due.isoweekday() <= 5 and not BERLIN.is_holiday(due)
    assert all(one.isoweekday() > 5 or BERLIN.is_holiday(one) for one in between)


def test_ten_thousand_deadlines_are_the_first_working_day_not_before_the_month_is_over() -> None:
    for number in range(10_000):
        check(date(2015, 1, 1) + timedelta(days=number), number % 3 == 0, number * 7 % 31 if number % 2 else 0)


@given(received=DAYS, extended=st.booleans(), paused=st.integers(0, 120))
def test_so_are_those_of_any_days_and_pauses(received: date, extended: bool, paused: int) -> None:
    check(received, extended, paused)


@pytest.mark.django_db
def test_ten_thousand_months_end_where_postgresql_says() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select d::date, (d::date + interval '1 month')::date, (d::date + interval '3 months')::date "
            "from generate_series(date '2015-01-01', date '2015-01-01' + 10000, interval '1 day') d"
        )
        rows = cursor.fetchall()
    assert len(rows) == 10_001
    for day, one, three in rows:
        assert (months_after(day, 1), months_after(day, 3)) == (one, three)


@given(day=DAYS)
def test_a_working_day_is_left_where_it_is(day: date) -> None:
    moved = working_day_from(day, no_holiday)
    assert working_day_from(moved, no_holiday) == moved
    assert timedelta() <= moved - day <= timedelta(days=2)


@given(received=DAYS, paused=st.integers(0, 400), extended=st.booleans())
def test_a_deadline_is_told_in_steps_that_lead_to_it(received: date, paused: int, extended: bool) -> None:
    told = reckoned(received, BERLIN.is_holiday, extended=extended, paused_days=paused)
    assert told.ends == months_after(received, 3 if extended else 1)
    assert told.paused_to - told.ends == timedelta(days=paused)
    assert told.due - told.paused_to == timedelta(days=len(told.skipped))
    assert all(day.weekday() > 4 or BERLIN.is_holiday(day) for day in told.skipped)
    assert told.due.weekday() < 5 and not BERLIN.is_holiday(told.due)


@given(today=DAYS, count=st.integers(0, 60))
def test_working_days_counted_ahead_and_back_are_the_same(today: date, count: int) -> None:
    ahead = working_days_ahead(today, count, BERLIN.is_holiday)
    assert working_days_left(today, ahead, BERLIN.is_holiday) == count
    assert working_days_left(ahead, today, BERLIN.is_holiday) == 0


def test_working_days_are_counted_over_a_weekend_and_a_holiday() -> None:
    thursday = date(2026, 4, 2)  # before Good Friday and Easter Monday
    assert working_days_left(thursday, date(2026, 4, 7), BERLIN.is_holiday) == 1
    assert working_days_left(thursday, date(2026, 4, 7), no_holiday) == 3
