"""Every address, in every role and with every credential, for what is one's own, another's, missing or malformed.

What has to be answered follows from the table of permissions and the URL resolver; nothing is listed by hand but what
a request needs. So a new page or operation is walked at once, and fails here until it says who may use it:

- a page of a workspace is guarded by `permission_required(Permission.X)` and says which methods it takes;
- an operation of the API has `permissions` for each of its methods;
- any other address stands in OPEN;
- a parameter in an address stands in `Tenant.ids`, an operation that takes a body in BODIES.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from itertools import count
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4
from zipfile import ZipFile

import pytest
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, clear_url_caches, get_resolver, include, path, set_urlconf
from django.utils import timezone
from django.views.decorators.http import require_GET
from memory_samples import erasure_sample, fill_workspace, learn, request_sample, say, viewpoint

from audit.actors import Actor
from audit.erasure.services import Plan
from audit.models import Entry
from audit.registry import Scope as Scope_
from facts.models import Extraction, ExtractionState, Fact, Source
from facts.services import fact_correct
from facts.working_memory import MemoryRequest, working_memory
from memoryhub.access.models import Agent, ApiKey, Membership, MemoryMode, Role, Scope, User, Workspace
from memoryhub.access.people import invitation_create, user_create
from memoryhub.access.permissions import RULES, Permission, role_may
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.services import agent_get_or_create, key_create, key_revoke, workspace_change, workspace_create
from memoryhub.access.tokens import TOKEN_SCOPES, new_token, write_token
from memoryhub.console.access import permission_required
from memoryhub.core.tenancy import in_workspace
from memoryhub.erasing import confirmation_of
from sessions.models import Session, Subject, TurnRole

ANYBODY, SIGNED_IN, NOBODY = "anybody", "any person who is signed in", "nobody: it is always 404"

OPEN: dict[str, str] = {
    "healthz": ANYBODY,
    "readyz": ANYBODY,
    "metrics": ANYBODY,  # from this host; else with a token: tests/test_health.py
    "api-schema": ANYBODY,
    "api-docs": ANYBODY,
    "mcp": ANYBODY,  # who has a subject token: tests/test_mcp.py
    "home": SIGNED_IN,
    "sign-in": ANYBODY,
    "sign-out": ANYBODY,
    "account_login": ANYBODY,
    "account_logout": ANYBODY,
    "account_inactive": ANYBODY,
    "account_reauthenticate": SIGNED_IN,
    "account_change_password": SIGNED_IN,
    "account_set_password": SIGNED_IN,
    "usersessions_list": SIGNED_IN,
    "mfa_index": SIGNED_IN,
    "mfa_authenticate": ANYBODY,  # the second step of signing in: without the first it leads back to it
    "mfa_reauthenticate": SIGNED_IN,
    "mfa_activate_totp": SIGNED_IN,
    "mfa_deactivate_totp": SIGNED_IN,
    "mfa_view_recovery_codes": SIGNED_IN,
    "mfa_generate_recovery_codes": SIGNED_IN,
    "mfa_download_recovery_codes": SIGNED_IN,
    "mfa_list_webauthn": SIGNED_IN,
    "mfa_add_webauthn": SIGNED_IN,
    "mfa_reauthenticate_webauthn": SIGNED_IN,
    "mfa_remove_webauthn": SIGNED_IN,
    "mfa_edit_webauthn": SIGNED_IN,
    "mfa_login_webauthn": ANYBODY,
    "openid_connect_login": ANYBODY,
    "openid_connect_callback": ANYBODY,
    "socialaccount_login_cancelled": ANYBODY,
    "socialaccount_login_error": ANYBODY,
    "account_signup": NOBODY,
    "account_email": NOBODY,
    "account_reset_password": NOBODY,
    "socialaccount_signup": NOBODY,
    "socialaccount_connections": NOBODY,
    "invitation": ANYBODY,  # whoever holds the link
}

READING = Permission.CONTENT_VIEW

Ids = Mapping[str, str]

# What an operation of the API is sent, from the ids it is to be about.
BODIES: dict[tuple[str, str], Callable[[Ids], dict[str, Any]]] = {
    ("POST", "turns"): lambda i: {"user_id": i["user"], "turns": [{"role": "user", "content": "Hello"}]},
    ("POST", "session-close"): lambda i: {},
    ("POST", "working-memory"): lambda i: {"user_id": i["user"], "message": "What do we run?", "session_id": "later"},
    ("POST", "search"): lambda i: {"user_id": i["user"], "query": "What do we run?"},
    ("POST", "cited"): lambda i: {"fact_ids": [i["fact_id"]]},
    ("POST", "facts"): lambda i: {
        "user_id": i["user"],
        "type": "goal",
        "entity": "shop",
        "content": "Opens soon",
        "replaces": i["fact_id"],
    },
    ("PATCH", "fact"): lambda i: {"expected_version": 2, "content": "Something else"},
    ("POST", "fact-stale"): lambda i: {"reason": "outdated"},
    ("POST", "fact-restore"): lambda i: {"version": 1},
    ("POST", "review-approve"): lambda i: {},
    ("POST", "review-reject"): lambda i: {"reason": "wrong"},
    ("POST", "subject-lookup"): lambda i: {"user_id": i["user"]},
    ("POST", "subject-restrict"): lambda i: {"reason": "subject_request"},
    ("POST", "subject-unrestrict"): lambda i: {"reason": "subject_request"},
    ("POST", "subject-pause"): lambda i: {"what": ["recording"]},
    ("POST", "subject-resume"): lambda i: {"what": ["recording"]},
    ("POST", "subject-tokens"): lambda i: {"user_id": i["user"]},
    ("POST", "tool-call"): lambda i: {"input": {"query": "What do we run?"}},
    ("POST", "erasure-plan"): lambda i: {},
    ("POST", "subject-erasures"): lambda i: {
        "confirm": confirmation_of(Plan(Scope_(UUID(i["subject_id"])), {}), workspace_id=UUID(i["workspace_id"]))
    },
    ("POST", "fact-erase"): lambda i: {},
    ("POST", "erasure-retry"): lambda i: {},
    ("POST", "subject-requests"): lambda i: {"type": "access"},
    ("POST", "subject-holds"): lambda i: {"reason": "litigation"},
    ("POST", "request-steps"): lambda i: {"step": "cancel"},
    ("POST", "request-extend"): lambda i: {"reason": "complex"},
    ("POST", "request-assign"): lambda i: {"assignee_id": None},
    ("POST", "request-notes"): lambda i: {"note": "tried"},
    ("POST", "hold-release"): lambda i: {},
    ("POST", "dead-letters-replay"): lambda i: {"ids": [i["extraction_id"]]},
    ("POST", "dead-letter-replay"): lambda i: {},
}
# Only the agent that was given a recall, leads a session or wrote a version may go on with it; another has to approve.
OF_ITS_AGENT = {"cited", "turns", "session-close", "fact-restore"}
OF_ANOTHER_AGENT = {"review-approve"}
QUERIES: dict[str, Callable[[Ids], dict[str, str]]] = {
    "facts": lambda i: {"user_id": i["user"]},
    "review": lambda i: {"subject_id": i["subject_id"]},
    "audit": lambda i: {"subject_id": i["subject_id"]},
    "audit-export": lambda i: {"subject_id": i["subject_id"]},
    "extractions": lambda i: {"subject_id": i["subject_id"]},
    "dead-letters": lambda i: {"subject_id": i["subject_id"]},
}


def form(ids: Ids) -> dict[str, str]:
    """Whatever any form of the console asks for: what a form does not have it does not look at."""
    return {
        "content": "Something else",
        "reason": "outdated",
        "note": "tried",
        "expected_version": "2",
        "version": "1",
        "pinned": "yes",
        "confirm": "yes",
        "role": "operator",
        "mode": "full",
        "name": "tried",
        "message": "What do we run?",
        "which": "selected",
        "agent": ids["agent_id"],
        "ids": ids["extraction_id"],
        "versions": ids["version_id"],
        "key": ids["key_id"],
        "session": ids["session_id"],
        "statement": "span",
        "phrase": "tried",
    }


@dataclass(frozen=True)
class Tenant:
    """A workspace with what is in it. `ids` lead to its things, under the names that addresses have for them."""

    workspace: Workspace
    ids: dict[str, str]
    canary: str
    bystander: UUID
    """Another person remembered, to whom none of the ids leads."""


@dataclass
class Person:
    """Somebody at the console. `role` is None for who is no member of the workspace asked for."""

    name: str
    client: Client
    role: Role | None = None
    signed_in: bool = True
    lacks_second_factor: bool = False


@dataclass(frozen=True)
class Credential:
    """A way to call the API, and in which workspace it is one's own."""

    name: str
    header: str
    home: str = "acme"
    scopes: frozenset[Scope] = frozenset()
    mode: MemoryMode = MemoryMode.FULL
    dead: bool = False
    leads: bool = True
    """Its agent is the one that brought everything in."""
    token: bool = False
    owns_nothing: bool = False
    """Of what is asked for: a token for somebody else."""


