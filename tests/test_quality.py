"""How well retrieval did: counted from recalls, and what another threshold would have changed, tried by hand."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from memory_samples import learn, viewpoint
from pytest_django import Settings

from facts.models import Fact, FactVersion, Recall, RecalledItem, RecallKind, Status
from facts.quality import Considered, bins, considered, rates, what_if
from facts.recall import recall_cite
from facts.working_memory import MemoryRequest, working_memory
from memoryhub.access.models import Agent, User
from memoryhub.core import embedding
from memoryhub.core.tenancy import in_workspace

ROWS = st.lists(
    st.builds(
        Considered,
        cent=st.integers(0, 100),
        among_best=st.booleans(),
        surfaced=st.booleans(),
        cited=st.booleans(),
        cited_later=st.booleans(),
        count=st.integers(1, 50),
    )
)


@given(ROWS)
def test_bins_hold_everything_once(rows: list[Considered]) -> None:
    assert sum(one.considered for one in bins(rows)) == sum(row.count for row in rows)
    assert sum(one.cited for one in bins(rows)) == sum(row.count for row in rows if row.cited)


@given(ROWS, st.integers(0, 99))
def test_a_higher_threshold_never_surfaces_more(rows: list[Considered], cent: int) -> None:
    low, high = what_if(rows, cent / 100), what_if(rows, (cent + 1) / 100)
    assert (low.more, -low.fewer) >= (high.more, -high.fewer)
    assert low.more >= high.more
    assert low.fewer <= high.fewer
    assert low.more_cited_later <= low.more
    assert low.fewer_cited <= low.fewer


def test_what_if_by_hand() -> None:
    rows = [
        Considered(70, True, True, True, False, 3),
        Considered(40, True, True, False, False, 2),
        Considered(30, True, False, False, True, 4),
        Considered(30, False, False, False, True, 8),
        Considered(20, True, False, False, False, 16),
    ]
    assert (what_if(rows, 0.3).more, what_if(rows, 0.3).more_cited_later, what_if(rows, 0.3).fewer) == (4, 4, 0)
    assert (what_if(rows, 0.29).more, what_if(rows, 0.2).more, what_if(rows, 0.31).more) == (4, 20, 0)
    assert (what_if(rows, 0.71).fewer, what_if(rows, 0.71).fewer_cited) == (5, 3)


@pytest.fixture
def words_only(settings: Settings) -> None:
    settings.EMBEDDER = "none"
    embedding.service.reset()


@pytest.fixture
def asked(agent: Agent, words_only: None) -> dict[str, Any]:
    """Two answers to one person: in the first a fact was left out that the second one gave, and that was cited."""
    learn(agent, "Runs production on GCP", entity="production", attribute="cloud provider")
    learn(agent, "Sends invoices to Porto", entity="invoices", attribute="address")
    message = "Where does production run, and where do invoices go?"
    first = working_memory(
        view=viewpoint(agent),
        ask=MemoryRequest(user_id="alice", message=message, session_id="monday", score_threshold=1.0),
    )
    second = working_memory(
        view=viewpoint(agent),
        ask=MemoryRequest(user_id="alice", message=message, session_id="monday", score_threshold=0.0),
    )
    assert first.recall and second.recall
    assert not first.facts
    assert len(second.facts) == 2
    with in_workspace(agent.workspace_id):
        recall_cite(
            workspace_id=agent.workspace_id,
            agent_id=agent.id,
            recall_id=second.recall.recall_id,
            actor=viewpoint(agent).actor,
            fact_ids=[second.facts[0].version.fact_id],
        )
    return {"first": first, "second": second, "scores": [hit.score for hit in second.facts]}


@pytest.mark.django_db
def test_what_was_considered_is_counted_with_its_fate(agent: Agent, asked: dict[str, Any]) -> None:
    since = timezone.now() - timedelta(days=1)
    with in_workspace(agent.workspace_id):
        rows = considered(workspace_id=agent.workspace_id, since=since)
        told = rates(workspace_id=agent.workspace_id, since=since)
        assert considered(workspace_id=agent.workspace_id, since=timezone.now()) == []
        assert considered(workspace_id=agent.workspace_id, since=since, agent_id=uuid4()) == []
    assert sum(row.count for row in rows) == 4
    assert sum(row.count for row in rows if row.surfaced) == 2
    assert sum(row.count for row in rows if row.cited) == 1
    tried = what_if(rows, 0.0)
    assert (tried.more, tried.more_cited_later, tried.fewer) == (2, 1, 0)
    assert (told.recalls, told.with_facts, told.facts, told.facts_cited, told.facts_stale) == (2, 1, 2, 1, 0)
    assert (told.surfaced_rate, told.cited_rate, told.stale_rate) == (0.5, 0.5, 0.0)


@pytest.mark.django_db
def test_only_as_many_as_were_asked_for_would_have_been_given(agent: Agent, asked: dict[str, Any]) -> None:
    with in_workspace(agent.workspace_id):
        recall = Recall.objects.get(pk=asked["first"].recall.recall_id)
        recall.settings["top_k"] = 1
        recall.save(update_fields=["settings"])
        rows = considered(workspace_id=agent.workspace_id, since=recall.at - timedelta(minutes=1))
    assert what_if(rows, 0.0).more == 1


@pytest.mark.django_db
def test_what_was_past_when_given_is_counted(agent: Agent, asked: dict[str, Any]) -> None:
    with in_workspace(agent.workspace_id):
        item = RecalledItem.objects.filter(recall=asked["second"].recall.recall_id).first()
        assert item is not None
        item.status = Status.SUPERSEDED
        item.save(update_fields=["status"])
        told = rates(workspace_id=agent.workspace_id, since=timezone.now() - timedelta(days=1))
    assert told.stale_rate == 0.5


@pytest.mark.django_db
def test_the_page_tells_it_and_tries_a_threshold(client: Client, operator: User, asked: dict[str, Any]) -> None:
    client.force_login(operator)
    address = reverse("retrieval-quality", args=["acme"])
    page = client.get(address, {"threshold": "0"}).content.decode()
    assert "2 more facts" in page
    assert "<b>1</b> was cited in a later answer" in page
    highest = client.get(address, {"threshold": "1"}).content.decode()
    assert "<b>2 facts</b> would not have been" in highest
    assert "Runs production" not in page
    part = client.get(address, {"threshold": "0.3"}, headers={"HX-Request": "true", "HX-Target": "results"})
    assert "<html" not in part.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("sent", [{"threshold": "2"}, {"threshold": "nan"}, {"days": "4"}, {"agent": "x"}])
def test_what_cannot_be_tried_is_said(client: Client, operator: User, sent: dict[str, str]) -> None:
    client.force_login(operator)
    answer = client.get(reverse("retrieval-quality", args=["acme"]), sent)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()


@pytest.mark.django_db
def test_a_workspace_that_was_never_asked_says_so(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    page = client.get(reverse("retrieval-quality", args=["acme"])).content.decode()
    assert "Nothing was asked for in this time" in page


@pytest.mark.django_db
def test_the_page_asks_as_many_queries_however_much_there_is(
    client: Client, operator: User, agent: Agent, asked: dict[str, Any]
) -> None:
    client.force_login(operator)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("retrieval-quality", args=["acme"]))
        return len(captured)

    queries()
    few = queries()
    with in_workspace(agent.workspace_id):
        version = FactVersion.objects.select_related("fact").get(fact__in=Fact.objects.filter(entity="invoices"))
        for _ in range(30):
            recall = Recall.objects.create(
                workspace_id=agent.workspace_id,
                subject_id=version.fact.subject_id,
                agent=agent,
                kind=RecallKind.WORKING_MEMORY,
                candidates=[{"kind": "fact", "id": str(version.id), "score": 0.4, "scores": {}}],
                settings={"top_k": 5, "score_threshold": 0.2},
            )
            RecalledItem.objects.create(
                workspace_id=agent.workspace_id, recall=recall, version=version, rank=1, score=0.4, status="current"
            )
    assert queries() == few <= 14
