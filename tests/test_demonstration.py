"""The demonstration: in a workspace of its own, opened with one click and gone with another."""

import pytest
from django.test import Client
from django.urls import reverse
from memory_samples import say

from audit.actors import Actor
from audit.erasure.models import Erasure, ErasureState
from audit.models import Entry
from facts.models import Fact
from memoryhub.access.models import ApiKey, Membership, Role, User, Workspace
from memoryhub.access.people import user_create
from memoryhub.access.services import key_create
from memoryhub.core.tenancy import in_workspace
from memoryhub.demo.workspace import demo_workspace_create
from memoryhub.demonstration import demo_workspace_remove
from memoryhub.erasing import carry_out
from sessions.models import Subject, Turn

pytestmark = pytest.mark.django_db


@pytest.fixture
def administrator(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


def opened(client: Client) -> Workspace:
    answer = client.post(reverse("demo-open", args=["acme"]))
    assert answer.status_code == 303
    return Workspace.objects.get(slug=answer["Location"].strip("/").split("/")[-1])


def test_one_click_opens_it_beside_the_workspace_that_stays_empty(administrator: Client, workspace: Workspace) -> None:
    assert "Open the demonstration" in administrator.get(reverse("overview", args=["acme"])).content.decode()
    demo = opened(administrator)
    assert (demo.slug, demo.is_demo) == ("demo", True)
    page = administrator.get(reverse("overview", args=["demo"])).content.decode()
    assert "This is the demonstration." in page
    assert "Remove the demonstration" in page
    with in_workspace(demo.id):
        assert Subject.objects.filter(workspace_id=demo.id).count() == 3
        assert Fact.objects.filter(workspace_id=demo.id).exists()
    with in_workspace(workspace.id):
        assert not Subject.objects.filter(workspace_id=workspace.id).exists()


def test_a_second_click_leads_to_the_same_one(administrator: Client) -> None:
    assert opened(administrator) == opened(administrator)


def test_one_click_removes_people_keys_and_members_and_keeps_the_log(administrator: Client, actor: Actor) -> None:
    demo = opened(administrator)
    with in_workspace(demo.id):
        agent = demo.agents.get()
    key = key_create(agent=agent, actor=actor, scopes=[])
    answer = administrator.post(reverse("demo-remove", args=["demo"]), follow=True)
    assert answer.redirect_chain[-1][0] == "/w/acme/"
    assert "The demonstration is removed." in answer.content.decode()
    assert administrator.get(reverse("overview", args=["demo"])).status_code == 404
    with in_workspace(demo.id):
        erasures = list(Erasure.objects.filter(workspace_id=demo.id))
        assert ApiKey.objects.get(pk=key.key.id).revoked_at
        assert not Membership.objects.filter(workspace_id=demo.id).exists()
    assert len(erasures) == 3
    assert {carry_out(str(demo.id), str(one.id)) for one in erasures} == {ErasureState.COMPLETED}
    with in_workspace(demo.id):
        for model in (Subject, Fact, Turn):
            assert not model._default_manager.filter(workspace_id=demo.id).exists()
        assert Entry.objects.filter(workspace_id=demo.id, action="demo.removed").exists()


def test_it_can_be_opened_again_after_it_was_removed(administrator: Client) -> None:
    opened(administrator)
    administrator.post(reverse("demo-remove", args=["demo"]))
    assert opened(administrator).slug == "demo-2"


def test_what_was_tried_in_it_goes_too(admin: User, actor: Actor) -> None:
    demo = demo_workspace_create(user=admin, actor=actor)
    with in_workspace(demo.id):
        agent = demo.agents.get()
    say(agent, "I was only trying", user="visitor")
    assert demo_workspace_remove(workspace=demo, actor=actor) == 4


def test_no_other_workspace_is_removed(administrator: Client, workspace: Workspace, actor: Actor) -> None:
    answer = administrator.post(reverse("demo-remove", args=["acme"]), follow=True)
    assert "this workspace is no demonstration" in answer.content.decode()
    with pytest.raises(ValueError, match="no demonstration"):
        demo_workspace_remove(workspace=workspace, actor=actor)
    assert Membership.objects.filter(workspace=workspace).exists()


@pytest.mark.parametrize("role", [role for role in Role if role != Role.ADMIN])
def test_only_administrators_open_and_remove_it(client: Client, workspace: Workspace, actor: Actor, role: Role) -> None:
    user, _ = user_create(username="somebody", workspace=workspace, role=role, actor=actor, password="a long password")
    client.force_login(user)
    assert client.post(reverse("demo-open", args=["acme"])).status_code == 403
    assert not Workspace.objects.filter(is_demo=True).exists()