@dataclass(frozen=True)
class World:
    tenants: dict[str, Tenant]
    people: list[Person]
    credentials: list[Credential]


@dataclass(frozen=True)
class Address:
    """A route of the resolver; `route` has its parameters as {name}."""

    name: str
    route: str
    view: Any
    kinds: tuple[tuple[str, str], ...]
    """Parameters and their converters."""

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.kinds)

    @property
    def api_view(self) -> Any:
        return getattr(self.view, "cls", None)

    @property
    def permission(self) -> Permission | None:
        return getattr(self.view, "permission", None)

    def at(self, ids: Ids) -> str:
        route = self.route
        for name in self.parameters:
            route = route.replace("{%s}" % name, quote(ids[name], safe=""))  # noqa: UP031 - braces are text here
        return route


def addresses() -> list[Address]:
    return list(_walk(get_resolver().url_patterns, "/", ()))


def _walk(patterns: Sequence[Any], before: str, kinds: tuple[tuple[str, str], ...]) -> Iterator[Address]:
    for entry in patterns:
        text = str(entry.pattern)
        found = re.findall(r"<(?:(\w+):)?(\w+)>", text)
        here = (*kinds, *((name, kind or "str") for kind, name in found))
        route = re.sub(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>", lambda m: "{%s}" % (m[1] or m[2]), text)  # noqa: UP031
        route = before + re.sub(r"\\(.)", r"\1", route).strip("^$")
        if isinstance(entry, URLResolver):
            yield from _walk(entry.url_patterns, route, here)
        elif isinstance(entry, URLPattern):
            yield Address(entry.name or route, route, entry.callback, here)


ADDRESSES = addresses()
PAGES = [one for one in ADDRESSES if one.permission is not None]
OPERATIONS = [one for one in ADDRESSES if one.api_view is not None]
OTHERS = [one for one in ADDRESSES if one.name in OPEN]


def unruled(found: Sequence[Address]) -> list[str]:
    """Addresses that nothing says who may use."""
    missing = []
    for one in found:
        if one.api_view is not None:
            view = one.api_view
            handlers = {name.upper() for name in view.http_method_names if hasattr(view, name)} - {"HEAD"}
            if handlers != set(view.permissions):
                missing.append(f"{one.route}: has {sorted(handlers)}, permissions for {sorted(view.permissions)}")
        elif (one.permission is None) == (one.name not in OPEN):
            missing.append(f"{one.route}: neither permission_required nor in OPEN")
        elif one.permission is not None and "workspace" not in one.parameters:
            missing.append(f"{one.route}: a permission is one in a workspace")
    return missing


def test_every_address_says_who_may_use_it() -> None:
    assert unruled(ADDRESSES) == []
    assert len(PAGES) > 20 and len(OPERATIONS) > 20


def test_nothing_stays_in_the_lists_that_no_address_has() -> None:
    names = {one.name for one in ADDRESSES}
    operations = {(method, one.name) for one in OPERATIONS for method in one.api_view.permissions}
    assert set(OPEN) - names == set()
    assert set(BODIES) - operations == set()
    assert {
        name for method, name in operations if method in ("POST", "PATCH", "PUT") and (method, name) not in BODIES
    } == set()


@pytest.fixture(scope="module")
def world(module_db: str) -> World:
    """Two workspaces with everything in them, and whoever may ask for it."""
    actor = Actor.command("tests")
    tenants = {slug: _tenant(slug, actor) for slug in ("acme", "globex")}
    here, there = tenants["acme"].workspace, tenants["globex"].workspace
    people = [Person("nobody", Client(raise_request_exception=False), signed_in=False)]
    for role in Role:
        people.append(_person(role.value, here, role, actor))
    tenants["acme"].ids["pk"] = _second_factor("viewer")
    people.append(_person("outsider", there, Role.ADMIN, actor, member=False))
    tenants["globex"].ids["pk"] = _second_factor("outsider")
    people.append(_person("unsecured", here, Role.OPERATOR, actor, second_factor=False))
    policy = WorkspacePolicy(second_factor_roles=frozenset({Role.OPERATOR.value}))
    workspace_change(workspace=here, policy=policy, actor=actor)
    return World(tenants, people, _credentials(tenants, actor))


def _tenant(slug: str, actor: Actor) -> Tenant:
    workspace = workspace_create(slug=slug, name=slug.title(), actor=actor)
    bystander = fill_workspace(workspace, actor, pruned=False)
    canary = f"canary{uuid4().hex}"
    agent = agent_get_or_create(workspace_id=workspace.id, name="sampler", actor=actor)
    user, session = f"user-{uuid4().hex}", f"session-{uuid4().hex}"
    said = say(agent, f"We run {canary} on our servers.", session=session, user=user)
    read = say(agent, f"The tool says {canary}.", session=session, user=user, role=TurnRole.TOOL)
    about: dict[str, Any] = {"user": user, "entity": f"entity {canary}", "attribute": f"attribute {canary}"}
    known = learn(agent, f"Runs {canary}", turn=said.turns[0], **about)
    waiting = learn(agent, f"Pays {canary}", turn=read.turns[0], **about | {"attribute": "price"})
    invitation = invitation_create(workspace=workspace, role=Role.VIEWER, actor=actor)
    memory = working_memory(
        view=viewpoint(agent), ask=MemoryRequest(user, f"Do we run {canary}?", f"next-{uuid4().hex}")
    )
    assert memory.recall is not None and waiting.version.status == "quarantined"
    with in_workspace(workspace.id):
        subject = Subject.objects.get(external_id=user)
        own = Session.objects.get(external_id=session)
        fact = Fact.objects.get(pk=known.version.fact_id)
        fact_correct(
            fact=fact,
            content=f"Really runs {canary}",
            expected_version=1,
            source=Source.OPERATOR,
            reason="corrected",
            note=f"they told me {canary}",
            actor=actor,
        )
        dead = Extraction.objects.create(
            workspace=workspace,
            subject=subject,
            session=own,
            first_index=0,
            last_index=1,
            indexes=[0, 1],
            state=ExtractionState.DEAD,
            error="server_error",
            finished_at=timezone.now(),
            replay=uuid4(),
        )
        ids = {
            "workspace": slug,
            "workspace_id": workspace.id,
            "erasure_id": erasure_sample(subject).id,
            "request_id": (asked := request_sample(subject))[0].id,
            "hold_id": asked[1].id,
            "user": user,
            "session_name": session,
            "subject_id": subject.id,
            "session_id": own.id,
            "fact_id": fact.id,
            "version_id": waiting.version.id,
            "turn_id": said.turns[0].id,
            "recall_id": memory.recall.recall_id,
            "extraction_id": dead.id,
            "replay_id": dead.replay,
            "agent_id": agent.id,
            "key_id": ApiKey.objects.get(agent=agent).id,
            "membership_id": Membership.objects.get().id,
            "invitation_id": invitation.invitation.id,
            "token": invitation.token,
            "provider_id": "sso",
            "tool": "search_memory",
            "leaf": bytes(Entry.objects.filter(subject_id=subject.id).latest("id").leaf).hex(),
        }
    return Tenant(workspace, {name: str(value) for name, value in ids.items()}, canary, bystander.id)


def _person(
    name: str, workspace: Workspace, role: Role, actor: Actor, *, member: bool = True, second_factor: bool = True
) -> Person:
    user, _ = user_create(username=name, workspace=workspace, role=role, actor=actor)
    if second_factor and role is Role.OPERATOR:
        _second_factor(name)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return Person(name, client, role if member else None, lacks_second_factor=not second_factor)


def _second_factor(username: str) -> str:
    made = Authenticator.objects.create(
        user=User.objects.get(username=username), type=Authenticator.Type.TOTP, data={"secret": "x"}
    )
    return str(made.pk)


def _credentials(tenants: Mapping[str, Tenant], actor: Actor) -> list[Credential]:
    everything = list(Scope)
    here = tenants["acme"].workspace

    def key(name: str, mode: MemoryMode, scopes: Sequence[Scope], *, home: str = "acme", **more: Any) -> Credential:
        workspace = tenants[home].workspace
        leads = mode is MemoryMode.FULL
        agent_name = "sampler" if leads else f"asker-{mode.value}"
        agent = agent_get_or_create(workspace_id=workspace.id, name=agent_name, mode=mode, actor=actor)
        made = key_create(agent=agent, actor=actor, scopes=scopes, **more)
        if name == "revoked":
            key_revoke(key=made.key, actor=actor)
        dead = name in ("revoked", "expired")
        return Credential(name, f"Bearer {made.secret}", home, frozenset(scopes), mode, dead, leads=leads)

    def token(name: str, subject_id: UUID, *, owns_nothing: bool) -> Credential:
        agent = Agent.objects.get(workspace=here, name="sampler")
        made = new_token(
            key_id=key_create(agent=agent, actor=actor, scopes=everything).key.id,
            subject_id=subject_id,
            mode=MemoryMode(agent.mode),
            scopes=TOKEN_SCOPES,
            expires_at=timezone.now() + timedelta(hours=1),
        )
        header = f"Bearer {write_token(made)}"
        return Credential(
            name, header, "acme", frozenset(TOKEN_SCOPES), MemoryMode.FULL, token=True, owns_nothing=owns_nothing
        )

    with in_workspace(here.id):
        tokens = [
            token("token", UUID(tenants["acme"].ids["subject_id"]), owns_nothing=False),
            token("token for another", tenants["acme"].bystander, owns_nothing=True),
        ]
    return [
        Credential("no key", "", dead=True),
        Credential("unknown key", "Bearer mh_00000000_" + "x" * 43, dead=True),
        Credential("no bearer", "Basic dXNlcjpwYXNz", dead=True),
        key("revoked", MemoryMode.FULL, everything),
        key("expired", MemoryMode.FULL, everything, expires_at=timezone.now() - timedelta(seconds=1)),
        *(key(scope.value, MemoryMode.FULL, [scope]) for scope in Scope),
        *(key(mode.value, mode, everything) for mode in MemoryMode),
        key("of another workspace", MemoryMode.FULL, everything, home="globex"),
        *tokens,
    ]


@contextmanager
def undone() -> Iterator[None]:
    """Whatever a request does, the next one finds everything as it was."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


UUIDS = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}"
ALWAYS_NEW = {"X-Request-ID", "Set-Cookie", "Expires", "Last-Modified"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str
    sent: Ids
    denials: list[dict[str, Any]] = field(default_factory=list)

    @property
    def shown(self) -> str:
        return self.body + " ".join(f"{name}: {value}" for name, value in self.headers.items())

    @property
    def same(self) -> tuple[Any, ...]:
        """What has to be equal for another's and for nothing: everything but what a request always makes anew."""
        told = {name: value for name, value in self.headers.items() if name not in ALWAYS_NEW}
        if self.status < 400:
            # What was made just now: ids, receipts, times, secrets.
            told.pop("Content-Length", None)
        headers = tuple(sorted((name, self._without(value)) for name, value in told.items()))
        # A bundle holds the leaves and the signatures of a log that has grown since.
        body = "" if told.get("Content-Type") == "application/zip" else self._without(self.body)
        return self.status, headers, body

    def _without(self, text: str) -> str:
        if self.status < 400:
            text = re.sub(UUIDS, "<id>", text)
            text = re.sub(r"\bmh2:<id>:[0-9a-f]{64}:[0-9a-f]+:[\w-]{86}", "<receipt>", text)
            text = re.sub(r"\b[0-9a-f]{64}\b|mht?_[\w.-]+|(?<=/invitations/)[\w-]+", "<made>", text)
            text = re.sub(r"[\w-]+:[\w-]{6}:[\w-]{43}", "<signed>", text)
            text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+|\d{8}T\d{6}Z", "<time>", text)
        for name, value in sorted(self.sent.items(), key=lambda one: -len(one[1])):
            for written in {value, quote(value, safe=""), quote(quote(value, safe=""), safe="")}:
                whole = re.escape(written)
                if len(value) < 20:
                    # A slug or a number, which may be part of another word.
                    whole = rf"(?:(?<=/)|(?<=%2F)){whole}(?=/|%2F|$)"
                text = re.sub(whole, f"<{name}>", text)
        text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"|&quot;X-CSRFToken&quot;: ?&quot;[^&]*', "", text)
        return re.sub(r'nonce="[^"]*"|"X-CSRFToken": ?"[^"]*"|\'nonce-[^\']*\'', "", text)


def difference(one: Answer, other: Answer) -> str:
    """Where two answers that have to be equal are not; '' when they are."""
    if one.same == other.same:
        return ""
    left, right = str(one.same), str(other.same)
    at = next((at for at, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]), len(left))
    return f"differ: …{left[max(at - 60, 0) : at + 60]!r} and …{right[max(at - 60, 0) : at + 60]!r}"


