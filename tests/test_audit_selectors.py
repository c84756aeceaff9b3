"""Reading the log: newest first, by anything that is indexed, page by page."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection

from audit.actors import Actor
from audit.ids import entry_id
from audit.integrity import leaf_hash
from audit.models import Entry
from audit.selectors import EntryFilters, entries, entry_page
from audit.services import record
from memoryhub.core.ids import uuid7
from memoryhub.core.observability import request_id_scope
from memoryhub.core.tenancy import in_workspace

AGENT = Actor.agent(uuid7())
PERSON = Actor.user(uuid7())


@pytest.fixture
def workspace_id(db):
    workspace_id = uuid7()
    with in_workspace(workspace_id):
        yield workspace_id


@pytest.mark.parametrize(
    "filters",
    [
        {"actor_kind": "user"},
        {"actor_id": PERSON.id},
        {"action": "fact.corrected"},
        {"action": "fact."},
        {"object_kind": "fact_version", "object_id": "wanted"},
        {"request_id": "request-wanted"},
        {"outcome": "failed"},
        {"subject_id": uuid4()},
        {"session_id": uuid4()},
    ],
    ids=lambda filters: next(iter(filters)),
)
def test_each_filter_keeps_what_fits_alone(workspace_id, filters):
    record(AGENT, "session.closed", ("session", "other"), subject=uuid4(), session=uuid4())
    with request_id_scope("request-wanted"):
        wanted = record(
            PERSON,
            "fact.corrected",
            ("fact_version", "wanted"),
            subject=filters.get("subject_id"),
            session=filters.get("session_id"),
            outcome="failed",
        )
    assert list(entries(workspace_id, EntryFilters(**filters))) == [wanted]


def test_filters_hold_together(workspace_id):
    record(AGENT, "fact.corrected")
    record(PERSON, "session.closed")
    wanted = record(PERSON, "fact.corrected")
    assert list(entries(workspace_id, EntryFilters(actor_kind="user", action="fact."))) == [wanted]
    assert not entries(workspace_id, EntryFilters(actor_kind="user", action="key.")).exists()


def test_the_newest_comes_first(workspace_id):
    written = [record(AGENT, "session.closed") for _ in range(5)]
    assert list(entries(workspace_id)) == written[::-1]


def test_pages_follow_each_other_without_gap_or_overlap(workspace_id):
    written = [record(AGENT, "session.closed") for _ in range(7)]
    seen, cursor, sizes = [], None, []
    while True:
        page = entry_page(workspace_id, before=cursor, limit=3)
        seen += page.entries
        sizes.append(len(page.entries))
        cursor = page.next
        if cursor is None:
            break
    assert seen == written[::-1]
    assert sizes == [3, 3, 1]


def test_a_full_last_page_has_no_next(workspace_id):
    for _ in range(3):
        record(AGENT, "session.closed")
    assert entry_page(workspace_id, limit=3).next is None


def test_what_is_written_while_paging_does_not_shift_the_pages(workspace_id):
    written = [record(AGENT, "session.closed") for _ in range(4)]
    first = entry_page(workspace_id, limit=2)
    record(AGENT, "session.closed")
    assert first.entries + entry_page(workspace_id, before=first.next, limit=2).entries == written[::-1]


def test_a_page_is_one_query(workspace_id, django_assert_num_queries):
    for _ in range(5):
        record(AGENT, "session.closed")
    with django_assert_num_queries(1):
        entry_page(workspace_id, EntryFilters(action="session."), limit=2)


def test_periods_include_their_start_and_exclude_their_end(workspace_id):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for offset in (-1, 0, 1, 2):
        _entry_at(workspace_id, noon + timedelta(microseconds=offset))
    filters = EntryFilters(since=noon, until=noon + timedelta(microseconds=2))
    assert [entry.at - noon for entry in entries(workspace_id, filters)] == [
        timedelta(microseconds=1),
        timedelta(),
    ]


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "audit_newest"),
        ({"actor_id": AGENT.id}, "audit_by_actor"),
        ({"action": "fact.corrected"}, "audit_by_action"),
        ({"subject_id": uuid4()}, "audit_by_subject"),
        ({"session_id": uuid4()}, "audit_by_session"),
        ({"since": datetime(2026, 1, 1, tzinfo=UTC)}, "audit_newest"),
        ({"object_id": "one"}, "audit_by_object"),
        ({"request_id": "one"}, "audit_by_request"),
        ({"outcome": "denied"}, "audit_not_ok"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lists_are_served_by_an_index_in_order(workspace_id, filters, index):
    with connection.cursor() as cursor:
        cursor.execute("set local enable_seqscan = off; set local enable_sort = off; set local enable_bitmapscan = off")
    plan = entries(workspace_id, EntryFilters(**filters))[:50].explain()
    assert index in plan
    assert "Sort" not in plan


def _entry_at(workspace_id, at):
    entry = Entry(
        id=entry_id(at), workspace_id=workspace_id, at=at, actor_kind="command", actor_id="test", action="demo.loaded"
    )
    entry.outcome = "ok"
    entry.leaf = leaf_hash(entry)
    entry.save(force_insert=True)
    return entry
