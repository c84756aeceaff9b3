"""Stores of personal data: what the audit log itself holds of a person, and the common kind, rows of models."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.db.models import Model, QuerySet

from audit.integrity import canonical_form
from audit.kinds import kind_of
from audit.models import Commitment, Entry
from audit.registry import Residue

CHUNK = 500


class ModelStore:
    """Rows of models, each found through a path of foreign keys to the subject's id.

    `paths` names children before their parents: that is the order in which they are erased. A store whose rows are
    derived from others (an index) is not exported.
    """

    def __init__(self, name: str, paths: Mapping[type[Model], str], *, exported: bool = True) -> None:
        self.name = name
        self.models: tuple[str, ...] = tuple(model._meta.label for model in paths)
        self._paths = paths
        self._exported = exported

    def count(self, subject_id: UUID) -> dict[str, int]:
        return {kind_of(model): self._rows(model, subject_id).count() for model in self._paths}

    def export(self, subject_id: UUID) -> Iterator[dict[str, Any]]:
        if not self._exported:
            return
        for model in reversed(list(self._paths)):
            for row in self._rows(model, subject_id).order_by("pk").iterator(chunk_size=CHUNK):
                yield {"kind": kind_of(model), "row": _json_ready(row)}

    def erase(self, subject_id: UUID) -> dict[str, int]:
        erased = {}
        for model in self._paths:
            _, by_label = self._rows(model, subject_id).delete()
            erased[kind_of(model)] = by_label.get(model._meta.label, 0)
        return erased

    def residue(self, subject_id: UUID, canaries: Sequence[str]) -> Iterator[Residue]:
        """Looks into the tables themselves, not through the paths: a wrong path must not hide what it missed."""
        # Inside JSON a text stands escaped, at whatever depth.
        needles = [str(subject_id), *(json.dumps(canary, ensure_ascii=False)[1:-1] for canary in canaries)]
        for model in self._paths:
            with connection.cursor() as cursor:
                cursor.execute(_search(model, len(needles)), [needles[0], *needles])
                for key, by_id in cursor.fetchall():
                    yield Residue(self.name, model._meta.db_table, str(key), "subject id" if by_id else "canary")

    def _rows(self, model: type[Model], subject_id: UUID) -> QuerySet[Model]:
        return model._default_manager.filter(**{self._paths[model]: subject_id})


def _search(model: type[Model], needles: int) -> str:
    """Rows of the workspace in which any of the needles stands, and whether the first one does."""
    quote = connection.ops.quote_name
    key, table = quote(str(model._meta.pk.column)), quote(model._meta.db_table)
    found = " or ".join(["strpos(row.text, %s) > 0"] * needles)
    # The names come from our own models.
    return (
        f"select row.key, strpos(row.text, %s) > 0 "  # noqa: S608
        f"from (select t.{key} as key, to_jsonb(t)::text as text from {table} t) row where {found}"
    )


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
    """Entries stay: a pseudonym, codes and numbers. The salts that tie them to content go."""

    name = "audit"
    models: tuple[str, ...] = ("audit.Entry", "audit.Commitment")

    def count(self, subject_id: UUID) -> dict[str, int]:
        return {"commitments": Commitment.objects.filter(subject_id=subject_id).count()}

    def export(self, subject_id: UUID) -> Iterator[dict[str, Any]]:
        entries = Entry.objects.filter(subject_id=subject_id).order_by("id")
        for entry in entries.iterator(chunk_size=500):
            yield {"kind": "audit_entry", "row": _json_ready(entry)}

    def erase(self, subject_id: UUID) -> dict[str, int]:
        removed, _ = Commitment.objects.filter(subject_id=subject_id).delete()
        return {"commitments": removed}

    def residue(self, subject_id: UUID, canaries: Sequence[str]) -> Iterator[Residue]:
        with connection.cursor() as cursor:
            cursor.execute("select id from audit_commitment where subject_id = %s", [subject_id])
            for (row_id,) in cursor.fetchall():
                yield Residue(self.name, "audit_commitment", str(row_id), "subject id")
        for entry in Entry.objects.filter(subject_id=subject_id).iterator(chunk_size=500):
            text = canonical_form(entry).decode()
            for canary in canaries:
                if canary in text:
                    yield Residue(self.name, "audit_entry", str(entry.id), "canary")
