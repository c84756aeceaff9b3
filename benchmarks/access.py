"""What an attacker with a valid credential gets of others: every address, every credential, other people's ids.

    python -m benchmarks.access [--requests 100000] [--pairs 1000] [--small]

Two workspaces hold the same kinds of things, each with canaries in everything that is content. Every operation of the
API and every page of the console, as the hub itself lists them, is then asked by every credential of the first (keys of
each scope and memory mode, subject tokens, people in each role, and dead or missing ones) for things of the second,
and by subject tokens for things of another person of their own workspace. An address, a parameter or an operation that
this file does not know stops it: nothing new stays untried.

A second pass asks in pairs for what is another's and for what does not exist, and compares the medians of the times.

Promise: no canary or id of others in any answer, no error of the server, nothing of theirs changed, the same answer for
another's as for nothing, and medians of the times within 5 % over all pairs (50 % with --small, whose pairs are few).
"""

import argparse
import hashlib
import http.client
import itertools
import json
import random
import re
import secrets
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID, uuid4

import psycopg
import psycopg.sql

from benchmarks.harness import Hub, add_hub_arguments, finish, hub, join, owner_dsn, print_table, wait_until_indexed

THREADS, PEOPLE = 4, 3
WITHIN = 0.05
# Medians of a few dozen pairs say little: at the reduced size they only show what is grossly different.
WITHIN_SMALL = 0.5
# Shorter ids (numbers of libraries' rows) are in every page by chance.
LEAST_TELLING = 8
JSON_TYPE, FORM_TYPE = "application/json", "application/x-www-form-urlencoded"
SLUGS = ("mine", "theirs")


@dataclass
class Person:
    """Somebody remembered: what they are called, and every id that leads to something of theirs."""

    user_id: str
    canary: str
    ids: dict[str, str] = field(default_factory=dict)


@dataclass
class Tenant:
    """A workspace with what is in it. `ids` lead to what belongs to nobody remembered: agents, keys, members."""

    slug: str
    key: str
    people: list[Person] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)

    def ids_of(self, person: Person) -> dict[str, str]:
        return self.ids | person.ids


@dataclass(frozen=True)
class Credential:
    """One way to ask. `person` is set for a token that is bound to that person."""

    name: str
    headers: Mapping[str, str]
    console: bool = False
    person: Person | None = None
    csrf: str = ""


@dataclass(frozen=True)
class Address:
    """A path with its parameters still open, and how to fill the rest of the request."""

    name: str
    method: str
    path: str
    parameters: tuple[str, ...]
    console: bool
    operation: str = ""


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float


@dataclass
class Tally:
    """What came back, counted by every thread under a lock."""

    statuses: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000, help="at least so many; every combination once anyway")
    parser.add_argument("--pairs", type=int, default=1_000, help="of timed requests, for each operation that is timed")
    add_hub_arguments(parser)
    arguments = parser.parse_args()
    if arguments.url:
        parser.error("this benchmark needs two workspaces of a known content: it starts its own hub")
    within = WITHIN
    if arguments.small:
        arguments.requests, arguments.pairs, within = 3_000, 60, WITHIN_SMALL
    # Nothing but the attack may change what is compared afterwards.
    # The daily check of a log would be a change that nobody made.
    quiet = {"THROTTLE_PER_MINUTE": "10000000", "EXTRACTOR": "none", "AUDIT_VERIFY_HOURS": "0"}
    with hub(arguments, environment=quiet) as at:
        join(at, **quiet)
        mine, theirs = (fill(slug) for slug in SLUGS)
        wait_until_indexed(at)
        credentials = [*keys_of(mine), *tokens_of(at, mine), *people_of(mine, theirs)]
        addresses = [*api_addresses(), *console_addresses()]
        before = fingerprint(at, mine, theirs)
        ratios = compare_times(at, credentials, addresses, theirs, arguments.pairs)
        tally = Tally()
        began = time.perf_counter()
        attack(at, attempts(addresses, credentials, mine, theirs, arguments.requests), tally)
        took = time.perf_counter() - began
        changed = [name for name, digest in fingerprint(at, mine, theirs).items() if before[name] != digest]
    print_table(("answer", "requests"), sorted(tally.statuses.items()))
    print()
    print_table(("timed", "absent, ms", "another's, ms", "ratio"), [ratio.row() for ratio in ratios])
    for title, found in (("leak", tally.leaks), ("error", tally.errors), ("difference", tally.differences)):
        for line in sorted(set(found))[:20]:
            print(f"{title}: {line}")
    for name, example in sorted(tally.examples.items()):
        print(f"for example {name}: {example}")
    for name in changed:
        print(f"changed: {name}")
    worst = max((abs(ratio.ratio - 1) for ratio in ratios), default=0.0)
    finish(
        not (tally.leaks or tally.errors or tally.differences or changed) and worst <= within,
        f"{tally.done} requests in {took:.0f} s ({len(addresses)} addresses, {len(credentials)} credentials): "
        f"{len(tally.leaks)} leaks, {len(tally.errors)} server errors, {len(tally.differences)} answers that differ, "
        f"{len(changed)} tables of others changed; times of another's and of nothing within {worst:.1%} "
        f"(limit {within:.0%}) over {arguments.pairs} pairs each",
    )


