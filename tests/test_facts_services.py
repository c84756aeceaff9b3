"""Semantic memory: versions are added, never overwritten, and every change says who and why."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from memory_samples import learn, say

from audit.actors import Actor
from audit.models import Entry
from facts.decision import Outcome
from facts.exceptions import UnknownFact, VersionConflict
from facts.models import Evidence, Fact, FactTransition, FactVersion, Source, Status
from facts.services import fact_correct, fact_mark_stale, fact_restore
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace

ACTOR = Actor.command("tests")


def history(agent: Agent) -> list[tuple[int, str, str]]:
    with in_workspace(agent.workspace_id):
        return list(FactVersion.objects.order_by("fact", "number").values_list("number", "content", "status"))


def test_the_same_statement_again_confirms_and_adds_evidence(agent: Agent) -> None:
    turns = say(agent, "We run on AWS.", "As I said: AWS.").turns
    learn(agent, "Runs on AWS", turn=turns[0])
    again = learn(agent, "  runs on aws. ", turn=turns[1])
    assert again.outcome is Outcome.CONFIRMED
    assert history(agent) == [(1, "Runs on AWS", "current")]
    with in_workspace(agent.workspace_id):
        assert sorted(Evidence.objects.values_list("kind", flat=True)) == ["confirms", "states"]


def test_other_content_under_the_same_attribute_supersedes(agent: Agent) -> None:
    learn(agent, "Runs on AWS", attribute="Cloud provider")
    newer = learn(agent, "Runs on GCP", attribute="cloud-provider")
    assert newer.outcome is Outcome.SUPERSEDED
    assert history(agent) == [(1, "Runs on AWS", "superseded"), (2, "Runs on GCP", "current")]
    with in_workspace(agent.workspace_id):
        changes = FactTransition.objects.filter(version__number=1).order_by("at")
        assert [(one.from_status, one.to_status, one.reason) for one in changes] == [
            ("", "current", "new"),
            ("current", "superseded", "same_attribute"),
        ]


def test_correcting_keeps_until_when_it_holds_unless_that_is_over(agent: Agent) -> None:
    now = timezone.now()
    for ends, kept in ((now + timedelta(days=1), now + timedelta(days=1)), (now - timedelta(days=1), None)):
        fact = learn(agent, f"On holiday {ends}", attribute=f"holiday {ends.day}", expires_at=ends).version.fact
        with in_workspace(agent.workspace_id):
            corrected = fact_correct(
                fact=fact, expected_version=1, actor=ACTOR, source=Source.OPERATOR, content=f"Away {ends}"
            )
        assert corrected.expires_at == kept


def test_two_statements_that_both_hold_stand_side_by_side(agent: Agent) -> None:
    learn(agent, "Likes tea", attribute="drink")
    learn(agent, "Likes coffee", attribute="drink", coexists=True)
    assert [(content, status) for _, content, status in history(agent)] == [
        ("Likes tea", "current"),
        ("Likes coffee", "current"),
    ]
    with in_workspace(agent.workspace_id):
        assert sorted(Fact.objects.values_list("handle", flat=True)) == [1, 2]


def test_what_is_replaced_must_belong_to_the_same_person(agent: Agent) -> None:
    of_bob = learn(agent, "Runs on AWS", user="bob").version.fact_id
    with pytest.raises(UnknownFact):
        learn(agent, "Runs on GCP", user="alice", replaces=of_bob)
    assert history(agent) == [(1, "Runs on AWS", "current")]


def test_correcting_a_fact_keeps_the_old_version(agent: Agent) -> None:
    fact = learn(agent, "Runs on AWS").version.fact
    with in_workspace(agent.workspace_id):
        version = fact_correct(
            fact=fact, content="Runs on Azure", expected_version=1, source=Source.OPERATOR, note="typo", actor=ACTOR
        )
        entry = Entry.objects.get(action="fact.corrected")
    assert (version.number, version.source) == (2, Source.OPERATOR)
    assert history(agent) == [(1, "Runs on AWS", "superseded"), (2, "Runs on Azure", "current")]
    assert "Azure" not in str(entry.data)
    assert "typo" not in str(entry.data)


def test_a_correction_of_an_outdated_view_is_refused(agent: Agent) -> None:
    fact = learn(agent, "Runs on AWS").version.fact
    learn(agent, "Runs on GCP")
    with pytest.raises(VersionConflict), in_workspace(agent.workspace_id):
        fact_correct(fact=fact, content="Runs on Azure", expected_version=1, source=Source.OPERATOR, actor=ACTOR)
    assert [content for _, content, _ in history(agent)] == ["Runs on AWS", "Runs on GCP"]


def test_a_stale_fact_can_be_restored(agent: Agent) -> None:
    fact = learn(agent, "Runs on AWS").version.fact
    with in_workspace(agent.workspace_id):
        fact_mark_stale(fact=fact, actor=ACTOR, reason="contradicted")
        assert fact_mark_stale(fact=fact, actor=ACTOR, reason="contradicted").status == Status.STALE
        assert Entry.objects.filter(action="fact.marked_stale").count() == 1
        fact_restore(fact=fact, number=1, actor=ACTOR)
    assert history(agent) == [(1, "Runs on AWS", "current")]


def test_restoring_an_earlier_version_supersedes_the_current_one(agent: Agent) -> None:
    fact = learn(agent, "Runs on AWS").version.fact
    learn(agent, "Runs on GCP")
    with in_workspace(agent.workspace_id):
        fact_restore(fact=fact, number=1, actor=ACTOR)
    assert history(agent) == [(1, "Runs on AWS", "current"), (2, "Runs on GCP", "superseded")]


@pytest.mark.parametrize(
    "change",
    ["content = 'x'", "confidence = 0.1", "source = 'operator'", "number = 9", "mentions = '{a}'", "unit = 'x'"],
)
def test_the_database_refuses_to_change_what_was_believed(agent: Agent, change: str) -> None:
    learn(agent, "Runs on AWS")
    with (
        pytest.raises(DatabaseError, match="never changed"),
        in_workspace(agent.workspace_id),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"update facts_factversion set {change}")  # noqa: S608 - our own words


def test_a_fact_has_one_current_version(agent: Agent) -> None:
    fact = learn(agent, "Runs on AWS").version.fact
    learn(agent, "Runs on GCP")
    with pytest.raises(DatabaseError, match="fact_one_current_version"), in_workspace(agent.workspace_id):
        FactVersion.objects.filter(fact=fact).update(status=Status.CURRENT)
