"""A person decides about what waits: let in, put right, turned down; each as one entry, and nothing else changes."""

import pytest
from memory_samples import learn, say
from test_facts_quarantine import codes, extract, statuses

from audit.actors import Actor
from audit.models import Entry
from facts.decision import Outcome
from facts.exceptions import NotPossible, OwnWork
from facts.models import FactTransition, FactVersion, Source, Status
from facts.review import (
    ReviewFilter,
    review_queue,
    reviewed,
    version_approve,
    version_edit,
    version_reject,
)
from facts.services import fact_mark_stale, fact_restore
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.access.services import agent_get_or_create
from memoryhub.core.search.models import Posting
from memoryhub.core.tenancy import in_workspace
from sessions.models import TurnRole


@pytest.fixture
def person(operator: User) -> Actor:
    return Actor.user(operator.id)


@pytest.fixture
def other(workspace: Workspace, actor: Actor) -> Agent:
    return agent_get_or_create(workspace_id=workspace.id, name="other", actor=actor)


@pytest.fixture
def waiting(agent: Agent) -> FactVersion:
    """What a tool says about something that an agent knows already."""
    learn(agent, "Runs on AWS")
    [turn] = say(agent, "Hosting: GCP", role=TurnRole.TOOL).turns
    return learn(agent, "Runs on GCP", turn=turn).version


def test_what_is_let_in_takes_its_place_for_every_agent(agent: Agent, waiting: FactVersion, person: Actor) -> None:
    with in_workspace(agent.workspace_id):
        approved = version_approve(version=waiting, actor=person, note="Asked them")
        assert (approved.status, approved.approved_at is not None) == (Status.CURRENT, True)
        assert Posting.objects.filter(item=approved.id).exists()
        entry = Entry.objects.get(action="fact.approved")
        note = FactTransition.objects.get(version=approved, to_status=Status.CURRENT).note
        with pytest.raises(NotPossible):
            version_approve(version=FactVersion.objects.get(number=1), actor=person)
    assert (entry.actor_id, entry.reason, note) == (person.id, "reviewed", "Asked them")
    assert statuses(agent) == [("Runs on AWS", "superseded"), ("Runs on GCP", "current")]


def test_letting_in_twice_changes_nothing(agent: Agent, waiting: FactVersion, person: Actor) -> None:
    with in_workspace(agent.workspace_id):
        version_approve(version=waiting, actor=person)
        version_approve(version=waiting, actor=person)
        assert Entry.objects.filter(action="fact.approved").count() == 1


def test_what_is_turned_down_stays_down_when_it_is_said_again(
    agent: Agent, waiting: FactVersion, person: Actor
) -> None:
    with in_workspace(agent.workspace_id):
        version_reject(version=waiting, actor=person, reason="not_stated")
        version_reject(version=waiting, actor=person, reason="not_stated")
        assert Entry.objects.filter(action="fact.rejected").count() == 1
    [turn] = say(agent, "Hosting: GCP", role=TurnRole.TOOL).turns
    assert learn(agent, "Runs on GCP", turn=turn).version.id == waiting.id
    assert learn(agent, "Runs on GCP").reason == "rejected_before"
    assert statuses(agent) == [("Runs on AWS", "current"), ("Runs on GCP", "rejected")]
    with in_workspace(agent.workspace_id):
        assert version_approve(version=waiting, actor=person).status == Status.CURRENT


def test_a_reviewers_words_take_the_place_of_what_waited(agent: Agent, waiting: FactVersion, person: Actor) -> None:
    with in_workspace(agent.workspace_id):
        edited = version_edit(version=waiting, actor=person, content="Runs on GCP and AWS")
    assert (edited.source, edited.status, edited.number) == (Source.OPERATOR, Status.CURRENT, 3)
    assert statuses(agent) == [
        ("Runs on AWS", "superseded"),
        ("Runs on GCP", "rejected"),
        ("Runs on GCP and AWS", "current"),
    ]


def test_a_wish_is_granted_or_not(agent: Agent, other: Agent, person: Actor) -> None:
    fact = extract(other, "Runs on AWS", say(other, "We run on AWS.").turns[0]).version.fact
    with in_workspace(agent.workspace_id):
        asked = fact_mark_stale(fact=fact, actor=Actor.agent(agent.id), reason="contradicted")
        granted = version_approve(version=asked, actor=person)
        assert granted.status == Status.STALE
        assert not FactVersion.objects.filter(fact=fact, status=Status.CURRENT).exists()
        fact_restore(fact=fact, number=1, actor=person)
    assert [status for _, status in statuses(agent)] == ["current", "stale"]


def test_an_agent_may_review_only_what_it_did_not_write(agent: Agent, other: Agent, waiting: FactVersion) -> None:
    with in_workspace(agent.workspace_id):
        for decide in (version_approve, lambda **given: version_edit(content="x", **given)):
            with pytest.raises(OwnWork):
                decide(version=waiting, actor=Actor.agent(agent.id), agent_id=agent.id)
        reviewed_by_other = version_approve(version=waiting, actor=Actor.agent(other.id), agent_id=other.id)
    assert reviewed_by_other.status == Status.CURRENT


def test_what_only_its_own_agent_knows_is_shared_or_turned_down(agent: Agent, person: Actor) -> None:
    shared, dropped = learn(agent, "Likes tea").version, learn(agent, "Likes mate", attribute="other").version
    with in_workspace(agent.workspace_id):
        queue = review_queue(agent.workspace_id, ReviewFilter(state="unshared"))
        assert set(queue) == {shared, dropped}
        assert version_approve(version=shared, actor=person).approved_at
        assert version_reject(version=dropped, actor=person, reason="wrong").status == Status.REJECTED
        assert not Posting.objects.filter(item=dropped.id).exists()
        assert not review_queue(agent.workspace_id, ReviewFilter(state="unshared")).exists()
        with pytest.raises(NotPossible):
            version_reject(version=shared, actor=person, reason="wrong")


def test_the_queue_is_filtered_and_says_what_would_be_replaced(
    agent: Agent, other: Agent, waiting: FactVersion
) -> None:
    learn(other, "Runs on Azure")
    with in_workspace(agent.workspace_id):
        queue = review_queue(agent.workspace_id, ReviewFilter())
        [one] = reviewed(list(queue.select_related("fact__subject")))
        assert one.replaces is not None and one.replaces.content == "Runs on AWS"
        assert [version.content for version in one.beside] == ["Runs on Azure"]
        assert codes(one.version) == ["untrusted_source"]
        for wanted, count in (
            (ReviewFilter(code="untrusted_source"), 1),
            (ReviewFilter(code="echo"), 0),
            (ReviewFilter(source="tool"), 1),
            (ReviewFilter(source="import"), 0),
            (ReviewFilter(agent_id=agent.id), 1),
            (ReviewFilter(agent_id=other.id), 0),
            (ReviewFilter(subject_id=one.version.fact.subject_id), 1),
            (ReviewFilter(written_with="mh_00000000"), 0),
            (ReviewFilter(state="rejected"), 0),
        ):
            assert review_queue(agent.workspace_id, wanted).count() == count, wanted


def test_what_waited_may_be_let_in_after_others_were_said(agent: Agent, waiting: FactVersion, person: Actor) -> None:
    newer = learn(agent, "Runs on Azure")
    assert newer.outcome is Outcome.SUPERSEDED
    with in_workspace(agent.workspace_id):
        version_approve(version=waiting, actor=person)
    assert statuses(agent) == [
        ("Runs on AWS", "superseded"),
        ("Runs on GCP", "current"),
        ("Runs on Azure", "superseded"),
    ]
