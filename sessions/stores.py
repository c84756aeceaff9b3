"""Where this app holds personal data, for access and erasure."""

import secrets
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from audit.registry import Part, PersonalDataStore
from audit.stores import ModelStore, strings_in
from memoryhub.core.search.models import Corpus, Pending, Posting, Vector
from memoryhub.core.search.services import remove
from sessions.indexing import KIND, index_turns
from sessions.models import Session, Subject, Turn

GONE = "[erased]"


class TurnStore(ModelStore):
    """Sessions with their turns. Of a turn that stays, a sentence can go, or all of its content."""

    def count(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        counted = super().count(subject_id, part)
        if part is not None and part.redacted:
            counted["turn_redacted"] = _to_redact(subject_id, part).count()
        return counted

    def erase(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        if part is None:
            return super().erase(subject_id)
        after = _turns_after(subject_id, part.turns | frozenset(part.redacted)) - part.turns
        erased = super().erase(subject_id, part)
        redacted = list(_to_redact(subject_id, part))
        for turn in redacted:
            turn_redact(turn, part.redacted[turn.id])
        if part.redacted:
            erased["turn_redacted"] = len(redacted)
        subject = Subject.objects.filter(pk=subject_id).first()
        if subject is not None:
            # A turn is found by words of the one before it as well.
            _index_anew(subject, after | {turn.id for turn in redacted})
        return erased


class IndexStore(ModelStore):
    """The index of turns and facts. Its statistics follow what is taken out of it."""

    def erase(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        subject = Subject.objects.filter(pk=subject_id).first() if part is not None else None
        if part is None or subject is None:
            return super().erase(subject_id)
        erased = self.count(subject_id, part)
        for kind, items in ((KIND, part.turns), ("fact", part.versions)):
            remove(workspace_id=subject.workspace_id, subject_id=subject_id, kind=kind, items=items)
        return erased


def stores() -> list[PersonalDataStore]:
    """The index too: it lies below the subjects it serves and cannot register itself. It holds facts as well."""
    return [
        TurnStore(
            "sessions",
            {Turn: "session__subject_id", Session: "subject_id", Subject: "pk"},
            {Turn: lambda part: Q(pk__in=part.turns), Session: lambda part: Q(pk__in=part.sessions)},
            words={
                Turn: ("client_id", "name", "content", "text", "tool_input", "tool_result", "metadata"),
                Session: ("external_id", "metadata"),
                Subject: ("external_id",),
            },
        ),
        IndexStore(
            "search",
            {Pending: "subject_id", Vector: "subject_id", Posting: "subject_id", Corpus: "subject_id"},
            {Pending: _items, Vector: _items, Posting: _items},
            exported=False,
        ),
    ]


def turn_redact(turn: Turn, sentences: Sequence[str]) -> None:
    """Take the sentences out of a turn, or everything where there are none or they stand in it otherwise."""
    content, text = turn.content, turn.text
    for sentence in sentences:
        content, text = _without(content, sentence), text.replace(sentence, GONE)
        turn.tool_input, turn.tool_result = _without(turn.tool_input, sentence), _without(turn.tool_result, sentence)
    left = "\n".join((text, *strings_in(content), *strings_in(turn.tool_input), *strings_in(turn.tool_result)))
    if not sentences or any(sentence in left for sentence in sentences) or content == turn.content:
        content, text = GONE, ""
        turn.tool_input, turn.tool_result, turn.name, turn.metadata = None, None, "", {}
    turn.content, turn.text = content, text
    turn.findings = []
    # A digest of what was said would let somebody try what it may have been.
    turn.digest = secrets.token_bytes(32)
    turn.erased_at = timezone.now()
    turn.save()


def _items(part: Part) -> Q:
    return Q(item__in=part.turns | part.versions)


def _to_redact(subject_id: UUID, part: Part) -> Any:
    return Turn.objects.filter(session__subject=subject_id, pk__in=list(part.redacted), erased_at__isnull=True)


def _without(value: Any, sentence: str) -> Any:
    if isinstance(value, str):
        return value.replace(sentence, GONE)
    if isinstance(value, dict):
        return {key: _without(inner, sentence) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, sentence) for inner in value]
    return value


def _turns_after(subject_id: UUID, turns: frozenset[UUID]) -> set[UUID]:
    """The turns just after these, which were indexed with their last words."""
    places = set(Turn.objects.filter(pk__in=turns).values_list("session_id", "index"))
    by_session: dict[UUID, list[int]] = {}
    for session_id, index in places:
        if (session_id, index + 1) not in places:
            by_session.setdefault(session_id, []).append(index + 1)
    after: set[UUID] = set()
    for session_id, indexes in by_session.items():
        following = Turn.objects.filter(session=session_id, session__subject=subject_id, index__in=indexes)
        after.update(following.values_list("id", flat=True))
    return after


def _index_anew(subject: Subject, turns: set[UUID]) -> None:
    remove(workspace_id=subject.workspace_id, subject_id=subject.id, kind=KIND, items=turns)
    shown = Turn.objects.filter(pk__in=turns, withheld_at__isnull=True).select_related("session").order_by("index")
    by_session: dict[UUID, list[Turn]] = {}
    for turn in shown:
        by_session.setdefault(turn.session_id, []).append(turn)
    for of_session in by_session.values():
        index_turns(subject=subject, session=of_session[0].session, turns=of_session)
