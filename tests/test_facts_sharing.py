"""Who is shown what: provenance alone decides, in the same way wherever memory is given out."""

import itertools
from dataclasses import replace
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone
from memory_samples import embed_all, learn, say, viewpoint
from test_facts_quarantine import extract, policy

from audit.actors import Actor
from facts.models import FactVersion, RecallKind, Source, Status
from facts.reading import FactListing, facts_page
from facts.retrieval.search import prepare_query, search_facts, search_turns
from facts.review import turns_release, turns_withhold, version_approve
from facts.search import SearchRequest, memory_search
from facts.visibility import LET_IN, Sight, version_shown
from facts.working_memory import MemoryRequest, working_memory
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.access.policy import Sharing
from memoryhub.access.services import agent_get_or_create
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject, Turn, TurnRole


@pytest.fixture
def other(workspace: Workspace, actor: Actor) -> Agent:
    return agent_get_or_create(workspace_id=workspace.id, name="other", actor=actor)


@pytest.fixture
def person(operator: User) -> Actor:
    return Actor.user(operator.id)


def seen(agent: Agent, message: str = "Where does the shop run?", session: str = "next") -> str:
    """Everything that is given to the agent about alice, by every way there is, as one text."""
    view = viewpoint(agent)
    memory = working_memory(view=view, ask=MemoryRequest("alice", message, session, score_threshold=0.0, top_k=50))
    found = memory_search(view=view, ask=SearchRequest("alice", message, top_k=50))
    with in_workspace(agent.workspace_id):
        subject = Subject.objects.get(external_id="alice")
        page = facts_page(view=view, listing=FactListing(subject, statuses=LET_IN), after=None, limit=100)
    texts = [memory.block, *(turn.text for turn in memory.turns)]
    for hit in found.hits:
        texts.append(hit.turn.text if hasattr(hit, "turn") else hit.version.content)
        texts.append(str(hit.told_in))
    texts += [f"{hit.version.content} {hit.version.fact.entity} {hit.told_in}" for hit in page.hits]
    return "\n".join(texts)


def test_what_another_agent_wrote_waits_for_approval(agent: Agent, other: Agent, person: Actor) -> None:
    written = learn(other, "The shop runs on AWS")
    assert "AWS" in seen(other) and "AWS" not in seen(agent)
    with in_workspace(agent.workspace_id):
        version_approve(version=written.version, actor=person)
    assert "AWS" in seen(agent)


def test_what_the_subject_said_is_shown_to_every_agent_unless_nothing_is_shared(
    agent: Agent, other: Agent, workspace: Workspace
) -> None:
    [turn] = say(other, "Our shop runs on AWS.", session="secret-name").turns
    extract(other, "The shop runs on AWS", turn)
    everything = seen(agent)
    assert "The shop runs on AWS" in everything and "Our shop runs on AWS." in everything
    # How another agent calls its sessions is its own affair.
    assert "secret-name" not in everything and "secret-name" in seen(other)
    with policy(workspace, sharing=Sharing.NOTHING):
        assert "AWS" not in seen(agent)
        assert "AWS" in seen(other)


def test_an_agent_that_corrects_does_not_put_away_what_another_sees(agent: Agent, other: Agent) -> None:
    mine = learn(agent, "The shop runs on AWS")
    theirs = learn(other, "The shop runs on nothing at all")
    assert theirs.version.fact_id != mine.version.fact_id
    assert "AWS" in seen(agent) and "nothing at all" not in seen(agent)
    assert "AWS" not in seen(other) and "nothing at all" in seen(other)


def test_what_the_subject_says_to_another_agent_takes_the_place_of_an_agents_word(agent: Agent, other: Agent) -> None:
    learn(agent, "The shop runs on AWS")
    newer = extract(other, "The shop runs on GCP", say(other, "We moved to GCP.").turns[0])
    assert newer.version.number == 2
    assert "GCP" in seen(agent) and "GCP" in seen(other)
    assert "AWS" not in seen(other)