def ask(client: Client, method: str, url: str, sent: Ids, **more: Any) -> Answer:
    cookies = client.cookies.output()
    with undone():
        answer = client.generic(method, url, **more)
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]
        if content.startswith(b"PK"):
            with ZipFile(BytesIO(content)) as packed:
                content = b"\n".join(packed.read(name) for name in packed.namelist())
        headers = dict(answer.headers.items())
        denials: list[dict[str, Any]] = []
        if answer.status_code == 403:
            for workspace_id in Workspace.objects.values_list("id", flat=True):
                with in_workspace(workspace_id):
                    denials += Entry.objects.filter(action="access.denied").values_list("data", flat=True)
        client.cookies.clear()
        client.cookies.load(cookies.replace("Set-Cookie: ", ""))
        return Answer(answer.status_code, headers, content.decode(errors="replace"), sent, denials)


_absent = count(1)


def absent_like(ids: Ids) -> dict[str, str]:
    """Ids of the same shape that lead nowhere."""

    def nowhere(name: str, value: str) -> str:
        if name == "pk":
            return str(900_000 + next(_absent))
        if name in ("workspace", "provider_id", "tool"):
            return value
        if re.fullmatch(r"[0-9a-f]{8}-[0-9a-f-]{27}", value):
            return str(uuid4())
        return re.sub(r"[0-9a-f]{32}", lambda _: uuid4().hex, value)

    return {name: nowhere(name, value) for name, value in ids.items()}