def fill(slug: str) -> Tenant:
    """A workspace with people remembered, written by the product's own services."""
    from audit.actors import Actor
    from memoryhub.access.models import Role, Scope
    from memoryhub.access.people import invitation_create
    from memoryhub.access.services import agent_get_or_create, key_create, workspace_create
    from memoryhub.core.tenancy import in_workspace

    actor = Actor.command("benchmark")
    workspace = workspace_create(slug=slug, name=f"{slug} {secrets.token_hex(6)}", actor=actor)
    agent = agent_get_or_create(workspace_id=workspace.id, name=f"agent-{secrets.token_hex(6)}", actor=actor)
    key = key_create(agent=agent, actor=actor, scopes=list(Scope))
    invited = invitation_create(workspace=workspace, role=Role.VIEWER, actor=actor)
    tenant = Tenant(
        slug,
        key.secret,
        ids={
            "agent_id": str(agent.id),
            "key_id": str(key.key.id),
            "invitation_id": str(invited.invitation.id),
            # Whoever holds the link may use it: what is tried is another one.
            "invitation_token": f"{workspace.id.hex}{secrets.token_urlsafe(32)}",
            "provider_id": "sso",
        },
    )
    for _ in range(PEOPLE):
        with in_workspace(workspace.id):
            tenant.people.append(_person(workspace.id, agent.id, actor))
    return tenant


