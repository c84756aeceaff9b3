"""Stores of personal data: what the audit log itself holds of a person, and the common kind, rows of models."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.db.models import Model, Q, QuerySet

from audit.erasure.verification import look
from audit.integrity import canonical_form
from audit.kinds import kind_of
from audit.models import Commitment, Entry, Erasure
from audit.registry import Part, Residue
from audit.requests.models import DataRequest, Hold, RequestStep

CHUNK = 500
SAMPLED = 12
"""From each end of a table: enough texts to notice that one was forgotten."""


class ModelStore:
    """Rows of models, each found through a path of foreign keys to the subject's id.

    `paths` names children before their parents: that is the order in which they are erased. `parts` says which rows of
    a model belong to a part; models that it does not name hold nothing of parts. `words` names the columns in which
    people's own words stand. A store whose rows are derived from others (an index) is not exported.
    """

    def __init__(
        self,
        name: str,
        paths: Mapping[type[Model], str],
        parts: Mapping[type[Model], Callable[[Part], Q]],
        *,
        words: Mapping[type[Model], tuple[str, ...]] | None = None,
        exported: bool = True,
    ) -> None:
        self.name = name
        self.models: tuple[str, ...] = tuple(model._meta.label for model in paths)
        self._paths = paths
        self._parts = parts
        self._words = words or {}
        self._exported = exported

    def count(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        return {kind_of(model): rows.count() for model, rows in self._going(subject_id, part)}

    def export(self, subject_id: UUID) -> Iterator[dict[str, Any]]:
        if not self._exported:
            return
        for model in reversed(list(self._paths)):
            for row in self._rows(model, subject_id).order_by("pk").iterator(chunk_size=CHUNK):
                yield {"kind": kind_of(model), "row": _json_ready(row)}

    def texts(self, subject_id: UUID, part: Part | None = None) -> Iterator[str]:
        for model, rows in self._going(subject_id, part):
            columns = self._words.get(model, ())
            if not columns:
                continue
            ends = (rows.order_by(order).values_list(*columns)[:SAMPLED] for order in ("pk", "-pk"))
            for row in chain.from_iterable(ends):
                yield from strings_in(row)

    def erase(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        erased = {}
        for model, rows in self._going(subject_id, part):
            _, by_label = rows.delete()
            erased[kind_of(model)] = by_label.get(model._meta.label, 0)
        return erased

    def residue(self, subject_id: UUID, canaries: Sequence[str]) -> Iterator[Residue]:
        """Looks into the tables themselves, not through the paths: a wrong path must not hide what it missed."""
        own = {model._meta.db_table for model in self._paths}
        _, found, _ = look(subject_id=subject_id, whole=True, ids=(), texts=canaries, only=own)
        for finding in found:
            yield Residue(self.name, finding.table, finding.key, finding.found_by)

    def _going(self, subject_id: UUID, part: Part | None) -> Iterator[tuple[type[Model], QuerySet[Model]]]:
        for model in self._paths:
            if part is None:
                yield model, self._rows(model, subject_id)
            elif model in self._parts:
                yield model, self._rows(model, subject_id).filter(self._parts[model](part))

    def _rows(self, model: type[Model], subject_id: UUID) -> QuerySet[Model]:
        return model._default_manager.filter(**{self._paths[model]: subject_id})


def strings_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value; the names of its fields are nobody's words."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings_in(inner)


def _json_ready(row: Model) -> dict[str, Any]:
    """Every column that can be read as text or number; digests and vectors tell a person nothing."""
    values = {
        field.attname: field.value_from_object(row)
        for field in row._meta.concrete_fields
        if field.get_internal_type() != "BinaryField"
    }
    ready: dict[str, Any] = json.loads(json.dumps(values, cls=DjangoJSONEncoder))
    return ready


class AuditStore:
    """Entries stay: a pseudonym, codes and numbers. The salts that tie them to content go.

    So stay the records of erasures, of requests and holds, without people's notes on them; and what keeps erased things
    from being written again: keyed digests.
    """

    name = "audit"
    models: tuple[str, ...] = (
        "audit.Entry",
        "audit.Commitment",
        "audit.Erasure",
        "audit.ErasureTrace",
        "audit.DataRequest",
        "audit.RequestStep",
        "audit.Hold",
    )

    def count(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        notes = sum(rows.count() for rows in self._notes(subject_id, part, texts))
        return {"commitments": self._going(subject_id, part).count(), "notes": notes}

    def export(self, subject_id: UUID) -> Iterator[dict[str, Any]]:
        for model in (Entry, Erasure, DataRequest):
            rows: QuerySet[Any] = model._default_manager.filter(subject_id=subject_id).order_by("id")
            kind = f"audit_{kind_of(model)}" if model is Entry else kind_of(model)
            for row in rows.iterator(chunk_size=CHUNK):
                yield {"kind": kind, "row": _json_ready(row)}
        for step in RequestStep.objects.filter(request__subject_id=subject_id).order_by("id"):
            yield {"kind": "request_step", "row": _json_ready(step)}

    def texts(self, subject_id: UUID, part: Part | None = None) -> Iterator[str]:
        for rows in self._notes(subject_id, part, ()):
            yield from rows.values_list("note", flat=True)[:SAMPLED]

    def erase(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        removed, _ = self._going(subject_id, part).delete()
        notes = sum(rows.update(note="") for rows in self._notes(subject_id, part, texts))
        return {"commitments": removed, "notes": notes}

    def residue(self, subject_id: UUID, canaries: Sequence[str]) -> Iterator[Residue]:
        with connection.cursor() as cursor:
            cursor.execute("select id from audit_commitment where subject_id = %s", [subject_id])
            for (row_id,) in cursor.fetchall():
                yield Residue(self.name, "audit_commitment", str(row_id), "id")
        for entry in Entry.objects.filter(subject_id=subject_id).iterator(chunk_size=CHUNK):
            text = canonical_form(entry).decode()
            for canary in canaries:
                if canary in text:
                    yield Residue(self.name, "audit_entry", str(entry.id), "text")
        for rows in self._notes(subject_id, None, ()):
            for row in rows:
                yield Residue(self.name, row._meta.db_table, str(row.pk), "id")

    @staticmethod
    def _notes(subject_id: UUID, part: Part | None, texts: Sequence[str]) -> Iterator[QuerySet[Any]]:
        """The rows on which somebody wrote a note; of a part, those whose notes hold one of the texts."""
        steps: QuerySet[Any] = RequestStep.objects.filter(request__subject_id=subject_id)
        for rows in (steps, Hold.objects.filter(subject_id=subject_id)):
            noted = rows.exclude(note="")
            if part is not None:
                told = Q(pk__in=())
                for text in texts:
                    told |= Q(note__contains=text)
                noted = noted.filter(told)
            yield noted

    def _going(self, subject_id: UUID, part: Part | None) -> QuerySet[Commitment]:
        salts = Commitment.objects.filter(subject_id=subject_id)
        if part is None:
            return salts
        entries = Entry.objects.filter(subject_id=subject_id)
        objects = [str(one) for one in (*part.versions, *part.facts, *part.recalls, *part.blanked)]
        told = entries.filter(Q(session_id__in=part.sessions) | Q(object_id__in=objects))
        return salts.filter(entry_id__in=told.values("id"))
