"""Erasing in the console: the counts, the decision, the certificate."""

import json
import re
from typing import Any

import pytest
from django.test import Client
from django_q.models import OrmQ
from memory_samples import learn, say

from audit.erasure.models import Erasure
from memoryhub import erasing
from memoryhub.access.models import Agent, User
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
def officer(client: Client, privacy_officer: User) -> Client:
    client.force_login(privacy_officer)
    return client


def carried_out() -> str:
    task = OrmQ.objects.get().task
    OrmQ.objects.all().delete()
    return erasing.carry_out(*task["args"])


def test_a_person_is_erased_after_a_look_and_a_phrase(maria: Subject, officer: Client) -> None:
    address = f"/w/acme/subjects/{maria.id}/erase/"
    shown = officer.get(address)
    assert shown.status_code == 200
    text = shown.content.decode()
    assert "Erase everything about this person" in text and f"erase {str(maria.id)[:8]}" in text

    wrong = officer.post(address, {"reason": "subject_request", "phrase": "erase"})
    assert wrong.status_code == 422
    with in_workspace(maria.workspace_id):
        assert not Erasure.objects.exists()

    begun = officer.post(address, {"reason": "subject_request", "phrase": f"erase {str(maria.id)[:8]}"})
    assert begun.status_code == 303
    assert "every 2s" in officer.get(begun["Location"]).content.decode()
    assert carried_out() == "completed"
    told = officer.get(begun["Location"]).content.decode()
    assert "Completed: everything in the scope was erased" in told and "every 2s" not in told
    assert "maria-of-rotterdam" not in told
    file = officer.get(re.findall(r'href="([^"]+certificate\.json)"', told)[0])
    assert json.loads(file.content)["state"] == "completed"
    assert officer.get(address).status_code == 404
    assert "completed" in officer.get("/w/acme/erasures/").content.decode()


def test_a_session_can_be_named_and_only_one_s_own(maria: Subject, officer: Client, agent: Agent) -> None:
    with in_workspace(agent.workspace_id):
        session = Session.objects.get()
    address = f"/w/acme/subjects/{maria.id}/erase/"
    assert "Erase this session" in officer.get(f"{address}?session={session.id}").content.decode()
    other = officer.get(f"{address}?session={maria.id}")
    assert other.status_code == 422 and "no such session" in other.content.decode()
    both = officer.get(f"{address}?session={session.id}&since=2026-01-01")
    assert both.status_code == 422


def test_a_fact_is_erased_by_its_handle(maria: Subject, officer: Client, agent: Agent) -> None:
    known = learn(agent, "Drives a blue bicycle", user="maria-of-rotterdam", attribute="vehicle")
    address = f"/w/acme/facts/{known.version.fact_id}/erase/"
    assert "erase F2" in officer.get(address).content.decode()
    begun = officer.post(address, {"statement": "turn", "reason": "subject_request", "phrase": "Erase  f2"})
    assert begun.status_code == 303
    assert carried_out() == "completed"
    assert officer.get(address).status_code == 404


def test_what_left_something_can_be_tried_again(maria: Subject, officer: Client) -> None:
    address = f"/w/acme/subjects/{maria.id}/erase/"
    begun = officer.post(address, {"reason": "subject_request", "phrase": f"erase {str(maria.id)[:8]}"})
    with in_workspace(maria.workspace_id):
        erasure = Erasure.objects.get()
        Erasure.objects.update(state="partial")
    OrmQ.objects.all().delete()
    assert "Try again" in officer.get(begun["Location"]).content.decode()
    officer.post(f"/w/acme/erasures/{erasure.id}/retry/")
    assert carried_out() == "completed"
