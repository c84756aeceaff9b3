"""The audit log as a file: whole, safe to open in a spreadsheet, recorded, and read in memory that stays flat."""

import csv
import hashlib
import io
import json
import os
import re
from datetime import timedelta
from uuid import UUID, uuid4

import psutil
import pytest
from api_contract import ContractClient
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from audit.actors import Actor
from audit.export import COLUMNS, PAGE, ExportForm, export_begin, export_chunks
from audit.ids import entry_id
from audit.integrity import LEAF_PREFIX, SCHEMA
from audit.models import Entry
from audit.selectors import NO_FILTERS, EntryFilters
from audit.services import record
from memoryhub.access.models import User, Workspace
from memoryhub.core.spreadsheet import csv_lines, neutral, original
from memoryhub.core.tenancy import in_workspace

CALCULATED = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
ENTRIES = 200_000 if os.environ.get("FULL_SCALE") else 20_000


def some_entries(workspace: Workspace, count: int) -> None:
    with in_workspace(workspace.id):
        for number in range(count):
            record(Actor.command("tests"), "audit.read", workspace, data={"returned": number})


def exported(workspace: Workspace, form: ExportForm, filters: EntryFilters = NO_FILTERS) -> bytes:
    actor = Actor.command("tests")
    began = export_begin(workspace_id=workspace.id, filters=filters, form=form, actor=actor)
    return b"".join(export_chunks(began=began, filters=filters, form=form, actor=actor))


def stored(workspace: Workspace) -> list[Entry]:
    with in_workspace(workspace.id):
        return list(Entry.objects.filter(workspace_id=workspace.id).order_by("-id"))


def rows_of(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.decode("ascii"), newline="")))


def test_every_column_of_every_entry_is_in_the_csv(workspace: Workspace) -> None:
    some_entries(workspace, 3)
    before = stored(workspace)
    file = exported(workspace, ExportForm.CSV)
    assert file.startswith(",".join(COLUMNS).encode() + b"\r\n"), "and no byte order mark: the log is ASCII"
    rows = rows_of(file)
    assert [row["id"] for row in rows] == [str(entry.id) for entry in before]
    for row, entry in zip(rows, before, strict=True):
        assert json.loads(row["data"]) == entry.data
        assert row["leaf"] == bytes(entry.leaf).hex()
        for name in ("action", "outcome", "actor_kind", "actor_id", "object_kind", "object_id", "request_id"):
            assert original(row[name]) == getattr(entry, name)


def test_a_line_of_json_proves_its_entry(workspace: Workspace) -> None:
    some_entries(workspace, 3)
    before = stored(workspace)
    lines = exported(workspace, ExportForm.JSONL).splitlines()
    assert len(lines) == len(before)
    for line, entry in zip(lines, before, strict=True):
        assert json.loads(line)["entry"]["id"] == str(entry.id)
        hashed = re.fullmatch(rb'\{"entry":(.*),"leaf":"([0-9a-f]{64})"\}', line)
        assert hashed
        assert hashlib.sha256(LEAF_PREFIX + hashed[1]).hexdigest() == hashed[2].decode()


@pytest.mark.parametrize("form", list(ExportForm))
def test_an_empty_export_is_a_file_too(workspace: Workspace, form: ExportForm) -> None:
    file = exported(workspace, form, EntryFilters(request_id="nobody-asked"))
    assert file == ((",".join(COLUMNS) + "\r\n").encode() if form is ExportForm.CSV else b"")


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_pages_fit_together(workspace: Workspace, count: int) -> None:
    subject = uuid4()
    entries_by_sql(workspace, count, subject)
    rows = rows_of(exported(workspace, ExportForm.CSV, EntryFilters(subject_id=subject)))
    assert len({row["id"] for row in rows}) == len(rows) == count
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)


def test_the_filters_are_those_of_the_list(workspace: Workspace, api: ContractClient) -> None:
    some_entries(workspace, 2)
    for query in ({"action": "audit."}, {"action": "key.created"}, {"since": "2100-01-01T00:00:00Z"}):
        listed = api.ask("/audit", **query, limit=100).json()["entries"]
        file = b"".join(api.ask("/audit/export", **query, format="jsonl").streaming_content)
        found = [json.loads(line)["entry"] for line in file.splitlines()]
        named = [entry["id"] for entry in listed]
        assert [entry["id"] for entry in found if entry["id"] in named] == named
        assert all(entry["action"] in ("audit.read", "audit.export_began") or entry["id"] in named for entry in found)


def test_beginning_and_end_are_recorded_with_the_digest_of_the_file(workspace: Workspace, api: ContractClient) -> None:
    answer = api.ask("/audit/export", format="csv", action="key.")
    assert [entry.action for entry in stored(workspace)][0] == "audit.export_began", "before the first byte"
    file = b"".join(answer.streaming_content)
    ended, began = stored(workspace)[:2]
    assert (began.action, began.data) == ("audit.export_began", {"filters": ["action"], "form": "csv"})
    assert ended.action == "audit.exported"
    assert ended.object_id == str(began.id)
    assert ended.data == {"returned": len(rows_of(file)), "digest": hashlib.sha256(file).hexdigest()}


