"""What agents were shown: the list of recalls, one recall, and who was shown a fact."""

import hashlib
import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from memory_samples import learn, say, viewpoint
from pytest_django import Settings

from audit.models import Entry
from facts.models import Fact, FactVersion, Recall, RecalledItem, RecallKind, Status
from facts.recall import recall_cite
from facts.services import fact_mark_stale, fact_pin
from facts.surfacings import FATES, RecallFilter, blast_radius, recall_page, recall_with_everything
from facts.working_memory import MemoryRequest, WorkingMemory, working_memory
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.access.services import agent_get_or_create
from memoryhub.core import embedding
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def words_only(settings: Settings) -> None:
    settings.EMBEDDER = "none"
    embedding.service.reset()


@pytest.fixture
def known(agent: Agent) -> Fact:
    """ "Runs production on GCP", in its second version; beside it a fact that no question below asks for."""
    turns = say(agent, "We run production on AWS.", "We moved production to GCP.", session="monday").turns
    learn(agent, "Runs production on AWS", attribute="cloud provider", turn=turns[0])
    fact = learn(agent, "Runs production on GCP", attribute="cloud provider", turn=turns[1]).version.fact
    learn(agent, "Prefers answers in German", entity="answers", attribute="language")
    return fact


@pytest.fixture
def signed_in(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


def ask(agent: Agent, session: str = "tuesday", **more: Any) -> WorkingMemory:
    request: dict[str, Any] = {
        "user_id": "alice",
        "message": "Where does production run, AWS or GCP?",
        "session_id": session,
    } | more
    memory = working_memory(view=viewpoint(agent), ask=MemoryRequest(**request))
    assert memory.recall is not None
    return memory


def get(client: Client, name: str, *args: object, query: str = "") -> str:
    answer = client.get(reverse(name, args=["acme", *args]) + query)
    assert answer.status_code == 200, answer.content.decode()[:2000]
    return answer.content.decode()


def recall_of(memory: WorkingMemory) -> Recall:
    return Recall.objects.select_related("subject", "agent").get(pk=memory.recall.recall_id)  # type: ignore[union-attr]


def test_a_recall_is_shown_with_its_message_block_receipt_and_what_was_left_out(
    signed_in: Client, agent: Agent, known: Fact, operator: User
) -> None:
    memory = ask(agent)
    page = get(signed_in, "recall-detail", memory.recall.recall_id)  # type: ignore[union-attr]
    assert "Where does production run, AWS or GCP?" in page
    assert "exactly as the model saw it" in page
    shown = re.search(r'<pre class="block"[^>]*>(.*?)</pre>', page, re.S)
    assert shown is not None
    assert html.unescape(re.sub(r"</?span[^>]*>", "", shown[1])) == memory.block
    assert memory.recall.receipt in page  # type: ignore[union-attr]
    assert hashlib.sha256(memory.block.encode()).hexdigest() in page
    with in_workspace(agent.workspace_id):
        entry = Entry.objects.get(action="memory.viewed")
    assert (entry.actor_id, entry.data["what"]) == (str(operator.id), "recall")


def test_the_block_is_rebuilt_byte_for_byte_after_everything_changed(agent: Agent, known: Fact) -> None:
    memory = ask(agent)
    assert "superseded" in memory.block
    learn(agent, "Runs production on Azure", attribute="cloud provider")
    say(agent, "And later on Azure.", session="monday")
    with in_workspace(agent.workspace_id):
        fact_pin(fact=known, pinned=True, actor=viewpoint(agent).actor)
        fact_mark_stale(fact=known, actor=viewpoint(agent).actor, reason="wrong")
        detail = recall_with_everything(recall_of(memory))
    assert detail.rebuilt is not None
    assert (detail.rebuilt.text, detail.rebuilt.exact, detail.rebuilt.kept) == (memory.block, True, False)


def test_a_block_that_lost_an_item_is_not_called_exact(agent: Agent, known: Fact) -> None:
    memory = ask(agent)
    with in_workspace(agent.workspace_id):
        RecalledItem.objects.filter(recall_id=memory.recall.recall_id, rank=1).delete()  # type: ignore[union-attr]
        detail = recall_with_everything(recall_of(memory))
    assert detail.rebuilt is not None and not detail.rebuilt.exact
    assert detail.erased == 1


def test_a_block_kept_for_its_session_is_shown_as_it_was_kept(agent: Agent, known: Fact) -> None:
    memory = ask(agent, refresh="session")
    with in_workspace(agent.workspace_id):
        detail = recall_with_everything(recall_of(memory))
    assert detail.rebuilt is not None
    assert (detail.rebuilt.text, detail.rebuilt.exact, detail.rebuilt.kept) == (memory.block, True, True)


def test_why_each_candidate_was_left_out_is_told(agent: Agent, known: Fact) -> None:
    for number in range(4):
        learn(agent, f"Production number {number} runs on AWS", entity=f"p{number}", attribute="cloud")

    def fates(**more: Any) -> dict[str, int]:
        memory = ask(agent, **more)
        with in_workspace(agent.workspace_id):
            candidates = recall_with_everything(recall_of(memory)).candidates
        assert {one.fate for one in candidates} <= set(FATES)
        assert sum(one.fate == "surfaced" for one in candidates) == len(memory.facts)
        return {fate: sum(one.fate == fate for one in candidates) for fate in {one.fate for one in candidates}}

    nothing = fates(score_threshold=1.0)
    assert set(nothing) == {"under_threshold"} and nothing["under_threshold"] > 3
    assert fates(score_threshold=0.0, top_k=1)["beyond_top_k"] >= 3
    assert fates(score_threshold=0.0, top_k=20, token_budget=150)["no_room"] >= 1


def test_cited_items_are_told(signed_in: Client, agent: Agent, known: Fact) -> None:
    memory = ask(agent)
    with in_workspace(agent.workspace_id):
        recall_cite(
            workspace_id=agent.workspace_id,
            agent_id=agent.id,
            recall_id=memory.recall.recall_id,  # type: ignore[union-attr]
            actor=viewpoint(agent).actor,
            fact_ids=[known.id],
        )
    assert '<span class="pill good">cited</span>' in get(signed_in, "recall-detail", memory.recall.recall_id)  # type: ignore[union-attr]
    assert "just now" in get(signed_in, "recall-list", query="?state=cited")
    assert "No surfacing matches" in get(signed_in, "recall-list", query="?state=degraded&kind=search")


def test_roles_without_content_see_scores_and_the_receipt_but_no_word(
    client: Client, auditor: User, agent: Agent, known: Fact
) -> None:
    memory = ask(agent)
    client.force_login(auditor)
    page = get(client, "recall-detail", memory.recall.recall_id)  # type: ignore[union-attr]
    assert memory.recall.receipt in page and "The block is hidden" in page  # type: ignore[union-attr]
    for word in ("Where does production", "GCP", "AWS", "cloud provider", "Production"):
        assert word not in page
    with in_workspace(agent.workspace_id):
        assert Entry.objects.get(action="subject.viewed").data["what"] == "recall"


def test_a_viewer_who_says_why_reads_the_recall(client: Client, viewer: User, agent: Agent, known: Fact) -> None:
    memory = ask(agent)
    client.force_login(viewer)
    address = reverse("recall-detail", args=["acme", memory.recall.recall_id])  # type: ignore[union-attr]
    assert "Show for 15 minutes" in client.get(address).content.decode()
    with in_workspace(agent.workspace_id):
        subject = Subject.objects.get()
    answer = client.post(
        reverse("subject-reveal", args=["acme", subject.id]), {"reason": "support_case", "next": address}
    )
    assert answer.headers["Location"] == address
    page = client.get(address).content.decode()
    assert "Where does production run" in page and "for the reason you gave" in page


def test_the_list_is_filtered_and_each_filter_stands_in_the_address(
    signed_in: Client, agent: Agent, known: Fact, actor: object
) -> None:
    other = agent_get_or_create(workspace_id=agent.workspace_id, name="helper", actor=viewpoint(agent).actor)
    ask(agent)
    ask(other, session="thursday")
    ask(agent, session="friday")
    with in_workspace(agent.workspace_id):
        subject = Subject.objects.get()
        old = Recall.objects.get(session_external_id="friday")
        Recall.objects.filter(pk=old.pk).update(at=timezone.now() - timedelta(days=40), degraded=["semantic"])

    def sessions(query: str) -> set[str]:
        return set(re.findall(r"tuesday|thursday|friday", get(signed_in, "recall-list", query=query)))

    day = (timezone.now() - timedelta(days=30)).date().isoformat()
    assert sessions("") == {"tuesday", "thursday", "friday"}
    assert sessions(f"?agent={other.id}") == {"thursday"}
    assert sessions("?subject=alice&state=degraded") == {"friday"}
    assert sessions(f"?subject={subject.id}&until={day}") == {"friday"}
    assert sessions(f"?since={day}") == {"tuesday", "thursday"}
    assert sessions("?subject=nobody") == set()
    assert sessions(f"?fact={known.id}&version=1") == {"tuesday", "friday"}
    assert sessions("?kind=preview") == set()
    assert sessions("?agent=nonsense") == set()


def test_there_are_three_ways_of_having_nothing(signed_in: Client, agent: Agent) -> None:
    assert "Nothing was surfaced yet" in get(signed_in, "recall-list")
    assert "No surfacing matches" in get(signed_in, "recall-list", query="?kind=search")


def test_paging_goes_through_all_of_them_once_and_keeps_the_filters(
    signed_in: Client, agent: Agent, workspace: Workspace, known: Fact
) -> None:
    with in_workspace(workspace.id):
        subject = Subject.objects.get()
        now = timezone.now()
        Recall.objects.bulk_create(
            # Many of one instant: their order must not change between the pages.
            Recall(
                workspace=workspace,
                subject=subject,
                agent=agent,
                kind=RecallKind.SEARCH,
                session_external_id=f"s{n:03}",
                at=now - timedelta(seconds=n // 60),
            )
            for n in range(130)
        )
    seen: list[str] = []
    query: str | None = "?kind=search&subject=alice"
    while query is not None:
        page = get(signed_in, "recall-list", query=query)
        seen += re.findall(r"\b(s\d{3})\b", page)
        older = re.search(r'href="(\?[^"]*)" rel="next"', page)
        query = html.unescape(older[1]) if older else None
        assert query is None or "kind=search" in query and "subject=alice" in query
    assert sorted(seen) == [f"s{n:03}" for n in range(130)]


def test_pages_ask_the_same_number_of_queries_however_much_was_surfaced(
    signed_in: Client, agent: Agent, known: Fact
) -> None:
    memory = ask(agent)
    addresses = [
        reverse("recall-list", args=["acme"]),
        reverse("recall-list", args=["acme"]) + f"?fact={known.id}",
        reverse("recall-detail", args=["acme", memory.recall.recall_id]),  # type: ignore[union-attr]
        reverse("fact-detail", args=["acme", known.id]),
    ]

    def queries(address: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert signed_in.get(address).status_code == 200
        return len(captured)

    signed_in.get(addresses[0])
    before = [queries(address) for address in addresses]
    for number in range(12):
        ask(agent, session=f"later-{number}")
    assert [queries(address) for address in addresses] == before
    assert max(before) <= 25


def test_who_was_shown_a_fact_is_told_by_version_session_and_agent(
    signed_in: Client, agent: Agent, known: Fact
) -> None:
    ask(agent, session="tuesday")
    ask(agent, session="tuesday")
    learn(agent, "Runs production on Azure", attribute="cloud provider")
    ask(agent, session="friday")
    with in_workspace(agent.workspace_id):
        radius = blast_radius(known.id)
        second = blast_radius(known.id, version=3)
    assert {number: (one.recalls, one.sessions) for number, one in radius.by_version.items()}[2] == (3, 2)
    assert [(one.session_external_id, one.times) for one in sorted(radius.sessions, key=lambda x: x.times)] == [
        ("friday", 1),
        ("tuesday", 2),
    ]
    assert (radius.agents, radius.sessions_in_all, radius.recalls) == (1, 2, 3)
    assert [(one.session_external_id, one.versions) for one in second.sessions] == [("friday", (3,))]
    page = get(signed_in, "fact-detail", known.id)
    assert "in <b>2 sessions</b>, <b>3 times</b>" in page and "no turns yet" in page
    only = get(signed_in, "fact-detail", known.id, query="?version=3")
    assert "Version 3 was given to <b>1 agent</b> in <b>1 session</b>" in only


def test_previews_by_people_are_not_counted_as_given(signed_in: Client, agent: Agent, known: Fact) -> None:
    with in_workspace(agent.workspace_id):
        subject = Subject.objects.get()
    message = {"message": "Where does production run, AWS or GCP?", "agent": str(agent.id)}
    assert signed_in.post(reverse("subject-preview", args=["acme", subject.id]), message).status_code == 200
    page = get(signed_in, "fact-detail", known.id)
    assert "No agent was shown it" in page and "People saw it in 1 preview" in page
    with in_workspace(agent.workspace_id):
        assert recall_page(workspace_id=agent.workspace_id, wanted=RecallFilter()).rows == []
        assert len(recall_page(workspace_id=agent.workspace_id, wanted=RecallFilter(kind="preview")).rows) == 1


def test_the_sentence_that_states_a_version_is_marked_in_its_turn(signed_in: Client, agent: Agent) -> None:
    said = say(agent, "Hello there. Our limit is 500 EUR a month. <b>Thanks</b>\u202e!", session="s").turns
    fact = learn(agent, "Limit is 500 EUR a month", entity="limit", turn=said[0]).version.fact
    page = get(signed_in, "fact-detail", fact.id)
    assert "<mark>Our limit is 500 EUR a month.</mark>" in page
    assert "&lt;b&gt;Thanks&lt;/b&gt;⟨U+202E⟩!" in page


def test_another_workspaces_recall_is_not_there(client: Client, outsider: User, agent: Agent, known: Fact) -> None:
    memory = ask(agent)
    client.force_login(outsider)
    address = reverse("recall-detail", args=["globex", memory.recall.recall_id])  # type: ignore[union-attr]
    assert client.get(address).status_code == 404


def test_a_version_of_a_hundred_thousand_characters_is_folded(signed_in: Client, agent: Agent, known: Fact) -> None:
    with in_workspace(agent.workspace_id):
        FactVersion.objects.filter(fact=known, status=Status.CURRENT).update(status=Status.SUPERSEDED)
        FactVersion.objects.create(
            workspace_id=agent.workspace_id,
            fact=known,
            number=3,
            content="<script>alert(1)</script> " + "word " * 20_000,
            source="operator",
            valid_from=timezone.now(),
        )
    page = get(signed_in, "fact-detail", known.id)
    assert "all 100,02" in page and "<script>alert" not in page
