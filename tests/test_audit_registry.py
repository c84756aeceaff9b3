"""The registry of personal-data stores, and the log's own store."""

from uuid import uuid4

import pytest

from audit import registry
from audit.actors import Actor
from audit.models import Commitment, Entry
from audit.services import record
from audit.stores import AuditStore
from memoryhub.core.ids import uuid7
from memoryhub.core.tenancy import in_workspace

AGENT = Actor.agent(uuid7())


def test_models_that_reach_a_subject_are_found_through_foreign_keys():
    reaching = registry.models_reaching_subjects()
    assert {
        "memory_sessions.Subject",  # itself
        "memory_sessions.Session",  # names it
        "memory_sessions.Turn",  # through its session
        "facts.Evidence",  # through its version's fact
        "facts.RecalledItem",
        "facts.Extraction",
        "audit.Entry",  # by a plain id
        "audit.Commitment",
    } <= reaching
    assert not {"access.Workspace", "access.Agent", "access.User", "access.ApiKey"} & reaching


def test_every_model_that_reaches_a_subject_has_a_store():
    assert registry.unclaimed_models() == set()


def test_no_store_claims_a_model_that_is_not_there():
    claimed = {label for store in registry.stores() for label in store.models}
    assert claimed <= registry.models_reaching_subjects()


def test_no_model_is_claimed_twice():
    claimed = [label for store in registry.stores() for label in store.models]
    assert len(claimed) == len(set(claimed))


def test_a_second_store_of_the_same_name_is_refused():
    with pytest.raises(ValueError, match="registered already"):
        registry.register(AuditStore())


@pytest.mark.django_db
def test_the_log_gives_up_its_salts_and_keeps_its_entries():
    erased, other = uuid4(), uuid4()
    store = AuditStore()
    with in_workspace(uuid7()):
        record(AGENT, "fact.corrected", subject=erased, commit={"content": "Prefers tea"})
        record(AGENT, "memory.surfaced", subject=erased, commit={"block": "…", "message": "…"})
        record(AGENT, "fact.corrected", subject=other, commit={"content": "Prefers coffee"})
        assert store.count(erased) == {"commitments": 3, "notes": 0}
        assert store.erase(erased) == {"commitments": 3, "notes": 0}
        assert store.erase(erased) == {"commitments": 0, "notes": 0}
        assert list(store.residue(erased, ["Prefers tea"])) == []
        assert Entry.objects.filter(subject_id=erased).count() == 2
        assert Commitment.objects.count() == 1


@pytest.mark.django_db
def test_residue_is_found_by_id_and_by_canary():
    subject_id = uuid4()
    with in_workspace(uuid7()):
        entry = record(AGENT, "fact.corrected", ("fact", "canary-7"), subject=subject_id, commit={"content": "x"})
        found = list(AuditStore().residue(subject_id, ["canary-7"]))
    assert {residue.found_by for residue in found} == {"id", "text"}
    assert str(entry.id) in {residue.id for residue in found}


@pytest.mark.django_db
def test_the_export_tells_what_was_recorded_about_a_person():
    subject_id = uuid4()
    with in_workspace(uuid7()):
        record(AGENT, "fact.corrected", subject=subject_id, reason="outdated")
        record(AGENT, "fact.corrected", subject=uuid4())
        rows = list(AuditStore().export(subject_id))
    (entry,) = rows
    assert entry["kind"] == "audit_entry"
    assert (entry["row"]["action"], entry["row"]["reason"]) == ("fact.corrected", "outdated")
