"""The log against what happened, over every address: nothing is changed or surfaced without its entry.

Each operation of the API and each page is asked as somebody who may do everything, for what is there. What tables hold
is compared before and after, and with the entries that carry the request's id. Then the same with a log that cannot be
written: nothing may have changed, and nothing remembered may be in the answer.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.db import connection, connections
from django.test import Client
from django.urls import resolve
from django.utils import timezone
from hostile_pages import Page
from test_access_walk import BODIES, OPERATIONS, PAGES, QUERIES, Person, Tenant, _person, _tenant, undone

from audit.actors import Actor
from audit.models import Entry
from audit.requests.models import Hold
from memoryhub.access.models import Agent, MemoryMode, Role, Scope, Workspace
from memoryhub.access.services import agent_get_or_create, key_create
from memoryhub.access.tokens import TOKEN_SCOPES, new_token, write_token
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject
from sessions.services import subject_pause, subject_restrict

# The log itself, and what it brings with it in the same transaction.
OF_THE_LOG = {"audit_entry", "audit_commitment", "audit_pending"}
# What is no doing of anybody: a cookie's row, and when a credential was last used.
NO_DOING = {"django_session", "access_keyusage", "access_workspaceusage"}
ACTOR = Actor.command("tests")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class World:
    tenant: Tenant
    admin: Person
    keys: tuple[str, str]
    """Of the agent that brought everything in, and of another that manages memory."""
    token: str


@dataclass(frozen=True)
class Outcome:
    """What one request did: the answer, the tables it changed, and the actions of its entries."""

    status: int
    shows: bool
    """Something that is remembered is in the answer."""
    changed: frozenset[str]
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Attempt:
    """A request, and what has to be so for it to do something."""

    name: str
    client: Client
    method: str
    url: str
    sent: Mapping[str, Any]


@pytest.fixture(scope="module")
def world(module_db: str) -> World:
    tenant = _tenant("acme", ACTOR)
    here = tenant.workspace
    with in_workspace(here.id):
        leading = Agent.objects.get(name="sampler")
    manager = agent_get_or_create(workspace_id=here.id, name="manager", mode=MemoryMode.MANAGED, actor=ACTOR)
    keys = [key_create(agent=agent, actor=ACTOR, scopes=list(Scope)) for agent in (leading, manager)]
    token = new_token(
        key_id=keys[1].key.id,
        subject_id=UUID(tenant.ids["subject_id"]),
        mode=MemoryMode.MANAGED,
        scopes=TOKEN_SCOPES,
        expires_at=timezone.now() + timedelta(hours=1),
    )
    admin = _person("admin", here, Role.ADMIN, ACTOR)
    return World(tenant, admin, (keys[0].secret, keys[1].secret), write_token(token))


@contextmanager
def log_out_of_order() -> Iterator[None]:
    """Entries cannot be written: the runtime role may not insert them, whatever asks it to."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("revoke insert on audit_entry from public, %s" % connection.settings_dict["USER"])  # noqa: UP031
    try:
        yield
    finally:
        with connections["owner"].cursor() as cursor:
            cursor.execute("grant insert on audit_entry to %s" % connection.settings_dict["USER"])  # noqa: UP031


def tables() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' "
            "and has_table_privilege(oid, 'select') order by 1"
        )
        return [name for (name,) in cursor.fetchall()]


def state_of(tenant: Tenant, names: list[str]) -> dict[str, str]:
    """A digest of each table's rows, as the workspace sees them."""
    each = " union all ".join(
        f"select '{name}', coalesce(md5(string_agg(md5(t::text), '' order by md5(t::text))), '') from \"{name}\" t"  # noqa: S608
        for name in names
    )
    with in_workspace(tenant.workspace.id), connection.cursor() as cursor:
        cursor.execute(each)
        return dict(cursor.fetchall())


def outcome(world: World, attempt: Attempt, log: AbstractContextManager[None]) -> Outcome:
    """Sent to a workspace that is as it was, which it is again afterwards."""
    names = tables()
    with undone():
        prepare(world, attempt)
        before = state_of(world.tenant, names)
        with log:
            answer = attempt.client.generic(attempt.method, attempt.url, **attempt.sent)
            body = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]
        after = state_of(world.tenant, names)
        actions: list[str] = []
        for workspace_id in Workspace.objects.values_list("id", flat=True):
            with in_workspace(workspace_id):
                mine = Entry.objects.filter(request_id=answer.headers["X-Request-ID"])
                actions += mine.values_list("action", flat=True)
    changed = frozenset(name for name in names if before[name] != after[name]) - OF_THE_LOG - NO_DOING
    return Outcome(answer.status_code, world.tenant.canary.encode() in body, changed, tuple(actions))


