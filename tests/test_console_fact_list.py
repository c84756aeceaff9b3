"""Facts of all people: filtered, hidden from roles that may not read them, and decided on together."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from memory_samples import learn, say

from audit.actors import Actor
from audit.ids import first_id
from audit.models import Entry
from facts.models import Fact, FactType, FactVersion, Status
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.access.services import agent_get_or_create
from memoryhub.core.tenancy import in_workspace
from sessions.models import TurnRole

pytestmark = pytest.mark.django_db


@pytest.fixture
def signed_in(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


@pytest.fixture
def known(agent: Agent) -> dict[str, Fact]:
    return {
        "gcp": learn(agent, "Runs production on GCP", attribute="cloud provider").version.fact,
        "german": learn(agent, "Prefers answers in German", entity="Answers", attribute="language").version.fact,
        "bob": learn(agent, "Bob's budget is 500 USD", entity="budget", user="bob").version.fact,
    }


def listed(client: Client, **filters: Any) -> str:
    answer = client.get(reverse("fact-list", args=["acme"]), filters)
    assert answer.status_code == 200
    return answer.content.decode()


def decide(client: Client, do: str, *versions: Any, **more: Any) -> str:
    sent = {"do": do, "ids": [str(one) for one in versions]} | more
    return client.post(reverse("facts-decide", args=["acme"]), sent, follow=True).content.decode()


def version_of(fact: Fact) -> FactVersion:
    with in_workspace(fact.workspace_id):
        return FactVersion.objects.get(fact=fact)


def test_facts_of_everybody_are_listed_with_whose_they_are(signed_in: Client, known: dict[str, Fact]) -> None:
    page = listed(signed_in)
    for text in ("Runs production on GCP", "Prefers answers in German", "Bob&#x27;s budget is 500 USD", "alice", "bob"):
        assert text in page


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"about": "  ANSW "}, {"Prefers answers in German"}),
        ({"about": "%"}, set()),
        ({"type": FactType.GOAL}, set()),
        ({"source": "tool"}, set()),
        ({"confidence": "low"}, set()),
        ({"confidence": "high"}, {"Runs production on GCP", "Prefers answers in German"}),
        ({"age": "day"}, {"Runs production on GCP", "Prefers answers in German"}),
        ({"age": "old-month"}, set()),
        ({"status": "stale"}, set()),
    ],
)
def test_filters_hold(signed_in: Client, known: dict[str, Fact], filters: dict[str, str], found: set[str]) -> None:
    page = listed(signed_in, **filters)
    for content in ("Runs production on GCP", "Prefers answers in German"):
        assert (content in page) is (content in found)
    assert found or "No fact matches" in page


def test_a_filter_by_agent(signed_in: Client, agent: Agent, known: dict[str, Fact], actor: Actor) -> None:
    other = agent_get_or_create(workspace_id=agent.workspace_id, name="other", actor=actor)
    learn(other, "Lives in Porto", entity="home", user="carol")
    page = listed(signed_in, agent=other.id)
    assert "Lives in Porto" in page
    assert "Runs production on GCP" not in page


def test_what_cannot_be_meant_finds_nothing_and_breaks_nothing(signed_in: Client, known: dict[str, Fact]) -> None:
    assert "No fact matches" in listed(signed_in, status="perhaps", after="nothing")


def test_older_facts_are_a_page_away_with_the_filters_kept(signed_in: Client, agent: Agent) -> None:
    for number in range(60):
        learn(agent, f"Detail number {number} holds", entity=f"detail {number}")
    first = listed(signed_in, type="constraint", about="detail")
    assert "Detail number 59 holds" in first
    assert "Detail number 9 holds" not in first
    further = first.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    assert "type=constraint" in further
    second = signed_in.get(reverse("fact-list", args=["acme"]) + further).content.decode()
    assert "Detail number 9 holds" in second
    assert "Detail number 59 holds" not in second


def test_the_list_asks_as_many_queries_however_long_it_is(signed_in: Client, agent: Agent) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            listed(signed_in)
        return len(asked)

    learn(agent, "One thing", entity="one")
    queries()
    few = queries()
    for number in range(30):
        learn(agent, f"Thing {number}", entity=f"thing {number}", user=f"person-{number}")
    assert queries() == few <= 16


def test_who_works_with_metadata_sees_no_content(client: Client, viewer: User, known: dict[str, Fact]) -> None:
    client.force_login(viewer)
    page = listed(client)
    assert "F1" in page
    assert "alice" in page
    for text in ("GCP", "German", "production", "checkbox"):
        assert text not in page
    with in_workspace(known["gcp"].workspace_id):
        assert not Entry.objects.filter(action="memory.viewed").exists()


def test_reading_it_is_in_the_log_for_each_person(signed_in: Client, known: dict[str, Fact], operator: User) -> None:
    listed(signed_in)
    with in_workspace(known["gcp"].workspace_id):
        seen = Entry.objects.filter(action="memory.viewed", actor_id=str(operator.id))
        assert {(one.subject_id, one.data["facts"]) for one in seen} == {
            (known["gcp"].subject_id, 2),
            (known["bob"].subject_id, 1),
        }


def test_the_ticked_are_marked_stale_together(signed_in: Client, known: dict[str, Fact]) -> None:
    versions = [version_of(known[name]).id for name in ("gcp", "bob")]
    page = decide(signed_in, "stale", *versions, stale_reason="outdated", note="asked for")
    assert "2 marked stale." in page
    with in_workspace(known["gcp"].workspace_id):
        assert {version_of(known[name]).status for name in ("gcp", "bob")} == {Status.STALE}
        assert version_of(known["german"]).status == Status.CURRENT
        entries = Entry.objects.filter(action="fact.marked_stale", reason="outdated")
        assert entries.count() == 2


def test_what_changed_meanwhile_is_left_and_told(signed_in: Client, agent: Agent, known: dict[str, Fact]) -> None:
    old = version_of(known["gcp"])
    learn(agent, "Runs production on Azure", attribute="cloud provider")
    page = decide(signed_in, "stale", old.id, version_of(known["bob"]).id, stale_reason="wrong")
    assert "1 marked stale." in page
    assert "F1 v1 is as it was" in page
    with in_workspace(agent.workspace_id):
        assert FactVersion.objects.get(fact=known["gcp"], number=2).status == Status.CURRENT


def test_what_waits_is_let_in_or_turned_down_together(signed_in: Client, agent: Agent) -> None:
    turns = say(agent, "9 EUR", "10 EUR", role=TurnRole.TOOL, session="tool").turns
    waiting = [
        learn(agent, f"The price is {number} EUR", entity=f"price {number}", turn=turn).version
        for number, turn in enumerate(turns)
    ]
    assert {one.status for one in waiting} == {Status.QUARANTINED}
    assert "The price is 0 EUR" in listed(signed_in, status="quarantined")
    assert "1 let in." in decide(signed_in, "approve", waiting[0].id)
    assert "1 turned down." in decide(signed_in, "reject", waiting[1].id, reject_reason="wrong")
    with in_workspace(agent.workspace_id):
        assert [FactVersion.objects.get(pk=one.id).status for one in waiting] == [Status.CURRENT, Status.REJECTED]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"do": "stale", "stale_reason": "outdated"}, "Tick at least one fact."),
        ({"do": "stale", "ids": [str(uuid4())]}, "Choose why."),
        ({"do": "burn", "ids": [str(uuid4())]}, "Nothing was changed"),
        ({"do": "stale", "ids": ["x"], "stale_reason": "outdated"}, "That is no id."),
        ({"do": "approve", "ids": [str(uuid4())]}, "none of them is here any more"),
    ],
)
def test_what_is_wrong_with_a_choice_is_said(signed_in: Client, known: Any, sent: dict[str, Any], told: str) -> None:
    answer = signed_in.post(reverse("facts-decide", args=["acme"]) + "?type=constraint", sent, follow=True)
    assert told in answer.content.decode()
    assert answer.redirect_chain[-1][0].endswith("?type=constraint")


def test_another_workspaces_facts_are_neither_listed_nor_changed(
    signed_in: Client, other_workspace: Workspace, actor: Actor, known: dict[str, Fact]
) -> None:
    outsider_agent = agent_get_or_create(workspace_id=other_workspace.id, name="theirs", actor=actor)
    theirs: UUID = learn(outsider_agent, "A secret of others", entity="secret").version.id
    assert "A secret of others" not in listed(signed_in)
    assert "none of them is here" in decide(signed_in, "stale", theirs, stale_reason="wrong")
    with in_workspace(outsider_agent.workspace_id):
        assert FactVersion.objects.get(pk=theirs).status == Status.CURRENT


def test_a_viewer_decides_nothing(client: Client, viewer: User, known: dict[str, Fact]) -> None:
    client.force_login(viewer)
    sent = {"do": "stale", "ids": [str(version_of(known["gcp"]).id)], "stale_reason": "wrong"}
    assert client.post(reverse("facts-decide", args=["acme"]), sent).status_code == 403
    assert version_of(known["gcp"]).status == Status.CURRENT


def test_ages_go_by_when_it_was_learned(signed_in: Client, agent: Agent, known: dict[str, Fact]) -> None:
    with in_workspace(agent.workspace_id):
        long_ago = first_id(timezone.now() - timedelta(days=40))
        version = FactVersion.objects.get(fact=known["bob"])
        fields = {one.attname: getattr(version, one.attname) for one in FactVersion._meta.concrete_fields}
        fields |= {"id": long_ago, "number": 2, "status": Status.STALE}
        FactVersion.objects.create(**fields)
    assert "Bob" in listed(signed_in, status="stale", age="old-month")
    assert "No fact matches" in listed(signed_in, status="stale", age="month")
