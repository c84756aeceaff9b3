"""Requests of the people remembered, over the API: found by what is asked about them, and noted on."""

from datetime import timedelta
from uuid import uuid4

import pytest
from api_contract import ContractClient
from django.utils import timezone
from memory_samples import say

from memoryhub.access.models import Agent, User
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject


@pytest.fixture
def subject(agent: Agent) -> Subject:
    say(agent, "I live in Rotterdam.", user="maria")
    with in_workspace(agent.workspace_id):
        return Subject.objects.get()


def take(api: ContractClient, subject: Subject, type_: str, days: int = 0) -> str:
    received = (timezone.now() - timedelta(days=days)).isoformat()
    body = {"type": type_, "received_at": received, "identity": "verified"}
    answer = api.post(f"/api/v1/subjects/{subject.id}/requests", body, content_type="application/json")
    assert answer.status_code == 201
    return str(answer.json()["request_id"])


def found(api: ContractClient, query: str) -> list[str]:
    answer = api.get(f"/api/v1/requests?{query}")
    assert answer.status_code == 200, answer.content
    return [one["request_id"] for one in answer.json()["requests"]]


def test_requests_are_found_by_type_and_by_who_looks_after_them_and_when_they_are_late(
    api: ContractClient, subject: Subject, privacy_officer: User
) -> None:
    late, fresh = take(api, subject, "access", days=90), take(api, subject, "portability")
    assert found(api, "") == [late, fresh]
    assert found(api, "type=portability") == [fresh] and found(api, "type=erasure") == []
    assert found(api, "overdue=true") == [late] and found(api, "overdue=false") == [late, fresh]
    assigned = {"assignee_id": str(privacy_officer.pk)}
    api.post(f"/api/v1/requests/{fresh}/assign", assigned, content_type="application/json")
    assert found(api, f"assignee_id={privacy_officer.pk}") == [fresh]
    doubt = {"step": "doubt_identity"}
    api.post(f"/api/v1/requests/{late}/steps", doubt, content_type="application/json")
    assert found(api, "overdue=true") == []  # its clock stands still


def test_a_note_stands_in_the_history(api: ContractClient, subject: Subject) -> None:
    made = take(api, subject, "access")
    answer = api.post(f"/api/v1/requests/{made}/notes", {"note": "She called."}, content_type="application/json")
    assert answer.status_code == 201
    assert [one["note"] for one in answer.json()["steps"] if one["step"] == "note"] == ["She called."]
    empty = api.post(f"/api/v1/requests/{made}/notes", {"note": ""}, content_type="application/json")
    assert empty.status_code == 400
    nothing = api.post(f"/api/v1/requests/{uuid4()}/notes", {"note": "x"}, content_type="application/json")
    assert nothing.status_code == 404
