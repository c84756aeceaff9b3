"""The log as a file: every matching entry, page by page, in memory that does not grow with the log."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC
from enum import StrEnum
from typing import Any
from uuid import UUID

from audit.actors import Actor
from audit.integrity import canonical_form, canonical_json
from audit.models import Entry
from audit.selectors import EntryFilters, entries
from audit.services import record
from audit.shapes import instant
from memoryhub.core import spreadsheet
from memoryhub.core.tenancy import in_workspace

PAGE = 1_000
COLUMNS = (
    "id",
    "at",
    "action",
    "outcome",
    "reason",
    "actor_kind",
    "actor_id",
    "credential",
    "object_kind",
    "object_id",
    "subject_id",
    "session_id",
    "request_id",
    "schema",
    "data",
    "leaf",
)


class ExportForm(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


MEDIA_TYPES = {ExportForm.CSV: spreadsheet.MEDIA_TYPE, ExportForm.JSONL: "application/x-ndjson"}


def export_begin(*, workspace_id: UUID, filters: EntryFilters, form: ExportForm, actor: Actor) -> Entry:
    """Record that an export begins: committed before the first byte leaves, so that none leaves unrecorded."""
    with in_workspace(workspace_id):
        return record(
            actor,
            "audit.export_began",
            workspace_id=workspace_id,
            subject=filters.one_subject,
            data={"filters": filters.used, "form": form.value},
        )


def export_chunks(*, began: Entry, filters: EntryFilters, form: ExportForm, actor: Actor) -> Iterator[bytes]:
    """The entries before `began`, newest first, some hundred kilobytes at a time.

    Each page is read in a transaction of its own, in the workspace of `began`: between two of them, while a slow reader
    takes its time, none is open. The log is append-only, so the pages fit together. Before the last chunk is given out
    the export's end is recorded with the number of entries and the SHA-256 of all bytes; an export without that entry
    broke off.
    """
    digest, count, before = hashlib.sha256(), 0, began.id
    chunk = spreadsheet.csv_lines([COLUMNS]).encode() if form is ExportForm.CSV else b""
    while True:
        with in_workspace(began.workspace_id):
            found = list(entries(began.workspace_id, filters).filter(id__lt=before)[:PAGE])
            chunk += _written(found, form)
            digest.update(chunk)
            count += len(found)
            if len(found) < PAGE:
                record(
                    actor,
                    "audit.exported",
                    began,
                    workspace_id=began.workspace_id,
                    subject=filters.one_subject,
                    data={"returned": count, "digest": digest.digest()},
                )
        yield chunk
        if len(found) < PAGE:
            return
        chunk, before = b"", found[-1].id


def file_name(workspace: str, began: Entry, form: ExportForm) -> str:
    """`audit-acme-20260301T093000Z.csv`: what a workspace is called in addresses holds nothing that needs quoting."""
    return f"audit-{workspace}-{began.at.astimezone(UTC):%Y%m%dT%H%M%SZ}.{form.value}"


def _written(found: Sequence[Entry], form: ExportForm) -> bytes:
    if form is ExportForm.CSV:
        return spreadsheet.csv_lines([_row(entry) for entry in found]).encode()
    return b"".join(
        b'{"entry":%b,"leaf":"%b"}\n' % (canonical_form(entry), bytes(entry.leaf).hex().encode()) for entry in found
    )


def _row(entry: Entry) -> list[str]:
    values: dict[str, Any] = {
        "at": instant(entry.at),
        "data": canonical_json(entry.data).decode(),
        "leaf": bytes(entry.leaf).hex(),
    }
    return [str(values.get(name, getattr(entry, name)) or "") for name in COLUMNS]