def _person(workspace_id: Any, agent_id: Any, actor: Any) -> Person:
    from django.utils import timezone

    from audit.erasure.models import Erasure
    from audit.models import Entry
    from audit.requests.models import DataRequest, Hold
    from facts.extraction.replay import DeadLetterFilter, dead_letters_replay
    from facts.models import Extraction, FactType
    from facts.services import FactInput, facts_record
    from facts.working_memory import MemoryRequest, Viewpoint, working_memory
    from memoryhub.access.models import MemoryMode
    from memoryhub.access.policy import WorkspacePolicy
    from sessions.content import read_content
    from sessions.models import Session, TurnRole
    from sessions.services import TurnInput, subject_get_or_create, turns_record

    canary = f"canary{secrets.token_hex(8)}"
    person = Person(f"user-{secrets.token_hex(8)}", canary)
    session_name = f"session-{secrets.token_hex(8)}"
    recorded = turns_record(
        workspace_id=workspace_id,
        agent_id=agent_id,
        session_id=session_name,
        user_id=person.user_id,
        turns=[
            TurnInput(TurnRole.USER, read_content(f"We run {canary} on our servers.")),
            TurnInput(TurnRole.TOOL, read_content(f"The tool says {canary} is paid.")),
        ],
        actor=actor,
    )
    subject = subject_get_or_create(workspace_id=workspace_id, external_id=person.user_id, actor=actor)
    known, waiting = (
        facts_record(
            subject=subject,
            facts=[
                FactInput(
                    FactType.CONSTRAINT, f"entity {canary}", f"Runs {canary}", attribute=f"part {turn.index}", turn=turn
                )
            ],
            actor=actor,
            agent_id=agent_id,
        )[0]
        for turn in recorded.turns
    )
    view = Viewpoint(workspace_id, "english", actor, agent_id, MemoryMode.FULL, policy=WorkspacePolicy())
    memory = working_memory(view=view, ask=MemoryRequest(person.user_id, f"Do we run {canary}?", "later"))
    session = Session.objects.get(external_id=session_name)
    extraction, again = (
        Extraction.objects.create(
            workspace_id=workspace_id,
            subject=subject,
            session=session,
            first_index=number,
            last_index=number,
            state="dead",
            error="server_error",
            finished_at=timezone.now(),
        )
        for number in range(2)
    )
    replayed = dead_letters_replay(workspace_id=workspace_id, which=DeadLetterFilter(ids=(again.id,)), actor=actor)
    erasure = Erasure.objects.create(
        workspace_id=workspace_id,
        subject_id=subject.id,
        kind="session",
        state="partial",
        reason="subject_request",
        actor_kind="command",
        actor_id="benchmark",
    )
    request = DataRequest.objects.create(
        workspace_id=workspace_id,
        subject_id=subject.id,
        type="access",
        channel="email",
        identity="unverified",
        received_at=timezone.now(),
        received_on=timezone.now().date(),
        due_on=timezone.now().date(),
    )
    hold = Hold.objects.create(
        workspace_id=workspace_id, subject_id=subject.id, session_id=uuid4(), reason="litigation", placed_by="user:x"
    )
    if memory.recall is None:
        raise SystemExit("Nothing was surfaced to begin with.")
    person.ids = {
        "user_id": person.user_id,
        "subject_id": str(subject.id),
        "session_id": str(session.id),
        "session_name": session_name,
        "fact_id": str(known.version.fact_id),
        "version_id": str(waiting.version.id),
        "turn_id": str(recorded.turns[0].id),
        "recall_id": str(memory.recall.recall_id),
        "extraction_id": str(extraction.id),
        "replay_id": str(replayed.id),
        "erasure_id": str(erasure.id),
        "request_id": str(request.id),
        "hold_id": str(hold.id),
        "leaf": bytes(Entry.objects.filter(subject_id=subject.id).latest("id").leaf).hex(),
    }
    return person


def keys_of(mine: Tenant) -> list[Credential]:
    """Keys of the first workspace: every scope alone, every memory mode with all of them, and those that must fail."""
    from django.utils import timezone

    from audit.actors import Actor
    from memoryhub.access.models import MemoryMode, Scope, Workspace
    from memoryhub.access.services import agent_get_or_create, key_create, key_revoke

    actor = Actor.command("benchmark")
    workspace = Workspace.objects.get(slug=mine.slug)

    def key(name: str, mode: MemoryMode, scopes: Sequence[Scope], **more: Any) -> Credential:
        agent = agent_get_or_create(workspace_id=workspace.id, name=f"asker-{name}", mode=mode, actor=actor)
        made = key_create(agent=agent, actor=actor, scopes=scopes, **more)
        if name == "revoked":
            key_revoke(key=made.key, actor=actor)
        return Credential(f"key {name}", {"Authorization": f"Bearer {made.secret}"})

    every = list(Scope)
    return [
        Credential("no key", {}),
        Credential("made-up key", {"Authorization": f"Bearer mh_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"}),
        key("revoked", MemoryMode.FULL, every),
        key("expired", MemoryMode.FULL, every, expires_at=timezone.now()),
        *(key(mode.value, mode, every) for mode in MemoryMode),
        *(key(scope.value.replace(":", "-"), MemoryMode.MANAGED, [scope]) for scope in Scope),
    ]


