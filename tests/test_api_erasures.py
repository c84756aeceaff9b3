"""Erasing over the API: count, confirm, follow."""

from typing import Any

import pytest
from django_q.models import OrmQ
from memory_samples import learn, say

from audit.erasure.models import Erasure
from memoryhub import erasing
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject


@pytest.fixture
def maria(hub_db: str, agent: Agent, settings: Any, tmp_path: Any) -> Subject:
    settings.DATA_DIR = tmp_path
    said = say(agent, "I live in Rotterdam near the old harbour.", session="home", user="maria-of-rotterdam")
    learn(agent, "Lives in Rotterdam", user="maria-of-rotterdam", turn=said.turns[0])
    with in_workspace(agent.workspace_id):
        return Subject.objects.get()


def carried_out() -> str:
    """What the worker does with the one task that waits."""
    task = OrmQ.objects.get().task
    OrmQ.objects.all().delete()
    assert task["func"] == "memoryhub.erasing.carry_out"
    return erasing.carry_out(*task["args"])


def test_a_person_is_counted_confirmed_and_erased(maria: Subject, api: Any) -> None:
    plan = api.send("POST", f"/subjects/{maria.id}/erasures/plan", {}).json()
    assert plan["kind"] == "subject"
    assert plan["stores"]["sessions"] == {"turn": 1, "session": 1, "subject": 1}
    assert api.send("GET", f"/subjects/{maria.id}", None).json()["turns"] == 1

    begun = api.send("POST", f"/subjects/{maria.id}/erasures", {"confirm": plan["confirm"]})
    assert begun.status_code == 202
    erasure = begun.json()
    assert (erasure["state"], erasure["planned"]) == ("queued", plan["stores"])
    late = {"user_id": "maria-of-rotterdam", "turns": [{"role": "user", "content": "Hello?"}]}
    answer = api.send("POST", "/sessions/home/turns", late)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "erased")
    again = api.send("POST", f"/subjects/{maria.id}/erasures", {"confirm": plan["confirm"]})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "erasing")

    assert carried_out() == "completed"
    told = api.send("GET", f"/erasures/{erasure['erasure_id']}", None).json()
    assert (told["state"], told["left"], told["erased"]) == ("completed", 0, plan["stores"])
    assert told["certificate"]["state"] == "completed"
    assert len(told["certificate_sha256"]) == 64
    assert api.send("GET", f"/subjects/{maria.id}", None).status_code == 404
    assert api.send("POST", "/sessions/home/turns", late).status_code == 410
    fresh = api.send("POST", "/sessions/another/turns", late)
    assert fresh.status_code == 201
    assert [one["erasure_id"] for one in api.send("GET", "/erasures", None).json()["erasures"]] == [
        erasure["erasure_id"]
    ]


def test_a_session_and_a_fact_are_erased_alone(maria: Subject, agent: Agent, api: Any) -> None:
    other = learn(agent, "Drives a blue bicycle", user="maria-of-rotterdam", attribute="vehicle")
    begun = api.send("POST", f"/facts/{other.version.fact_id}/erase", {})
    assert (begun.status_code, begun.json()["kind"]) == (202, "fact")
    assert carried_out() == "completed"
    plan = api.send("POST", f"/subjects/{maria.id}/erasures/plan", {"session_id": "home"}).json()
    assert plan["kind"] == "session" and plan["stores"]["facts"]["fact"] == 1
    api.send("POST", f"/subjects/{maria.id}/erasures", {"confirm": plan["confirm"]})
    assert carried_out() == "completed"
    assert (
        api.send("GET", f"/subjects/{maria.id}", None).json() | {"turns": 0, "sessions": 0, "facts": 0}
        == api.send("GET", f"/subjects/{maria.id}", None).json()
    )


@pytest.mark.parametrize("confirm", ["none", "", "eyJ3IjoiMCJ9:1:abc"])
def test_nothing_is_erased_without_a_plan_that_was_shown(maria: Subject, api: Any, confirm: str) -> None:
    answer = api.send("POST", f"/subjects/{maria.id}/erasures", {"confirm": confirm})
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == ["confirm"]
    with in_workspace(maria.workspace_id):
        assert not Erasure.objects.exists()


def test_a_plan_for_one_person_confirms_nothing_for_another(maria: Subject, agent: Agent, api: Any) -> None:
    plan = api.send("POST", f"/subjects/{maria.id}/erasures/plan", {}).json()
    say(agent, "Hi.", session="b", user="bob")
    with in_workspace(agent.workspace_id):
        bob = Subject.objects.get(external_id="bob")
    assert api.send("POST", f"/subjects/{bob.id}/erasures", {"confirm": plan["confirm"]}).status_code == 400


def test_another_workspace_learns_of_nobody(maria: Subject, outsider_api: Any) -> None:
    answers = [
        outsider_api.send("POST", f"/subjects/{maria.id}/erasures/plan", {}),
        outsider_api.send("GET", "/erasures/0199f6a1-3c00-7abc-8def-0123456789ab", None),
    ]
    assert {answer.status_code for answer in answers} == {404}


def test_the_sweep_goes_on_with_what_nobody_carries_out(maria: Subject, api: Any) -> None:
    plan = api.send("POST", f"/subjects/{maria.id}/erasures/plan", {}).json()
    api.send("POST", f"/subjects/{maria.id}/erasures", {"confirm": plan["confirm"]})
    assert erasing.sweep() == 1
    assert erasing.sweep() == 0
    with in_workspace(maria.workspace_id):
        assert Erasure.objects.get().state == "completed"
