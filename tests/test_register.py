"""The register of processing: what a workspace states and how it is set up; page, files, API and copies agree."""

import csv
import io
import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from audit.models import Entry
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.register import PURPOSE, RegisterRules
from memoryhub.access.retention import KINDS
from memoryhub.core.tenancy import in_workspace
from memoryhub.registering import FORM, register_csv, register_of

PAGE = "/w/acme/register/"


def sent(**changed: str) -> dict[str, Any]:
    return {"seen": "{}"} | RegisterRules().model_dump(mode="json") | changed


@pytest.fixture
def signed_in(client: Client, privacy_officer: User) -> Client:
    client.force_login(privacy_officer)
    return client


def test_what_is_stated_is_on_the_page_in_the_files_and_recorded_by_name(
    signed_in: Client, workspace: Workspace, agent: Agent
) -> None:
    stated = sent(register_controller="Nordwind <GmbH>", register_basis="contract")
    assert signed_in.post(f"{PAGE}save/", stated).status_code == 303
    shown = signed_in.get(PAGE).content.decode()
    assert "Nordwind &lt;GmbH&gt;" in shown and f"agent:{agent.name}" in shown
    told = json.loads(signed_in.get(f"{PAGE}register.json").content)
    assert (told["form"], told["controller"], told["legal_basis"]) == (FORM, "Nordwind <GmbH>", "contract")
    assert [one["kind"] for one in told["retention"]] == list(KINDS)
    rows = list(csv.reader(io.StringIO(signed_in.get(f"{PAGE}register.csv").content.decode())))
    assert ["controller", "Nordwind <GmbH>"] in rows and ["purpose", PURPOSE] in rows
    with in_workspace(workspace.id):
        changed = Entry.objects.filter(action="workspace.changed").latest("id")
        assert changed.data["fields"] == ["register_controller", "register_basis"]
        assert "Nordwind" not in json.dumps(changed.data)


def test_the_recipients_are_those_that_are_configured(workspace: Workspace, agent: Agent, settings: Any) -> None:
    settings.EXTRACTOR, settings.EMBEDDER = "claude", "openai"
    with in_workspace(workspace.id):
        told = {one["who"] for one in register_of(workspace)["recipients"]}
    assert {"model:claude", "embedder:openai", f"agent:{agent.name}"} <= told
    settings.EXTRACTOR, settings.EMBEDDER = "patterns", "minilm"
    with in_workspace(workspace.id):
        assert all(one["who"].startswith("agent:") for one in register_of(workspace)["recipients"])


def test_the_settings_page_leaves_what_is_stated_elsewhere_alone(signed_in: Client, workspace: Workspace) -> None:
    assert signed_in.post(f"{PAGE}save/", sent(register_purpose="")).status_code == 422
    assert signed_in.post(f"{PAGE}save/", sent(register_basis="wish")).status_code == 422
    assert signed_in.post(f"{PAGE}save/", sent(seen='{"facts_per_day": 7}')).status_code in (303, 409)
    assert Workspace.objects.get(pk=workspace.pk).policy == {}


def test_an_auditor_reads_and_changes_nothing(client: Client, auditor: User) -> None:
    client.force_login(auditor)
    assert "Save" not in client.get(PAGE).content.decode()
    assert client.post(f"{PAGE}save/", sent()).status_code == 403


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=80))
def test_any_statement_survives_the_table(text: str) -> None:
    policy = WorkspacePolicy(register_purpose=text)
    assert policy.register_purpose == text
    [_, row] = list(csv.reader(io.StringIO(register_csv({"purpose": text}), newline="")))
    assert row[0] == "purpose" and row[1].lstrip("'") == text.lstrip("'")