def tokens_of(at: Hub, mine: Tenant) -> list[Credential]:
    """Tokens bound to the first person of the first workspace: all scopes, and each that a token may have."""
    person = mine.people[0]
    made = []
    for name, body in (
        ("token", {}),
        ("token, one session", {"session_id": person.ids["session_name"]}),
        ("token, reading", {"scopes": ["memory:read"]}),
        ("token, writing", {"scopes": ["turns:write", "facts:write"]}),
    ):
        answer = request(
            Connection(at),
            "POST",
            "/api/v1/subject-tokens",
            {"Authorization": f"Bearer {mine.key}", "Content-Type": JSON_TYPE},
            json.dumps({"user_id": person.user_id, "ttl": 86_400} | body).encode(),
        )
        if answer.status != 201:
            raise SystemExit(f"No token was made: {answer.status} {answer.body[:300]!r}")
        token = json.loads(answer.body)["token"]
        made.append(Credential(name, {"Authorization": f"Bearer {token}"}, person=person))
    return made


def people_of(mine: Tenant, theirs: Tenant) -> list[Credential]:
    """Signed-in people: every role of the first workspace, and nobody. `theirs` gets members to ask about."""
    from django.conf import settings
    from django.test import Client

    from audit.actors import Actor
    from memoryhub.access.models import Membership, Role, Workspace
    from memoryhub.access.people import user_create
    from memoryhub.core.tenancy import in_workspace

    actor = Actor.command("benchmark")
    signed_in = [Credential("nobody", {}, console=True)]
    for tenant in (mine, theirs):
        workspace = Workspace.objects.get(slug=tenant.slug)
        for role in Role:
            user, _ = user_create(username=f"{tenant.slug}-{role}", actor=actor, workspace=workspace, role=role)
            with in_workspace(workspace.id):
                tenant.ids["membership_id"] = str(Membership.objects.get(user=user).id)
                tenant.ids["user_pk"] = str(user.pk)
            if tenant is theirs:
                tenant.ids["passkey_id"] = str(_factor(user))
            if tenant is mine:
                client = Client()
                client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
                session = client.cookies[settings.SESSION_COOKIE_NAME].value
                csrf = secrets.token_hex(16)
                cookie = f"{settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={csrf}"
                signed_in.append(
                    Credential(role.value, {"Cookie": cookie, "X-CSRFToken": csrf}, console=True, csrf=csrf)
                )
    return signed_in


def _factor(user: Any) -> int:
    """A second factor of this person, which nobody else may touch; it only has to be there."""
    from allauth.mfa.models import Authenticator

    return int(Authenticator.objects.create(user=user, type="webauthn", data={"name": "key"}).pk)


def api_addresses() -> list[Address]:
    """Every operation that the API describes."""
    from drf_spectacular.generators import SchemaGenerator

    schema = SchemaGenerator().get_schema(public=True)
    return [
        Address(described["operationId"], method.upper(), path, tuple(re.findall(r"{(\w+)}", path)), False)
        for path, methods in schema["paths"].items()
        for method, described in methods.items()
    ]


def console_addresses() -> list[Address]:
    """Every address that the resolver knows and that is not the API's, once for GET and once for POST."""
    from django.urls import get_resolver
    from django.urls.resolvers import URLPattern, URLResolver

    def walk(patterns: Sequence[Any], prefix: str) -> Iterator[tuple[str, str]]:
        for entry in patterns:
            route = prefix + _route(str(entry.pattern))
            if isinstance(entry, URLResolver):
                yield from walk(entry.url_patterns, route)
            elif isinstance(entry, URLPattern):
                yield entry.name or route, "/" + route

    found = [
        (name, path)
        for name, path in walk(get_resolver().url_patterns, "")
        if not path.startswith(("/api/v1/", "/static/", "/metrics"))
    ]
    return [
        Address(name, method, path, tuple(re.findall(r"{(\w+)}", path)), True)
        for name, path in found
        for method in ("GET", "POST")
    ]