def test_what_the_subject_repeats_is_shown_once(agent: Agent, other: Agent) -> None:
    learn(agent, "The shop runs on AWS")
    again = extract(other, "The shop runs on AWS", say(other, "It is AWS.").turns[0])
    assert (again.reason, again.version.source) == ("said_by_subject", Source.USER)
    memory = working_memory(
        view=viewpoint(agent),
        ask=MemoryRequest("alice", "Where does the shop run?", "next", score_threshold=0.0, recent_turns=0),
    )
    assert memory.block.count("The shop runs on AWS") == 1


@pytest.mark.parametrize("sharing", list(Sharing))
def test_of_another_agents_sessions_only_the_subjects_own_words_are_shown(
    agent: Agent, other: Agent, workspace: Workspace, sharing: Sharing
) -> None:
    say(other, "The shop word runs.", session="o1")
    say(other, "The shop answer runs.", session="o1", role=TurnRole.ASSISTANT)
    say(other, "The shop result runs.", session="o1", role=TurnRole.TOOL)
    say(other, "The shop system runs.", session="o1", role=TurnRole.SYSTEM)
    blocks = [
        {"type": "tool_result", "tool_use_id": "c", "content": "The shop mixed runs."},
        {"type": "text", "text": "What is it?"},
    ]
    say(other, blocks, session="o1")  # type: ignore[arg-type]
    with policy(workspace, sharing=sharing):
        everything = seen(agent)
    shown = {word for word in ("word", "answer", "result", "system", "mixed") if f"The shop {word} runs" in everything}
    assert shown == ({"word"} if sharing == Sharing.SAID_BY_SUBJECT else set())


def test_tool_results_are_surfaced_only_if_the_workspace_says_so(agent: Agent, workspace: Workspace) -> None:
    say(agent, "The shop result runs.", session="mine", role=TurnRole.TOOL)
    say(agent, "The shop word runs.", session="mine")
    assert "result" not in seen(agent) and "word" in seen(agent)
    with policy(workspace, surface_tool_results=True):
        assert "result" in seen(agent)


def test_withheld_turns_are_never_shown_and_come_back_when_released(agent: Agent, person: Actor) -> None:
    say(agent, "The shop runs on AWS.", session="mine")
    assert "AWS" in seen(agent)
    with in_workspace(agent.workspace_id):
        assert turns_withhold(turns=Turn.objects.all(), actor=person, reason="suspicious") == 1
    assert "AWS" not in seen(agent)
    with in_workspace(agent.workspace_id):
        assert turns_release(turns=Turn.objects.all(), actor=person) == 1
    embed_all(agent.workspace_id)
    assert "AWS" in seen(agent)


def test_a_block_that_is_kept_for_a_session_is_made_anew_when_something_in_it_may_be_shown_no_longer(
    agent: Agent, other: Agent, person: Actor, workspace: Workspace
) -> None:
    extract(other, "The shop runs on AWS", say(other, "Our shop runs on AWS.").turns[0])
    ask = MemoryRequest("alice", "Where does the shop run?", "kept", score_threshold=0.0, refresh="session")
    first = working_memory(view=viewpoint(agent), ask=ask)
    assert "AWS" in first.block and working_memory(view=viewpoint(agent), ask=ask).block == first.block
    with policy(workspace, sharing=Sharing.NOTHING):
        assert "AWS" not in working_memory(view=viewpoint(agent), ask=ask).block
    say(agent, "I love Antwerp.", session="before")
    ask = MemoryRequest("alice", "Where does the shop run?", "kept too", score_threshold=0.0, refresh="session")
    assert "Antwerp" in working_memory(view=viewpoint(agent), ask=ask).block
    with in_workspace(workspace.id):
        turns_withhold(turns=Turn.objects.all(), actor=person, reason="suspicious")
    assert "Antwerp" not in working_memory(view=viewpoint(agent), ask=ask).block