def problems_of_page(address: Address, world: World) -> list[str]:
    """What is wrong with a page of a workspace, by the table of permissions."""
    needed = address.permission
    assert needed is not None
    unknown = set(address.parameters) - set(world.tenants["acme"].ids)
    if unknown:
        return [f"{address.route}: add {sorted(unknown)} to Tenant.ids"]
    found: list[str] = []
    methods = _methods(address, world)
    if not methods:
        found.append(f"{address.route}: say which methods it takes (require_GET, require_POST, …)")
    for method in methods:
        for person in world.people:
            name = f"{method} {address.route} as {person.name}"
            found += [f"{name}: {wrong}" for wrong in _wrong_with_page(address, needed, method, person, world)]
    return found


def _methods(address: Address, world: World) -> list[str]:
    refused = ask(world.people[0].client, "OPTIONS", address.at(world.tenants["acme"].ids), {})
    allowed = refused.headers.get("Allow", "") if refused.status == 405 else ""
    return [method for method in allowed.split(", ") if method in ("GET", "POST", "PATCH", "DELETE", "PUT")]


def _wrong_with_page(address: Address, needed: Permission, method: str, person: Person, world: World) -> Iterator[str]:
    mine, theirs = world.tenants["acme"], world.tenants["globex"]
    absent = absent_like(mine.ids)
    here = {"workspace": "acme"}

    def answer(at: Ids, body: Ids, **headers: str) -> Answer:
        sent = {name: value for name, value in body.items() if len(value) > 20}
        sent |= {f"{name} in the address": at[name] for name in address.parameters}
        if method == "GET":
            query = urlencode({"q": body["user"], "after": body["subject_id"], "page": 1})
            return ask(person.client, method, f"{address.at(at)}?{query}", sent, headers=headers)
        form_type = "application/x-www-form-urlencoded"
        data = urlencode(form(body))
        return ask(person.client, method, address.at(at), sent, data=data, content_type=form_type, headers=headers)

    answers = {
        "own": answer(mine.ids, mine.ids),
        "foreign": answer(theirs.ids | here, theirs.ids),
        "missing": answer(absent | here, absent),
        "part": answer(mine.ids, mine.ids, **{"hx-request": "true"}),
    }
    own, foreign, missing, part = answers.values()
    if told := difference(foreign, missing):
        yield f"foreign and missing {told}"
    if person.name != "outsider":
        answers["elsewhere"] = elsewhere = answer(theirs.ids, theirs.ids)
        answers["nowhere"] = nowhere = answer(absent | {"workspace": "absent"}, absent)
        if told := difference(elsewhere, nowhere):
            yield f"another workspace and none {told}"
        if person.signed_in and elsewhere.status != 404:
            yield f"another workspace is {elsewhere.status}"
    may = person.role is not None and not person.lacks_second_factor and role_may(person.role, needed)
    if may:
        answers["mixed"] = mixed = answer(mine.ids, theirs.ids)
        if told := difference(mixed, answer(mine.ids, absent)):
            yield f"foreign and missing in what is sent {told}"
    may_read = person.role is not None and not person.lacks_second_factor and role_may(person.role, READING)
    for name, one in answers.items():
        if one.status >= 500:
            yield f"{name} is {one.status}"
        if theirs.canary in one.shown:
            yield f"{name} shows another workspace's content"
        if mine.canary in one.shown and not may_read:
            yield f"{name} shows content"

    if not person.signed_in:
        for name, one in answers.items():
            header, status = ("HX-Redirect", 200) if name == "part" else ("Location", 302)
            to = one.headers.get(header, "")
            if one.status != status or not to.startswith("/sign-in/?next="):
                yield f"{name} is {one.status} {to}, not a way to the sign-in page"
    elif person.role is None:
        if {one.status for one in answers.values()} != {404}:
            yield f"not a member, yet {own.status}"
    elif person.lacks_second_factor:
        for name in ("own", "foreign", "missing", "part"):
            header, status = ("HX-Redirect", 200) if name == "part" else ("Location", 302)
            to = answers[name].headers.get(header, "")
            if answers[name].status != status or not to.startswith("/account/second-factor/"):
                yield f"{name} is {answers[name].status} {to} without the second factor that is needed"
    elif may:
        if own.status not in (200, 302, 303, 409, 422) or own.headers.get("Location", "").startswith("/sign-in/"):
            yield f"may do it, yet own is {own.status}"
        if len(address.parameters) > 1 and foreign.status != 404:
            yield f"foreign is {foreign.status}, not 404"
    elif needed is READING:
        if own.status != (200 if method == "GET" else 403):
            yield f"own without its content is {own.status}"
        if ("Show for" in own.body) != role_may(person.role, Permission.CONTENT_REVEAL):
            yield "the offer to give a reason is not as the table says"
        if foreign.status != 404:
            yield f"foreign is {foreign.status}, not 404"
    else:
        expected = {"permission": needed.value, "role": person.role.value}
        for name in ("own", "foreign", "missing", "part"):
            if answers[name].status != 403:
                yield f"{name} is {answers[name].status}, not 403"
            elif [{key: told.get(key) for key in expected} for told in answers[name].denials] != [expected]:
                yield f"{name}: the denial is not recorded"
        if told := difference(own, foreign):
            yield f"own and foreign {told}, though neither may be seen"


