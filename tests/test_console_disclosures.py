"""Who was shown a person's data, on their page: by period, as a table, looked at on the record."""

import csv
import io
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from memory_samples import learn, viewpoint

from audit.models import Entry
from facts.working_memory import MemoryRequest, working_memory
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject


@pytest.fixture
def page(agent: Agent, workspace: Workspace, auditor: User, client: Client) -> str:
    learn(agent, "Runs on AWS")
    for _ in range(2):
        working_memory(view=viewpoint(agent), ask=MemoryRequest("alice", "Which cloud do we run on, AWS?", "later"))
    client.force_login(auditor)
    with in_workspace(workspace.id):
        return f"/w/acme/subjects/{Subject.objects.get().id}/disclosures"


def test_the_agent_that_was_given_something_is_told_with_how_often(page: str, client: Client, agent: Agent) -> None:
    shown = client.get(f"{page}/").content.decode()
    assert agent.name in shown and "working memory" in shown and "AWS" not in shown
    [head, row] = csv.reader(io.StringIO(client.get(f"{page}.csv").content.decode()))
    told = dict(zip(head, row, strict=True))
    assert (told["who"], told["name"], told["times"]) == (f"agent:{agent.id}", agent.name, "2")


def test_a_period_leaves_out_what_was_not_in_it(page: str, client: Client) -> None:
    today = timezone.now().date()
    before, after = today - timedelta(days=2), today + timedelta(days=2)
    assert "Nobody in this period" in client.get(f"{page}/?until={before}").content.decode()
    assert "Nobody in this period" in client.get(f"{page}/?since={after}").content.decode()
    assert "Nobody in this period" not in client.get(f"{page}/?since={before}&until={after}").content.decode()
    assert client.get(f"{page}/?since=nonsense&until=9999-12-31").status_code == 200


def test_looking_is_recorded_and_for_some_roles_only(
    page: str, client: Client, viewer: User, workspace: Workspace
) -> None:
    client.get(f"{page}/")
    with in_workspace(workspace.id):
        assert Entry.objects.filter(action="audit.read", data__filters=["disclosures"]).count() == 1
    client.force_login(viewer)
    assert client.get(f"{page}/").status_code == 403 and client.get(f"{page}.csv").status_code == 403
