"""Working memory: the right block, a receipt for it, or nothing."""

from dataclasses import replace

import pytest
from django.conf import LazySettings
from django.db import DatabaseError, connections
from django.utils import timezone
from memory_samples import embed_all, learn, say, viewpoint

from audit.models import Entry
from facts.models import Recall, RecalledItem, RecallKind, Status
from facts.services import fact_mark_stale, fact_pin
from facts.working_memory import MemoryRequest, WorkingMemory, working_memory
from memoryhub.access.models import Agent, MemoryMode
from memoryhub.access.services import agent_get_or_create
from memoryhub.core.embedding import service
from memoryhub.core.tenancy import in_workspace
from sessions.exceptions import UnknownSession
from sessions.models import Subject

ASK = MemoryRequest("alice", "Which cloud do we run on?", "today")


@pytest.fixture
def remembered(agent: Agent) -> Agent:
    """An agent to which Alice said where she runs, and since when elsewhere."""
    turns = say(agent, "We run production on AWS.", "We moved production to GCP.", session="monday").turns
    learn(agent, "Runs production on AWS", attribute="cloud provider", turn=turns[0])
    learn(agent, "Runs production on GCP", attribute="cloud provider", turn=turns[1])
    learn(agent, "Prefers answers in German", entity="answers", attribute="language")
    embed_all(agent.workspace_id)
    return agent


def asked(agent: Agent, mode: MemoryMode = MemoryMode.FULL, **changes: object) -> WorkingMemory:
    return working_memory(view=viewpoint(agent, mode), ask=replace(ASK, **changes))  # type: ignore[arg-type]


def test_what_was_said_yesterday_is_there_today(remembered: Agent) -> None:
    memory = asked(remembered)
    assert "Runs production on GCP" in memory.block
    assert "- user: We moved production to GCP." in memory.block
    assert memory.block.startswith("<working_memory>\n")
    assert memory.block.endswith("\n</working_memory>")


def test_what_was_replaced_stands_beside_what_replaced_it(remembered: Agent) -> None:
    lines = [line for line in asked(remembered).block.splitlines() if line.startswith("- F1 ")]
    assert [("superseded" in line, "GCP" in line) for line in lines] == [(False, True), (True, False)]


def test_everything_surfaced_is_in_the_log(remembered: Agent) -> None:
    memory = asked(remembered)
    assert memory.recall is not None
    with in_workspace(remembered.workspace_id):
        entry = Entry.objects.get(action="memory.surfaced")
        items = list(RecalledItem.objects.filter(recall_id=memory.recall.recall_id).order_by("rank"))
    logged = [(item["kind"], item["id"], item["rank"]) for item in entry.data["items"]]
    given = [("fact", hit.version.id) for hit in memory.facts] + [("turn", turn.id) for turn in memory.turns]
    assert logged == [(kind, str(pk), rank) for rank, (kind, pk) in enumerate(given, start=1)]
    assert [item.version_id or item.turn_id for item in items] == [pk for _, pk in given]
    assert memory.recall.receipt.startswith(f"mh2:{entry.id}:{bytes(entry.leaf).hex()}:")
    assert "GCP" not in str(entry.data)


def test_without_an_audit_entry_nothing_is_surfaced(hub_db: str, remembered: Agent) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("revoke insert on audit_entry from memoryhub")
    with pytest.raises(DatabaseError, match="permission denied"):
        asked(remembered)
    with in_workspace(remembered.workspace_id):
        assert not Recall.objects.exists()


def test_an_unknown_person_is_an_empty_answer_and_leaves_no_trace(remembered: Agent) -> None:
    memory = asked(remembered, user_id="nobody")
    assert (memory.block, memory.recall) == ("", None)
    with in_workspace(remembered.workspace_id):
        assert not Subject.objects.filter(external_id="nobody").exists()
        assert not Recall.objects.exists()


@pytest.mark.parametrize("column", ["restricted_at", "surfacing_paused_at"])
def test_nothing_is_surfaced_of_someone_who_is_restricted_or_paused(remembered: Agent, column: str) -> None:
    with in_workspace(remembered.workspace_id):
        Subject.objects.update(**{column: timezone.now()})
    memory = asked(remembered)
    assert (memory.block, memory.paused, memory.recall) == ("", True, None)


def test_a_stale_fact_is_no_longer_surfaced_nor_what_it_replaced(remembered: Agent) -> None:
    fact = asked(remembered).facts[0].version.fact
    with in_workspace(remembered.workspace_id):
        fact_mark_stale(fact=fact, actor=viewpoint(remembered).actor, reason="contradicted")
    memory = asked(remembered, recent_turns=0)
    assert fact.id not in {hit.version.fact_id for hit in memory.facts}
    assert "AWS" not in memory.block


