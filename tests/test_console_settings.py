"""A workspace's settings on a page: every one of them, with its default, refused by field, recorded by name."""

from typing import Any

import pytest
from django.test import Client

from audit.models import Entry
from memoryhub.access.models import User, Workspace
from memoryhub.access.policy import Sharing, Treatment, WorkspacePolicy
from memoryhub.access.services import workspace_change
from memoryhub.console.workspace_policy import ELSEWHERE, SECTIONS, WORDS, PolicyForm, policy_of
from memoryhub.core.screening import SENSITIVE, Kind
from memoryhub.core.tenancy import in_workspace

SETTINGS = "/w/acme/settings/"


@pytest.fixture
def signed_in(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


def filled(policy: WorkspacePolicy, **changed: Any) -> dict[str, Any]:
    """What a browser sends back of a page that shows `policy`, but for what was changed in it."""
    form = PolicyForm(stored=policy)
    values = {name: form[name].value() for name in form.fields}
    sent = {name: value for name, value in (values | changed).items() if value not in (None, False)}
    return sent


def stored(workspace: Workspace) -> dict[str, Any]:
    return Workspace.objects.get(pk=workspace.pk).policy


def test_every_setting_is_on_the_page_with_words_and_in_a_section(signed_in: Client) -> None:
    placed = [name for section in SECTIONS for name in section.names]
    assert sorted(placed) == sorted(set(WorkspacePolicy.model_fields) - ELSEWHERE)
    assert set(WORDS) == set(placed)
    shown = signed_in.get(SETTINGS).content.decode()
    for name in PolicyForm(stored=WorkspacePolicy()).fields:
        assert f'name="{name}"' in shown
    for kind in SENSITIVE:
        assert f'name="sensitive_data_{kind.value}"' in shown


def test_saving_what_is_shown_changes_nothing(signed_in: Client, workspace: Workspace) -> None:
    answer = signed_in.post(SETTINGS, filled(WorkspacePolicy()), follow=True)
    assert "Nothing changed" in answer.content.decode()
    assert stored(workspace) == {}
    with in_workspace(workspace.id):
        assert not Entry.objects.filter(action="workspace.changed").exists()


def test_what_differs_is_stored_and_recorded_by_name(signed_in: Client, workspace: Workspace, admin: User) -> None:
    changed = {
        "requests_per_minute": "600",
        "sharing": "nothing",
        "surface_tool_results": "on",
        "sensitive_data_phone": "redact",
        "special_categories": "allow",
        "confidence_for_review": "0.7",
        "second_factor_roles": ["auditor", "privacy_officer"],
    }
    answer = signed_in.post(SETTINGS, filled(WorkspacePolicy(), **changed), follow=True)
    assert "Saved" in answer.content.decode()
    workspace.refresh_from_db()
    assert policy_of(workspace) == WorkspacePolicy(
        requests_per_minute=600,
        sharing=Sharing.NOTHING,
        surface_tool_results=True,
        sensitive_data={Kind.PHONE: Treatment.REDACT},
        special_categories=Treatment.ALLOW,
        confidence_for_review=0.7,
        second_factor_roles=frozenset({"auditor", "privacy_officer"}),
    )
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="workspace.changed")
    assert (entry.actor_id, sorted(entry.data["fields"])) == (
        str(admin.id),
        sorted({"sensitive_data" if name.startswith("sensitive_data") else name for name in changed}),
    )
    back = signed_in.post(SETTINGS, filled(policy_of(workspace), requests_per_minute=None), follow=True)
    assert back.status_code == 200
    assert "requests_per_minute" not in stored(workspace)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requests_per_minute", "0"),
        ("requests_per_minute", "many"),
        ("max_turn_characters", "500001"),
        ("max_body_bytes", "1"),
        ("facts_per_day", ""),
        ("sharing", "everything"),
        ("sensitive_data_iban", "sell"),
        ("confidence_for_review", "1.5"),
        ("confidence_for_review", "nan"),
        ("second_factor_roles", ["king"]),
        ("idle_minutes", "1"),
    ],
)
def test_what_cannot_be_is_refused_by_field(signed_in: Client, workspace: Workspace, field: str, value: Any) -> None:
    answer = signed_in.post(SETTINGS, filled(WorkspacePolicy()) | {field: value})
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert stored(workspace) == {}


def test_settings_that_moved_are_shown_again_before_they_are_written_over(
    signed_in: Client, workspace: Workspace, actor: Any
) -> None:
    sent = filled(WorkspacePolicy(), idle_minutes="30")
    workspace_change(workspace=workspace, policy=WorkspacePolicy(absolute_hours=2), actor=actor)
    answer = signed_in.post(SETTINGS, sent)
    assert answer.status_code == 409
    assert "changed after you opened them" in answer.content.decode()
    assert stored(workspace) == {"absolute_hours": 2}
    form = answer.context["form"]
    again = signed_in.post(SETTINGS, sent | {"seen": form["seen"].value()})
    assert again.status_code == 303
    assert stored(workspace) == {"idle_minutes": 30}


@pytest.mark.parametrize("seen", ["", "nonsense", "[]", "5", '{"idle_minutes": 1}'])
def test_a_form_that_does_not_say_what_it_was_made_of_is_shown_again(
    signed_in: Client, workspace: Workspace, seen: str
) -> None:
    answer = signed_in.post(SETTINGS, filled(WorkspacePolicy(), idle_minutes="30") | {"seen": seen})
    assert answer.status_code == 409
    assert stored(workspace) == {}


@pytest.mark.parametrize("role", ["viewer", "operator", "privacy_officer", "auditor"])
def test_only_administrators_see_or_change_settings(
    request: pytest.FixtureRequest, client: Client, workspace: Workspace, role: str
) -> None:
    client.force_login(request.getfixturevalue(role))
    assert client.get(SETTINGS).status_code == 403
    assert client.post(SETTINGS, filled(WorkspacePolicy(), idle_minutes="30")).status_code == 403
    assert stored(workspace) == {}


def test_settings_of_another_workspace_are_not_there(client: Client, outsider: User, workspace: Workspace) -> None:
    client.force_login(outsider)
    assert client.get(SETTINGS).status_code == 404
    assert client.post(SETTINGS, filled(WorkspacePolicy(), idle_minutes="30")).status_code == 404
    assert stored(workspace) == {}
