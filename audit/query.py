"""What people type to search the log: `actor:ada -action:audit. created:2026-01-01..2026-02-01`. Pure.

A query is words apart by spaces, each `qualifier:value`. A value with spaces stands in quotes; inside them `\\"` is a
quote and `\\\\` a backslash. A leading `-` takes away what matches. One qualifier given twice means either of the two;
different ones must all hold.
"""

import calendar
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from audit.actions import ACTIONS, actions_under
from audit.actors import ActorKind
from audit.models import Outcome
from audit.reasons import REASONS

LONGEST = 500  # characters of a query
LONGEST_VALUE = 256
MOST_WORDS = 20


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a query. `value` is without its quotes."""

    qualifier: str
    value: str
    negated: bool = False

    def __str__(self) -> str:
        plain = self.value and not re.search(r'[\s"\\]', self.value)
        value = self.value if plain else '"' + re.sub(r'(["\\])', r"\\\1", self.value) + '"'
        return f"{'-' if self.negated else ''}{self.qualifier}:{value}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a query, by the qualifier it is about ('' for the query as a whole)."""

    qualifier: str
    message: str


@dataclass(frozen=True, slots=True)
class Query:
    """A query as it was read: its words, and the period they name, from `since` until before `until`."""

    words: tuple[Word, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        return " ".join(map(str, self.words))

    def values(self, qualifier: str, *, negated: bool = False) -> list[str]:
        return [one.value for one in self.words if (one.qualifier, one.negated) == (qualifier, negated)]


class QueryRefused(ValueError):
    """A query that cannot be meant as it stands. `mistakes` names all of them."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(" ".join(one.message for one in mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Qualifier:
    """A word before the colon: what it means, an example, and what is wrong with a value of it ('' if nothing)."""

    says: str
    example: str
    wrong: Callable[[str], str] = field(default=lambda value: "")


def query_read(text: str) -> Query:
    """`text` as a query. Raises QueryRefused with everything that is wrong with it."""
    if len(text) > LONGEST:
        raise QueryRefused([Mistake("", f"A search is at most {LONGEST} characters long.")])
    if "\0" in text:
        raise QueryRefused([Mistake("", "A search holds no zero character.")])
    words, mistakes = [], []
    for word in _words(text):
        if isinstance(word, Mistake):
            mistakes.append(word)
        elif wrong := _wrong(word):
            mistakes.append(Mistake(word.qualifier, wrong))
        else:
            words.append(word)
    if len(words) > MOST_WORDS:
        mistakes.append(Mistake("", f"A search has at most {MOST_WORDS} words."))
    periods = [one.value for one in words if one.qualifier == "created"]
    if len(periods) > 1:
        mistakes.append(Mistake("created", "created: stands there twice. A period is written created:FIRST..LAST."))
    if mistakes:
        raise QueryRefused(mistakes)
    since, until = period_read(periods[0]) if periods else (None, None)
    return Query(tuple(words), since, until)


def period_read(text: str) -> tuple[datetime | None, datetime | None]:
    """A period as its first moment and the first one after it: a year, month, day, minute or second in UTC, `>` `>=`
    `<` `<=` before one, or two of them with `..` between, both taken in; `*` leaves an end open.

    Raises ValueError with what is wrong.
    """
    if found := re.fullmatch(r"(>=|<=|>|<)(.+)", text):
        begins, ends = _moment(found[2])
        return {">=": (begins, None), ">": (ends, None), "<": (None, begins), "<=": (None, ends)}[found[1]]
    if ".." not in text:
        return _moment(text)
    first, last = text.split("..", 1)
    since = None if first == "*" else _moment(first)[0]
    until = None if last == "*" else _moment(last)[1]
    if since and until and since >= until:
        raise ValueError(f"The period {text} ends before it begins.")
    return since, until


_MOMENT = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:[Tt](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?[Zz]?)?)?)?",
    re.ASCII,
)


def _moment(text: str) -> tuple[datetime, datetime]:
    """The first moment of what `text` names, and the first one after it."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no date. Write 2026-01-31, or 2026-01-31T09:30 for a time in UTC.")
    given = {unit: int(value) for unit, value in found.groupdict().items() if value}
    try:
        begins = datetime(**({"month": 1, "day": 1} | given), tzinfo=UTC)
        return begins, begins + _length(begins, finest=list(given)[-1])
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is on no calendar.") from None