@pytest.mark.parametrize("address", PAGES, ids=lambda one: one.route)
def test_a_page_answers_as_the_table_says(world: World, address: Address) -> None:
    problems = problems_of_page(address, world)
    assert not problems, "\n".join(problems)


def problems_of_operation(address: Address, method: str, world: World) -> list[str]:
    """What is wrong with an operation of the API, by the table of permissions and its view's memory modes."""
    known = set(world.tenants["acme"].ids)
    unknown = set(address.parameters) - known
    if unknown:
        return [f"{address.route}: add {sorted(unknown)} to Tenant.ids"]
    found: list[str] = []
    for credential in world.credentials:
        name = f"{method} {address.route} with {credential.name}"
        found += [f"{name}: {wrong}" for wrong in _wrong_with_operation(address, method, credential, world)]
    return found


def _wrong_with_operation(address: Address, method: str, credential: Credential, world: World) -> Iterator[str]:
    mine = world.tenants[credential.home]
    [theirs] = [tenant for tenant in world.tenants.values() if tenant is not mine]
    client = Client(raise_request_exception=False)
    absent = absent_like(mine.ids)
    refusal = _refusal(address, address.api_view.permissions[method], credential)

    def answer(at: Ids, body: Ids) -> Answer:
        # In the API's addresses a session goes by the caller's id for it.
        at = dict(at) | {"session_id": at["session_name"]}
        sent = {name: value for name, value in body.items() if len(value) > 20}
        sent |= {f"{name} in the address": at[name] for name in address.parameters}
        url = address.at(at)
        headers = {"authorization": credential.header} if credential.header else {}
        if method == "GET":
            query = QUERIES.get(address.name, lambda i: {})(body)
            return ask(client, method, f"{url}?{urlencode(query)}" if query else url, sent, headers=headers)
        data = json.dumps(BODIES[method, address.name](body))
        return ask(client, method, url, sent, data=data, content_type="application/json", headers=headers)

    answers = {"own": answer(mine.ids, mine.ids), "foreign": answer(theirs.ids, theirs.ids)}
    own, foreign = answers.values()
    if refusal is None:
        answers["missing"] = missing = answer(absent, absent)
        if told := difference(foreign, missing):
            yield f"foreign and missing {told}"
        if credential.owns_nothing and (told := difference(own, missing)):
            yield f"another person's and missing {told}"
    elif told := difference(own, foreign):
        yield f"own and foreign {told}, though neither may be had"
    about_one_thing = any(kind == "uuid" for _, kind in address.kinds)
    if refusal is None and about_one_thing and not credential.owns_nothing:
        answers["mixed"] = mixed = answer(mine.ids, theirs.ids)
        if told := difference(mixed, answer(mine.ids, absent)):
            yield f"foreign and missing in what is sent {told}"
    for name, one in answers.items():
        if one.status >= 500:
            yield f"{name} is {one.status}"
        if theirs.canary in one.shown:
            yield f"{name} shows another workspace's content"
        if mine.canary in one.shown and (refusal or credential.owns_nothing):
            yield f"{name} shows content"

    if refusal is not None:
        status, code = refusal
        for name, one in answers.items():
            if one.status != status or json.loads(one.body)["error"]["code"] != code:
                yield f"{name} is {one.status}, not {status} {code}"
            elif len(one.denials) != (status == 403):
                yield f"{name}: {len(one.denials)} denials are recorded"
        return
    if about_one_thing and foreign.status != 404:
        yield f"foreign is {foreign.status}, not 404"
    if credential.owns_nothing or address.name in (OF_ANOTHER_AGENT if credential.leads else OF_ITS_AGENT):
        return
    if address.name == "subject-tokens" and not credential.scopes & TOKEN_SCOPES:
        return  # nothing that it could hand on
    if own.status not in (200, 201, 202, 204, 409):
        yield f"may do it, yet own is {own.status} {own.body[:200]}"


