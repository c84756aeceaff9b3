"""The people remembered, over REST."""

from datetime import timedelta
from uuid import UUID

import pytest
from api_contract import ContractClient
from api_state import state_of
from django.utils import timezone

from audit.models import Entry
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject

TURNS = [{"role": "user", "content": "I moved to Lisbon."}, {"role": "assistant", "content": "Noted."}]


@pytest.fixture
def maria(api: ContractClient) -> str:
    api.send("POST", "/sessions/s1/turns", {"user_id": "maria@example.com", "turns": TURNS})
    fact = {"user_id": "maria@example.com", "type": "entity", "entity": "home", "content": "Maria lives in Lisbon."}
    api.send("POST", "/facts", fact)
    subject_id: str = api.send("POST", "/subjects/lookup", {"user_id": "maria@example.com"}).json()["subject_id"]
    return subject_id


def test_looking_somebody_up(api: ContractClient, maria: str, workspace: Workspace) -> None:
    found = api.send("POST", "/subjects/lookup", {"user_id": "maria@example.com"}).json()
    assert (found["subject_id"], found["user_id"]) == (maria, "maria@example.com")
    assert (found["sessions"], found["turns"], found["facts"]) == (1, 2, 1)
    assert api.ask(f"/subjects/{maria}").json() == found
    with in_workspace(workspace.id):
        assert Entry.objects.filter(action="subject.looked_up", subject_id=UUID(maria)).count() == 2
        assert Entry.objects.filter(action="subject.viewed", subject_id=UUID(maria)).count() == 1


def test_looking_up_nobody_is_recorded_too(api: ContractClient, workspace: Workspace) -> None:
    answer = api.send("POST", "/subjects/lookup", {"user_id": "nobody@example.com"})
    assert answer.status_code == 404
    assert list(answer.json()["error"]["fields"]) == ["user_id"]
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="subject.looked_up")
        assert not Subject.objects.exists()
    assert (entry.data, entry.subject_id) == ({"found": False}, None)


def test_answers_about_a_person_hold_no_memory(api: ContractClient, maria: str) -> None:
    for answer in (api.ask("/subjects"), api.ask(f"/subjects/{maria}"), api.ask("/audit")):
        assert b"Lisbon" not in answer.content


def test_everybody_is_listed_once_over_all_pages(api: ContractClient, workspace: Workspace) -> None:
    same_moment = timezone.now()
    with in_workspace(workspace.id):
        Subject.objects.bulk_create(
            Subject(workspace=workspace, external_id=f"p{number}", created_at=same_moment - timedelta(days=number // 4))
            for number in range(10)
        )
    seen: list[str] = []
    page = api.ask("/subjects", limit=3).json()
    while True:
        seen += [subject["user_id"] for subject in page["subjects"]]
        if page["next"] is None:
            break
        page = api.ask("/subjects", limit=3, cursor=page["next"]).json()
    assert sorted(seen) == [f"p{number}" for number in range(10)]
    assert set(seen[:4]) == {"p0", "p1", "p2", "p3"}


@pytest.mark.parametrize("reason", [{}, {"reason": "legal_obligation"}])
def test_restricting_and_lifting_it(
    api: ContractClient, maria: str, workspace: Workspace, reason: dict[str, str]
) -> None:
    restricted = api.send("POST", f"/subjects/{maria}/restrict", reason)
    assert restricted.status_code == 200
    assert restricted.json()["restricted_at"]
    before = state_of(workspace)
    assert api.send("POST", f"/subjects/{maria}/restrict", reason).json() == restricted.json()
    assert state_of(workspace) == before
    assert api.send("POST", f"/subjects/{maria}/unrestrict", reason).json()["restricted_at"] is None
    with in_workspace(workspace.id):
        entries = Entry.objects.filter(action__in=["subject.restricted", "subject.unrestricted"]).order_by("id")
        assert [(entry.action, entry.reason) for entry in entries] == [
            ("subject.restricted", reason.get("reason", "requested")),
            ("subject.unrestricted", reason.get("reason", "requested")),
        ]


@pytest.mark.parametrize("part", ["recording", "extraction", "surfacing"])
def test_pausing_and_resuming_a_part(api: ContractClient, maria: str, workspace: Workspace, part: str) -> None:
    paused = api.send("POST", f"/subjects/{maria}/pause", {"what": [part, part]}).json()
    at = {name: paused[f"{name}_paused_at"] is not None for name in ("recording", "extraction", "surfacing")}
    assert at == {name: name == part for name in at}
    everything = {"what": ["recording", "extraction", "surfacing"]}
    resumed = api.send("POST", f"/subjects/{maria}/resume", everything).json()
    assert not any(resumed[f"{name}_paused_at"] for name in at)
    with in_workspace(workspace.id):
        entries = Entry.objects.filter(action__in=["subject.paused", "subject.resumed"]).order_by("id")
        assert [(entry.action, entry.data["what"]) for entry in entries] == [
            ("subject.paused", [part]),
            ("subject.resumed", [part]),
        ]
