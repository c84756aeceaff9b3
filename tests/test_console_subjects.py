"""Finding a person, reading what is known, and seeing what an agent sees."""

import html
import re
from datetime import timedelta

import pytest
from console_memory import Remembered, many_facts, remember
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from audit.models import Entry
from facts.models import Recall
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.core import embedding
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject

pytestmark = pytest.mark.django_db

HTMX = {"hx-request": "true"}


@pytest.fixture(autouse=True)
def words_only(settings: Settings) -> None:
    settings.EMBEDDER = "none"
    embedding.service.reset()


@pytest.fixture
def remembered(agent: Agent) -> Remembered:
    return remember(agent)


@pytest.fixture
def signed_in(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


def url(name: str, *args: object) -> str:
    return reverse(name, args=["acme", *args])


def get(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        get(client, address)
    return len(captured)


def test_a_subject_is_found_by_part_of_its_user_id_or_by_its_own_id(
    signed_in: Client, agent: Agent, remembered: Remembered
) -> None:
    remember(agent, user_id="someone-else")
    for query in ("48213", "CUST_4", str(remembered.subject.id)):
        page = get(signed_in, url("subject-list") + f"?q={query}")
        assert "cust_48213</a>" in page and "someone-else</a>" not in page, query


def test_the_list_tells_counts_and_states(signed_in: Client, workspace: Workspace, remembered: Remembered) -> None:
    with in_workspace(workspace.id):
        Subject.objects.update(restricted_at=timezone.now(), recording_paused_at=timezone.now())
    page = get(signed_in, url("subject-list"))
    assert '<td class="number" data-label="Facts">1</td>' in page
    assert "restricted</span>" in page and "recording paused</span>" in page and "never</td>" in page


def test_the_three_ways_of_having_nothing_to_show(signed_in: Client, agent: Agent) -> None:
    assert "Nobody is remembered yet" in get(signed_in, url("subject-list"))
    remember(agent)
    assert "Nobody matches" in get(signed_in, url("subject-list") + "?q=zzz")
    assert "Nobody matches" in get(signed_in, url("subject-list") + "?state=bogus")


def test_an_outage_is_never_shown_as_nothing(signed_in: Client, operator: User) -> None:
    with connection.execute_wrapper(_broken):
        answer = signed_in.get(url("subject-list"))
    assert answer.status_code == 503
    assert "The hub cannot look now" in answer.content.decode()


def _broken(*_: object) -> None:
    from django.db import OperationalError

    raise OperationalError("the server closed the connection")


def test_the_list_goes_on_where_the_page_before_ended(signed_in: Client, workspace: Workspace) -> None:
    with in_workspace(workspace.id):
        now = timezone.now()
        Subject.objects.bulk_create(
            # Many of one instant: their order must not change between the pages.
            Subject(workspace=workspace, external_id=f"p{n:03}", created_at=now - timedelta(seconds=n // 40))
            for n in range(120)
        )
    seen: list[str] = []
    address: str | None = url("subject-list") + "?q=p"
    while address:
        page = get(signed_in, address)
        seen += re.findall(r">(p\d{3})</a>", page)
        older = re.search(r'href="(\?[^"]*)" rel="next"', page)
        address = url("subject-list") + html.unescape(older[1]) if older else None
    assert sorted(seen) == [f"p{n:03}" for n in range(120)]


def test_lists_ask_the_same_number_of_queries_however_long_they_are(
    signed_in: Client, agent: Agent, remembered: Remembered
) -> None:
    addresses = [
        url("subject-list"),
        url("subject-facts", remembered.subject.id),
        url("subject-sessions", remembered.subject.id),
        url("session-detail", remembered.session.id),
        url("overview"),
    ]
    signed_in.get(url("overview"))  # starts the clocks of the sign-in
    before = {address: queries(signed_in, address) for address in addresses}
    many_facts(agent, remembered.subject, 45)
    for number in range(12):
        remember(agent, user_id=f"another-{number}")
    assert {address: queries(signed_in, address) for address in addresses} == before
    assert max(before.values()) <= 35


def test_facts_show_what_holds_and_what_was_held(signed_in: Client, remembered: Remembered) -> None:
    page = get(signed_in, url("subject-facts", remembered.subject.id))
    assert "Budget is 500 EUR a month" in page and "<del>Budget is 300 EUR a month</del> superseded" in page
    assert '<span class="type constraint">constraint</span>' in page
    assert "1.00" in page


def test_facts_are_filtered_and_paged(signed_in: Client, agent: Agent, remembered: Remembered) -> None:
    many_facts(agent, remembered.subject, 60)
    address = url("subject-facts", remembered.subject.id)
    assert "1 to 50 of 61" in get(signed_in, address)
    only = get(signed_in, address + "?type=constraint")
    assert "Budget is 500" in only and "is red" not in only
    assert "No fact matches" in get(signed_in, address + "?status=stale")
    assert "No fact matches" in get(signed_in, address + "?type=bogus")
    second = get(signed_in, address + "?type=entity&page=2")
    assert "51 to 60 of 60" in second and "type=entity" in second


def test_a_person_about_whom_nothing_is_known(signed_in: Client, workspace: Workspace) -> None:
    with in_workspace(workspace.id):
        subject = Subject.objects.create(workspace=workspace, external_id="new")
    assert "Nothing is known yet" in get(signed_in, url("subject-facts", subject.id))
    assert "No conversation is recorded" in get(signed_in, url("subject-sessions", subject.id))


def test_a_filter_asked_for_by_htmx_answers_with_the_part_alone(signed_in: Client, remembered: Remembered) -> None:
    for address in (url("subject-list"), url("subject-facts", remembered.subject.id)):
        answer = signed_in.get(address, headers=HTMX)
        assert "<html" not in answer.content.decode() and "<table" in answer.content.decode()
        assert "HX-Request" in answer.headers["Vary"]
        back = signed_in.get(address, headers=HTMX | {"hx-history-restore-request": "true"})
        assert "<html" in back.content.decode()


def test_the_transcript_shows_roles_and_folds_tool_calls(signed_in: Client, remembered: Remembered) -> None:
    page = get(signed_in, url("session-detail", remembered.session.id))
    assert "My budget is 500 EUR a month." in page
    assert "<summary>calls get_invoice</summary>" in page
    assert "Invoice 77: 480 EUR" in page
    assert f'href="{url("fact-detail", remembered.fact.id)}"' in page


def test_the_transcript_begins_at_the_turn_a_link_names(signed_in: Client, remembered: Remembered) -> None:
    address = url("session-detail", remembered.session.id)
    later = get(signed_in, address + "?from=3")
    assert "Noted." in later and "My budget" not in later and "Earlier turns" in later
    for odd in ("-1", "x", "9" * 400, "٣"):
        assert "My budget" in get(signed_in, address + f"?from={odd}")


HOSTILE = "<script>alert(1)</script> <b>bold</b> \u202etxt.exe {{ 7|add:7 }} \"' &amp;"


def test_markup_and_hidden_characters_are_displayed_as_text(signed_in: Client, agent: Agent) -> None:
    remembered = remember(agent, user_id="<img src=x onerror=alert(1)>", said=HOSTILE)
    for address in (
        url("subject-list"),
        url("subject-facts", remembered.subject.id),
        url("subject-sessions", remembered.subject.id),
        url("session-detail", remembered.session.id),
        url("fact-detail", remembered.fact.id),
    ):
        page = get(signed_in, address)
        assert "<script>alert" not in page and "<img src=x" not in page and "\u202e" not in page, address
    said = get(signed_in, url("session-detail", remembered.session.id))
    assert html.escape(HOSTILE.replace("\u202e", "⟨U+202E⟩"), quote=True) in said


def test_a_hundred_thousand_characters_are_folded(signed_in: Client, agent: Agent) -> None:
    remembered = remember(agent, said="word " * 20_000)
    page = get(signed_in, url("session-detail", remembered.session.id))
    assert "<summary>All 100,000 characters</summary>" in page


def preview(client: Client, subject: Subject, **fields: object) -> str:
    sent = {"message": "what is my budget?", "score_threshold": "0", **fields}
    answer = client.post(url("subject-preview", subject.id), sent)
    assert answer.status_code == 200
    return answer.content.decode()


def block_of(page: str) -> str:
    shown = re.search(r'<pre class="block"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert shown, "no block on the page"
    return html.unescape(re.sub(r"<[^>]+>", "", shown[1]))


def test_the_preview_is_the_block_that_the_agent_is_given(
    signed_in: Client, api: Client, agent: Agent, remembered: Remembered
) -> None:
    shown = block_of(preview(signed_in, remembered.subject, agent=agent.id))
    given = api.post(
        "/api/v1/working-memory",
        {"user_id": "cust_48213", "message": "what is my budget?", "session_id": "next", "score_threshold": 0},
        content_type="application/json",
    ).json()["block"]
    assert shown == given
    assert "Budget is 500 EUR a month" in shown


def test_the_preview_shows_how_each_fact_scored(signed_in: Client, agent: Agent, remembered: Remembered) -> None:
    page = preview(signed_in, remembered.subject)
    assert '<rect class="words"' in page and "in the block" in page
    over = preview(signed_in, remembered.subject, score_threshold="1")
    assert "under the threshold" in over and "Budget is 500 EUR" not in block_of(over)


def test_a_preview_is_in_the_log_as_one_and_not_as_surfaced(
    signed_in: Client, workspace: Workspace, operator: User, remembered: Remembered
) -> None:
    preview(signed_in, remembered.subject)
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="memory.previewed")
        assert (entry.actor_id, entry.subject_id) == (str(operator.id), remembered.subject.id)
        assert not Entry.objects.filter(action="memory.surfaced").exists()
        assert Recall.objects.get().kind == "preview"
    assert "never surfaced" in get(signed_in, url("subject-facts", remembered.subject.id))


def test_a_preview_of_a_restricted_person_is_empty_and_says_why(
    signed_in: Client, workspace: Workspace, remembered: Remembered
) -> None:
    with in_workspace(workspace.id):
        Subject.objects.update(restricted_at=timezone.now())
    page = preview(signed_in, remembered.subject)
    assert "Nothing is given to agents about this person now" in page and '<pre class="block"' not in page


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"message": ""}, "This field is required"),
        ({"message": "x" * 20_001}, "at most 20000 characters"),
        ({"score_threshold": "2"}, "less than or equal to 1"),
        ({"score_threshold": "nan"}, "Enter a number"),
        ({"agent": "00000000-0000-0000-0000-000000000000"}, "Select a valid choice"),
    ],
)
def test_a_preview_that_cannot_be_is_refused_in_words(
    signed_in: Client, workspace: Workspace, remembered: Remembered, fields: dict[str, str], says: str
) -> None:
    answer = signed_in.post(url("subject-preview", remembered.subject.id), {"message": "hello", **fields})
    assert answer.status_code == 422
    assert says in answer.content.decode()
    with in_workspace(workspace.id):
        assert not Recall.objects.exists()


def test_looking_at_a_person_is_in_the_log(
    signed_in: Client, workspace: Workspace, operator: User, remembered: Remembered
) -> None:
    get(signed_in, url("subject-facts", remembered.subject.id))
    get(signed_in, url("session-detail", remembered.session.id))
    with in_workspace(workspace.id):
        viewed = Entry.objects.filter(action="memory.viewed", actor_id=str(operator.id)).order_by("id")
        assert [entry.data for entry in viewed] == [{"what": "facts", "facts": 1}, {"what": "turns", "turns": 4}]
        assert {entry.subject_id for entry in viewed} == {remembered.subject.id}
