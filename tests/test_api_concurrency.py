"""Several callers at once, over real connections: everything accepted is there, once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from facts.models import Fact, FactVersion, Status
from memoryhub.access.models import Workspace
from memoryhub.access.services import NewKey
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject, Turn

CALLERS = 8
Send = Callable[[str, str, Any], httpx.Response]


@pytest.fixture
def send(live_hub: Any, agent_key: NewKey) -> Send:
    headers = {"authorization": f"Bearer {agent_key.secret}"}

    def request(method: str, path: str, body: Any) -> httpx.Response:
        return httpx.request(method, f"{live_hub.url}/api/v1{path}", json=body, headers=headers, timeout=30)

    return request


def at_once(call: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(CALLERS) as callers:
        return list(callers.map(call, range(CALLERS)))


def test_writers_of_one_new_session_each_get_an_index_of_their_own(send: Send, workspace: Workspace) -> None:
    def write(number: int) -> httpx.Response:
        turns = [{"role": "user", "content": f"{number}.{part}", "id": f"{number}.{part}"} for part in range(3)]
        return send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": turns})

    answers = at_once(write)
    assert {answer.status_code for answer in answers} == {201}
    with in_workspace(workspace.id):
        assert (Subject.objects.count(), Session.objects.count()) == (1, 1)
        assert Session.objects.get().turn_count == CALLERS * 3
        kept = {turn.client_id: turn.index for turn in Turn.objects.all()}
    assert sorted(kept.values()) == list(range(CALLERS * 3))
    # A request's turns stand together, and where its answer says.
    for number, answer in enumerate(answers):
        indexes = [turn["turn_index"] for turn in answer.json()["turns"]]
        assert indexes == [kept[f"{number}.{part}"] for part in range(3)]
        assert indexes == list(range(indexes[0], indexes[0] + 3))


def test_the_same_turns_sent_at_once_are_kept_once(send: Send, workspace: Workspace) -> None:
    turns = [{"role": "user", "content": f"{part}", "id": f"m{part}"} for part in range(3)]
    answers = at_once(lambda _: send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": turns}))
    assert sorted(answer.status_code for answer in answers) == [200] * (CALLERS - 1) + [201]
    assert len({str(answer.json()["turns"]) for answer in answers}) == 1
    with in_workspace(workspace.id):
        assert Turn.objects.count() == 3


def test_the_same_fact_stated_at_once_is_one_fact(send: Send, workspace: Workspace) -> None:
    fact = {"user_id": "maria", "type": "preference", "entity": "tea", "content": "She drinks green tea."}
    answers = at_once(lambda _: send("POST", "/facts", fact))
    outcomes = sorted(answer.json()["facts"][0]["outcome"] for answer in answers)
    assert outcomes == ["added"] + ["confirmed"] * (CALLERS - 1)
    with in_workspace(workspace.id):
        assert (Fact.objects.count(), FactVersion.objects.count()) == (1, 1)


def test_of_several_corrections_of_one_version_one_wins(send: Send, workspace: Workspace) -> None:
    fact = {"user_id": "maria", "type": "preference", "entity": "tea", "content": "She drinks green tea."}
    path = f"/facts/{send('POST', '/facts', fact).json()['facts'][0]['fact_id']}"
    answers = at_once(lambda number: send("PATCH", path, {"expected_version": 1, "content": f"Tea {number}."}))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * (CALLERS - 1)
    with in_workspace(workspace.id):
        assert FactVersion.objects.count() == 2
        assert FactVersion.objects.filter(status=Status.CURRENT).count() == 1


def test_batches_about_the_same_people_in_any_order_do_not_block_each_other(send: Send, workspace: Workspace) -> None:
    def write(number: int) -> httpx.Response:
        people = ["zoe", "maria", "adam"] if number % 2 else ["adam", "maria", "zoe"]
        facts = [
            {"user_id": user, "type": "goal", "entity": f"goal {number}", "content": f"Goal {number} of {user}."}
            for user in people
        ]
        return send("POST", "/facts", {"facts": facts})

    assert {answer.status_code for answer in at_once(write)} == {201}
    with in_workspace(workspace.id):
        assert Fact.objects.count() == CALLERS * 3
        handles = list(Fact.objects.filter(subject__external_id="zoe").values_list("handle", flat=True))
    assert sorted(handles) == list(range(1, CALLERS + 1))


def test_reading_while_writing_never_fails(send: Send) -> None:
    def work(number: int) -> httpx.Response:
        if number % 2:
            ask = {"user_id": "maria", "session_id": "now", "message": "Which tea?", "refresh": "session"}
            return send("POST", "/working-memory", ask)
        fact = {"user_id": "maria", "type": "goal", "entity": f"tea {number}", "content": f"Tea {number}."}
        return send("POST", "/facts", fact)

    assert {answer.status_code for answer in at_once(work)} == {200, 201}
