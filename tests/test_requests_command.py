"""`manage.py requests`: the desk from a shell."""

import io
import json
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django_q.models import OrmQ
from memory_samples import learn, say

from audit.actors import Actor
from audit.requests.models import DataRequest, Hold
from audit.requests.services import Rules, request_decide, request_locked
from audit.requests.states import Step
from memoryhub import desk, erasing
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.services import workspace_change
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject


@pytest.fixture
def maria(hub_db: str, agent: Agent, settings: Any, tmp_path: Any) -> Subject:
    settings.DATA_DIR = tmp_path
    said = say(agent, "I live in Rotterdam near the old harbour.", session="home", user="maria-of-rotterdam")
    learn(agent, "Lives in Rotterdam", user="maria-of-rotterdam", turn=said.turns[0])
    with in_workspace(agent.workspace_id):
        return Subject.objects.get()


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("requests", "--workspace", "acme", *arguments, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue().strip()


def carried_out() -> str:
    task = OrmQ.objects.get().task
    OrmQ.objects.all().delete()
    return erasing.carry_out(*task["args"])


def test_an_erasure_from_its_taking_up_to_its_letter(maria: Subject) -> None:
    made, due = run("take", "erasure", "--user-id", "maria-of-rotterdam", "--received", "2026-01-31", "--verified")
    assert due == "due on 2026-03-02"
    listed, _ = run("list", "--overdue")
    assert made in listed and "overdue" in listed and listed.endswith("1 request")
    assert run("approve", made)[0] == "approved"
    _, told = run("carry-out", made)
    assert "sessions:" in told and "--apply" in told
    assert not OrmQ.objects.exists()
    assert run("carry-out", made, "--apply")[0] == "running"
    assert carried_out() == "completed"
    shown = json.loads(run("show", made)[0])
    assert shown["state"] == "completed" and shown["open_steps"] == []
    assert {one["by"] for one in shown["steps"]} == {"command:requests", "system:erasure"}
    letter, _ = run("letter", made)
    assert letter.startswith("<!doctype html>") and "was carried out" in letter
    assert "We received your request" in run("letter", made, "--about", "receipt")[0]
    assert run("list")[0] == "0 requests"


def test_a_shell_is_one_person_where_two_approve(maria: Subject, workspace: Workspace) -> None:
    workspace_change(
        workspace=workspace, policy=WorkspacePolicy(two_approve_erasure=True), actor=Actor.command("tests")
    )
    made, _ = run("take", "erasure", "--subject", str(maria.id), "--verified")
    assert run("approve", made) == ("review", "A second person has to approve it, in the console or over the API.")
    with pytest.raises(CommandError, match="a second person has to"):
        run("approve", made)
    with in_workspace(workspace.id):
        found = request_locked(workspace_id=workspace.id, request_id=DataRequest.objects.get().id)
        second = Actor.command("second")
        request_decide(request=found, step=Step.APPROVE, actor=second, rules=Rules(two_approve_erasure=True))
    assert json.loads(run("show", made)[0])["state"] == "approved"


def test_a_hold_placed_here_is_not_released_here(maria: Subject, workspace: Workspace) -> None:
    made, _ = run("take", "erasure", "--subject", str(maria.id), "--verified")
    run("approve", made)
    hold, _ = run("hold", "--user-id", "maria-of-rotterdam", "--reason", "litigation", "--note", "the harbour case")
    assert hold in run("holds")[0] and "harbour" not in run("holds", "--all")[0]
    assert run("carry-out", made, "--apply")[0] == "blocked"
    with pytest.raises(CommandError, match="somebody else has to"):
        run("release", hold)
    with in_workspace(workspace.id):
        desk.hold_end(workspace_id=workspace.id, hold_id=Hold.objects.get().id, actor=Actor.command("second"))
    assert carried_out() == "completed"
    assert run("holds")[0] == ""


def test_other_types_are_refused_extended_assigned_and_completed(maria: Subject, privacy_officer: User) -> None:
    made, _ = run("take", "access", "--subject", str(maria.id))
    run("assign", made, privacy_officer.username)
    assert json.loads(run("show", made)[0])["assignee_id"] == str(privacy_officer.pk)
    with pytest.raises(CommandError, match="Nobody of that name"):
        run("assign", made, "somebody")
    assert run("extend", made, "--reason", "complex")[0].startswith("due on ")
    with pytest.raises(CommandError, match="approve is not open now"):
        run("approve", made)
    with pytest.raises(CommandError, match="cannot be carried out now"):
        run("carry-out", made)
    run("confirm-identity", made)
    run("approve", made)
    run("carry-out", made, "--apply")
    assert run("complete", made)[0] == "completed"
    other, _ = run("take", "rectification", "--subject", str(maria.id))
    assert run("refuse", other, "--reason", "unfounded")[0] == "refused"
    with pytest.raises(CommandError, match="no such letter"):
        run("letter", other, "--about", "extension")


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", str(uuid4())),
        ("approve", str(uuid4())),
        ("letter", str(uuid4())),
        ("release", str(uuid4())),
        ("take", "erasure", "--user-id", "nobody"),
        ("take", "erasure", "--user-id", "maria-of-rotterdam", "--session", "none"),
        ("take", "access", "--user-id", "maria-of-rotterdam", "--session", "home"),
        ("take", "access", "--user-id", "maria-of-rotterdam", "--received", "2999-01-01"),
        ("hold", "--user-id", "nobody", "--reason", "other"),
    ],
    ids=["show", "approve", "letter", "release", "nobody", "no session", "a part", "the future", "hold"],
)
def test_what_is_not_there_or_cannot_be_is_told(maria: Subject, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)
    with in_workspace(maria.workspace_id):
        assert not DataRequest.objects.exists() and not Hold.objects.exists()