def _route(pattern: str) -> str:
    """A route, or a regular expression of a library's, with its parameters as {name}."""
    pattern = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", pattern)
    pattern = re.sub(r"\(\?P{(\w+)}[^)]*\)", r"{\1}", pattern)
    return re.sub(r"\\(.)", r"\1", pattern).strip("^$")


def targets(credential: Credential, mine: Tenant, theirs: Tenant) -> list[dict[str, str]]:
    """Whose things `credential` asks for: those of the other workspace, and for a token also its own one's others."""
    others = [theirs.ids_of(person) for person in theirs.people]
    if credential.person is not None:
        others += [mine.ids_of(person) for person in mine.people if person is not credential.person]
    return others


PARAMETERS: dict[str, tuple[str, str]] = {
    # parameter: (id in the API, id in the console)
    "session_id": ("session_name", "session_id"),
    "subject_id": ("subject_id", "subject_id"),
    "fact_id": ("fact_id", "fact_id"),
    "recall_id": ("recall_id", "recall_id"),
    "version_id": ("version_id", "version_id"),
    "turn_id": ("turn_id", "turn_id"),
    "extraction_id": ("extraction_id", "extraction_id"),
    "erasure_id": ("erasure_id", "erasure_id"),
    "request_id": ("request_id", "request_id"),
    "hold_id": ("hold_id", "hold_id"),
    "leaf": ("leaf", "leaf"),
    "agent_id": ("agent_id", "agent_id"),
    "key_id": ("key_id", "key_id"),
    "membership_id": ("membership_id", "membership_id"),
    "user_id": ("user_pk", "user_pk"),
    "replay_id": ("replay_id", "replay_id"),
    "invitation_id": ("invitation_id", "invitation_id"),
    "token": ("invitation_token", "invitation_token"),
    "pk": ("passkey_id", "passkey_id"),
    "provider_id": ("provider_id", "provider_id"),
}
# Parameters that are names of the hub's own, the same for everybody.
NAMES = {"tool": "search_memory"}

# What an operation is sent, from the ids of somebody else. All but the path of those that are not here is their query.
BODIES: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "record_turns": lambda i: {"user_id": i["user_id"], "turns": [{"role": "user", "content": "Hello"}]},
    "close_session": lambda i: {},
    "working_memory": lambda i: {
        "user_id": i["user_id"],
        "message": "What do we run?",
        "session_id": i["session_name"],
    },
    "search": lambda i: {"user_id": i["user_id"], "query": "What do we run?"},
    "cite": lambda i: {"fact_ids": [i["fact_id"]]},
    "add_facts": lambda i: {
        "user_id": i["user_id"],
        "type": "goal",
        "entity": "shop",
        "content": "Opens soon",
        "replaces": i["fact_id"],
        "session_id": i["session_name"],
        "turn_index": 0,
    },
    "correct_fact": lambda i: {"expected_version": 1, "content": "Something else"},
    "mark_fact_stale": lambda i: {"reason": "outdated"},
    "restore_fact": lambda i: {"version": 1},
    "approve_review": lambda i: {},
    "reject_review": lambda i: {"reason": "wrong"},
    "replay_dead_letter": lambda i: {},
    "replay_dead_letters": lambda i: {"ids": [i["extraction_id"]]},
    "create_subject_token": lambda i: {"user_id": i["user_id"], "session_id": i["session_name"]},
    "call_tool": lambda i: {"input": {"query": f"What of {i['fact_id']} and {i['session_name']}?"}},
    "lookup_subject": lambda i: {"user_id": i["user_id"]},
    "plan_erasure": lambda i: {},
    "begin_erasure": lambda i: {"confirm": "not of a plan"},
    "erase_fact": lambda i: {},
    "retry_erasure": lambda i: {},
    "open_request": lambda i: {"type": "access"},
    "decide_request": lambda i: {"step": "cancel"},
    "extend_request": lambda i: {"reason": "complex"},
    "assign_request": lambda i: {"assignee_id": None},
    "note_on_request": lambda i: {"note": "tried"},
    "place_hold": lambda i: {"reason": "litigation", "session_id": i["session_name"]},
    "release_hold": lambda i: {},
    "restrict_subject": lambda i: {"reason": "subject_request"},
    "unrestrict_subject": lambda i: {"reason": "subject_request"},
    "pause_subject": lambda i: {"what": ["recording"]},
    "resume_subject": lambda i: {"what": ["recording"]},
}
CREATING = frozenset({"record_turns", "add_facts", "create_subject_token", "agent-create"})
QUERIES: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "list_facts": lambda i: {"user_id": i["user_id"]},
    "list_subjects": lambda i: {},
    "list_extractions": lambda i: {"subject_id": i["subject_id"]},
    "list_dead_letters": lambda i: {"session_id": i["session_name"]},
    "list_review": lambda i: {"subject_id": i["subject_id"]},
    "list_audit_entries": lambda i: {"subject_id": i["subject_id"]},
}
# Whatever any form of the console asks for: fields that a form does not have are ignored.
FORM = {
    "content": "Something else",
    "reason": "wrong",
    "note": "tried",
    "expected_version": "1",
    "version": "1",
    "pinned": "yes",
    "confirm": "yes",
    "role": "admin",
    "mode": "managed",
    "name": "tried",
    "message": "What do we run?",
}


