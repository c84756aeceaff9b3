"""A fact's page: its history, and correcting, marking stale and restoring it."""

import pytest
from console_memory import Remembered, remember
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from audit.models import Entry
from facts.models import Fact, FactTransition, FactVersion
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def remembered(agent: Agent) -> Remembered:
    return remember(agent)


@pytest.fixture
def signed_in(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


def send(client: Client, remembered: Remembered, action: str, **fields: object) -> HttpResponse:
    url = reverse(f"fact-{action}", args=["acme", remembered.fact.id])
    return client.post(url, {"expected_version": 2, "reason": "corrected", "note": "", **fields})  # type: ignore[return-value]


def versions(workspace: Workspace, fact: Fact) -> list[tuple[int, str, str]]:
    with in_workspace(workspace.id):
        found = FactVersion.objects.filter(fact=fact).order_by("number")
        return list(found.values_list("number", "content", "status"))


def test_the_page_shows_every_version_with_the_turn_it_comes_from(signed_in: Client, remembered: Remembered) -> None:
    page = signed_in.get(reverse("fact-detail", args=["acme", remembered.fact.id])).content.decode()
    assert "Budget is 500 EUR a month" in page
    assert "Budget is <del>300</del><ins>500</ins> EUR a month" in page
    assert "My budget is 500 EUR a month." in page
    assert f'/w/acme/sessions/{remembered.session.id}/?from=0#turn-0"' in page
    assert "it gives a known attribute another content" in page


def test_correcting_a_fact_adds_a_version_and_keeps_the_old_one(
    signed_in: Client, workspace: Workspace, operator: User, remembered: Remembered
) -> None:
    answer = send(
        signed_in,
        remembered,
        "correct",
        content="Budget is 650 EUR a month",
        value="650",
        unit="EUR/month",
        note="Asked",
    )
    assert answer.status_code == 303
    assert versions(workspace, remembered.fact)[1:] == [
        (2, "Budget is 500 EUR a month", "superseded"),
        (3, "Budget is 650 EUR a month", "current"),
    ]
    page = signed_in.get(answer.headers["Location"]).content.decode()
    assert "Corrected: version 3" in page and "“<span" in page and "by oscar" in page
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="fact.corrected")
        assert (entry.actor_id, entry.reason) == (str(operator.id), "corrected")


def test_a_correction_of_a_version_that_has_moved_on_is_held_back_and_kept(
    signed_in: Client, workspace: Workspace, remembered: Remembered
) -> None:
    send(signed_in, remembered, "correct", content="Budget is 650 EUR a month")
    late = send(signed_in, remembered, "correct", content="Budget is 700 EUR a month")
    page = late.content.decode()
    assert late.status_code == 409
    assert "changed after you opened it" in page and "Budget is 700 EUR a month</textarea>" in page
    assert [number for number, *_ in versions(workspace, remembered.fact)] == [1, 2, 3]
    assert '<input type="hidden" name="expected_version" value="3"' in page
    again = send(signed_in, remembered, "correct", content="Budget is 700 EUR a month", expected_version=3)
    assert again.status_code == 303


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"content": ""}, "This field is required"),
        ({"content": "Budget is 500 EUR a month", "value": "500", "unit": "EUR/month"}, "what the fact says already"),
        ({"content": "Budget is 500 EUR a month", "value": "", "unit": ""}, "dropped together with the sentence"),
        ({"content": "a\0b"}, "Null characters are not allowed"),
        ({"content": "x" * 4001}, "at most 4000 characters"),
        ({"content": "other", "value": "NaN"}, "Enter a number"),
        ({"content": "other", "reason": "because"}, "Select a valid choice"),
        ({"content": "other", "expected_version": "two"}, "Enter a whole number"),
    ],
)
def test_a_correction_that_cannot_be_is_refused_in_words_and_changes_nothing(
    signed_in: Client, workspace: Workspace, remembered: Remembered, fields: dict[str, str], says: str
) -> None:
    answer = send(signed_in, remembered, "correct", **fields)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert len(versions(workspace, remembered.fact)) == 2


def test_a_fact_is_marked_stale_and_restored(signed_in: Client, workspace: Workspace, remembered: Remembered) -> None:
    assert send(signed_in, remembered, "stale", reason="outdated", note="Told by phone").status_code == 303
    assert versions(workspace, remembered.fact)[1][2] == "stale"
    assert send(signed_in, remembered, "restore", reason="restored", version=2).status_code == 303
    assert versions(workspace, remembered.fact)[1][2] == "current"
    with in_workspace(workspace.id):
        notes = FactTransition.objects.filter(version__fact=remembered.fact, to_status="stale").values_list(
            "note", flat=True
        )
        assert list(notes) == ["Told by phone"]
        assert not Entry.objects.filter(data__icontains="phone").exists()


def test_an_earlier_version_becomes_current_again(
    signed_in: Client, workspace: Workspace, remembered: Remembered
) -> None:
    assert send(signed_in, remembered, "restore", reason="restored", version=1).status_code == 303
    assert [status for *_, status in versions(workspace, remembered.fact)] == ["current", "superseded"]


def test_a_version_that_is_not_there_cannot_be_restored(
    signed_in: Client, workspace: Workspace, remembered: Remembered
) -> None:
    before = versions(workspace, remembered.fact)
    assert send(signed_in, remembered, "restore", reason="restored", version=9).status_code == 409
    assert versions(workspace, remembered.fact) == before


def test_pinning_and_unpinning(signed_in: Client, workspace: Workspace, remembered: Remembered) -> None:
    for pinned, words in ((True, "yes"), (False, "no")):
        assert send(signed_in, remembered, "pin", pinned=words).status_code == 303
        with in_workspace(workspace.id):
            assert Fact.objects.get(pk=remembered.fact.id).pinned is pinned


def test_looking_at_a_fact_is_in_the_log(
    signed_in: Client, workspace: Workspace, operator: User, remembered: Remembered
) -> None:
    signed_in.get(reverse("fact-detail", args=["acme", remembered.fact.id]))
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="memory.viewed")
        assert (entry.actor_id, entry.subject_id) == (str(operator.id), remembered.subject.id)
