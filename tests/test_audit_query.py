"""What is typed to search the log, read; and what is wrong with it, told."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.actions import ACTIONS
from audit.query import QUALIFIERS, Query, QueryRefused, Word, period_read, query_read

VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
FREE = st.sampled_from(["actor", "subject", "session", "object", "key", "request"])
WORDS = st.builds(Word, FREE, VALUES, st.booleans()) | st.builds(
    Word, st.just("action"), st.sampled_from(sorted(ACTIONS)), st.booleans()
)


def day(month: int, number: int) -> datetime:
    return datetime(2026, month, number, tzinfo=UTC)


def wrong(text: str) -> list[tuple[str, str]]:
    with pytest.raises(QueryRefused) as refused:
        query_read(text)
    return [(one.qualifier, one.message) for one in refused.value.mistakes]


@given(st.lists(WORDS, max_size=6))
def test_what_was_written_is_read_back(words: list[Word]) -> None:
    assert query_read(" ".join(map(str, words))) == Query(tuple(words))


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        query = query_read(text)
    except QueryRefused as error:
        assert error.mistakes and all(
            one.message.endswith((".", "?", ":", '"')) or one.message for one in error.mistakes
        )
    else:
        assert query_read(str(query)) == query


@given(st.text(' -:"\\actorn.', max_size=40))
def test_texts_made_of_what_the_syntax_is_made_of(text: str) -> None:
    test_any_text_is_read_or_refused_in_words.hypothesis.inner_test(text)  # type: ignore[attr-defined]


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1)), st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1))
)
def test_a_period_takes_in_both_of_its_days(one: datetime, other: datetime) -> None:
    first, last = sorted((one.date(), other.date()))
    since, until = period_read(f"{first}..{last}")
    assert since == datetime(first.year, first.month, first.day, tzinfo=UTC)
    assert until == datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)


def test_a_query_of_several_words() -> None:
    query = query_read('actor:ada -action:audit. subject:"cust 1 \\"x\\"" created:2026-01-01..2026-02-01')
    assert query.words == (
        Word("actor", "ada"),
        Word("action", "audit.", negated=True),
        Word("subject", 'cust 1 "x"'),
        Word("created", "2026-01-01..2026-02-01"),
    )
    assert (query.since, query.until) == (day(1, 1), day(2, 2))
    assert query.values("action", negated=True) == ["audit."] and query.values("action") == []


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("2026", (day(1, 1), datetime(2027, 1, 1, tzinfo=UTC))),
        ("2026-02", (day(2, 1), day(3, 1))),
        ("2026-02-28", (day(2, 28), day(3, 1))),
        ("2026-01-31T09:30", (datetime(2026, 1, 31, 9, 30, tzinfo=UTC), datetime(2026, 1, 31, 9, 31, tzinfo=UTC))),
        (
            "2026-01-31T09:30:59Z",
            (datetime(2026, 1, 31, 9, 30, 59, tzinfo=UTC), datetime(2026, 1, 31, 9, 31, tzinfo=UTC)),
        ),
        (">=2026-02-01", (day(2, 1), None)),
        (">2026-02-01", (day(2, 2), None)),
        ("<2026-02-01", (None, day(2, 1))),
        ("<=2026-02-01", (None, day(2, 2))),
        ("*..2026-02-01", (None, day(2, 2))),
        ("2026-02-01..*", (day(2, 1), None)),
        ("2026-01..2026-02", (day(1, 1), day(3, 1))),
    ],
)
def test_periods(text: str, period: tuple[datetime | None, datetime | None]) -> None:
    assert period_read(text) == period


@pytest.mark.parametrize(
    ("text", "qualifier", "told"),
    [
        ("actr:ada", "actr", "Did you mean actor:?"),
        ("nothing:ada", "nothing", "There are action, actor, by,"),
        ("action:fact.corected", "action", "Did you mean fact.corrected"),
        ("outcome:bad", "outcome", "There are ok, denied, failed, degraded."),
        ("by:robot", "by", "agent, user, system, command"),
        ("reason:outdatd", "reason", "Did you mean outdated?"),
        ("actor:", "actor", "actor: has no value"),
        ('actor:""', "actor", "actor: has no value"),
        ("created:yesterday", "created", "Write 2026-01-31"),
        ("created:2026-02-30", "created", "on no calendar"),
        ("created:9999-12-31", "created", "on no calendar"),
        ("created:2026-02..2026-01", "created", "ends before it begins"),
        ("-created:2026", "created", "cannot be taken away"),
        ("created:2026 created:2025", "created", "stands there twice"),
        ("ada", "", "Write what it is, such as actor:ada"),
        ("fact.", "", "Write action:fact."),
        ('actor:"ada', "actor", "a quote that begins no value"),
        ('"ada', "", "a quote too many"),
        ("actor:" + "a" * 257, "actor", "at most 256"),
        ("a" * 501, "", "at most 500"),
        ("actor:a " * 21, "", "at most 20 words"),
        ("actor:a\0", "", "zero character"),
    ],
)
def test_mistakes_are_named_by_their_qualifier(text: str, qualifier: str, told: str) -> None:
    [(about, message)] = wrong(text)
    assert about == qualifier and told in message


def test_all_mistakes_are_told_at_once() -> None:
    assert [about for about, _ in wrong("actr:ada actor:ada outcome:bad created:never")] == [
        "actr",
        "outcome",
        "created",
    ]


def test_every_example_can_be_read() -> None:
    for name, one in QUALIFIERS.items():
        assert [word.qualifier for word in query_read(one.example).words] == [name]
