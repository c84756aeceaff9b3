"""The audit log's page: searched, paged, exported; the same search over the API."""

import json
import re
from urllib.parse import quote_plus
from uuid import uuid4

import pytest
from api_contract import ContractClient
from console_memory import Remembered, remember
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.models import Entry
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def remembered(agent: Agent) -> Remembered:
    return remember(agent)


@pytest.fixture
def address(client: Client, auditor: User) -> str:
    client.force_login(auditor)
    return reverse("audit-log", args=["acme"])


def shown(client: Client, address: str, search: str) -> list[str]:
    """The actions on the first page of a search."""
    page = client.get(address, {"q": search}).content.decode()
    return re.findall(r'<summary title="[^"]*"><span class="mono">([a-z_.]+)</span>', page)


def test_the_log_is_searched(client: Client, address: str, agent: Agent, remembered: Remembered) -> None:
    everything = shown(client, address, "")
    assert {"fact.added", "fact.superseded", "turns.recorded"} <= set(everything)
    facts = shown(client, address, "action:fact.")
    assert set(facts) == {"fact.added", "fact.superseded"}
    assert set(shown(client, address, "action:fact.*")) == set(facts)
    assert set(shown(client, address, "action:fact. -action:fact.added")) == {"fact.superseded"}
    assert not {"fact.added", "turns.recorded"} & set(shown(client, address, "-actor:assistant"))
    assert (
        set(shown(client, address, "actor:assistant -action:fact. -action:turns. -action:se -action:subject.")) == set()
    )
    assert set(shown(client, address, "actor:amir")) == {"audit.read"}
    assert set(shown(client, address, f"actor:{agent.id} action:fact.added")) == {"fact.added"}
    assert set(shown(client, address, "by:command action:workspace.")) == {"workspace.created"}
    assert shown(client, address, "created:<2020") == []


@pytest.mark.parametrize("known_as", ["external id", "own id"])
def test_people_and_sessions_are_found_by_their_ids(
    client: Client, address: str, remembered: Remembered, known_as: str
) -> None:
    own = known_as == "own id"
    subject = remembered.subject.id if own else remembered.subject.external_id
    session = remembered.session.id if own else remembered.session.external_id
    about = shown(client, address, f"subject:{subject}")
    assert "fact.added" in about and "workspace.created" not in about
    assert "turns.recorded" in shown(client, address, f"session:{session}")
    assert "fact.added" not in shown(client, address, f"-subject:{subject}")
    assert "workspace.created" in shown(client, address, f"-subject:{subject}")


def test_a_name_that_nobody_has_finds_nothing_and_says_so(client: Client, address: str, remembered: Remembered) -> None:
    for search in ("subject:nobody", f"session:{uuid4()}", "actor:nobody"):
        page = client.get(address, {"q": search}).content.decode()
        assert "No entry matches" in page and 'role="alert"' not in page
    assert "workspace.created" in shown(client, address, "-subject:nobody")