def test_a_pinned_fact_enters_whatever_is_asked(remembered: Agent) -> None:
    with in_workspace(remembered.workspace_id):
        german = Subject.objects.get().facts.get(attribute="language")
        fact_pin(fact=german, pinned=True, actor=viewpoint(remembered).actor)
    assert "Prefers answers in German" in asked(remembered, message="zzz", score_threshold=1.0).block


def test_a_fact_of_one_agent_is_not_shown_to_another(remembered: Agent) -> None:
    learn(remembered, "Cloud bill is 900 EUR", attribute="cloud bill", visible_to_id=remembered.id)
    other = agent_get_or_create(workspace_id=remembered.workspace_id, name="other", actor=viewpoint(remembered).actor)
    ask = {"message": "What is the cloud bill?", "recent_turns": 0}
    assert "900 EUR" in asked(remembered, **ask).block
    assert "900 EUR" not in asked(other, **ask).block


def test_an_episodic_agent_gets_turns_and_no_facts(remembered: Agent) -> None:
    memory = asked(remembered, MemoryMode.EPISODIC)
    assert memory.facts == ()
    assert memory.turns
    assert "mark_fact_stale" not in memory.block


def test_the_block_of_a_session_stays_the_same_bytes(remembered: Agent) -> None:
    first = asked(remembered, refresh="session")
    learn(remembered, "Runs production on Azure", attribute="cloud provider")
    again = asked(remembered, refresh="session", message="And what else?")
    assert again.block == first.block
    assert again.recall != first.recall
    with in_workspace(remembered.workspace_id):
        assert Entry.objects.filter(action="memory.surfaced").count() == 2
    assert asked(remembered, refresh="session", session_id="tomorrow").block != first.block


def test_the_block_of_a_session_is_made_anew_when_part_of_it_may_not_be_shown(remembered: Agent) -> None:
    first = asked(remembered, refresh="session")
    version = first.facts[0].version
    with in_workspace(remembered.workspace_id):
        type(version).objects.filter(pk=version.pk).update(status=Status.REJECTED)
    assert version.content not in asked(remembered, refresh="session", recent_turns=0).block


def test_a_block_made_anew_is_the_one_that_is_kept(remembered: Agent) -> None:
    version = asked(remembered, refresh="session").facts[0].version
    with in_workspace(remembered.workspace_id):
        type(version).objects.filter(pk=version.pk).update(status=Status.REJECTED)
    anew = asked(remembered, refresh="session")
    learn(remembered, "Runs production on Azure", attribute="cloud")
    assert asked(remembered, refresh="session", message="And what else?").block == anew.block


def test_a_changed_memory_mode_changes_the_block_of_a_running_session(remembered: Agent) -> None:
    assert "Runs production on GCP" in asked(remembered, refresh="session").block
    episodic = asked(remembered, MemoryMode.EPISODIC, refresh="session")
    assert (episodic.facts, "Runs production on GCP" in episodic.block) == ((), False)


def test_the_previous_session_must_be_one_of_this_person(remembered: Agent) -> None:
    say(remembered, "Hello", session="of-bob", user="bob")
    with pytest.raises(UnknownSession):
        asked(remembered, previous_session_id="of-bob")


def test_without_its_embedder_memory_works_by_words_and_says_so(remembered: Agent, settings: LazySettings) -> None:
    settings.EMBEDDER = "openai"
    settings.EMBEDDER_URL = "http://127.0.0.1:9/v1"  # nothing listens there
    settings.EMBEDDER_MODEL, settings.EMBEDDER_DIMENSIONS = "any", 384
    service.reset()
    try:
        memory = asked(remembered)
    finally:
        service.reset()
    assert memory.degraded == ("semantic",)
    assert "Runs production on GCP" in memory.block
    with in_workspace(remembered.workspace_id):
        assert Entry.objects.get(action="memory.surfaced").outcome == "degraded"


def test_a_preview_is_logged_as_one(remembered: Agent) -> None:
    view = replace(viewpoint(remembered), kind=RecallKind.PREVIEW)
    assert working_memory(view=view, ask=ASK).block
    with in_workspace(remembered.workspace_id):
        assert Entry.objects.filter(action="memory.previewed").count() == 1
        assert not Entry.objects.filter(action="memory.surfaced").exists()
