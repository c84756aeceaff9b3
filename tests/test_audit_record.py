"""Writing entries: in the caller's transaction, without content, and the same after a round trip."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import TextChoices
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import audit
from audit.actions import ACTIONS
from audit.actors import Actor
from audit.errors import EntryRefused, NotInTransaction
from audit.integrity import leaf_hash
from audit.models import INSTALLATION, Commitment, Entry
from audit.reasons import REASONS
from audit.services import commitment_holds, receipt, record
from audit.shapes import LARGEST
from memoryhub.core.ids import uuid7
from memoryhub.core.observability import request_id_scope
from memoryhub.core.tenancy import in_workspace

AGENT = Actor.agent(uuid7(), credential="mh_1a2b3c4d")


@pytest.fixture
def workspace_id() -> UUID:
    return uuid7()


@pytest.mark.django_db
def test_an_entry_says_who_did_what_to_which_thing(workspace_id):
    subject_id, session_id, recall_id = uuid4(), uuid7(), uuid7()
    with request_id_scope("caller-chosen-1"), in_workspace(workspace_id):
        record(
            AGENT,
            "memory.surfaced",
            ("recall", recall_id),
            subject=subject_id,
            session=session_id,
            outcome="degraded",
            reason="embedder_unavailable",
            data={"recall_id": recall_id, "degraded": ["semantic"], "items": []},
        )
        entry = Entry.objects.get()
    assert entry.workspace_id == workspace_id
    assert (entry.actor_kind, entry.actor_id, entry.credential) == ("agent", AGENT.id, "mh_1a2b3c4d")
    assert (entry.object_kind, entry.object_id) == ("recall", str(recall_id))
    assert (entry.subject_id, entry.session_id) == (subject_id, session_id)
    assert (entry.outcome, entry.reason) == ("degraded", "embedder_unavailable")
    assert entry.request_id == "caller-chosen-1"
    assert entry.data == {"recall_id": str(recall_id), "degraded": ["semantic"], "items": []}


@pytest.mark.django_db
def test_the_package_itself_offers_record(workspace_id):
    with in_workspace(workspace_id):
        entry = audit.record(audit.Actor.command("up"), "demo.loaded")
        assert audit.receipt(entry).startswith(f"mh2:{entry.id}:{bytes(entry.leaf).hex()}:")


def test_an_entry_outside_a_transaction_is_refused(hub_db, workspace_id):
    with pytest.raises(NotInTransaction):
        record(AGENT, "session.closed", workspace_id=workspace_id)


def test_an_entry_is_rolled_back_with_what_it_tells_of(hub_db, workspace_id):
    class Halfway(Exception):
        pass

    with pytest.raises(Halfway), in_workspace(workspace_id):
        entry = record(AGENT, "session.closed")
        raise Halfway
    with in_workspace(workspace_id):
        assert not Entry.objects.filter(pk=entry.pk).exists()


@pytest.mark.django_db
def test_an_entry_is_one_insert(workspace_id, django_assert_num_queries):
    with in_workspace(workspace_id), django_assert_num_queries(1) as queries:
        record(AGENT, "session.closed", workspace_id=workspace_id, data={"turns": 4})
    assert queries[0]["sql"].startswith("INSERT INTO")


@pytest.mark.django_db
def test_a_thing_that_knows_its_workspace_costs_no_question(workspace_id, django_assert_num_queries):
    class Thing:
        audit_ref = ("session", "17")

    thing = Thing()
    thing.workspace_id = workspace_id
    with in_workspace(workspace_id), django_assert_num_queries(1):
        entry = record(AGENT, "session.closed", thing)
    assert (entry.object_kind, entry.object_id, entry.workspace_id) == ("session", "17", workspace_id)


@pytest.mark.django_db
def test_a_model_is_named_by_its_class_in_snake_case(workspace_id):
    with in_workspace(workspace_id):
        salt = Commitment(workspace_id=workspace_id, entry_id=uuid7(), label="block", salt=bytes(32))
        assert record(AGENT, "session.closed", salt).object_kind == "commitment"


@pytest.mark.django_db
def test_an_entry_for_another_workspace_is_refused_by_the_database(workspace_id):
    with in_workspace(workspace_id), pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
        record(AGENT, "session.closed", workspace_id=uuid7())


@pytest.mark.django_db
def test_entries_of_another_workspace_are_not_seen_without_any_filter(workspace_id):
    with in_workspace(workspace_id):
        record(AGENT, "session.closed")
    with in_workspace(uuid7()):
        assert Entry.objects.count() == 0
        assert Commitment.objects.count() == 0


@pytest.mark.django_db
def test_without_a_workspace_nothing_is_recorded():
    with transaction.atomic(), pytest.raises(EntryRefused, match="needs a workspace"):
        record(AGENT, "session.closed")


@pytest.mark.django_db
def test_the_installation_has_a_log_of_its_own():
    with in_workspace(INSTALLATION):
        record(Actor.system("sign_in"), "user.sign_in_failed", reason="wrong_credentials", data={"attempts": 3})
        assert Entry.objects.get().workspace_id == INSTALLATION


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"action": "memory.guessed"}, "not an action"),
        ({"reason": "The user told me that he moved to Lyon"}, "audit/reasons.py"),
        ({"reason": "moved_to_lyon"}, "audit/reasons.py"),
        ({"outcome": "fine"}, "not a valid Outcome"),
        ({"obj": ("fact", "likes tea")}, "an object is named"),
        ({"obj": ("fact", "a" * 65)}, "an object is named"),
        ({"obj": ("Fact!", "1")}, "an object is named"),
        ({"data": {"content": "likes tea"}}, "may not hold content"),
        ({"data": {"fact_id": "likes tea"}}, "not a UUID"),
        ({"data": {"confidence": "high"}}, "not a number"),
        ({"data": {"confidence": float("nan")}}, "not finite"),
        ({"data": {"version": -1}}, "not a count"),
        ({"data": {"version": True}}, "not a count"),
        ({"data": {"source": "a friend"}}, "none of"),
        ({"data": {"extracted_by": "likes tea"}}, "not a name"),
        ({"data": {"turn_ids": "0199f6a0-0000-7000-8000-000000000001"}}, "not a list"),
        ({"data": {"turn_ids": [{"text": "likes tea"}]}}, "not a UUID"),
        ({"data": {"commitments": {"content": "0" * 64}}}, "may not hold commitments"),
        ({"commit": {"note": "likes tea"}}, "may not commit"),
    ],
    ids=str,
)
@pytest.mark.django_db
def test_content_and_unknown_words_never_get_in(workspace_id, wrong, says):
    arguments = {"action": "fact.corrected", **wrong}
    with in_workspace(workspace_id):
        with pytest.raises(ValueError, match=says):
            record(AGENT, **arguments)
        assert not Entry.objects.exists()


@pytest.mark.django_db
def test_a_key_without_a_value_is_left_out(workspace_id):
    with in_workspace(workspace_id):
        assert record(AGENT, "fact.corrected", data={"version": 2, "replaces": None}).data == {"version": 2}


@pytest.mark.django_db
def test_codes_may_come_as_enum_members(workspace_id):
    class Kind(TextChoices):
        SEARCH = "search", "search"

    with in_workspace(workspace_id):
        entry = record(AGENT, "memory.surfaced", data={"kind": Kind.SEARCH})
        entry.refresh_from_db()
    assert entry.data == {"kind": "search"}
    assert leaf_hash(entry) == bytes(entry.leaf)


@pytest.mark.parametrize("actor_id", ["", "Ann Lee", "ann@example.org", "a" * 65, "-x", "x\n"])
def test_an_actor_is_named_by_an_id(actor_id):
    with pytest.raises(EntryRefused):
        Actor.system(actor_id)


# Commitments


@pytest.mark.django_db
def test_a_commitment_proves_the_content_until_its_salt_is_erased(workspace_id):
    subject_id = uuid4()
    with in_workspace(workspace_id):
        entry = record(AGENT, "fact.corrected", subject=subject_id, commit={"content": "Prefers tea ☕"})
        entry.refresh_from_db()
        assert commitment_holds(entry, "content", "Prefers tea ☕") is True
        assert commitment_holds(entry, "content", "Prefers coffee") is False
        assert commitment_holds(entry, "block", "Prefers tea ☕") is None
        assert "tea" not in str(entry.data)
        Commitment.objects.filter(subject_id=subject_id).delete()
        assert commitment_holds(entry, "content", "Prefers tea ☕") is None
        assert leaf_hash(entry) == bytes(entry.leaf)


@pytest.mark.django_db
def test_equal_contents_give_unlike_commitments(workspace_id):
    with in_workspace(workspace_id):
        one = record(AGENT, "fact.corrected", commit={"content": "Prefers tea"})
        other = record(AGENT, "fact.corrected", commit={"content": "Prefers tea"})
    assert one.data["commitments"] != other.data["commitments"]


# The leaf after a round trip

uuids = st.uuids()
counts = st.integers(0, LARGEST)
scores = st.floats(-1e9, 1e9)
codes = st.from_regex(r"[a-z][a-z0-9_.:-]{0,30}", fullmatch=True)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,60}", fullmatch=True)
items = st.fixed_dictionaries(
    {"kind": st.sampled_from(["fact", "turn"]), "id": uuids, "rank": counts},
    optional={"score": scores, "version": counts, "fact_id": st.none() | uuids},
)
surfacings = st.fixed_dictionaries(
    {},
    optional={
        "recall_id": uuids,
        "items": st.lists(items, max_size=5),
        "degraded": st.lists(codes, max_size=3),
        "considered": counts,
        "score_threshold": scores,
        "min_similarity": st.none() | scores,
        "reused": st.booleans(),
        "embedder": names,
    },
)
actors = st.one_of(
    st.builds(Actor.agent, uuids, credential=st.from_regex(r"(mh_[0-9a-f]{8})?", fullmatch=True)),
    st.builds(Actor.user, uuids),
    st.builds(Actor.system, st.from_regex(r"[a-z][a-z_.:-]{0,40}", fullmatch=True)),
    st.builds(Actor.command, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True)),
)
references = st.none() | st.tuples(
    st.from_regex(r"[a-z][a-z_]{0,31}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    actor=actors,
    obj=references,
    subject=st.none() | uuids,
    session=st.none() | uuids,
    outcome=st.sampled_from(["ok", "denied", "failed", "degraded"]),
    reason=st.sampled_from(["", *REASONS]),
    data=surfacings,
    commit=st.none() | st.dictionaries(st.sampled_from(["block", "message"]), st.text(max_size=50)),
    request_id=st.none() | st.from_regex(r"[A-Za-z0-9._-]{8,64}", fullmatch=True),
)
def test_the_leaf_is_the_same_after_a_round_trip(hub_db, workspace_id, request_id, commit, **fields):
    with request_id_scope(request_id), in_workspace(workspace_id):
        written = record(action="memory.surfaced", commit=_encodable(commit), **fields)
    connection.close()  # nothing may come from what this connection or this object remembers
    with in_workspace(workspace_id):
        read = Entry.objects.get(pk=written.pk)
    assert leaf_hash(read) == bytes(read.leaf) == bytes(written.leaf)
    assert receipt(read) == receipt(written)


def _encodable(commit: dict[str, str] | None) -> dict[str, str] | None:
    return {label: text.encode("utf-8", "replace").decode() for label, text in commit.items()} if commit else None


@pytest.mark.django_db
def test_changing_a_stored_row_is_noticed_by_its_leaf(workspace_id):
    with in_workspace(workspace_id):
        entry = record(AGENT, "session.closed", data={"turns": 4})
        entry.refresh_from_db()
        for change in ({"data": {"turns": 5}}, {"at": datetime(2026, 1, 1, tzinfo=UTC)}, {"outcome": "failed"}):
            changed = Entry.objects.get(pk=entry.pk)
            for name, value in change.items():
                setattr(changed, name, value)
            assert leaf_hash(changed) != bytes(changed.leaf)


def test_every_action_says_what_it_means():
    assert all(action.says.endswith(".") for action in ACTIONS.values())
