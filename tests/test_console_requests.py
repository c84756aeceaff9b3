"""The privacy desk in the console: taken up, decided, carried out, told; and legal holds."""

import re
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ
from memory_samples import learn, say

from audit.erasure.models import Erasure
from audit.models import Entry
from audit.requests.models import DataRequest, Hold
from memoryhub import erasing
from memoryhub.access.models import Agent, Role, User, Workspace
from memoryhub.access.people import user_create
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.services import workspace_change
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject


@pytest.fixture
def maria(hub_db: str, agent: Agent, settings: Any, tmp_path: Any) -> Subject:
    settings.DATA_DIR = tmp_path
    said = say(agent, "I live in Rotterdam near the old harbour.", session="home", user="maria-of-rotterdam")
    learn(agent, "Lives in Rotterdam", user="maria-of-rotterdam", turn=said.turns[0])
    with in_workspace(agent.workspace_id):
        return Subject.objects.get()


@pytest.fixture
def officer(privacy_officer: User) -> Client:
    return signed_in(privacy_officer)


@pytest.fixture
def second(maria: Subject, workspace: Workspace, actor: Any) -> Client:
    user, _ = user_create(username="second", workspace=workspace, role=Role.PRIVACY_OFFICER, actor=actor)
    return signed_in(user)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def take(client: Client, maria: Subject, type_: str, **more: str) -> str:
    """The address of a new request."""
    body = {"type": type_, "received_on": str(timezone.now().date()), "channel": "email", "identity": "verified"}
    answer = client.post(f"/w/acme/subjects/{maria.id}/request/", body | more)
    assert answer.status_code == 303, answer.content.decode()
    return answer["Location"]