@dataclass(frozen=True)
class Attempt:
    """One request for another's thing, and the same for a thing that does not exist."""

    address: Address
    credential: Credential
    slug: str
    theirs: dict[str, str]
    absent: dict[str, str]
    forbidden: frozenset[str] = frozenset()
    """Canaries that this credential may see nowhere."""


def attempts(
    addresses: Sequence[Address], credentials: Sequence[Credential], mine: Tenant, theirs: Tenant, at_least: int
) -> list[Attempt]:
    """Every address by every credential for every target; more rounds until both requests of each are `at_least`."""
    forbidden = {
        one.name: frozenset(
            person.canary
            for person in (*theirs.people, *(mine.people if one.person else ()))
            if person is not one.person
        )
        for one in credentials
    }
    once = [
        Attempt(address, credential, slug, target, absent_like(target), forbidden[credential.name])
        for address in addresses
        for credential in credentials
        if credential.console == address.console
        for target in targets(credential, mine, theirs)
        for slug in (SLUGS if address.console and "workspace" in address.parameters else (mine.slug,))
    ]
    rounds = max(1, -(-at_least // (2 * len(once))))
    print(f"{len(once)} combinations, {rounds} rounds")
    chance = random.Random(11)  # noqa: S311 - the same order every time
    chance.shuffle(once)
    # What makes things under the ids it was given comes last: from then on those ids are known in the first workspace.
    return sorted(once * rounds, key=lambda attempt: attempt.address.name in CREATING)


def absent_like(ids: dict[str, str]) -> dict[str, str]:
    """Ids of the same shape that lead nowhere."""
    return {
        name: str(uuid4()) if re.fullmatch(r"[0-9a-f-]{36}", value) else re.sub(r"[0-9a-f]{16}", _hex, value)
        for name, value in ids.items()
    }


def _hex(_: re.Match[str]) -> str:
    return secrets.token_hex(8)


def built(attempt: Attempt, ids: dict[str, str]) -> tuple[str, str, dict[str, str], bytes | None]:
    """(method, path with query, headers, body) of a request with `ids`."""
    address = attempt.address
    path = address.path
    for name in address.parameters:
        if name == "workspace":
            value = attempt.slug
        elif name in NAMES:
            value = NAMES[name]
        elif name in PARAMETERS:
            value = ids[PARAMETERS[name][address.console]]
        else:
            raise SystemExit(f"{address.path}: this benchmark does not know what {name} is; add it to PARAMETERS.")
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    headers = dict(attempt.credential.headers)
    if address.console:
        if address.method == "GET":
            return "GET", f"{path}?{urlencode({'q': ids['user_id'], 'cursor': ids['fact_id']})}", headers, None
        form = FORM | {"csrfmiddlewaretoken": attempt.credential.csrf, "fact": ids["fact_id"], "id": ids["version_id"]}
        return "POST", path, headers | {"Content-Type": FORM_TYPE}, urlencode(form).encode()
    if address.method == "GET":
        query = QUERIES.get(address.name, lambda i: {})(ids)
        return "GET", f"{path}?{urlencode(query)}" if query else path, headers, None
    if address.name not in BODIES:
        raise SystemExit(f"{address.name}: this benchmark does not know what to send; add it to BODIES.")
    body = json.dumps(BODIES[address.name](ids)).encode()
    return address.method, path, headers | {"Content-Type": JSON_TYPE}, body


class Connection:
    """One kept-alive connection, made anew when the server ended it."""

    def __init__(self, at: Hub) -> None:
        split = urlsplit(at.url)
        self.host, self.port = split.hostname or "", split.port or 80
        self.inner = http.client.HTTPConnection(self.host, self.port, timeout=60)


def request(over: Connection, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
    for final in (False, True):
        try:
            began = time.perf_counter()
            over.inner.request(method, path, body, dict(headers))
            answer = over.inner.getresponse()
            content = answer.read()
            return Answer(answer.status, answer.getheaders(), content, time.perf_counter() - began)
        except (http.client.HTTPException, ConnectionError):
            over.inner.close()
            if final:
                raise
    raise AssertionError


def attack(at: Hub, all_attempts: Sequence[Attempt], tally: Tally) -> None:
    """Carry the attempts out on several connections and tally what comes back."""
    waiting = iter(all_attempts)
    lock = threading.Lock()

    def work() -> None:
        over = Connection(at)
        while True:
            with lock:
                attempt = next(waiting, None)
            if attempt is None:
                return
            one(over, attempt, tally)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def one(over: Connection, attempt: Attempt, tally: Tally) -> None:
    """Ask for another's thing and for nothing; look for leaks and for a difference between the two."""
    sent = built(attempt, attempt.theirs)
    theirs = request(over, *sent)
    nothing = request(over, *built(attempt, attempt.absent))
    name = f"{attempt.address.method} {attempt.address.path} as {attempt.credential.name}"
    shown = theirs.body.decode(errors="replace") + " ".join(f"{key}: {value}" for key, value in theirs.headers)
    asked_for = sent[1] + (sent[3] or b"").decode() + str(sent[2])
    # A workspace's own log names what was asked for in it, the ids of others too, which whoever asked knew already.
    own_log = "/audit" in attempt.address.path
    leaked = [
        kind
        for kind, value in attempt.theirs.items()
        if not own_log
        and len(value) >= LEAST_TELLING
        and value in shown
        and value not in asked_for
        and quote(value, safe="") not in asked_for
    ]
    canaries = [canary for canary in attempt.forbidden if canary in shown]
    with tally.lock:
        tally.done += 2
        for answer in (theirs, nothing):
            tally.statuses[str(answer.status)] += 1
            if answer.status >= 500:
                tally.errors.append(f"{name}: {answer.status}")
        if leaked or canaries:
            tally.leaks.append(f"{name}: {theirs.status} {leaked} {len(canaries)} canaries")
        # What makes things finds by now what it made before under the one id and not under the other.
        # And a limit that counts, as that of signing in does, says nothing about what was asked for.
        limited = 429 in (theirs.status, nothing.status)
        comparing = attempt.address.name not in CREATING and not limited
        if (
            comparing
            and nothing.status >= 400
            and comparable(theirs, attempt.theirs) != comparable(nothing, attempt.absent)
        ):
            tally.differences.append(f"{name}: {theirs.status} and {nothing.status}")
            tally.examples.setdefault(
                f"{attempt.address.method} {attempt.address.path}",
                f"{comparable(theirs, attempt.theirs)[2][:300]} | {comparable(nothing, attempt.absent)[2][:300]}",
            )


CHANGING = re.compile(
    r'"request_id": ?"[^"]*"|name="csrfmiddlewaretoken" value="[^"]*"|nonce="[^"]*"|"X-CSRFToken": ?"[^"]*"'
)


def comparable(answer: Answer, ids: dict[str, str]) -> tuple[int, str, str]:
    """An answer without what differs from request to request, and without the ids that were sent."""
    text = CHANGING.sub("", answer.body.decode(errors="replace"))
    location = next((value for name, value in answer.headers if name.lower() == "location"), "")
    for name, value in ids.items():
        for form in (value, quote(value, safe=""), quote(quote(value, safe=""), safe="")):
            text, location = text.replace(form, name), location.replace(form, name)
    return answer.status, location, text


def fingerprint(at: Hub, mine: Tenant, theirs: Tenant) -> dict[str, str]:
    """A digest of every table's rows of the other workspace, and of the rows of the first one's untouched people."""
    from django.apps import apps

    from audit.registry import stores
    from memoryhub.access.models import Workspace
    from memoryhub.core.tenancy import in_workspace

    digests = {}
    with psycopg.connect(owner_dsn(at)) as connection:
        workspace = Workspace.objects.get(slug=theirs.slug)
        for model in apps.get_models():
            table = model._meta.db_table
            if any(field.attname == "workspace_id" for field in model._meta.concrete_fields):
                rows = connection.execute(
                    psycopg.sql.SQL("select t::text from {} t where workspace_id = %s").format(
                        psycopg.sql.Identifier(table)
                    ),
                    [workspace.id],
                ).fetchall()
                digests[f"{theirs.slug}: {table}"] = _digest(row[0] for row in rows)
    with in_workspace(Workspace.objects.get(slug=mine.slug).id):
        for store, person in itertools.product(stores(), mine.people[1:]):
            subject_id = UUID(person.ids["subject_id"])
            held = list(map(str, store.export(subject_id)))
            # A member of their workspace may look at their page, and it is in the log that one did.
            held = [row for row in held if store.name != "audit" or "memory.viewed" not in row]
            digests[f"{mine.slug}: {store.name} of {person.user_id}"] = _digest(held)
    return digests


def _digest(rows: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


@dataclass(frozen=True)
class Ratio:
    """Medians of the times in seconds for what does not exist and for what is another's."""

    name: str
    absent: float
    others: float

    @property
    def ratio(self) -> float:
        return self.others / self.absent

    def row(self) -> tuple[str, str, str, str]:
        return self.name, f"{self.absent * 1000:.2f}", f"{self.others * 1000:.2f}", f"{self.ratio:.3f}"


TIMED = (
    ("key full", "get_fact"),
    ("key full", "list_fact_versions"),
    ("key full", "mark_fact_stale"),
    ("key full", "cite"),
    ("key full", "get_subject"),
    ("key full", "lookup_subject"),
    ("key full", "list_facts"),
    ("key full", "working_memory"),
    ("token", "get_fact"),
    ("admin", "fact-detail"),
    ("admin", "subject-facts"),
    ("admin", "session-detail"),
)


def compare_times(
    at: Hub, credentials: Sequence[Credential], addresses: Sequence[Address], theirs: Tenant, pairs: int
) -> list[Ratio]:
    """Ask in turns, one client, which of the two comes first left to chance."""
    chance = random.Random(13)  # noqa: S311
    over = Connection(at)
    ratios = []
    for credential_name, operation in TIMED:
        credential = next(one for one in credentials if one.name == credential_name)
        address = next(one for one in addresses if one.name == operation)
        times: dict[bool, list[float]] = {False: [], True: []}
        for number in range(pairs):
            target = theirs.ids_of(theirs.people[number % len(theirs.people)])
            attempt = Attempt(address, credential, SLUGS[0], target, absent_like(target))
            for is_theirs in chance.sample((False, True), 2):
                method, path, headers, body = built(attempt, target if is_theirs else attempt.absent)
                times[is_theirs].append(request(over, method, path, headers, body).seconds)
        ratios.append(
            Ratio(f"{operation}, {credential_name}", *(statistics.median(times[key]) for key in (False, True)))
        )
    return ratios


if __name__ == "__main__":
    main()
