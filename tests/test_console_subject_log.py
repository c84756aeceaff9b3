"""A subject's timeline, who was shown what, and a session with what was surfaced between its turns."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from memory_samples import learn, say, viewpoint
from pytest_django import Settings

from facts.recall import recall_cite
from facts.working_memory import MemoryRequest, WorkingMemory, working_memory
from memoryhub.access.models import Agent, User
from memoryhub.core import embedding
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject
from sessions.services import subject_pause

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def words_only(settings: Settings) -> None:
    settings.EMBEDDER = "none"
    embedding.service.reset()


@pytest.fixture
def signed_in(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


@pytest.fixture
def told(agent: Agent) -> Subject:
    """Monday something is said and learned; Tuesday it is given to an agent."""
    turns = say(agent, "We moved production to GCP.", session="monday").turns
    fact = learn(agent, "Runs production on GCP", attribute="cloud provider", turn=turns[0]).version.fact
    with in_workspace(agent.workspace_id):
        return Subject.objects.get(pk=fact.subject_id)


def ask(agent: Agent, session: str = "tuesday") -> WorkingMemory:
    memory = working_memory(
        view=viewpoint(agent),
        ask=MemoryRequest(user_id="alice", message="Where does production run?", session_id=session),
    )
    assert memory.recall is not None
    return memory


def get(client: Client, name: str, *args: Any, **query: str) -> str:
    answer = client.get(reverse(name, args=["acme", *args]), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_timeline_tells_everything_in_words_and_nothing_of_content(
    signed_in: Client, agent: Agent, told: Subject
) -> None:
    memory = ask(agent)
    page = get(signed_in, "subject-timeline", told.id)
    for words in (
        "Turns were added to a session",
        "Something new is known.",
        "Memory content was returned to an agent.",
    ):
        assert words in page
    assert str(memory.recall.recall_id) in page  # type: ignore[union-attr]
    assert "assistant" in page
    assert "production" not in page


@pytest.mark.parametrize(
    ("kind", "there", "gone"),
    [
        ("said", "Turns were added to a session", "Something new is known."),
        ("learned", "Something new is known.", "Turns were added to a session"),
        ("given", "Memory content was returned", "Something new is known."),
        ("seen", "record was shown", "Memory content was returned"),
        ("rights", "paused", "Turns were added to a session"),
        ("unheard-of", "Something new is known.", "No such words"),
    ],
)
def test_a_part_of_the_timeline(
    signed_in: Client, agent: Agent, told: Subject, kind: str, there: str, gone: str
) -> None:
    ask(agent)
    get(signed_in, "subject-timeline", told.id)
    with in_workspace(agent.workspace_id):
        subject_pause(subject=told, what=["extraction"], paused=True, actor=viewpoint(agent).actor, reason="requested")
    page = get(signed_in, "subject-timeline", told.id, kind=kind)
    assert there in page
    assert gone not in page


def test_a_long_timeline_comes_in_pages_with_its_filter(signed_in: Client, agent: Agent, told: Subject) -> None:
    for number in range(60):
        say(agent, f"Sentence {number}", session=f"s{number}")
    first = get(signed_in, "subject-timeline", told.id, kind="said")
    assert ">s59<" in first
    assert ">s5<" not in first
    query = first.split('rel="next"')[0].rsplit('href="?', 1)[1].split('"')[0].replace("&amp;", "&")
    second = signed_in.get(reverse("subject-timeline", args=["acme", told.id]) + "?" + query).content.decode()
    assert "kind=said" in query
    assert ">s5<" in second


def test_access_names_agents_and_people_and_what_they_were_shown(
    signed_in: Client, agent: Agent, told: Subject, operator: User
) -> None:
    ask(agent)
    get(signed_in, "subject-facts", told.id)
    page = get(signed_in, "subject-access", told.id)
    assert "1 fact" in page
    assert operator.username in page
    assert "Something new is known." not in page
    assert operator.username not in get(signed_in, "subject-access", told.id, who="agents").split("<main")[1]
    assert "returned to an agent" not in get(signed_in, "subject-access", told.id, who="people")


def test_both_ask_as_many_queries_however_long_they_are(signed_in: Client, agent: Agent, told: Subject) -> None:
    def queries(name: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            get(signed_in, name, told.id)
        return len(asked)

    ask(agent)
    for name in ("subject-timeline", "subject-access"):
        queries(name)
        few = queries(name)
        for number in range(10):
            learn(agent, f"Thing {number}", entity=f"thing {number} {name}")
            ask(agent, f"{name}-{number}")
        assert queries(name) == few <= 24


def test_a_viewer_sees_what_happened_and_an_outsider_nothing(client: Client, viewer: User, told: Subject) -> None:
    client.force_login(viewer)
    assert "Something new is known." in get(client, "subject-timeline", told.id)


def test_another_workspaces_person_is_not_found(client: Client, outsider: User, told: Subject) -> None:
    client.force_login(outsider)
    for name in ("subject-timeline", "subject-access"):
        for slug in ("acme", "other"):
            assert client.get(reverse(name, args=[slug, told.id])).status_code == 404


def test_a_session_shows_what_was_given_between_its_turns(signed_in: Client, agent: Agent, told: Subject) -> None:
    say(agent, "Good morning", session="tuesday")
    memory = ask(agent)
    say(agent, "Thank you", session="tuesday")
    last = ask(agent)
    with in_workspace(agent.workspace_id):
        recall_cite(
            workspace_id=agent.workspace_id,
            agent_id=agent.id,
            recall_id=last.recall.recall_id,  # type: ignore[union-attr]
            actor=viewpoint(agent).actor,
            fact_ids=[last.facts[0].version.fact_id],
        )
        session = Session.objects.get(external_id="tuesday")
    page = get(signed_in, "session-detail", session.id)
    places = [
        page.index(one)
        for one in (
            "Good morning",
            f"recall-{memory.recall.recall_id}",  # type: ignore[union-attr]
            "Thank you",
            f"recall-{last.recall.recall_id}",  # type: ignore[union-attr]
        )
    ]
    assert places == sorted(places)
    assert page.count("Runs production on GCP") == 2
    assert page.count(">cited<") == 1


def test_what_was_given_in_another_session_is_not_shown(signed_in: Client, agent: Agent, told: Subject) -> None:
    memory = ask(agent, session="wednesday")
    with in_workspace(agent.workspace_id):
        session = Session.objects.get(external_id="monday")
    assert str(memory.recall.recall_id) not in get(signed_in, "session-detail", session.id)  # type: ignore[union-attr]


def test_a_long_session_shows_each_surfacing_on_one_page(signed_in: Client, agent: Agent, told: Subject) -> None:
    ids = []
    for number in range(6):
        say(agent, *(f"Turn {number}-{one}" for one in range(20)), session="long")
        ids.append(str(ask(agent, session="long").recall.recall_id))  # type: ignore[union-attr]
    with in_workspace(agent.workspace_id):
        session = Session.objects.get(external_id="long")
    pages = [get(signed_in, "session-detail", session.id, **{"from": start}) for start in ("0", "100")]
    assert [sum(f'id="recall-{one}"' in page for page in pages) for one in ids] == [1] * 6


def test_the_session_asks_as_many_queries_however_much_was_given(
    signed_in: Client, agent: Agent, told: Subject
) -> None:
    say(agent, "Good morning", session="tuesday")
    ask(agent)
    with in_workspace(agent.workspace_id):
        session = Session.objects.get(external_id="tuesday")

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            get(signed_in, "session-detail", session.id)
        return len(asked)

    queries()
    few = queries()
    for _ in range(20):
        ask(agent)
    assert queries() == few <= 20