def decide(client: Client, address: str, step: str, **more: str) -> str:
    answer = client.post(f"{address}decide/", {"step": step} | more, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def text_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def carried_out() -> str:
    task = OrmQ.objects.get().task
    OrmQ.objects.all().delete()
    return erasing.carry_out(*task["args"])


def the_request(maria: Subject) -> DataRequest:
    with in_workspace(maria.workspace_id):
        return DataRequest.objects.get()


def test_an_erasure_is_taken_up_approved_by_two_run_and_certified(
    maria: Subject, officer: Client, second: Client, workspace: Workspace, actor: Any
) -> None:
    workspace_change(workspace=workspace, policy=WorkspacePolicy(two_approve_erasure=True), actor=actor)
    address = take(officer, maria, "erasure", note="She wrote from the old harbour.")
    assert "due in" in text_of(officer, address)
    assert "A second person has to approve it too" in decide(officer, address, "approve")
    assert ">Approve<" not in officer.get(address).content.decode()
    assert "You approved it already" in decide(officer, address, "approve")
    assert "that can be you" in text_of(second, address)
    decide(second, address, "approve")
    phrase = f"erase {str(maria.id)[:8]}"
    shown = text_of(second, f"{address}run/")
    assert "What would go" in shown and phrase in shown
    wrong = second.post(f"{address}run/", {"phrase": "erase"})
    assert wrong.status_code == 422 and the_request(maria).state == "approved"
    assert second.post(f"{address}run/", {"phrase": phrase}).status_code == 303
    going = officer.get(address, headers={"hx-request": "true"}).content.decode()
    assert "every 2s" in going and "<html" not in going
    assert carried_out() == "completed"
    assert officer.get(address, headers={"hx-request": "true"}).headers["HX-Refresh"] == "true"
    done = officer.get(address).content.decode()
    request = the_request(maria)
    assert request.state == "completed" and f"/w/acme/erasures/{request.erasure_id}/" in done
    assert "old harbour" not in done and "maria-of-rotterdam" not in done
    letter = text_of(officer, f"{address}letter/")
    assert "Your request was carried out" in letter and "nothing was found" in letter and "art. 77" in letter
    file = officer.get(f"{address}letter.html")
    assert (
        "attachment" in file["Content-Disposition"] and b"<script" not in file.content and b"http" not in file.content
    )
    assert "Request completed" not in letter


def test_the_deadline_is_told_with_how_it_is_counted(maria: Subject, officer: Client) -> None:
    with in_workspace(maria.workspace_id):
        address = take(officer, maria, "access", received_on="2026-01-31")
    shown = text_of(officer, address)
    assert "Monday, 2 March 2026" in shown and "28 Feb 2026" in shown  # the 28th is a Saturday
    assert "Sat 28 Feb, Sun 1 Mar: no working days" in shown and "overdue" in shown
    listed = text_of(officer, "/w/acme/requests/?due=overdue")
    assert "access received 31 Jan 2026" in listed
    assert "1 overdue" in text_of(officer, "/w/acme/requests/")
    assert "overdue" in text_of(officer, "/w/acme/")


def test_a_doubt_pauses_and_the_list_says_so(maria: Subject, officer: Client) -> None:
    address = take(officer, maria, "access", identity="unverified")
    assert "identity is checked" in decide(officer, address, "doubt_identity", reason="identity_doubtful")
    assert "Paused since" in text_of(officer, address)
    assert "paused" in text_of(officer, "/w/acme/requests/")
    assert "no request matches" in text_of(officer, "/w/acme/requests/?due=overdue").lower()
    decide(officer, address, "confirm_identity")
    assert the_request(maria).state == "review"


def test_more_time_is_taken_once_and_there_is_a_letter_about_it(maria: Subject, officer: Client) -> None:
    address = take(officer, maria, "access")
    assert "We received your request" in text_of(officer, f"{address}letter/")
    today = str(timezone.now().date())
    body = {"reason": "complex", "told_on": today}
    assert "Extended: it is due" in officer.post(f"{address}extend/", body, follow=True).content.decode()
    assert "Three calendar months later" in text_of(officer, address)
    assert "that can be done once" in officer.post(f"{address}extend/", body, follow=True).content.decode()
    letter = text_of(officer, f"{address}letter/")
    assert "Your request takes longer" in letter and "the request is complex" in letter
    decide(officer, address, "refuse", reason="excessive")
    assert "Your request is refused" in text_of(officer, f"{address}letter/")
    assert "Your request takes longer" in text_of(officer, f"{address}letter/?about=extension")


def test_a_refusal_needs_a_reason_and_its_letter_tells_it(maria: Subject, officer: Client) -> None:
    address = take(officer, maria, "objection")
    assert "Say why it is refused" in decide(officer, address, "refuse")
    decide(officer, address, "refuse", reason="overriding_grounds")
    letter = text_of(officer, f"{address}letter/")
    assert "We do not do what you asked for" in letter and "compelling grounds" in letter


def test_an_objection_stops_what_was_chosen_and_the_letter_says_what(maria: Subject, officer: Client) -> None:
    address = take(officer, maria, "objection")
    decide(officer, address, "approve")
    assert officer.post(f"{address}run/", {}).status_code == 422
    officer.post(f"{address}run/", {"what": ["recording", "surfacing"]})
    with in_workspace(maria.workspace_id):
        now = Subject.objects.get()
    assert now.recording_paused_at and now.surfacing_paused_at and not now.extraction_paused_at
    letter = text_of(officer, f"{address}letter/")
    assert "what you say is not recorded and no assistant" in letter and "learned from" not in letter


def test_what_is_not_open_says_so_and_changes_nothing(maria: Subject, officer: Client) -> None:
    address = take(officer, maria, "erasure", identity="unverified")
    assert "approve is not open now" in decide(officer, address, "approve")
    assert "cannot be carried out in this state" in text_of(officer, f"{address}run/")
    assert officer.post(f"{address}run/", {"phrase": f"erase {str(maria.id)[:8]}"}).status_code == 422
    assert "Nothing was changed" in decide(officer, address, "carry_out")
    assert the_request(maria).state == "received"


def test_a_request_of_tomorrow_or_about_a_part_of_nothing_is_refused(maria: Subject, officer: Client) -> None:
    address = f"/w/acme/subjects/{maria.id}/request/"
    body = {"type": "access", "channel": "email", "identity": "verified"}
    tomorrow = str(timezone.now().date() + timedelta(days=2))
    assert officer.post(address, body | {"received_on": tomorrow}).status_code == 422
    today = {"received_on": str(timezone.now().date())}
    part = officer.post(address, body | today | {"session": str(maria.id)})
    assert part.status_code == 422 and "no such session" in part.content.decode()
    with in_workspace(maria.workspace_id):
        session = Session.objects.get()
        assert not DataRequest.objects.exists()
    access = officer.post(address, body | today | {"session": str(session.id)})
    assert access.status_code == 422 and "Only an erasure can be about a part" in access.content.decode()
    take(officer, maria, "erasure", session=str(session.id))
    assert the_request(maria).session_id == session.id


def test_assigning_and_noting(maria: Subject, officer: Client, privacy_officer: User, viewer: User) -> None:
    address = take(officer, maria, "rectification")
    nobody = officer.post(f"{address}assign/", {"assignee": str(viewer.pk)}, follow=True).content.decode()
    assert "Nothing was changed" in nobody
    officer.post(f"{address}assign/", {"assignee": str(privacy_officer.pk)})
    officer.post(f"{address}note/", {"note": "She called about the harbour."})
    shown = text_of(officer, address)
    assert f"looked after by {privacy_officer.username}" in shown and "She called about the harbour." in shown
    assert privacy_officer.username in text_of(officer, f"/w/acme/requests/?assignee={privacy_officer.pk}")
    assert "No request matches" in text_of(officer, "/w/acme/requests/?assignee=nobody")


def test_an_auditor_sees_everything_but_notes_and_changes_nothing(
    maria: Subject, officer: Client, auditor: User, viewer: User
) -> None:
    address = take(officer, maria, "access", note="She wrote from the old harbour.")
    client = signed_in(auditor)
    shown = text_of(client, address)
    assert "with a note" in shown and "old harbour" not in shown and "What can be done now" not in shown
    assert client.post(f"{address}decide/", {"step": "cancel"}).status_code == 403
    assert signed_in(viewer).get(address).status_code == 403
    assert b"/w/acme/requests/" not in signed_in(viewer).get("/w/acme/").content
    with in_workspace(maria.workspace_id):
        assert Entry.objects.filter(action="request.viewed").count() >= 1


def test_a_hold_blocks_an_erasure_and_releasing_it_resumes(maria: Subject, officer: Client, second: Client) -> None:
    placed = officer.post(f"/w/acme/subjects/{maria.id}/hold/", {"reason": "litigation", "note": "the harbour case"})
    assert placed.status_code == 303
    assert "legal hold" in text_of(officer, f"/w/acme/subjects/{maria.id}/")
    with in_workspace(maria.workspace_id):
        hold, session = Hold.objects.get(), Session.objects.get()
    assert "legal hold" in text_of(officer, f"/w/acme/sessions/{session.id}/")
    address = take(officer, maria, "erasure")
    decide(officer, address, "approve")
    assert "the request waits" in text_of(officer, f"{address}run/")
    officer.post(f"{address}run/", {"phrase": f"erase {str(maria.id)[:8]}"})
    assert "blocked by a hold" in text_of(officer, address)
    listed = text_of(officer, "/w/acme/holds/")
    assert "a request waits for it" in listed and "somebody else releases it" in listed and "harbour case" in listed
    mine = officer.post(f"/w/acme/holds/{hold.id}/release/", follow=True).content.decode()
    assert "somebody else has to" in mine
    theirs = second.post(f"/w/acme/holds/{hold.id}/release/", follow=True).content.decode()
    assert "A request that waited for it goes on." in theirs
    assert carried_out() == "completed"
    assert the_request(maria).state == "completed"
    assert "released" in text_of(officer, "/w/acme/holds/?state=any")


def test_a_hold_on_a_session_shows_there_and_on_no_other(maria: Subject, officer: Client, agent: Agent) -> None:
    say(agent, "I have a red boat.", session="boat", user="maria-of-rotterdam")
    with in_workspace(agent.workspace_id):
        home, boat = Session.objects.get(external_id="home"), Session.objects.get(external_id="boat")
    address = f"/w/acme/subjects/{maria.id}/hold/"
    assert str(boat.id) in officer.get(f"{address}?session={boat.id}").content.decode()
    officer.post(address, {"reason": "authority", "session": str(boat.id)})
    assert "legal hold" in text_of(officer, f"/w/acme/sessions/{boat.id}/")
    assert "legal hold" not in text_of(officer, f"/w/acme/sessions/{home.id}/").replace("Legal holds", "")
    assert "legal hold on 1 session" in text_of(officer, f"/w/acme/subjects/{maria.id}/")
    none = officer.post(address, {"reason": "authority", "session": str(maria.id)})
    assert none.status_code == 422 and "no such session" in none.content.decode()


def test_a_hold_comes_too_late_while_an_erasure_runs_and_is_told_what_is_left(maria: Subject, officer: Client) -> None:
    address = take(officer, maria, "erasure")
    decide(officer, address, "approve")
    officer.post(f"{address}run/", {"phrase": f"erase {str(maria.id)[:8]}"})
    late = officer.post(f"/w/acme/subjects/{maria.id}/hold/", {"reason": "litigation"})
    told = re.sub(r"<[^>]+>", " ", late.content.decode())
    assert late.status_code == 409 and "Too late: an erasure is under way" in told and "sessions" in told
    with in_workspace(maria.workspace_id):
        assert not Hold.objects.exists() and Erasure.objects.get().state == "queued"


def test_the_desk_asks_few_queries_however_much_there_is(maria: Subject, officer: Client) -> None:
    def queries(url: str) -> int:
        officer.get(url)  # what was told since is told here
        with CaptureQueriesContext(connection) as asked:
            assert officer.get(url).status_code == 200
        return len(asked)

    pages = ("/w/acme/requests/?state=any", "/w/acme/holds/", "/w/acme/")
    take(officer, maria, "access")
    officer.post(f"/w/acme/subjects/{maria.id}/hold/", {"reason": "authority"})
    few = [queries(url) for url in pages]
    for _ in range(4):
        take(officer, maria, "access", received_on=str(date(2026, 1, 31)))
        officer.post(f"/w/acme/subjects/{maria.id}/hold/", {"reason": "authority"})
    assert [queries(url) for url in pages] == few
    assert max(few[:2]) <= 20 and few[2] <= 25
