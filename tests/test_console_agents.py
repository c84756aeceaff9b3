"""Agents and keys: who is shown them, what can be done with them, and that a key is shown once."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from audit.actors import ActorKind
from audit.models import Entry
from memoryhub.access.models import Agent, ApiKey, MemoryMode, Scope, User, Workspace
from memoryhub.access.services import NewKey, key_create, key_revoke, key_rotate
from memoryhub.api.authentication import caller_of
from memoryhub.core.tenancy import in_workspace

AGENTS = "/w/acme/agents/"
SECRET = re.compile(r"mh_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")


@pytest.fixture
def signed_in(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


def entry(workspace: Workspace, action: str) -> Entry:
    with in_workspace(workspace.id):
        return Entry.objects.filter(action=action).latest("id")


def page(answer: Any) -> str:
    return answer.content.decode()


def pages_of(agent: Agent, key: NewKey) -> list[tuple[str, dict[str, Any]]]:
    """Every page below agents and keys, with what is posted to it."""
    return [
        (AGENTS, {}),
        (f"{AGENTS}new/", {"name": "other", "mode": "full"}),
        (f"{AGENTS}{agent.id}/mode/", {"mode": "episodic"}),
        (f"{AGENTS}{agent.id}/keys/new/", {"scopes": ["memory:read"]}),
        (f"/w/acme/keys/{key.key.id}/rotate/", {"overlap": "24"}),
        (f"/w/acme/keys/{key.key.id}/revoke/", {"reason": "compromised"}),
    ]


@pytest.mark.parametrize("role", ["viewer", "operator", "privacy_officer", "auditor"])
def test_only_administrators_get_here(
    request: pytest.FixtureRequest, client: Client, workspace: Workspace, agent: Agent, agent_key: NewKey, role: str
) -> None:
    client.force_login(request.getfixturevalue(role))
    for path, body in pages_of(agent, agent_key):
        for answer in (client.get(path), client.post(path, body)):
            assert answer.status_code in (403, 405), path
    assert caller_of(agent_key.secret).mode is MemoryMode.FULL


def test_agents_and_keys_of_another_workspace_are_not_there(
    client: Client, outsider: User, agent: Agent, agent_key: NewKey
) -> None:
    client.force_login(outsider)
    for path, body in pages_of(agent, agent_key):
        theirs = path.replace("/acme/", "/globex/")
        assert client.post(path, body).status_code in (404, 405)
        if str(agent.id) in theirs or str(agent_key.key.id) in theirs:
            assert client.post(theirs, body).status_code == 404, theirs
    assert agent_key.key.prefix not in page(client.get("/w/globex/agents/"))
    assert caller_of(agent_key.secret).mode is MemoryMode.FULL


def test_the_list_shows_keys_with_their_state_and_use(
    signed_in: Client, agent: Agent, agent_key: NewKey, admin: User, actor: Any
) -> None:
    caller_of(agent_key.secret)
    gone = key_create(agent=agent, actor=actor, rate_per_minute=77)
    key_revoke(key=gone.key, actor=actor)
    ended = key_create(agent=agent, actor=actor, expires_at=timezone.now() - timedelta(days=1))
    new = key_rotate(key=agent_key.key, actor=actor)
    shown = page(signed_in.get(AGENTS))
    for key in (agent_key, gone, ended, new):
        assert key.key.prefix in shown
        assert key.secret not in shown
    for words in ("being replaced", "live, new", "revoked", "expired", "of 77", "memory:read", "in 23 hours"):
        assert words in shown
    assert "2 keys revoked or expired" in shown


def test_the_list_asks_as_much_of_the_database_for_many_keys(
    signed_in: Client, agent: Agent, actor: Any, django_assert_max_num_queries: Any
) -> None:
    key_create(agent=agent, actor=actor)
    signed_in.get(AGENTS)
    with django_assert_max_num_queries(16) as few:
        signed_in.get(AGENTS)
    for _ in range(10):
        key_create(agent=agent, actor=actor)
    with django_assert_max_num_queries(len(few)):
        signed_in.get(AGENTS)


def test_an_agent_is_added_with_its_mode(signed_in: Client, workspace: Workspace, agent: Agent) -> None:
    answer = signed_in.post(f"{AGENTS}new/", {"name": "billing", "mode": "episodic"}, follow=True)
    assert "Agent billing was added" in page(answer)
    with in_workspace(workspace.id):
        assert Agent.objects.get(name="billing").mode == "episodic"
    assert entry(workspace, "agent.created").actor_kind == ActorKind.USER
    for name in ("assistant", "not a name", ""):
        again = signed_in.post(f"{AGENTS}new/", {"name": name, "mode": "full"})
        assert again.status_code == 422
        assert "errors" in page(again)


def test_a_memory_mode_is_changed(signed_in: Client, workspace: Workspace, agent: Agent, agent_key: NewKey) -> None:
    answer = signed_in.post(f"{AGENTS}{agent.id}/mode/", {"mode": "stateless"}, follow=True)
    assert "The memory mode of assistant is stateless" in page(answer)
    assert caller_of(agent_key.secret).mode is MemoryMode.STATELESS
    assert entry(workspace, "agent.changed").data["mode"] == "stateless"
    assert "not a memory mode" in page(signed_in.post(f"{AGENTS}{agent.id}/mode/", {"mode": "all"}, follow=True))


def test_a_key_is_shown_once_and_never_again(signed_in: Client, workspace: Workspace, agent: Agent) -> None:
    path = f"{AGENTS}{agent.id}/keys/new/"
    answer = signed_in.post(path, {"scopes": ["memory:read", "facts:write"], "days": "30", "rate_per_minute": "9"})
    [secret] = set(SECRET.findall(page(answer)))
    assert "no-store" in answer.headers["Cache-Control"]
    caller = caller_of(secret)
    assert caller.scopes == {"memory:read", "facts:write"}
    assert caller.key_expires_at is not None
    assert timedelta(days=29) < caller.key_expires_at - timezone.now() <= timedelta(days=30)
    with in_workspace(workspace.id):
        key = ApiKey.objects.get(prefix=caller.key_prefix)
    assert (key.rate_per_minute, entry(workspace, "key.created").object_id) == (9, str(key.id))
    for later in (AGENTS, path, f"/w/acme/keys/{key.id}/rotate/", f"/w/acme/keys/{key.id}/revoke/", "/w/acme/audit/"):
        shown = signed_in.get(later)
        assert shown.status_code == 200
        assert secret not in page(shown)


@pytest.mark.parametrize(
    "wrong",
    [{"scopes": []}, {"scopes": ["everything"]}, {"days": "0"}, {"days": "soon"}, {"rate_per_minute": "0"}],
)
def test_a_key_that_cannot_be_is_refused_by_field(signed_in: Client, agent: Agent, wrong: dict[str, Any]) -> None:
    answer = signed_in.post(f"{AGENTS}{agent.id}/keys/new/", {"scopes": ["memory:read"]} | wrong)
    assert answer.status_code == 422
    assert not SECRET.search(page(answer))
    with in_workspace(agent.workspace_id):
        assert not ApiKey.objects.exists()


def test_a_key_without_an_end_is_made_by_leaving_the_days_empty(signed_in: Client, agent: Agent) -> None:
    answer = signed_in.post(f"{AGENTS}{agent.id}/keys/new/", {"scopes": [Scope.MEMORY_READ], "days": ""})
    secret = SECRET.search(page(answer))
    assert secret
    assert caller_of(secret[0]).key_expires_at is None


def test_a_key_is_rotated_with_an_overlap(signed_in: Client, agent_key: NewKey, workspace: Workspace) -> None:
    path = f"/w/acme/keys/{agent_key.key.id}/rotate/"
    assert "Overlap" in page(signed_in.get(path))
    made = signed_in.post(path, {"overlap": "168"})
    secret = SECRET.search(page(made))
    assert secret
    assert "in 6 days" in page(made)
    assert caller_of(secret[0]).scopes == caller_of(agent_key.secret).scopes
    again = signed_in.post(path, {"overlap": "24"})
    assert again.status_code == 409
    assert "being rotated already" in page(again)
    assert not SECRET.search(page(again))
    assert signed_in.post(path, {"overlap": "9999"}).status_code == 422


def test_a_key_is_revoked_on_a_page_that_asks_why(signed_in: Client, agent_key: NewKey, workspace: Workspace) -> None:
    path = f"/w/acme/keys/{agent_key.key.id}/revoke/"
    asked = page(signed_in.get(path))
    assert "cannot be undone" in asked
    assert agent_key.key.prefix in asked
    assert caller_of(agent_key.secret)
    assert signed_in.post(path, {"reason": "because"}).status_code == 422
    answer = signed_in.post(path, {"reason": "compromised"}, follow=True)
    assert f"{agent_key.key.prefix} is revoked" in page(answer)
    with pytest.raises(AuthenticationFailed):
        caller_of(agent_key.secret)
    assert entry(workspace, "key.revoked").reason == "compromised"
    assert "It was revoked" in page(signed_in.get(path))


def test_an_empty_workspace_says_what_to_do(signed_in: Client, workspace: Workspace) -> None:
    assert "No agent yet" in page(signed_in.get(AGENTS))


def test_an_agent_without_a_key_says_so(signed_in: Client, agent: Agent) -> None:
    assert "No live key" in page(signed_in.get(AGENTS))
