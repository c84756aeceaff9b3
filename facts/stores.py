"""Where this app holds personal data, for access and erasure."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q, QuerySet

from audit.registry import Part, PersonalDataStore
from audit.stores import ModelStore
from facts.models import (
    ErasedEvidence,
    Evidence,
    Extraction,
    Fact,
    FactTally,
    FactTransition,
    FactVersion,
    Recall,
    RecalledItem,
    RemovedEvidence,
)
from sessions.models import Turn


class FactStore(ModelStore):
    """Facts, what was surfaced of them, and the windows they were read from.

    A recall that stays loses the block it told, and the candidates that are erased. Of turns that stay without a
    statement nothing is derived again.
    """

    def count(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        counted = super().count(subject_id, part)
        if part is not None and part.blanked:
            counted["recall_blanked"] = _to_blank(subject_id, part).count()
        return counted

    def erase(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        erased = super().erase(subject_id, part)
        if part is None:
            return erased
        if part.blanked:
            erased["recall_blanked"] = _blank(subject_id, part)
        silent = Turn.objects.filter(session__subject=subject_id, pk__in=part.silent)
        ErasedEvidence.objects.bulk_create(
            [ErasedEvidence(workspace_id=turn.workspace_id, subject_id=subject_id, turn=turn) for turn in silent],
            ignore_conflicts=True,
        )
        return erased


def fact_store() -> PersonalDataStore:
    return FactStore(
        "facts",
        {
            RecalledItem: "recall__subject_id",
            Recall: "subject_id",
            Evidence: "version__fact__subject_id",
            RemovedEvidence: "version__fact__subject_id",
            FactTransition: "version__fact__subject_id",
            FactVersion: "fact__subject_id",
            FactTally: "subject_id",
            Fact: "subject_id",
            Extraction: "subject_id",
            ErasedEvidence: "subject_id",
        },
        {
            RecalledItem: lambda part: (
                Q(version__in=part.versions) | Q(turn__in=part.turns) | Q(recall__in=part.recalls)
            ),
            Recall: lambda part: Q(pk__in=part.recalls),
            Evidence: lambda part: Q(version__in=part.versions) | Q(turn__in=part.turns),
            RemovedEvidence: lambda part: Q(version__in=part.versions),
            FactTransition: lambda part: Q(version__in=part.versions),
            FactVersion: lambda part: Q(pk__in=part.versions),
            Fact: lambda part: Q(pk__in=part.facts),
            Extraction: lambda part: Q(session__in=part.sessions),
            ErasedEvidence: lambda part: Q(turn__in=part.turns),
        },
        words={
            Fact: ("entity",),
            FactVersion: ("content", "mentions"),
            FactTransition: ("note",),
            Recall: ("message", "session_external_id"),
        },
    )


def _to_blank(subject_id: UUID, part: Part) -> QuerySet[Recall]:
    return Recall.objects.filter(subject=subject_id, pk__in=part.blanked)


def _blank(subject_id: UUID, part: Part) -> int:
    """Take out of recalls that stay what tells of what goes; returns how many were changed."""
    gone = {str(one) for one in (*part.versions, *part.turns)}
    said = [sentence for sentences in part.redacted.values() for sentence in sentences]
    changed = 0
    for recall in _to_blank(subject_id, part).iterator(chunk_size=500):
        candidates = [one for one in recall.candidates if one.get("id") not in gone]
        told = any(sentence in recall.message for sentence in said)
        if recall.block or told or len(candidates) != len(recall.candidates):
            recall.block, recall.candidates = "", candidates
            recall.message = "" if told else recall.message
            recall.save(update_fields=["block", "candidates", "message"])
            changed += 1
    return changed
