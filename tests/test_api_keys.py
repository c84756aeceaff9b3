"""Who may call: keys, scopes, memory modes, limits. Every refusal is JSON with a code."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_contract import ContractClient
from api_state import state_of
from django.utils import timezone

from audit.actors import Actor
from audit.models import Entry
from memoryhub.access.models import Agent, ApiKey, MemoryMode, Scope, Workspace
from memoryhub.access.services import NewKey, agent_get_or_create, key_create, key_revoke
from memoryhub.access.tokens import TOKEN_SCOPES, new_token, write_token
from memoryhub.api.urls import urlpatterns
from memoryhub.core.tenancy import in_workspace
from sessions.services import subject_get_or_create

TURNS = {"user_id": "maria", "turns": [{"role": "user", "content": "I moved to Lisbon."}]}
MEMORY = {"user_id": "maria", "session_id": "s2", "message": "Where do I live?"}
FACT = {"user_id": "maria", "type": "preference", "entity": "tea", "content": "She drinks green tea."}
SOME_ID = str(uuid4())

# Every call of the API with the scope it needs.
CALLS: list[tuple[str, str, Any, Scope]] = [
    ("POST", "/sessions/s1/turns", TURNS, Scope.TURNS_WRITE),
    ("POST", "/sessions/s1/close", {}, Scope.TURNS_WRITE),
    ("POST", "/working-memory", MEMORY, Scope.MEMORY_READ),
    ("POST", "/search", {"user_id": "maria", "query": "tea"}, Scope.MEMORY_READ),
    ("POST", f"/recalls/{SOME_ID}/cited", {"fact_ids": [SOME_ID]}, Scope.MEMORY_READ),
    ("GET", "/facts?user_id=maria", None, Scope.MEMORY_READ),
    ("POST", "/facts", FACT, Scope.FACTS_WRITE),
    ("GET", f"/facts/{SOME_ID}", None, Scope.MEMORY_READ),
    ("PATCH", f"/facts/{SOME_ID}", {"expected_version": 1, "content": "a"}, Scope.FACTS_WRITE),
    ("GET", f"/facts/{SOME_ID}/versions", None, Scope.MEMORY_READ),
    ("POST", f"/facts/{SOME_ID}/stale", {"reason": "wrong"}, Scope.FACTS_WRITE),
    ("POST", f"/facts/{SOME_ID}/restore", {"version": 1}, Scope.FACTS_WRITE),
    ("GET", "/subjects", None, Scope.SUBJECTS_MANAGE),
    ("POST", "/subjects/lookup", {"user_id": "maria"}, Scope.SUBJECTS_MANAGE),
    ("GET", f"/subjects/{SOME_ID}", None, Scope.SUBJECTS_MANAGE),
    ("POST", f"/subjects/{SOME_ID}/restrict", {}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/subjects/{SOME_ID}/unrestrict", {}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/subjects/{SOME_ID}/pause", {"what": ["recording"]}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/subjects/{SOME_ID}/resume", {"what": ["recording"]}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/subjects/{SOME_ID}/erasures/plan", {}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/subjects/{SOME_ID}/erasures", {"confirm": "none"}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/facts/{SOME_ID}/erase", {}, Scope.SUBJECTS_MANAGE),
    ("GET", "/erasures", None, Scope.SUBJECTS_MANAGE),
    ("GET", f"/erasures/{SOME_ID}", None, Scope.SUBJECTS_MANAGE),
    ("POST", f"/erasures/{SOME_ID}/retry", {}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/subjects/{SOME_ID}/requests", {"type": "access"}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/subjects/{SOME_ID}/holds", {"reason": "litigation"}, Scope.SUBJECTS_MANAGE),
    ("GET", "/register", None, Scope.SUBJECTS_MANAGE),
    ("GET", f"/subjects/{SOME_ID}/disclosures", None, Scope.SUBJECTS_MANAGE),
    ("GET", "/requests", None, Scope.SUBJECTS_MANAGE),
    ("GET", f"/requests/{SOME_ID}", None, Scope.SUBJECTS_MANAGE),
    ("POST", f"/requests/{SOME_ID}/steps", {"step": "approve"}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/requests/{SOME_ID}/extend", {"reason": "complex"}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/requests/{SOME_ID}/assign", {"assignee_id": None}, Scope.SUBJECTS_MANAGE),
    ("POST", f"/requests/{SOME_ID}/notes", {"note": "tried"}, Scope.SUBJECTS_MANAGE),
    ("GET", "/holds", None, Scope.SUBJECTS_MANAGE),
    ("POST", f"/holds/{SOME_ID}/release", {}, Scope.SUBJECTS_MANAGE),
    ("POST", "/subject-tokens", {"user_id": "maria"}, Scope.TOKENS_CREATE),
    ("GET", "/tools", None, Scope.MEMORY_READ),
    ("POST", "/tools/search_memory", {"input": {"query": "tea"}}, Scope.MEMORY_READ),
    ("GET", "/review", None, Scope.FACTS_REVIEW),
    ("POST", f"/review/{SOME_ID}/approve", {}, Scope.FACTS_REVIEW),
    ("POST", f"/review/{SOME_ID}/reject", {"reason": "wrong"}, Scope.FACTS_REVIEW),
    ("GET", "/extractions", None, Scope.EXTRACTIONS_MANAGE),
    ("GET", f"/extractions/{SOME_ID}", None, Scope.EXTRACTIONS_MANAGE),
    ("GET", "/dead-letters", None, Scope.EXTRACTIONS_MANAGE),
    ("GET", f"/dead-letters/{SOME_ID}", None, Scope.EXTRACTIONS_MANAGE),
    ("POST", "/dead-letters/replay", {"all": True}, Scope.EXTRACTIONS_MANAGE),
    ("POST", f"/dead-letters/{SOME_ID}/replay", {}, Scope.EXTRACTIONS_MANAGE),
    ("GET", f"/replays/{SOME_ID}", None, Scope.EXTRACTIONS_MANAGE),
    ("GET", "/audit", None, Scope.AUDIT_READ),
    ("GET", "/audit/export", None, Scope.AUDIT_READ),
    ("GET", "/audit/bundle", None, Scope.AUDIT_READ),
    ("GET", f"/audit/receipts/{'ab' * 32}/proof", None, Scope.AUDIT_READ),
]
CALL_NAMES = [f"{method} {path.replace(SOME_ID, 'id')}" for method, path, _, _ in CALLS]

FOR_TOKENS = ("/tools",)
FACTS_ONLY = ("/facts", "/recalls", "/review")
NO_MEMORY = (
    "/subjects",
    "/erasures",
    "/requests",
    "/holds",
    "/register",
    "/audit",
    "/extractions",
    "/dead-letters",
    "/replays",
)


def client_of(
    workspace: Workspace, actor: Actor, path: str, *, scopes: list[Scope], mode: MemoryMode | None = None
) -> Any:
    """A client with a key, or with a token made with it where `path` is for tokens alone."""
    agent = agent_get_or_create(workspace_id=workspace.id, name=f"agent-{uuid4().hex[:8]}", actor=actor, mode=mode)
    key = key_create(agent=agent, actor=actor, scopes=scopes)
    if not path.startswith(FOR_TOKENS):
        return ContractClient.of(key)
    with in_workspace(workspace.id):
        subject = subject_get_or_create(workspace_id=workspace.id, external_id="maria", actor=actor)
    token = new_token(
        key_id=key.key.id,
        subject_id=subject.id,
        mode=MemoryMode(agent.mode),
        scopes=TOKEN_SCOPES.intersection(scopes),
        expires_at=timezone.now() + timedelta(minutes=5),
    )
    return ContractClient(headers={"authorization": f"Bearer {write_token(token)}"})


def test_the_list_of_calls_is_complete() -> None:
    offered = {
        (method, pattern.name)
        for pattern in urlpatterns
        for method in pattern.callback.cls.permissions  # type: ignore[union-attr]
    }
    assert len(CALLS) == len(offered)


@pytest.mark.parametrize(("method", "path", "body", "scope"), CALLS, ids=CALL_NAMES)
def test_no_call_works_without_a_key(db: None, method: str, path: str, body: Any, scope: Scope) -> None:
    answer = ContractClient().send(method, path, body)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthenticated"
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path", "body", "scope"), CALLS, ids=CALL_NAMES)
def test_every_call_needs_its_scope(
    workspace: Workspace, actor: Actor, method: str, path: str, body: Any, scope: Scope
) -> None:
    client = client_of(workspace, actor, path, scopes=[one for one in Scope if one != scope])
    answer = client.send(method, path, body)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "scope_missing"
    assert answer.json()["error"]["fields"] == {"scope": [scope.value]}
    with in_workspace(workspace.id):
        entry = Entry.objects.filter(action="access.denied").get()
    assert (entry.outcome, entry.reason, entry.data["scope"]) == ("denied", "missing_scope", scope.value)


@pytest.mark.parametrize(("method", "path", "body", "scope"), CALLS, ids=CALL_NAMES)
def test_its_scope_is_all_that_a_call_needs(
    workspace: Workspace, actor: Actor, method: str, path: str, body: Any, scope: Scope
) -> None:
    answer = client_of(workspace, actor, path, scopes=[scope]).send(method, path, body)
    # Of what the calls name, only what they make themselves is there.
    assert answer.status_code in (200, 201, 202, 404), answer.content


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("Bearer nonsense", "not a valid"),
        ("Bearer", "not a valid"),
        ("Bearer mh_00000000_" + "x" * 43, "not a valid"),
        ("Bearer mh_0000\x000000_" + "x" * 43, "not a valid"),
        ("Bearer mh_00000000_" + "\u00e9" * 43, "not a valid"),
        ("Basic dXNlcjpwYXNz", "Bearer"),
        ("Token abc", "Bearer"),
    ],
)
def test_a_wrong_key_is_refused(db: None, header: str, says: str) -> None:
    answer = ContractClient(headers={"authorization": header}).send("POST", "/working-memory", MEMORY)
    assert answer.status_code == 401
    assert says in answer.json()["error"]["message"]


def test_the_right_prefix_with_a_wrong_secret_is_refused(agent_key: NewKey) -> None:
    forged = agent_key.secret[:-5] + "AAAAA"
    answer = ContractClient(headers={"authorization": f"Bearer {forged}"}).send("POST", "/working-memory", MEMORY)
    assert answer.status_code == 401


def test_a_revoked_key_is_refused_at_once(api: ContractClient, agent_key: NewKey, actor: Actor) -> None:
    assert api.send("POST", "/working-memory", MEMORY).status_code == 200
    key_revoke(key=agent_key.key, actor=actor)
    answer = api.send("POST", "/working-memory", MEMORY)
    assert answer.status_code == 401
    assert "revoked" in answer.json()["error"]["message"]


def test_an_expired_key_is_refused(agent: Agent, actor: Actor) -> None:
    key = key_create(agent=agent, actor=actor, scopes=list(Scope), expires_at=timezone.now() - timedelta(seconds=1))
    answer = ContractClient.of(key).send("POST", "/working-memory", MEMORY)
    assert answer.status_code == 401
    assert "expired" in answer.json()["error"]["message"]


def test_a_key_used_too_often_waits(agent: Agent, actor: Actor) -> None:
    client = ContractClient.of(key_create(agent=agent, actor=actor, scopes=list(Scope), rate_per_minute=2))
    answers = [client.send("POST", "/working-memory", MEMORY) for _ in range(6)]
    # A minute may begin among them.
    assert 200 in {answer.status_code for answer in answers[:2]}
    late = next(answer for answer in answers if answer.status_code != 200)
    assert late.status_code == 429
    assert late.json()["error"]["code"] == "throttled"
    assert 1 <= int(late["Retry-After"]) <= 60


def test_a_deployment_limits_keys_that_have_no_limit_of_their_own(api: ContractClient, settings: Any) -> None:
    settings.THROTTLE_PER_MINUTE = 1
    assert 429 in {api.ask("/audit").status_code for _ in range(4)}


@pytest.mark.parametrize(("method", "path", "body", "scope"), CALLS, ids=CALL_NAMES)
@pytest.mark.parametrize("mode", list(MemoryMode))
def test_the_memory_mode_is_enforced(
    workspace: Workspace, actor: Actor, mode: MemoryMode, method: str, path: str, body: Any, scope: Scope
) -> None:
    """Stateless agents have no memory, episodic ones no facts, whatever scopes their keys have."""
    if path.startswith(NO_MEMORY):
        allowed = True
    elif mode == MemoryMode.STATELESS:
        allowed = False
    else:
        allowed = mode != MemoryMode.EPISODIC or not path.startswith(FACTS_ONLY)
    client = client_of(workspace, actor, path, scopes=list(Scope), mode=mode)
    before = state_of(workspace)
    answer = client.send(method, path, body)
    if allowed:
        assert answer.status_code in (200, 201, 202, 404), answer.content
    else:
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "mode_forbids"
        after = state_of(workspace)
        assert {table for table in after if after[table] != before[table]} == {"audit_entry", "audit_pending"}
        with in_workspace(workspace.id):
            assert Entry.objects.filter(action="access.denied", reason="memory_mode").count() == 1


def test_a_key_remembers_when_it_was_last_used(api: ContractClient, agent_key: NewKey, workspace: Workspace) -> None:
    api.ask("/audit")
    with in_workspace(workspace.id):
        usage = ApiKey.objects.select_related("usage").get(pk=agent_key.key.pk).usage
    assert timezone.now() - usage.last_used_at < timedelta(minutes=1)


@pytest.mark.parametrize(("method", "path", "body", "scope"), CALLS, ids=CALL_NAMES)
def test_answers_carry_the_request_id(db: None, method: str, path: str, body: Any, scope: Scope) -> None:
    answer = ContractClient(headers={"x-request-id": "my-request-0001"}).send(method, path, body)
    assert answer["X-Request-ID"] == "my-request-0001"


def test_the_request_id_stands_in_the_audit_entry(api: ContractClient, workspace: Workspace) -> None:
    api.defaults["HTTP_X_REQUEST_ID"] = "my-request-0002"
    api.send("POST", "/sessions/s1/turns", TURNS)
    with in_workspace(workspace.id):
        assert Entry.objects.get(action="turns.recorded").request_id == "my-request-0002"
