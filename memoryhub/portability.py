"""A copy of everything about a person, for that person: a ZIP which machines and people can read.

    index.html     what it is and what is remembered, to be read without a network
    export.json    everything, in the form that docs/privacy.md describes
    csv/KIND.csv   the same rows, a table for each kind

It is streamed: one row at a time is in memory, however many there are.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from django.utils import timezone

from audit import registry
from audit.actors import Actor
from audit.erasure.services import recipients_of
from audit.services import record
from facts.models import FactVersion
from facts.visibility import policy_of
from memoryhub.access.models import Workspace
from memoryhub.core.spreadsheet import csv_lines
from sessions.models import Subject, Turn

FORM = "memoryhub.export/1"
CHUNK = 500
LOGGED = ("A log says which agent was given what of it, and when, so that this can be checked.",)
SOURCES = {
    "user": "you said it",
    "agent": "an agent wrote it",
    "operator": "a person of this service entered it",
    "tool": "it came from a tool's result",
    "import": "it was imported",
}
RETENTION = (
    "Each kind for a time that this service set, or until you or it ask for it to be erased. The log stays, without "
    "content and without your name."
)
SHEET = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem;border-bottom:1px solid #ccc;"
    "vertical-align:top}pre{white-space:pre-wrap;margin:0;font:inherit}"
)


@dataclass(frozen=True)
class Exported:
    """What was written. The digest is the file's SHA-256."""

    rows: int
    bytes: int
    digest: str


def export_write(*, subject: Subject, target: Path, actor: Actor) -> Exported:
    """Write the copy into `target`, which only this user can read, in the transaction of the subject's workspace."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    with open(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            rows = _write_json(archive, subject)
            _write_tables(archive, subject)
            _write_page(archive, subject)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    unfinished.rename(target)
    data = {"rows": rows, "bytes": size, "digest": digest}
    record(actor, "subject.exported", subject, subject=subject, reason="subject_request", data=data)
    return Exported(rows, size, digest)


def _rows(subject: Subject) -> Iterator[dict[str, Any]]:
    for store in registry.stores():
        yield from store.export(subject.id)


def _about(subject: Subject) -> dict[str, Any]:
    return {
        "form": FORM,
        "made_at": timezone.now().isoformat(),
        "service": Workspace.objects.get(pk=subject.workspace_id).name,
        "subject_id": str(subject.id),
        "user_id": subject.external_id,
        "purposes": [policy_of(subject.workspace_id).register_purpose, *LOGGED],
        "sources": SOURCES,
        "recipients": recipients_of(subject.id, workspace_id=subject.workspace_id),
        "retention": RETENTION,
    }


def _write_json(archive: zipfile.ZipFile, subject: Subject) -> int:
    count = 0
    with _text(archive, "export.json") as out:
        out.write(json.dumps(_about(subject), ensure_ascii=False, indent=1).rstrip("}\n") + ',\n "rows": [')
        for count, row in enumerate(_rows(subject), start=1):
            out.write((",\n" if count > 1 else "\n") + json.dumps(row, ensure_ascii=False))
        out.write("\n]}\n")
    return count


def _write_tables(archive: zipfile.ZipFile, subject: Subject) -> None:
    # Stores give out one kind after the other.
    for kind, of_kind in groupby(_rows(subject), key=lambda row: str(row["kind"])):
        with _text(archive, f"csv/{kind}.csv") as out:
            titles: list[str] = []
            for row in of_kind:
                if not titles:
                    titles = list(row["row"])
                    out.write(csv_lines([titles]))
                out.write(csv_lines([[_cell(row["row"].get(title)) for title in titles]]))


def _write_page(archive: zipfile.ZipFile, subject: Subject) -> None:
    about = _about(subject)
    with _text(archive, "index.html") as out:
        out.write(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>What is remembered</title><style>{SHEET}</style>"
            f"<h1>What {escape(about['service'])} remembers</h1><p>Of <b>{escape(subject.external_id)}</b>, as of "
            f"{escape(about['made_at'][:16].replace('T', ' '))} UTC. Everything is in export.json and, as tables, "
            "under csv/.</p><h2>What for</h2>"
        )
        out.write("".join(f"<p>{escape(purpose)}</p>" for purpose in about["purposes"]))
        out.write(f"<h2>How long</h2><p>{escape(RETENTION)}</p><h2>Who was given something of it</h2>")
        for one in about["recipients"]:
            when = f", from {one['first'][:10]} to {one['last'][:10]}" if "first" in one else ""
            out.write(
                f"<p>{escape(one['who'])}: {escape(one['what'].replace('_', ' '))}, {one['times']} times{when}</p>"
            )
        out.write("<p>Nobody.</p>" if not about["recipients"] else "")
        out.write("<h2>What is known</h2><table><tr><th>Since<th>What<th>How<th>State</tr>")
        known = FactVersion.objects.filter(fact__subject=subject).order_by("valid_from", "id")
        for version in known.iterator(chunk_size=CHUNK):
            cells = (f"{version.valid_from:%Y-%m-%d}", version.content, SOURCES.get(version.source, ""), version.status)
            out.write(f"<tr>{''.join(f'<td>{escape(cell)}' for cell in cells)}</tr>")
        out.write("</table><h2>What was said</h2><table><tr><th>When<th>Who<th>What</tr>")
        said = Turn.objects.filter(session__subject=subject).order_by("session__started_at", "session_id", "index")
        for turn in said.iterator(chunk_size=CHUNK):
            who = turn.name or turn.role
            out.write(
                f"<tr><td>{turn.occurred_at:%Y-%m-%d %H:%M}<td>{escape(who)}<td><pre>{escape(turn.text)}</pre></tr>"
            )
        out.write("</table></html>\n")


def _text(archive: zipfile.ZipFile, name: str) -> io.TextIOWrapper:
    entry: IO[bytes] = archive.open(name, "w")
    return io.TextIOWrapper(entry, encoding="utf-8", newline="")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
