"""What the audit log itself holds of a person."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from audit.integrity import canonical_form
from audit.models import Commitment, Entry
from audit.registry import Residue


class AuditStore:
    """Entries stay: a pseudonym, codes and numbers. The salts that tie them to content go."""

    name = "audit"
    models = ("audit.Entry", "audit.Commitment")

    def count(self, subject_id: UUID) -> dict[str, int]:
        return {"commitments": Commitment.objects.filter(subject_id=subject_id).count()}

    def export(self, subject_id: UUID) -> Iterator[dict[str, Any]]:
        entries = Entry.objects.filter(subject_id=subject_id).order_by("id")
        for entry in entries.iterator(chunk_size=500):
            yield {
                "kind": "audit_entry",
                "id": str(entry.id),
                "at": entry.at.isoformat(),
                "actor_kind": entry.actor_kind,
                "actor_id": entry.actor_id,
                "action": entry.action,
                "outcome": entry.outcome,
                "reason": entry.reason,
                "data": entry.data,
            }

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
