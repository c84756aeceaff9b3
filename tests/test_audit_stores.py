"""The stores of every app together: what they count is what they erase, and nothing is left that another look finds."""

import json
from uuid import UUID

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django_q.tasks import async_task

from audit import registry
from audit.models import Entry
from facts.models import FactVersion, RecallKind, Source
from facts.recall import Item, surface
from facts.services import fact_correct
from memoryhub.core.tenancy import in_workspace
from memoryhub.demo.loading import load_demo
from sessions.models import Subject, Turn


@pytest.fixture
def people(workspace, agent, actor):
    """Three people with sessions, facts, corrections with a note, and something surfaced about each."""
    load_demo(agent=agent, actor=actor)
    with in_workspace(workspace.id):
        subjects = list(Subject.objects.order_by("external_id"))
        for subject in subjects:
            async_task("nowhere.at_all", subject.id)
            shown = SessionStore()
            shown["revealed"] = {str(subject.id): "2026-01-01"}
            shown.save()
        for subject in subjects:
            version = FactVersion.objects.filter(fact__subject=subject, status="current").first()
            fact_correct(
                fact=version.fact,
                content=f"Corrected for {subject.external_id}",
                expected_version=version.number,
                source=Source.OPERATOR,
                note=f'A "note" about\n{subject.external_id}',
                actor=actor,
            )
            turn = Turn.objects.filter(session__subject=subject).first()
            surface(
                workspace_id=workspace.id,
                subject=subject,
                kind=RecallKind.WORKING_MEMORY,
                items=[Item(version=version), Item(turn=turn)],
                actor=actor,
                agent_id=agent.id,
                message=f"A message of {subject.external_id}",
                block=f"A block for {subject.external_id}",
            )
        yield subjects


OF_TENANTS = {store.name for store in registry.stores() if store.models}


def counted(subject_id: UUID) -> dict[str, dict[str, int]]:
    return {store.name: store.count(subject_id) for store in registry.stores()}


def canaries(subject: Subject) -> list[str]:
    """Texts that are in the stores because of this person alone."""
    texts = [subject.external_id, f'A "note" about\n{subject.external_id}']
    texts += Turn.objects.filter(session__subject=subject).values_list("text", flat=True)
    texts += FactVersion.objects.filter(fact__subject=subject).values_list("content", flat=True)
    return texts


def left(subject_id: UUID, texts: list[str]) -> list[registry.Residue]:
    return [residue for store in registry.stores() for residue in store.residue(subject_id, texts)]


def test_what_is_counted_is_what_is_erased_and_nothing_is_left(people):
    erased, *others = people
    texts = canaries(erased)
    before = counted(erased.id)
    kept = {other.id: counted(other.id) for other in others}
    assert all(sum(kinds.values()) > 0 for kinds in before.values()), "the cast leaves a store empty"
    assert len(left(erased.id, texts)) > 20

    done = {store.name: store.erase(erased.id) for store in reversed(registry.stores())}

    assert done == before
    assert all(sum(kinds.values()) == 0 for kinds in counted(erased.id).values())
    assert left(erased.id, texts) == []
    assert {other.id: counted(other.id) for other in others} == kept


def test_erasing_twice_is_harmless(people):
    for _ in range(2):
        done = [store.erase(people[0].id) for store in reversed(registry.stores())]
    assert all(sum(kinds.values()) == 0 for kinds in done)


def test_the_log_remembers_that_something_happened_and_nothing_of_what(people):
    erased = people[0]
    texts = canaries(erased)
    entries = Entry.objects.filter(subject_id=erased.id).count()
    for store in reversed(registry.stores()):
        store.erase(erased.id)
    assert Entry.objects.filter(subject_id=erased.id).count() == entries > 0
    with connection.cursor() as cursor:
        cursor.execute("select string_agg(to_jsonb(e)::text, ' ') from audit_entry e")
        (log,) = cursor.fetchone()
    assert not [text for text in texts if json.dumps(text, ensure_ascii=False)[1:-1] in log]


def test_each_store_finds_what_it_did_not_erase(people):
    """The independent look finds rows that the erasure missed, in every table, by id or by text."""
    erased = people[0]
    texts = canaries(erased)
    found = {residue.where for residue in left(erased.id, texts)}
    for table in (
        "memory_sessions_subject",
        "memory_sessions_session",
        "memory_sessions_turn",
        "facts_fact",
        "facts_factversion",
        "facts_facttransition",
        "facts_recall",
        "search_posting",
        "audit_commitment",
    ):
        assert table in found


def test_the_export_holds_every_text_and_is_json(people):
    subject, other, _ = people
    rows = [row for store in registry.stores() for row in store.export(subject.id)]
    exported = json.dumps(rows, ensure_ascii=False)
    for text in canaries(subject):
        assert json.dumps(text, ensure_ascii=False)[1:-1] in exported
    assert other.external_id not in exported
    assert {"subject", "session", "turn", "fact", "fact_version", "recall", "audit_entry"} <= {
        row["kind"] for row in rows
    }


def test_another_workspace_sees_none_of_it(people, other_workspace):
    with in_workspace(other_workspace.id):
        # The queue and the sign-ins belong to no workspace: whoever is to be erased is looked up in theirs before.
        assert all(sum(kinds.values()) == 0 for name, kinds in counted(people[0].id).items() if name in OF_TENANTS)
        found = left(people[0].id, [])
        assert {residue.store for residue in found} <= {"queue", "sign_ins"}
        exported = [row for store in registry.stores() if store.models for row in store.export(people[0].id)]
        assert exported == []