def _refusal(address: Address, permission: Permission, credential: Credential) -> tuple[int, str] | None:
    """Status and code that this credential has to be refused with; None when it may."""
    scope = RULES[permission].scope
    if credential.dead:
        return 401, "unauthenticated"
    if scope not in credential.scopes:
        return 403, "scope_missing"
    if credential.mode not in address.api_view.modes:
        return 403, "mode_forbids"
    if credential.token and address.api_view.keys_only:
        return 403, "token_forbids"
    if address.api_view.tokens_only and not credential.token:
        return 403, "key_forbids"
    return None


@pytest.mark.parametrize(
    ("address", "method"),
    [(one, method) for one in OPERATIONS for method in one.api_view.permissions],
    ids=lambda one: one.route if isinstance(one, Address) else one,
)
def test_an_operation_answers_as_the_table_says(world: World, address: Address, method: str) -> None:
    problems = problems_of_operation(address, method, world)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("address", OTHERS, ids=lambda one: one.route)
def test_an_address_outside_the_workspaces_answers_as_its_rule_says(world: World, address: Address) -> None:
    rule = OPEN[address.name]
    mine, theirs = world.tenants["acme"], world.tenants["globex"]
    assert set(address.parameters) <= set(mine.ids)
    absent = absent_like(mine.ids)
    for person in _one_of_each_kind(world):
        for method in ("GET", "POST"):
            targets = (mine.ids, theirs.ids, absent) if address.parameters else (mine.ids,)
            asked = [ask(person.client, method, address.at(ids), _of(address, ids)) for ids in targets]
            name = f"{method} {address.route} as {person.name}"
            for one in asked:
                assert one.status < 500, f"{name}: {one.status}"
                assert mine.canary not in one.shown and theirs.canary not in one.shown, name
                to = one.headers.get("Location", "")
                if rule is NOBODY:
                    assert one.status == 404, f"{name}: {one.status}"
                elif rule is SIGNED_IN and not person.signed_in and one.status != 405:
                    assert one.status == 302 and to.startswith("/sign-in/"), f"{name}: {one.status} {to}"
                elif rule is SIGNED_IN and person.signed_in:
                    assert not to.startswith("/sign-in/"), f"{name}: {one.status} {to}"
            if person.name != "outsider" and "pk" in address.parameters:
                assert difference(asked[1], asked[2]) == "", name


