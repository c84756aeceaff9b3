"""Where a statement comes from: who vouches for it, and whether a turn says it or only repeats what was recalled.

Sources follow from the credential and the turn, never from what a client or a model claims.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import Q

from facts.models import Recall, RecalledItem, RecallKind, Source
from memoryhub.core.text import memory_blocks
from sessions.models import Turn, TurnRole

SHINGLE = 6
"""Words in a row that count as repeated. Fewer are what people say anyway."""
RECALLED_LOOKED_AT = 200
RECALLED_WITHIN = timedelta(days=1)
"""How far back an agent's other recalls of the person are looked at: it may still hold them in its context."""

_ASCII_WORD = re.compile(r"[A-Za-z0-9]+")
_FACT_LINE = re.compile(
    r"^[ \t>*-]*F[1-9]\d* \[(?:preference|decision|constraint|goal|entity)\] .*\(.*confidence [01]\.\d\d\)[ \t]*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text: from `start` up to `end`, in characters."""

    start: int
    end: int


def source_of(*, door: Source, extracted: bool, turn: Turn | None) -> Source:
    """Who vouches for a fact that comes in through `door`: AGENT (a key), IMPORT or OPERATOR (a person).

    What a key posts is an agent's word, whichever turn it cites, and a tool's when that turn is a tool's. Only what the
    hub's own extractor took out of a turn is the subject's word, when nobody else's words are in that turn.
    """
    if door in (Source.IMPORT, Source.OPERATOR):
        return door
    if turn is not None and (turn.role == TurnRole.TOOL or turn.holds_results):
        return Source.TOOL
    if extracted and turn is not None and turn.role == TurnRole.USER:
        return Source.USER
    return Source.AGENT


def echoes(text: str, recalled: Iterable[str] = ()) -> tuple[Span, ...]:
    """The parts of `text` that repeat memory, in order and apart from each other.

    Those are working-memory blocks (an unclosed one reaches to the end), single lines of one, and runs of at least
    SHINGLE words that stand in one of the `recalled` texts. Words are compared without case, width, accents' encoding,
    punctuation and characters that cannot be seen.
    """
    spans = [Span(start, end) for start, end in memory_blocks(text)]
    spans += [Span(found.start(), found.end()) for found in _FACT_LINE.finditer(text)]
    known = {shingle for content in recalled for shingle in _shingles([word for word, _ in _words(content)])}
    words = _words(text) if known else []
    for length in {len(shingle) for shingle in known}:
        for at in range(len(words) - length + 1):
            if tuple(word for word, _ in words[at : at + length]) in known:
                spans.append(Span(words[at][1].start, words[at + length - 1][1].end))
    return _joined(spans)


def without(text: str, spans: Sequence[Span]) -> str:
    """`text` with a space in the place of each of `spans`."""
    kept, at = [], 0
    for span in spans:
        kept.append(text[at : span.start])
        at = span.end
    return " ".join([*kept, text[at:]])


def only_echoes(statement: str, text: str, spans: Sequence[Span]) -> bool:
    """Whether what `statement` says stands in the echoed `spans` of `text` and not in the rest of it."""
    if not spans:
        return False
    said = _telling(statement)
    rest = _telling(without(text, spans))
    echoed = _telling(" ".join(text[span.start : span.end] for span in spans))
    return 2 * len(said & echoed) >= len(said) and 2 * len(said & rest) < len(said)


def recalled_before(turn: Turn) -> list[str]:
    """What was recalled in the turn's session, or to its agent about this person shortly before: at most the last 200.

    The turn comes with its session.
    """
    session = turn.session
    recalls = Recall.objects.filter(
        Q(session_external_id=session.external_id)
        | Q(agent_id=session.agent_id, at__gt=turn.recorded_at - RECALLED_WITHIN),
        subject_id=session.subject_id,
        at__lte=turn.recorded_at,
    ).exclude(kind=RecallKind.PREVIEW)
    items = (
        RecalledItem.objects.filter(recall__in=recalls)
        .exclude(turn_id=turn.id)
        .order_by("-recall__at", "rank")
        .values_list("version__content", "turn__text")[:RECALLED_LOOKED_AT]
    )
    return list(dict.fromkeys(content if content is not None else text for content, text in items))


def recalled_before_each(turns: Sequence[Turn]) -> dict[UUID, list[str]]:
    """`recalled_before` of several turns of one session, by their ids, looked up together unless a lot was recalled."""
    if len(turns) < 2:
        return {turn.id: recalled_before(turn) for turn in turns}
    session = turns[0].session
    times = [turn.recorded_at for turn in turns]
    recalls = Recall.objects.filter(
        Q(session_external_id=session.external_id) | Q(agent_id=session.agent_id, at__gt=min(times) - RECALLED_WITHIN),
        subject_id=session.subject_id,
        at__lte=max(times),
    ).exclude(kind=RecallKind.PREVIEW)
    ids = list(recalls.values_list("pk", flat=True)[: RECALLED_LOOKED_AT + 1])
    if not ids:
        return {turn.id: [] for turn in turns}
    if len(ids) > RECALLED_LOOKED_AT:
        return {turn.id: recalled_before(turn) for turn in turns}
    rows = list(
        RecalledItem.objects.filter(recall__in=ids)
        .order_by("-recall__at", "rank")
        .values_list(
            "recall__at", "recall__session_external_id", "turn_id", "version__content", "turn__text", "recall__agent_id"
        )[: RECALLED_LOOKED_AT + 1]
    )
    if len(rows) > RECALLED_LOOKED_AT:
        return {turn.id: recalled_before(turn) for turn in turns}
    found: dict[UUID, list[str]] = {}
    for turn in turns:
        since = turn.recorded_at - RECALLED_WITHIN
        told = [
            content if content is not None else text
            for at, session_id, item, content, text, agent_id in rows
            if at <= turn.recorded_at
            and item != turn.id
            and (session_id == session.external_id or (agent_id == session.agent_id and at > since))
        ]
        found[turn.id] = list(dict.fromkeys(told))
    return found


def echoed_parts_of(turns: Sequence[Turn]) -> dict[UUID, tuple[Span, ...]]:
    """`echoed_parts` of several turns of one session, by their ids."""
    recalled = recalled_before_each(turns)
    return {turn.id: echoes(turn.text, recalled[turn.id]) for turn in turns}


def echoed_parts(turn: Turn) -> tuple[Span, ...]:
    """The parts of a turn's text that only repeat what was recalled. Evidence must not rest on them."""
    return echoes(turn.text, recalled_before(turn))


def own_words(turn: Turn) -> str:
    """What a turn says beside what it repeats: what may be extracted from."""
    return without(turn.text, echoed_parts(turn))


def _words(text: str) -> list[tuple[str, Span]]:
    """The words of a text as they are compared, each with its place."""
    if text.isascii():
        return [(match[0].lower(), Span(match.start(), match.end())) for match in _ASCII_WORD.finditer(text)]
    found: list[tuple[str, Span]] = []
    letters: list[str] = []
    begins = ends = 0
    for at, character in enumerate(f"{text} "):
        kind = unicodedata.category(character)
        if kind[0] in "LNM":
            begins = at if not letters else begins
            letters.append(character)
            ends = at + 1
        elif kind != "Cf" and letters:  # a character that cannot be seen does not end a word
            found.append((unicodedata.normalize("NFKC", "".join(letters)).casefold(), Span(begins, ends)))
            letters = []
    return found


def _telling(text: str) -> set[str]:
    """The words of a text that tell something: those with a digit or more than three letters, else all of them."""
    words = {word for word, _ in _words(text)}
    return {word for word in words if len(word) > 3 or not word.isalpha()} or words


def _shingles(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Every run of SHINGLE words; a text of fewer, but at least three, is one by itself."""
    if len(words) < SHINGLE:
        return [tuple(words)] if len(words) >= 3 else []
    return [tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)]


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    joined: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, one.end)):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return tuple(joined)