def prepare(world: World, attempt: Attempt) -> None:
    """What undoes something needs something to undo; what a hold forbids needs none."""
    ids = world.tenant.ids
    with in_workspace(world.tenant.workspace.id):
        subject = Subject.objects.get(pk=ids["subject_id"])
        if attempt.name.endswith("unrestrict"):
            subject_restrict(subject=subject, restricted=True, actor=ACTOR)
        elif attempt.name.endswith("resume"):
            subject_pause(subject=subject, what=["recording"], paused=True, actor=ACTOR)
        elif "eras" in attempt.name:
            Hold.objects.all().delete()


def attempts(world: World) -> Iterator[Attempt]:
    """Every operation; every page; and every form of a page, as it stands there and with nothing in its fields."""
    ids = world.tenant.ids
    for address in OPERATIONS:
        at = dict(ids) | {"session_id": ids["session_name"]}
        for method in address.api_view.permissions:
            key = world.token if address.api_view.tokens_only else world.keys[address.name == "review-approve"]
            client = Client(raise_request_exception=False, headers={"authorization": f"Bearer {key}"})
            url, sent = address.at(at), {}
            if method == "GET":
                url = f"{url}?{urlencode(QUERIES.get(address.name, lambda i: {})(ids))}"
            else:
                body = BODIES[method, address.name](ids)
                sent = {"data": json.dumps(body), "content_type": "application/json"}
            yield Attempt(f"{method} {address.route}", client, method, url, sent)
    admin = world.admin.client
    seen = set()
    for address in PAGES:
        url = address.at(ids)
        yield Attempt(f"GET {address.route}", admin, "GET", url, {})
        with undone():
            answer = admin.get(url)
            markup = answer.content.decode() if not answer.streaming and answer.status_code == 200 else ""
        for form in Page(url, markup).forms() if "html" in answer.headers.get("Content-Type", "") else ():
            route = resolve(form.action).url_name
            # Of a form for each of many rows the one about the person whose words are looked for.
            about = next((one for one in ids.values() if len(one) > 20 and one in form.action), "")
            if form.method == "GET" or (route, form.names, about) in seen or route == "account_logout":
                continue
            seen.add((route, form.names, about))
            typed = dict(form.sends) | {name: (dict(form.sends)[name] or "tried")[:room] for name, room in form.free}
            for told, data in (("filled in", typed), ("empty", dict.fromkeys(typed, ""))):
                sent = {"data": urlencode(data), "content_type": "application/x-www-form-urlencoded"}
                yield Attempt(f"POST {route} {told} {sorted(form.names)}", admin, "POST", form.action, sent)


@pytest.fixture(scope="module")
def both(world: World) -> dict[str, tuple[Outcome, Outcome]]:
    """Of every attempt what it did, and what it did while the log could not be written."""
    found = {}
    for one in attempts(world):
        found[f"{one.name} {one.url}"] = outcome(world, one, nullcontext()), outcome(world, one, log_out_of_order())
    return found


def test_nothing_is_changed_without_its_entry(both: dict[str, tuple[Outcome, Outcome]]) -> None:
    changing = {name: one for name, (one, _) in both.items() if one.changed}
    assert {name: one for name, one in changing.items() if not one.actions} == {}
    # Of nearly every operation that can change something: the rest needs other things than a sample has.
    assert sum("/api/" in name for name in changing) >= 25 and sum("/w/" in name for name in changing) >= 25


def test_nothing_remembered_is_shown_without_its_entry(both: dict[str, tuple[Outcome, Outcome]]) -> None:
    showing = {name: one for name, (one, _) in both.items() if one.shows}
    assert {name: one for name, one in showing.items() if not one.actions} == {}
    assert sum("/api/" in name for name in showing) >= 6 and sum("/w/" in name for name in showing) >= 8


def test_a_log_that_cannot_be_written_changes_nothing_and_shows_nothing(
    both: dict[str, tuple[Outcome, Outcome]],
) -> None:
    """What succeeds then is what needs no entry: it changed nothing and showed nothing."""
    assert {name: one for name, (_, one) in both.items() if one.changed or one.shows or one.actions} == {}
    stopped = [name for name, (usual, one) in both.items() if usual.actions and one.status >= 500]
    assert len(stopped) == sum(bool(usual.actions) for usual, _ in both.values())