def _one_of_each_kind(world: World) -> list[Person]:
    return [person for person in world.people if person.name in ("nobody", "viewer", "outsider", "unsecured")]


def _of(address: Address, ids: Ids) -> dict[str, str]:
    return {name: ids[name] for name in address.parameters}


@pytest.mark.parametrize(
    "address",
    [one for one in ADDRESSES if {"uuid", "int"} & {kind for _, kind in one.kinds}],
    ids=lambda one: one.route,
)
def test_a_malformed_id_is_answered_like_an_address_that_is_not_there(world: World, address: Address) -> None:
    ids = dict(world.tenants["acme"].ids)
    for name, kind in address.kinds:
        if kind in ("uuid", "int"):
            ids[name] = "not-an-id"
    nothing = "/api/v1/there-is/nothing" if address.api_view else "/there-is/nothing/"
    for person in _one_of_each_kind(world)[:2]:
        for method in ("GET", "POST"):
            malformed, absent = (ask(person.client, method, url, {}) for url in (address.at(ids), nothing))
            assert malformed.status == 404
            assert difference(malformed, absent) == ""


# The walk itself: it notices what it is there for.


def _forgets_its_filter(request: Any, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    if Subject.objects.using("owner").filter(pk=subject_id).exists():
        return HttpResponse("yes")
    return HttpResponse("no", status=404)


def _unguarded(request: HttpRequest, workspace: str) -> HttpResponse:
    return HttpResponse("everything")


@require_GET
def _shows_content(request: HttpRequest, workspace: str) -> HttpResponse:
    found = Fact.objects.using("owner").order_by("id").values_list("entity", flat=True)
    return HttpResponse(" ".join(found))


_shows_content.permission = Permission.METADATA_VIEW  # type: ignore[attr-defined]


@pytest.fixture
def spoiled(settings: Any) -> Iterator[list[Address]]:
    """A hub with three pages that somebody got wrong."""
    urls = ModuleType("spoiled_urls")
    guarded = require_GET(permission_required(Permission.METADATA_VIEW)(_forgets_its_filter))
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("w/<slug:workspace>/oracle/<uuid:subject_id>/", guarded, name="oracle"),
        path("w/<slug:workspace>/unguarded/", _unguarded, name="unguarded"),
        path("w/<slug:workspace>/content/", _shows_content, name="content"),
        path("w/<slug:workspace>/new/<uuid:thing_id>/", guarded, name="new"),
        path("", include("memoryhub.urls")),
    ]
    settings.ROOT_URLCONF = urls
    clear_url_caches()
    yield addresses()[:4]
    settings.ROOT_URLCONF = "memoryhub.urls"
    clear_url_caches()
    set_urlconf(None)


def test_the_walk_notices_what_is_wrong(world: World, spoiled: list[Address]) -> None:
    oracle, unguarded, content, new = spoiled
    assert unruled(spoiled) == [f"{unguarded.route}: neither permission_required nor in OPEN"]
    told = " ".join(problems_of_page(oracle, world))
    assert "foreign is 200, not 404" in told and "foreign and missing differ" in told
    told = " ".join(problems_of_page(content, world))
    assert "shows another workspace's content" in told
    assert "GET /w/{workspace}/content/ as outsider: not a member, yet 200" in told
    assert "as nobody: own is 200 , not a way to the sign-in page" in told
    assert "as unsecured: own is 200  without the second factor that is needed" in told
    assert problems_of_page(new, world) == [f"{new.route}: add ['thing_id'] to Tenant.ids"]