def test_a_flood_of_what_is_hidden_does_not_crowd_out_what_is_not(agent: Agent, other: Agent) -> None:
    learn(agent, "The shop runs on AWS in Dublin")
    say(agent, "The shop runs on AWS in Dublin, as we said.", session="mine")
    for start in range(0, 300, 50):
        say(
            other,
            *(f"The shop runs on AWS in Dublin or on cloud {start + n}." for n in range(50)),
            session=f"flood-{start}",
            role=TurnRole.ASSISTANT,
        )
    for number in range(120):
        learn(other, f"The shop runs on AWS in Dublin or on cloud {number}", attribute=f"cloud {number}")
    embed_all(agent.workspace_id)
    query = prepare_query("Does the shop run on AWS in Dublin?", text_config="english")
    with in_workspace(agent.workspace_id):
        where = {"workspace_id": agent.workspace_id, "subject_id": Subject.objects.get().id, "query": query}
        sight = viewpoint(agent).sight()
        assert len(search_facts(**where, top_k=5, sight=sight).hits) == 1  # type: ignore[arg-type]
        assert len(search_turns(**where, top_k=5, sight=sight)) == 1  # type: ignore[arg-type]
        theirs = viewpoint(other).sight()
        assert len(search_facts(**where, top_k=50, sight=theirs).hits) > 30  # type: ignore[arg-type]


def test_the_rule_is_the_same_in_every_form(agent: Agent, other: Agent) -> None:
    fact = learn(agent, "first").version.fact
    number = itertools.count(2)
    with in_workspace(agent.workspace_id):
        FactVersion.objects.update(status=Status.SUPERSEDED)
        for source, who, approved in itertools.product(Source, (agent, other, None), (None, timezone.now())):
            FactVersion.objects.create(
                workspace_id=agent.workspace_id,
                fact=fact,
                number=next(number),
                content="x",
                source=source,
                agent=who,
                approved_at=approved,
                valid_from=timezone.now(),
                status=Status.SUPERSEDED,
            )
        for sharing, viewer in itertools.product(Sharing, (agent.id, None)):
            sight = Sight(viewer, sharing)
            by_orm = set(FactVersion.objects.filter(sight.versions()).values_list("id", flat=True))
            assert by_orm == {one.id for one in FactVersion.objects.select_related("fact") if sight.shows(one)}
            assert by_orm == _by_sql(sight)
            assert by_orm


def _by_sql(sight: Sight) -> set[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"select v.id from facts_factversion v where {version_shown('v')}",  # noqa: S608 - our own words
            sight.parameters(),
        )
        return {row[0] for row in cursor.fetchall()}


def test_the_rule_for_turns_is_the_same_in_both_forms(agent: Agent, other: Agent, person: Actor) -> None:
    for who in (agent, other):
        for role in TurnRole:
            say(who, f"{role} one", f"{role} two", session=who.name, role=role)
    with in_workspace(agent.workspace_id):
        turns_withhold(turns=Turn.objects.filter(text__endswith="two"), actor=person, reason="suspicious")
        for sharing, viewer, results in itertools.product(Sharing, (agent.id, None), (False, True)):
            sight = Sight(viewer, sharing, results)
            by_orm = set(Turn.objects.filter(sight.turns()).values_list("id", flat=True))
            assert by_orm == {turn.id for turn in Turn.objects.select_related("session") if sight.shows_turn(turn)}
        assert set(Turn.objects.filter(Sight(agent.id).turns()).values_list("text", flat=True)) == {
            "user one",
            "assistant one",
            "system one",
        }
        assert Session.objects.count() == 2


def test_a_preview_shows_what_the_chosen_agent_would_be_given(agent: Agent, other: Agent) -> None:
    learn(other, "The shop runs on AWS")
    for who, shown in ((agent, False), (other, True)):
        view = replace(viewpoint(who), kind=RecallKind.PREVIEW)
        memory = working_memory(
            view=view, ask=MemoryRequest("alice", "Where does the shop run?", "", score_threshold=0.0)
        )
        assert ("AWS" in memory.block) is shown
        assert bool(memory.candidates) is shown