def _length(begins: datetime, *, finest: str) -> timedelta:
    if finest == "year":
        return timedelta(days=366 if calendar.isleap(begins.year) else 365)
    if finest == "month":
        return timedelta(days=calendar.monthrange(begins.year, begins.month)[1])
    return {"day": timedelta(days=1), "minute": timedelta(minutes=1), "second": timedelta(seconds=1)}[finest]


_WORD = re.compile(
    r'\s*(?P<minus>-?)(?P<qualifier>[^\s:"]*)(?P<colon>:?)(?P<value>"(?:[^"\\]|\\.)*"|[^\s"]*)', re.DOTALL
)


def _words(text: str) -> Iterator[Word | Mistake]:
    at, text = 0, text.strip()
    while at < len(text):
        found = _WORD.match(text, at)
        if found is None or found.end() == at:  # only a quote that is never closed, or one inside a word, is left
            yield Mistake("", f'There is a quote too many in {_shown(text[at:].strip())}. Close it, or write \\".')
            return
        at = found.end()
        name, value = found["qualifier"].lower(), found["value"]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        if at < len(text) and not text[at].isspace():
            yield Mistake(name, f"After {_shown(found[0].strip())} comes a quote that begins no value.")
            return
        if not found["colon"]:
            yield _unqualified(found["qualifier"] or value)
        else:
            yield Word(name, value, negated=bool(found["minus"]))


def _unqualified(text: str) -> Mistake:
    if text and actions_under(text):
        return Mistake("", f"{_shown(text)} stands alone. Write action:{text}")
    return Mistake("", f"{_shown(text)} stands alone. Write what it is, such as actor:{_quoted(text or '-')}")


def _wrong(word: Word) -> str:
    known = QUALIFIERS.get(word.qualifier)
    if known is None:
        near = get_close_matches(word.qualifier, QUALIFIERS, n=1)
        meant = f" Did you mean {near[0]}:?" if near else f" There are {', '.join(QUALIFIERS)}."
        return f"{_shown(word.qualifier)} is no qualifier.{meant}"
    if not word.value:
        return f"{word.qualifier}: has no value, as in {known.example}."
    if len(word.value) > LONGEST_VALUE:
        return f"A value of {word.qualifier}: is at most {LONGEST_VALUE} characters long."
    if word.qualifier == "created" and word.negated:
        return "created: cannot be taken away. Write the period that is left, such as created:<2026-01-01."
    return known.wrong(word.value)


def actions_of(value: str) -> list[str]:
    """The actions that `fact.corrected`, `fact.` or `fact.*` names."""
    return actions_under(value.removesuffix("*"))


def _wrong_action(value: str) -> str:
    if actions_of(value):
        return ""
    near = get_close_matches(value, ACTIONS, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"action:{_quoted(value)} is the beginning of no action.{meant}"


def _wrong_period(value: str) -> str:
    try:
        period_read(value)
    except ValueError as error:
        return f"created: {error}"
    return ""


def _one_of(qualifier: str, values: Sequence[str]) -> Callable[[str], str]:
    def wrong(value: str) -> str:
        if value in values:
            return ""
        near = get_close_matches(value, values, n=1)
        meant = f" Did you mean {near[0]}?" if near else f" There are {', '.join(values)}." if len(values) < 10 else ""
        return f"{qualifier}: is not {_quoted(value)}.{meant}"

    return wrong


def _quoted(value: str) -> str:
    return str(Word("", value))[1:]


def _shown(text: str) -> str:
    return f"“{text if len(text) <= 40 else text[:39] + '…'}”"


QUALIFIERS: Mapping[str, Qualifier] = {
    "action": Qualifier("what was done, or the beginning of it", "action:fact.", _wrong_action),
    "actor": Qualifier("who did it: a username, an agent's name, a command, or an id", "actor:ada"),
    "by": Qualifier("what kind of actor it was", "by:agent", _one_of("by", [kind.value for kind in ActorKind])),
    "subject": Qualifier("whom it was about: your id for the person, or ours", "subject:cust_48213"),
    "session": Qualifier("in which session: your id for it, or ours", "session:chat-17"),
    "object": Qualifier("the id of what it was done to", "object:0197f1c2-…"),
    "outcome": Qualifier("how it ended", "outcome:denied", _one_of("outcome", Outcome.values)),
    "reason": Qualifier("why, as a code", "reason:outdated", _one_of("reason", list(REASONS))),
    "key": Qualifier("the public prefix of the key used", "key:mh_4fK2"),
    "request": Qualifier("one request, by its id", "request:5c1e…"),
    "created": Qualifier(
        "when, in UTC: a day, a period, before or after", "created:2026-01-01..2026-02-01", _wrong_period
    ),
}
"""Every word that may stand before a colon."""