def test_names_of_another_workspace_find_nothing(
    client: Client, address: str, outsider: User, other_workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(outsider)
    elsewhere = reverse("audit-log", args=["globex"])
    assert shown(client, elsewhere, "subject:cust_48213") == []
    assert shown(client, elsewhere, f"subject:{remembered.subject.id}") == []
    assert shown(client, elsewhere, "actor:assistant") == []


def test_a_search_that_cannot_be_read_says_why_and_shows_no_entry(
    client: Client, address: str, remembered: Remembered
) -> None:
    answer = client.get(address, {"q": "actr:ada outcome:<b>bad</b>"})
    page = answer.content.decode()
    assert "Did you mean actor:?" in page and "&lt;b&gt;bad" in page and "<b>bad" not in page
    assert 'aria-invalid="true"' in page and "<tbody><tr data-row" not in page
    assert (
        "Did you mean actor:?" in client.get(address, {"q": "actr:x"}, headers={"hx-request": "true"}).content.decode()
    )


def test_reading_is_recorded_by_the_kinds_of_words_alone(
    client: Client, address: str, workspace: Workspace, remembered: Remembered
) -> None:
    client.get(address, {"q": "subject:cust_48213 -action:audit. created:>2020"})
    with in_workspace(workspace.id):
        entry = Entry.objects.filter(action="audit.read").order_by("-id")[0]
    assert entry.data["filters"] == ["not_action", "since", "subject"]
    assert entry.subject_id == remembered.subject.id
    assert "cust_48213" not in json.dumps(entry.data)


def test_pages_keep_the_search_and_meet_without_gap(client: Client, address: str, remembered: Remembered) -> None:
    for _ in range(60):
        client.get(address)
    first = client.get(address, {"q": "action:audit.read"}).content.decode()
    older = re.search(r'href="(\?[^"]+)" rel="next"', first)
    assert older and "q=action%3Aaudit.read" in older[1] and "before=" in older[1]
    second = client.get(address + older[1].replace("&amp;", "&")).content.decode()
    ids = [set(re.findall(r"<dt>Entry</dt><dd><span class=\"mono\">([^<]+)", page)) for page in (first, second)]
    assert len(ids[0]) == 50 and ids[1] and not ids[0] & ids[1]
    assert 'href="?q=action%3Aaudit.read">← Newest' in second


def test_an_entry_narrows_the_search_to_itself(client: Client, address: str, remembered: Remembered) -> None:
    page = client.get(address, {"q": "action:fact.added"}).content.decode()
    assert f"?q={quote_plus(f'action:fact.added subject:{remembered.subject.id}')}" in page
    narrowed = re.search(r'<a class="plain" href="(\?[^"]+)"', page)
    assert narrowed
    assert set(
        re.findall(r'class="mono">([a-z]+\.[a-z_]+)</span>', client.get(address + narrowed[1]).content.decode())
    ) == {"fact.added"}


def test_entries_name_people_and_agents(client: Client, address: str, remembered: Remembered) -> None:
    client.get(address)
    page = client.get(address).content.decode()
    assert re.search(r'>assistant</a> <span class="sub">agent</span>', page)
    assert re.search(r'>amir</a> <span class="sub">user</span>', page)
    assert "cust_48213" in page and "it gives a known attribute another content" in page


def test_page_api_and_file_find_the_same(
    client: Client, address: str, api: ContractClient, workspace: Workspace, remembered: Remembered
) -> None:
    search = "subject:cust_48213 -action:audit. by:agent"
    page = client.get(address, {"q": search}).content.decode()
    ids = re.findall(r"<dt>Entry</dt><dd><span class=\"mono\">([^<]+)", page)
    assert ids
    assert [one["id"] for one in api.ask("/audit", q=search).json()["entries"]] == ids
    file = b"".join(client.get(reverse("audit-export-jsonl", args=["acme"]), {"q": search}).streaming_content)  # type: ignore[attr-defined]
    assert [json.loads(line)["entry"]["id"] for line in file.splitlines()] == ids
    exported = b"".join(api.ask("/audit/export", q=search, format="jsonl").streaming_content)
    assert [json.loads(line)["entry"]["id"] for line in exported.splitlines()] == ids


def test_the_api_says_what_is_wrong_with_a_search(api: ContractClient) -> None:
    for path in ("/audit", "/audit/export"):
        answer = api.ask(path, q="actr:ada")
        assert answer.status_code == 400
        assert "Did you mean actor:?" in answer.json()["error"]["fields"]["q"][0]


def test_a_search_and_the_other_parameters_hold_together(api: ContractClient, remembered: Remembered) -> None:
    api.ask("/audit")
    both = api.ask("/audit", q="action:fact.", outcome="ok", since="2020-01-01T00:00:00Z").json()["entries"]
    assert both and {one["action"].split(".")[0] for one in both} == {"fact"}
    assert api.ask("/audit", q="created:>=2026-01-01", until="2020-01-01T00:00:00Z").json()["entries"] == []


def test_a_page_asks_as_many_queries_however_long_it_is(
    client: Client, address: str, agent: Agent, remembered: Remembered
) -> None:
    def queries(search: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            client.get(address, {"q": search})
        return len(asked)

    client.get(address)
    few = queries("subject:cust_48213 actor:assistant -session:none action:fact.")
    for number in range(5):
        remember(agent, user_id=f"another_{number}")
    assert queries("subject:cust_48213 actor:assistant -session:none") == few <= 22
