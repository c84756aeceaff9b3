import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from extraction_work import LineExtractor, converse, fails, planned, read_one, windows_of

from facts.extraction.breaker import Leave, report
from facts.extraction.claims import FAILURES
from memoryhub.access.models import Agent, User
from memoryhub.console.extraction import CAUSES
from memoryhub.core.ids import uuid7

LIST = "/w/acme/dead-letters/"


@pytest.fixture
def letters(agent: Agent, settings: Any) -> list[str]:
    """Three dead letters, two of them `refused`; their ids."""
    settings.EXTRACTOR = "patterns"
    settings.EXTRACT_MAX_ATTEMPTS = 1
    for number, code in enumerate(("bad_request", "refused", "refused")):
        converse(agent, "My colour is blue", session=f"s{number}", user=f"u{number}")
        planned(agent)
        read_one(agent, LineExtractor(fails(code)))
    return [str(row.id) for row in windows_of(agent.workspace_id)]


def page(client: Client, person: User, path: str = LIST, status: int = 200, **more: Any) -> str:
    client.force_login(person)
    response = client.get(path, **more)
    assert response.status_code == status
    return re.sub(r"\s+", " ", response.content.decode())


def test_every_cause_has_words() -> None:
    assert set(CAUSES) == set(FAILURES)


def test_dead_letters_are_listed_with_cause_attempts_and_window(
    client: Client, operator: User, letters: list[str]
) -> None:
    shown = page(client, operator)
    assert shown.count("The model declined to answer <span") == 2
    assert "The provider refused the request <span" in shown
    assert "0 to 1 of <span" in shown
    assert "blue" not in shown
    assert "Replay all 3" in shown


def test_they_are_filtered_by_cause(client: Client, operator: User, letters: list[str]) -> None:
    shown = page(client, operator, f"{LIST}?error=refused")
    assert "Replay all 2 with this cause" in shown
    assert "The provider refused the request <span" not in shown
    assert "None has this cause" in page(client, operator, f"{LIST}?error=overloaded")
    part = page(client, operator, f"{LIST}?error=refused", headers={"HX-Request": "true"})
    assert "<html" not in part
    assert "Replay all 2" in part


def test_without_any_the_page_says_so(client: Client, operator: User) -> None:
    assert "There are no dead letters" in page(client, operator)


@pytest.mark.parametrize(("which", "left"), [("selected", 2), ("all", 1)])
def test_the_ticked_or_all_of_a_cause_are_replayed_with_their_progress(
    client: Client, operator: User, agent: Agent, letters: list[str], which: str, left: int
) -> None:
    client.force_login(operator)
    sent = {"which": which, "ids": letters[:1], "error": "refused"}
    answer = client.post(reverse("dead-letter-replay", args=["acme"]), sent)
    assert answer.status_code == 302
    assert [row.state for row in windows_of(agent.workspace_id)].count("dead") == left
    progress = answer["Location"]
    assert f"<b>0 of {3 - left}</b>" in page(client, operator, progress)
    assert 'hx-trigger="every 2s"' in page(client, operator, progress)
    for _ in range(3 - left):
        read_one(agent, LineExtractor())
    assert f"All <b>{3 - left}</b> were read again" in page(client, operator, progress)
    part = page(client, operator, progress, headers={"HX-Request": "true"})
    assert "<html" not in part
    assert "hx-get" not in part


def test_nothing_ticked_changes_nothing(client: Client, operator: User, agent: Agent, letters: list[str]) -> None:
    client.force_login(operator)
    for sent in ({"which": "selected"}, {"which": "selected", "ids": ["x"]}, {}, {"which": "all", "error": "gremlins"}):
        client.post(reverse("dead-letter-replay", args=["acme"]), sent)
    assert {row.state for row in windows_of(agent.workspace_id)} == {"dead"}
    assert "Nothing was replayed" in page(client, operator)


def test_a_replay_of_nothing_is_not_found(client: Client, operator: User, letters: list[str]) -> None:
    page(client, operator, f"{LIST}replays/{uuid7()}/", 404)


def test_auditors_look_and_operators_replay(
    client: Client, viewer: User, auditor: User, outsider: User, agent: Agent, letters: list[str]
) -> None:
    assert "Replay" not in page(client, auditor)
    page(client, viewer, status=403)
    page(client, outsider, status=404)
    for person, status in ((auditor, 403), (viewer, 403), (outsider, 404)):
        client.force_login(person)
        answer = client.post(reverse("dead-letter-replay", args=["acme"]), {"which": "all"})
        assert answer.status_code == status
    client.logout()
    assert client.post(reverse("dead-letter-replay", args=["acme"]), {"which": "all"}).status_code == 302
    assert {row.state for row in windows_of(agent.workspace_id)} == {"dead"}


def test_a_refused_key_is_one_clear_state(client: Client, operator: User, viewer: User, settings: Any) -> None:
    settings.EXTRACTOR = "claude"
    assert "Nothing is read for facts now" not in page(client, operator)
    report(Leave("claude"), "authentication_failed")
    assert "Nothing is read for facts now.</b> The provider refused the key" in page(client, operator)
    overview = page(client, viewer, "/w/acme/")
    assert "extraction stands still" in overview
    assert "The provider refused the key" in overview


def test_an_outage_is_told_from_a_wrong_key(client: Client, operator: User, settings: Any) -> None:
    settings.EXTRACTOR = "claude"
    settings.EXTRACT_BREAKER_FAILURES = 1
    report(Leave("claude"), "overloaded")
    assert "Reading for facts pauses for a moment.</b> The provider was overloaded" in page(client, operator)
    assert "extraction pauses" in page(client, operator, "/w/acme/")


def test_the_overview_leads_there_and_tells_todays_cost(
    client: Client, operator: User, viewer: User, agent: Agent, letters: list[str]
) -> None:
    converse(agent, "My colour is blue", session="s9", user="u9")
    planned(agent)
    read_one(agent, LineExtractor())
    shown = page(client, operator, "/w/acme/")
    assert "3 dead letters" in shown
    assert "$0.00 for extraction today" in shown
    assert f'href="{LIST}">Look' in shown
    assert f'href="{LIST}">Look' not in page(client, viewer, "/w/acme/")
