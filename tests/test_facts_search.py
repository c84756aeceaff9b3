"""Search over one person's memory: what is found, and what never is."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.utils import timezone
from memory_samples import embed_all, learn, say, viewpoint

from audit.actors import Actor
from facts.models import Fact, FactType, FactVersion, Status
from facts.retrieval.results import FactSearch, TurnHit
from facts.retrieval.search import loaded, prepare_query, search_facts, search_turns
from memoryhub.access.models import Agent
from memoryhub.access.services import agent_get_or_create
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject, TurnRole


def find(agent: Agent, text: str, *, user: str = "alice", **limits: object) -> FactSearch:
    query = prepare_query(text, text_config="english")
    with in_workspace(agent.workspace_id):
        subject = Subject.objects.get(external_id=user)
        given = {"top_k": 5, "sight": viewpoint(agent).sight()} | limits
        return search_facts(workspace_id=agent.workspace_id, subject_id=subject.id, query=query, **given)  # type: ignore[arg-type]


def contents(agent: Agent, found: FactSearch) -> list[str]:
    with in_workspace(agent.workspace_id):
        return [hit.version.content for hit in loaded(found.hits, viewpoint(agent).sight())]


def turns(agent: Agent, text: str, *, user: str = "alice", top_k: int = 5, min_score: float = 0.0) -> list[TurnHit]:
    query = prepare_query(text, text_config="english")
    with in_workspace(agent.workspace_id):
        subject = Subject.objects.get(external_id=user)
        return search_turns(
            workspace_id=agent.workspace_id,
            subject_id=subject.id,
            query=query,
            top_k=top_k,
            sight=viewpoint(agent).sight(),
            min_score=min_score,
        )


@pytest.fixture
def remembered(agent: Agent) -> Agent:
    learn(agent, "The shop runs on AWS", attribute="cloud provider")
    learn(agent, "Answers should be in German", type=FactType.PREFERENCE, entity="answers", attribute="language")
    learn(agent, "The migration may cost 40000 euros", entity="migration", attribute="budget", value=40_000, unit="EUR")
    learn(
        agent, "Mia looks after the database", type=FactType.ENTITY, entity="Mia", attribute="role", mentions=("Mia",)
    )
    embed_all(agent.workspace_id)
    return agent


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("Which cloud provider do we use?", "The shop runs on AWS"),
        ("What language do I want replies in?", "Answers should be in German"),
        ("How much money is there for moving?", "The migration may cost 40000 euros"),
        ("What does Mia do?", "Mia looks after the database"),
        ("What was it about 40,000?", "The migration may cost 40000 euros"),
    ],
)
def test_the_right_fact_comes_first(remembered: Agent, asked: str, answer: str) -> None:
    found = find(remembered, asked)
    assert contents(remembered, found)[0] == answer
    assert all(0 <= hit.score <= 1 for hit in found.candidates)


def test_the_threshold_and_top_k_bound_the_hits_and_not_the_candidates(remembered: Agent) -> None:
    everything = find(remembered, "Which cloud provider do we use?")
    assert len(everything.hits) == len(everything.candidates) == 4
    limit = everything.hits[0].score
    assert len(find(remembered, "Which cloud provider do we use?", threshold=limit).hits) == 1
    assert not find(remembered, "Which cloud provider do we use?", threshold=1.0).hits
    few = find(remembered, "Which cloud provider do we use?", top_k=2)
    assert (len(few.hits), len(few.candidates)) == (2, 4)


def test_what_has_nothing_to_do_with_anything_known_stays_under_the_threshold(
    remembered: Agent, settings: LazySettings
) -> None:
    found = find(remembered, "Who painted the Mona Lisa?", threshold=settings.SCORE_THRESHOLD)
    assert not found.hits
    assert found.candidates


def test_the_raw_cosine_can_be_asked_for(remembered: Agent) -> None:
    found = find(remembered, "Which cloud provider do we use?")
    similarities = [hit.similarity for hit in found.hits]
    assert all(value is not None and -1 <= value <= 1 for value in similarities)
    highest = max(value for value in similarities if value is not None)
    assert len(find(remembered, "Which cloud provider do we use?", min_similarity=highest).hits) == 1


def test_facts_are_found_by_type(remembered: Agent) -> None:
    found = find(remembered, "cloud language budget Mia", types=[FactType.PREFERENCE])
    assert contents(remembered, found) == ["Answers should be in German"]


def test_a_superseded_version_is_found_and_fades(remembered: Agent) -> None:
    learn(remembered, "The shop runs on GCP", attribute="cloud provider")
    embed_all(remembered.workspace_id)
    found = find(remembered, "Which cloud provider do we use?")
    assert set(contents(remembered, found)[:2]) == {"The shop runs on GCP", "The shop runs on AWS"}
    later = find(remembered, "Which cloud provider do we use?", now=timezone.now() + timedelta(days=60))
    assert contents(remembered, later)[0] == "The shop runs on GCP"
    soon = {hit.version.status: hit.score for hit in found.hits[:2]}
    faded = {hit.version.status: hit.score for hit in later.hits[:2]}
    assert faded[Status.CURRENT] == pytest.approx(soon[Status.CURRENT])
    assert faded[Status.SUPERSEDED] == pytest.approx(soon[Status.SUPERSEDED] * 0.81, rel=1e-3)


@pytest.mark.parametrize("status", [Status.QUARANTINED, Status.REJECTED, Status.STALE])
def test_what_may_not_be_surfaced_is_not_even_a_candidate(remembered: Agent, status: Status) -> None:
    with in_workspace(remembered.workspace_id):
        FactVersion.objects.filter(content="The shop runs on AWS").update(status=status)
    found = find(remembered, "Which cloud provider do we use?")
    with in_workspace(remembered.workspace_id):
        assert "The shop runs on AWS" not in [
            hit.version.content for hit in loaded(found.candidates, viewpoint(remembered).sight())
        ]


def test_an_expired_fact_is_not_found(remembered: Agent) -> None:
    learn(remembered, "Root password rotates", attribute="rotation", expires_at=timezone.now() + timedelta(days=1))
    assert "Root password rotates" in contents(remembered, find(remembered, "root password"))
    later = find(remembered, "root password", now=timezone.now() + timedelta(days=2))
    assert "Root password rotates" not in contents(remembered, later)


def test_a_fact_kept_for_one_agent_is_found_by_it_alone(remembered: Agent, actor: Actor) -> None:
    with in_workspace(remembered.workspace_id):
        FactVersion.objects.update(approved_at=timezone.now())
        Fact.objects.filter(attribute="cloud_provider").update(visible_to=remembered)
        other = agent_get_or_create(workspace_id=remembered.workspace_id, name="other", actor=actor)
    assert "The shop runs on AWS" in contents(remembered, find(remembered, "cloud provider"))
    found = contents(other, find(other, "cloud provider"))
    assert "The shop runs on AWS" not in found and len(found) == 3


def test_a_fact_is_found_by_what_was_said_when_it_was_learned(agent: Agent) -> None:
    said = say(agent, "Our espresso machine broke, so Tom brings a thermos from now on.").turns
    learn(agent, "Tom provides the drinks", entity="office", attribute="drinks", turn=said[0])
    learn(agent, "The windows are cleaned on Fridays", entity="office", attribute="windows")
    embed_all(agent.workspace_id)
    assert contents(agent, find(agent, "What happened to the espresso machine?"))[0] == "Tom provides the drinks"


def test_nobody_elses_memory_is_found(remembered: Agent) -> None:
    learn(remembered, "Bob's shop runs on Azure", user="bob", attribute="cloud provider")
    say(remembered, "Bob here, we run on Azure.", session="bobs", user="bob")
    embed_all(remembered.workspace_id)
    assert not any("Azure" in content for content in contents(remembered, find(remembered, "Azure cloud provider")))
    assert contents(remembered, find(remembered, "cloud provider", user="bob")) == ["Bob's shop runs on Azure"]


def test_a_turn_is_found_at_once_and_by_meaning_later(agent: Agent) -> None:
    say(agent, "My daughter broke her arm on the trampoline.", "It rained all day.", "I bought a new bicycle.")
    found = turns(agent, "trampoline")
    assert found[0].turn.text.startswith("My daughter")
    assert set(found[0].scores) <= {"keyword", "context", "exact"}
    embed_all(agent.workspace_id)
    by_meaning = turns(agent, "Which child had an accident?")
    assert by_meaning[0].turn.text.startswith("My daughter")
    assert by_meaning[0].scores["semantic"] > 0


def test_an_answer_is_found_through_the_question_before_it(agent: Agent) -> None:
    say(agent, "Which hotel did you stay at in Lisbon?", role=TurnRole.ASSISTANT)
    say(agent, "The Avenida, it was lovely.")
    say(agent, "Anyway, I need a haircut.")
    embed_all(agent.workspace_id)
    found = [hit.turn.text for hit in turns(agent, "hotel Lisbon")]
    assert set(found[:2]) == {"Which hotel did you stay at in Lisbon?", "The Avenida, it was lovely."}


def test_the_end_of_a_long_turn_is_found(agent: Agent) -> None:
    filler = "We talked about the schedule of the sprint and who would take which task of the backlog. " * 60
    say(agent, filler + "Oh, and the spare key hangs behind the blue door.", role=TurnRole.ASSISTANT)
    say(agent, "Thanks, that is all for now.", "See you on Monday.")
    embed_all(agent.workspace_id)
    # The answer to it, which is read with the end of what it answers, may stand before it.
    assert any(hit.turn.text.endswith("behind the blue door.") for hit in turns(agent, "Where is the spare key?")[:2])


def test_a_turn_without_text_is_not_found(agent: Agent) -> None:
    say(agent, "   ", "hello there")
    embed_all(agent.workspace_id)
    assert [hit.turn.text for hit in turns(agent, "hello")][0] == "hello there"


def test_turns_under_the_wanted_score_are_left_out(agent: Agent) -> None:
    say(agent, "We run on AWS.", "The weather is fine.")
    embed_all(agent.workspace_id)
    found = turns(agent, "AWS")
    assert turns(agent, "AWS", min_score=found[0].score) == found[:1]
    assert len(turns(agent, "AWS", top_k=1)) == 1


def test_without_an_embedder_words_still_find(remembered: Agent, settings: LazySettings) -> None:
    settings.EMBEDDER = "none"
    found = find(remembered, "Which cloud provider do we use?")
    assert contents(remembered, found)[0] == "The shop runs on AWS"
    assert found.hits[0].similarity is None
    assert all(0 <= hit.score <= 1 for hit in found.hits)
    # A wish for a raw cosine cannot be met by anything, and must not empty the answer.
    assert find(remembered, "Which cloud provider do we use?", min_similarity=0.72).hits


def test_a_question_of_stop_words_alone_is_answered(remembered: Agent) -> None:
    assert len(find(remembered, "What was it?").candidates) == 4