def test_an_export_that_breaks_off_leaves_its_beginning_alone(workspace: Workspace) -> None:
    entries_by_sql(workspace, 2 * PAGE, uuid4())
    actor = Actor.command("tests")
    began = export_begin(workspace_id=workspace.id, filters=NO_FILTERS, form=ExportForm.CSV, actor=actor)
    chunks = export_chunks(began=began, filters=NO_FILTERS, form=ExportForm.CSV, actor=actor)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert stored(workspace)[0].id == began.id


def test_no_other_workspace_is_in_it(workspace: Workspace, other_workspace: Workspace, api: ContractClient) -> None:
    some_entries(other_workspace, 3)
    with in_workspace(workspace.id):
        file = exported(workspace, ExportForm.JSONL)
    assert {json.loads(line)["entry"]["workspace_id"] for line in file.splitlines()} == {str(workspace.id)}
    answer = api.ask("/audit/export", format="jsonl")
    # Whatever workspace a thread was last in, the stream opens its own.
    with in_workspace(other_workspace.id):
        file = b"".join(answer.streaming_content)
    assert {json.loads(line)["entry"]["workspace_id"] for line in file.splitlines()} == {str(workspace.id)}


def test_the_page_offers_the_file_with_its_filters(client: Client, auditor: User, workspace: Workspace) -> None:
    some_entries(workspace, 2)
    client.force_login(auditor)
    page = client.get(f"/w/{workspace.slug}/audit/?q=action:audit.+outcome:ok").content.decode()
    for form, media_type in (("csv", "text/csv; charset=utf-8"), ("jsonl", "application/x-ndjson")):
        [link] = re.findall(rf'href="([^"]*export\.{form}[^"]*)"', page)
        assert "q=action%3Aaudit.+outcome%3Aok" in link
        answer = client.get(link.replace("&amp;", "&"))
        assert answer["Content-Type"] == media_type
        name = re.fullmatch(r'attachment; filename="(.*)"', answer["Content-Disposition"])
        assert name and re.fullmatch(rf"audit-acme-\d{{8}}T\d{{6}}Z\.{form}", name[1])
        assert "no-store" in answer["Cache-Control"]
        file = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        assert "audit.read" in file and "workspace.created" not in file


def test_a_search_that_cannot_be_read_leads_back_to_the_list(
    client: Client, auditor: User, workspace: Workspace
) -> None:
    client.force_login(auditor)
    answer = client.get(f"/w/{workspace.slug}/audit/export.csv?q=outcome:wonderful")
    assert (answer.status_code, answer["Location"]) == (302, f"/w/{workspace.slug}/audit/?q=outcome%3Awonderful")


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=4), max_size=5))
def test_any_cell_comes_back_and_none_is_calculated(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_lines(rows), newline=""), strict=True))
    assert [[original(cell) for cell in row] for row in read if row] == [row for row in rows if row != []]
    for cell in (cell for row in read for cell in row):
        assert not cell.startswith(CALCULATED)
        assert not cell.lstrip().startswith(CALCULATED)


@pytest.mark.parametrize("cell", ["plain", "", "1", "{}", "a=b", "2026-03-01T09:30:00Z", '"=1+1"'])
def test_what_is_harmless_stays_as_it_is(cell: str) -> None:
    assert neutral(cell) == cell


def entries_by_sql(workspace: Workspace, count: int, subject: UUID) -> None:
    """`count` entries about `subject`, faster than the service writes them; their leaves prove nothing."""
    began = timezone.now() - timedelta(days=1)
    times = [began + timedelta(milliseconds=at) for at in range(count)]
    with in_workspace(workspace.id), connection.cursor() as cursor:
        cursor.execute(
            "insert into audit_entry (id, at, workspace_id, subject_id, actor_kind, actor_id, credential, action,"
            " object_kind, object_id, request_id, outcome, reason, data, schema, leaf)"
            " select id, at, %s, %s, 'agent', repeat('a', 36), 'mh_00000000', 'memory.surfaced', 'recall',"
            " repeat('b', 36), repeat('c', 36), 'ok', '', jsonb_build_object('items', repeat('d', 300)), %s, %s"
            " from unnest(%s::uuid[], %s::timestamptz[]) as made (id, at)",
            [workspace.id, subject, SCHEMA, b"\x00" * 32, [entry_id(at) for at in times], times],
        )


@pytest.mark.scale
@pytest.mark.parametrize("form", list(ExportForm))
def test_memory_does_not_grow_with_the_log(workspace: Workspace, form: ExportForm) -> None:
    subject, few = uuid4(), uuid4()
    entries_by_sql(workspace, 2_000, few)
    entries_by_sql(workspace, ENTRIES, subject)
    actor, process = Actor.command("tests"), psutil.Process()
    assert lines_and_memory(workspace, form, few, actor)[0] == 2_000
    start = process.memory_info().rss
    count, most = lines_and_memory(workspace, form, subject, actor)
    assert count == ENTRIES
    assert most - start < 16e6


def lines_and_memory(workspace: Workspace, form: ExportForm, subject: UUID, actor: Actor) -> tuple[int, int]:
    """How many entries an export has, and the most memory that was in use while it was read."""
    filters = EntryFilters(subject_id=subject)
    began = export_begin(workspace_id=workspace.id, filters=filters, form=form, actor=actor)
    process, lines, most = psutil.Process(), 0, 0
    for chunk in export_chunks(began=began, filters=filters, form=form, actor=actor):
        lines += chunk.count(b"\n")
        most = max(most, process.memory_info().rss)
    return lines - (form is ExportForm.CSV), most
