"""Row-level security holds without anybody's help: what a query forgets, the database does not."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import ProgrammingError, connection, connections, models, transaction
from django.http import StreamingHttpResponse
from django.test import Client
from django.urls import clear_url_caches, include, path
from django.views.decorators.http import require_GET
from django_q.conf import Conf
from django_q.models import Success, Task
from django_q.tasks import async_task
from forgetful import TENANT_MODELS, every_filter_by_workspace_forgotten, workspaces_seen
from memory_samples import fill_workspace, learn, say
from psycopg import sql

from audit.actors import Actor
from memoryhub.access.models import Agent, Role, Scope, Workspace
from memoryhub.access.people import user_create
from memoryhub.access.permissions import Permission
from memoryhub.access.services import NewKey, agent_get_or_create, key_create
from memoryhub.console.access import permission_required
from memoryhub.core.postgres import OWNER, RUNTIME, EmbeddedPostgres
from memoryhub.core.roles import UnboundRole
from memoryhub.core.search.indexing import index_pending
from memoryhub.core.search.models import Pending, Vector
from memoryhub.core.tenancy import confined_to, current_workspace_id, in_workspace, tenant_policy, tenant_tables
from sessions.models import Subject

ROOT = Path(__file__).resolve().parent.parent
CANARY = "canary-of-globex"
SECRET = "k7Jx0mQe4vB9tZpL2sWnYd8RuC5aHfGi"  # noqa: S105 - of the tests, so that a worker reads what they queue

# Tables that belong to no tenant, and why each may be read without one.
SHARED = {
    "access_workspace": "needed before a workspace is known: names and settings, no memory",
    "access_user": "people's accounts; what they are in a workspace stands in access_membership",
    "access_user_groups": "unused, of Django",
    "access_user_user_permissions": "unused, of Django",
    "access_cache": "counts of failed sign-ins",
    "auth_group": "unused, of Django",
    "auth_group_permissions": "unused, of Django",
    "auth_permission": "names of models",
    "django_content_type": "names of models",
    "django_migrations": "names of migrations",
    "django_session": "who is signed in",
    "django_q_ormq": "tasks that wait: ids only",
    "django_q_schedule": "when what is done",
    "django_q_task": "tasks that are done: ids only",
    "account_emailaddress": "of people's accounts",
    "account_emailconfirmation": "of people's accounts",
    "mfa_authenticator": "of people's accounts",
    "socialaccount_socialaccount": "of people's accounts",
    "socialaccount_socialapp": "unused: single sign-on is configured by the environment",
    "socialaccount_socialtoken": "unused: no token is kept",
    "usersessions_usersession": "where people are signed in",
    "facts_extractorstate": "whether an extractor is asked at the moment",
    "audit_signingkey": "public keys of the hub",
}


@pytest.fixture
def two_workspaces(workspace: Workspace, other_workspace: Workspace, actor: Actor) -> tuple[Workspace, Workspace]:
    """Each with a row in every tenant table."""
    for one in (workspace, other_workspace):
        fill_workspace(one, actor)
    return workspace, other_workspace


def names(model: type[models.Model]) -> str:
    return model._meta.label


# The catalogue.


@pytest.mark.django_db
def test_every_table_of_tenants_is_under_a_policy() -> None:
    tables = tenant_tables()
    assert [name for name, protected in tables.items() if not protected] == []
    assert {model._meta.db_table for model in TENANT_MODELS} == set(tables)


@pytest.mark.django_db
def test_every_other_table_is_known_to_belong_to_nobody() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace"
            " and relkind in ('r', 'p', 'v', 'm', 'f')"
        )
        everything = {row[0] for row in cursor.fetchall()}
    assert everything - set(tenant_tables()) == set(SHARED)


@pytest.mark.django_db
def test_every_policy_asks_for_the_workspace() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select tablename, policyname, permissive, cmd, qual, with_check from pg_policies")
        policies = cursor.fetchall()
    assert len(policies) >= len(TENANT_MODELS)
    for table, name, permissive, command, using, check in policies:
        if permissive == "RESTRICTIVE":
            # Narrows what others let through, to one person.
            assert "mh.subject" in using or " IN ( SELECT " in using, (table, name)
        elif (table, name) == ("access_membership", "tenant_read"):
            # A person's own memberships, across workspaces, for reading.
            assert command == "SELECT" and "mh.user" in using
        else:
            assert "mh.workspace" in using and (check is None or "mh.workspace" in check), (table, name)
            assert command == "ALL" and check is not None or command == "SELECT", (table, name)


@pytest.mark.parametrize(
    "made",
    [
        "create table forgotten (id int, workspace_id uuid)",
        "create table forgotten (id int, subject_id uuid)",
        "create table forgotten (id int, tenant uuid references access_workspace)",
        "create table forgotten (id int, about uuid references facts_factversion)",
        "create table between (id int primary key, who uuid references memory_sessions_subject, workspace_id uuid);"
        "alter table between enable row level security; create policy p on between using (false);"
        "create table forgotten (id int references between)",
        "create view forgotten as select content from facts_factversion",
        "create view inner_view with (security_invoker=true) as select content from facts_factversion;"
        "create view forgotten as select * from inner_view",
        "create materialized view forgotten as select content from facts_factversion",
        "create table forgotten (id int, workspace_id uuid); alter table forgotten enable row level security",
        "create table forgotten (id int, workspace_id uuid); create policy p on forgotten using (true)",
        "create table forgotten (id int, workspace_id uuid); alter table forgotten enable row level security;"
        "create policy p on forgotten as restrictive using (true)",
    ],
)
def test_a_table_made_by_hand_is_found(hub_db: str, made: str) -> None:
    before = tenant_tables()
    with connections["owner"].cursor() as cursor:
        cursor.execute(made)
    assert "forgotten" not in before
    assert [name for name, protected in tenant_tables().items() if not protected] == ["forgotten"]


def test_a_table_made_by_hand_is_fine_with_its_policy(hub_db: str) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("create table remembered (id int, workspace_id uuid)")
        cursor.execute(str(tenant_policy("remembered").sql))
        cursor.execute("create view seen with (security_invoker=true) as select content from facts_factversion")
    assert tenant_tables()["remembered"] and tenant_tables()["seen"]


# Functions that work as the owner.

DEFINERS = {
    "access_authenticate(text,bytea,integer)": "whose key it is, to who sends the SHA-256 of the whole key",
    "audit_unsealed(timestamp with time zone)": "in which workspaces entries wait to be sealed: their ids alone",
    "memory_sessions_authenticate_token(uuid,text,uuid,integer)": "the same for ids out of a signed token, and the "
    "caller's id for its person",
}


@pytest.mark.django_db
def test_only_the_known_functions_work_as_the_owner() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select p.oid::regprocedure::text, p.proconfig, has_function_privilege('public', p.oid, 'execute')"
            " from pg_proc p where p.prosecdef and p.pronamespace not in"
            " ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
        )
        found = {name: (config, public) for name, config, public in cursor.fetchall()}
    assert set(found) == set(DEFINERS)
    for name, (config, public) in found.items():
        assert config == ["search_path=pg_catalog, public"], name
        assert not public, f"{name} may be called by anybody who can connect"


@pytest.mark.django_db
@pytest.mark.parametrize("digest", [b"", b"\0" * 32])
def test_the_functions_tell_nothing_to_who_holds_no_credential(agent_key: NewKey, digest: bytes) -> None:
    key = agent_key.key
    with connection.cursor() as cursor:
        cursor.execute("select * from access_authenticate(%s, %s, 100)", [key.prefix, digest])
        assert cursor.fetchall() == []
        cursor.execute("select * from memory_sessions_authenticate_token(%s, 'full', %s, 100)", [key.id, uuid4()])
        assert cursor.fetchall() == []


def test_tables_of_the_same_name_do_not_deceive_the_functions(hub_db: str, agent_key: NewKey) -> None:
    """A temporary table is found before all others by who does not say which one it means."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("create temporary table access_apikey (like public.access_apikey)")
        cursor.execute("create temporary table access_workspace (like public.access_workspace)")
        digest = bytes(agent_key.key.digest)
        cursor.execute("select state from access_authenticate(%s, %s, 100)", [agent_key.key.prefix, digest])
        assert cursor.fetchall() == [("live",)]


# The runtime role.


@pytest.mark.django_db
def test_the_runtime_role_owns_nothing_and_cannot_bypass() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select rolsuper, rolbypassrls from pg_roles where rolname = current_user")
        assert cursor.fetchone() == (False, False)
        cursor.execute("select count(*) from pg_class where relowner = current_user::regrole")
        assert cursor.fetchone() == (0,)
        cursor.execute("select count(*) from pg_auth_members where member = current_user::regrole")
        assert cursor.fetchone() == (0,)
        cursor.execute("select has_schema_privilege('public', 'create')")
        assert cursor.fetchone() == (False,)


@pytest.mark.parametrize(
    "statement",
    [
        "set role memoryhub_owner",
        "alter table memory_sessions_turn disable row level security",
        "drop policy tenant on memory_sessions_turn",
        "create policy mine on memory_sessions_turn using (true)",
        "create table public.mine (id int)",
        "create function public.mine() returns int language sql as 'select 1'",
    ],
)
def test_the_runtime_role_cannot_lift_a_policy(hub_db: str, statement: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied|must be owner"), connection.cursor() as cursor:
        cursor.execute(statement)


def test_switching_row_security_off_is_an_error_and_shows_nothing(
    hub_db: str, two_workspaces: tuple[Workspace, Workspace]
) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("set local row_security = off")
        Subject.objects.count()


ROLES: dict[str, LiteralString] = {
    "postgres": "",
    "bypasser": "login bypassrls",
    OWNER: "",
    "heir": "login in role memoryhub_owner",
}


@pytest.fixture(params=ROLES)
def unbound(request: pytest.FixtureRequest, database_server: EmbeddedPostgres, hub_db: str) -> Iterator[str]:
    """A role that policies do not bind: a superuser, one with BYPASSRLS, the owner, a member of the owner's role."""
    role, options = request.param, ROLES[request.param]
    with psycopg.connect(database_server.dsn("postgres", hub_db), autocommit=True) as server:
        if options:
            server.execute(sql.SQL("create role {} {}").format(sql.Identifier(role), sql.SQL(options)))
        yield role
        if options:
            server.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(role)))


def environment(server: EmbeddedPostgres, name: str, role: str = RUNTIME, **more: str) -> dict[str, str]:
    """For a process of the hub on a database of the tests, as `role`."""
    urls = {
        variable: f"postgres://{who}@/{name}?host={server.socket_dir}&port=5432"
        for variable, who in (("DATABASE_URL", role), ("DATABASE_OWNER_URL", OWNER))
    }
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, **urls, "EMBEDDER": "none", "SECRET_KEY": SECRET, "PYTHONPATH": path, **more}


def manage(env: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def queue(env: dict[str, str], log: Path) -> Iterator[Path]:
    """The queue's worker, whose output goes to `log`."""
    with log.open("wb") as output:
        command = [sys.executable, "manage.py", "qcluster"]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True)
        try:
            yield log
        finally:
            process.terminate()
            process.wait(timeout=60)


def eventually(condition: Callable[[], object], *, within: float) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_the_hub_does_not_start_as_a_role_that_policies_do_not_bind(
    hub_db: str, database_server: EmbeddedPostgres, unbound: str, tmp_path: Path
) -> None:
    env = environment(database_server, hub_db, unbound, MEMORYHUB_DATA_DIR=str(tmp_path))
    done = manage(env, "up", "--port", "0")
    assert done.returncode == 1
    assert "E006" in done.stderr or "E013" in done.stderr
    assert "workspaces would not be kept apart" in done.stderr
    assert "ready at" not in done.stdout


def test_no_single_command_works_as_such_a_role_either(hub_db: str, database_server: EmbeddedPostgres) -> None:
    done = manage(environment(database_server, hub_db, "postgres"), "indexer", "--once")
    assert done.returncode != 0
    assert "DATABASE_URL names a role that is a superuser" in done.stderr, done.stderr


def test_no_queue_works_as_such_a_role_either(
    hub_db: str, database_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Conf, "SECRET_KEY", SECRET)
    async_task("forgetful.workspaces_seen")
    with queue(environment(database_server, hub_db, "postgres"), tmp_path / "log") as log:
        eventually(lambda: "UnboundRole" in log.read_text(), within=60)
        assert not Task.objects.exists()


def test_a_connection_as_such_a_role_is_refused_every_time(hub_db: str, unbound: str) -> None:
    connection.close()
    before = connections.settings["default"]["USER"]
    connections.settings["default"]["USER"] = unbound
    try:
        for _ in range(2):
            with pytest.raises(UnboundRole):
                Workspace.objects.count()
        assert Client(raise_request_exception=False).get("/api/v1/subjects").status_code in (401, 500)
        with pytest.raises(UnboundRole):
            Client().get("/readyz")
    finally:
        connection.close()
        connections.settings["default"]["USER"] = before


# Whoever works: pages and calls, tasks, commands, the indexer, streams.


def test_a_forgotten_filter_returns_no_foreign_row(hub_db: str, two_workspaces: tuple[Workspace, Workspace]) -> None:
    here, there = two_workspaces
    for model in TENANT_MODELS:
        everywhere = model._base_manager.using("owner")
        assert everywhere.filter(workspace_id=there.id).exists(), f"{model._meta.label} has no row to find"
    assert workspaces_seen(str(here.id)) == {model._meta.label: [str(here.id)] for model in TENANT_MODELS}


def test_with_the_policy_off_the_same_query_finds_foreign_rows(
    hub_db: str, two_workspaces: tuple[Workspace, Workspace]
) -> None:
    """So the test above can fail: it is the policy that keeps the rows apart, not the data."""
    here, there = two_workspaces
    with connections["owner"].cursor() as cursor:
        cursor.execute("alter table memory_sessions_turn disable row level security")
    assert str(there.id) in workspaces_seen(str(here.id))["memory_sessions.Turn"]


def test_without_a_workspace_there_are_no_rows(hub_db: str, two_workspaces: tuple[Workspace, Workspace]) -> None:
    assert workspaces_seen() == {model._meta.label: [] for model in TENANT_MODELS}


def test_foreign_rows_are_neither_changed_nor_deleted(hub_db: str, two_workspaces: tuple[Workspace, Workspace]) -> None:
    here, there = two_workspaces
    foreign = Subject.objects.using("owner").get(workspace_id=there.id)
    with in_workspace(here.id):
        assert Subject.objects.filter(pk=foreign.pk).update(external_id="taken") == 0
        assert Subject.objects.filter(pk=foreign.pk)._raw_delete("default") == 0
    assert Subject.objects.using("owner").get(pk=foreign.pk).external_id == foreign.external_id


def test_a_row_cannot_be_written_for_another_workspace(
    hub_db: str, two_workspaces: tuple[Workspace, Workspace]
) -> None:
    here, there = two_workspaces
    with pytest.raises(ProgrammingError, match="row-level security"), in_workspace(here.id):
        Subject.objects.create(workspace_id=there.id, external_id=str(uuid4()))
    with pytest.raises(ProgrammingError, match="row-level security"), in_workspace(here.id):
        Subject.objects.update(workspace_id=there.id)


@pytest.mark.django_db
def test_nested_workspaces_restore_the_outer_one(workspace: Workspace, other_workspace: Workspace) -> None:
    with transaction.atomic(), in_workspace(workspace.id):
        with in_workspace(other_workspace.id):
            assert current_workspace_id() == other_workspace.id
        assert current_workspace_id() == workspace.id


def test_a_queued_task_that_forgot_its_filter_sees_its_own_workspace(
    hub_db: str,
    database_server: EmbeddedPostgres,
    two_workspaces: tuple[Workspace, Workspace],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    here, _ = two_workspaces
    monkeypatch.setattr(Conf, "SECRET_KEY", SECRET)
    within, without = async_task("forgetful.workspaces_seen", str(here.id)), async_task("forgetful.workspaces_seen")
    with queue(environment(database_server, hub_db), tmp_path / "log") as log:
        eventually(lambda: Task.objects.count() == 2, within=60)
    assert set(Task.objects.values_list("id", "success")) == {(within, True), (without, True)}, log.read_text()
    results = dict(Success.objects.values_list("id", "result"))
    assert results[within] == {model._meta.label: [str(here.id)] for model in TENANT_MODELS}
    assert results[without] == {model._meta.label: [] for model in TENANT_MODELS}


def test_a_command_that_forgot_its_filter_sees_its_own_workspace(
    hub_db: str, database_server: EmbeddedPostgres, two_workspaces: tuple[Workspace, Workspace]
) -> None:
    here, _ = two_workspaces
    script = f"import json, forgetful as f; print(json.dumps([f.workspaces_seen(), f.workspaces_seen('{here.id}')]))"
    done = manage(environment(database_server, hub_db), "shell", "--no-imports", "-c", script)
    assert done.returncode == 0, done.stderr
    without, within = json.loads(done.stdout.splitlines()[-1])
    assert without == {model._meta.label: [] for model in TENANT_MODELS}
    assert within == {model._meta.label: [str(here.id)] for model in TENANT_MODELS}


@pytest.mark.parametrize("policy", ["on", "off"])
def test_the_indexer_takes_nothing_of_another_workspace_even_without_its_filters(
    hub_db: str, monkeypatch: pytest.MonkeyPatch, two_workspaces: tuple[Workspace, Workspace], policy: str
) -> None:
    """With the policy off it does: the filters are gone indeed."""
    here, there = two_workspaces
    waiting = set(Pending.objects.using("owner").filter(workspace_id=there.id).values_list("item", flat=True))
    assert waiting
    if policy == "off":
        with connections["owner"].cursor() as cursor:
            cursor.execute("alter table search_pending disable row level security")
    with every_filter_by_workspace_forgotten(monkeypatch):
        taken = index_pending(here.id)
    assert taken == (1 if policy == "on" else 2)
    vectors = Vector.objects.using("owner").filter(item__in=waiting)
    left = set(Pending.objects.using("owner").filter(workspace_id=there.id).values_list("item", flat=True))
    assert not vectors.exists()
    assert left == (waiting if policy == "on" else set())


@pytest.fixture
def marked(hub_db: str, two_workspaces: tuple[Workspace, Workspace], actor: Actor) -> Client:
    """An administrator here; there, something that must not be seen."""
    here, there = two_workspaces
    agent = Agent.objects.using("owner").get(workspace=there, name="sampler")
    said = say(agent, f"We run {CANARY}.", session=CANARY, user=CANARY)
    learn(agent, f"Runs {CANARY}", user=CANARY, turn=said.turns[0])
    agent_get_or_create(workspace_id=there.id, name=CANARY, actor=actor)
    user, _ = user_create(username="ada", workspace=here, role=Role.ADMIN, actor=actor)
    client = Client()
    client.force_login(user)
    return client


LISTS = [
    "",
    "subjects/",
    f"subjects/?q={CANARY}",
    "dead-letters/",
    "review/",
    "audit/",
    "agents/",
    "people/",
    "settings/",
]
CALLS = ["subjects", f"facts?user_id={CANARY}", "audit", "extractions", "dead-letters", "review"]


def test_pages_and_calls_without_their_filters_show_nothing_of_another_workspace(
    marked: Client, monkeypatch: pytest.MonkeyPatch, two_workspaces: tuple[Workspace, Workspace], actor: Actor
) -> None:
    here, there = two_workspaces
    key = key_create(
        agent=Agent.objects.using("owner").get(workspace=here, name="sampler"), actor=actor, scopes=list(Scope)
    )
    foreign = Subject.objects.using("owner").get(external_id=CANARY)
    with every_filter_by_workspace_forgotten(monkeypatch):
        for page in LISTS:
            answer = marked.get(f"/w/{here.slug}/{page}")
            assert answer.status_code == 200, page
            # What was asked for stands in the field again.
            assert CANARY not in answer.content.decode().replace(f'value="{CANARY}"', ""), page
        assert marked.get(f"/w/{here.slug}/subjects/{foreign.id}/").status_code == 404
        for call in CALLS:
            answer = Client(headers={"authorization": f"Bearer {key.secret}"}).get(f"/api/v1/{call}")
            assert answer.status_code == 200, call
            assert CANARY not in answer.content.decode(), call


def test_what_is_streamed_after_the_view_is_under_the_policy_too(
    live_hub: Any, marked: Client, two_workspaces: tuple[Workspace, Workspace], settings: Any
) -> None:
    """A stream is read when the view's transaction is over: it sees nothing, or what it opens a workspace for."""
    here, there = two_workspaces

    def view(request: Any, workspace: Workspace, forgot: str) -> StreamingHttpResponse:
        def rows() -> Iterator[str]:
            yield json.dumps(workspaces_seen("" if forgot == "workspace" else str(workspace.id)))

        return StreamingHttpResponse(rows())

    guarded = require_GET(permission_required(Permission.METADATA_VIEW)(view))
    urls = ModuleType("streaming_urls")
    urls.urlpatterns = [path("w/<slug:workspace>/stream/<str:forgot>/", guarded), path("", include("memoryhub.urls"))]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = urls
    clear_url_caches()
    cookie = f"{django_settings.SESSION_COOKIE_NAME}={marked.cookies[django_settings.SESSION_COOKIE_NAME].value}"

    def streamed(forgot: str) -> dict[str, list[str]]:
        request = urllib.request.Request(f"{live_hub.url}/w/{here.slug}/stream/{forgot}/", headers={"Cookie": cookie})  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            return json.load(answer)

    try:
        assert streamed("workspace") == {model._meta.label: [] for model in TENANT_MODELS}
        assert streamed("filter") == {model._meta.label: [str(here.id)] for model in TENANT_MODELS}
    finally:
        clear_url_caches()


# Connections that are used again.

SETTINGS = "select " + ", ".join(f"current_setting('mh.{name}', true)" for name in ("workspace", "subject", "user"))


@pytest.fixture
def one_connection(
    hub_db: str, two_workspaces: tuple[Workspace, Workspace], actor: Actor
) -> Iterator[Callable[[], int]]:
    """A pool of one connection; the web process has one of several.

    The function gives it back, takes it out again, finds it without any setting, and returns the backend's process id.
    """
    connection.close()
    options = connections.settings["default"]["OPTIONS"]
    connections.settings["default"]["OPTIONS"] = options | {"pool": {"min_size": 1, "max_size": 1, "timeout": 10}}

    def again() -> int:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute(SETTINGS)
            assert {value or "" for value in cursor.fetchone()} == {""}
            cursor.execute("select pg_backend_pid()")
            [pid] = cursor.fetchone()
        assert Subject.objects.count() == 0
        return int(pid)

    try:
        yield again
    finally:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]
        connections.settings["default"]["OPTIONS"] = options


def test_no_workspace_is_left_on_a_connection_of_the_pool(
    one_connection: Callable[[], int], two_workspaces: tuple[Workspace, Workspace], actor: Actor
) -> None:
    here, there = two_workspaces
    pid = one_connection()
    with in_workspace(here.id):
        subject = Subject.objects.get()
    assert one_connection() == pid
    with pytest.raises(LookupError), in_workspace(here.id):
        raise LookupError
    assert one_connection() == pid
    with pytest.raises(ProgrammingError), in_workspace(here.id), connection.cursor() as cursor:
        cursor.execute("select * from nowhere")
    assert one_connection() == pid
    with confined_to(subject.id), in_workspace(here.id), in_workspace(there.id):
        assert Subject.objects.count() == 0
    assert one_connection() == pid


def test_no_request_leaves_its_workspace_on_the_connection(
    one_connection: Callable[[], int], two_workspaces: tuple[Workspace, Workspace], actor: Actor
) -> None:
    here, _ = two_workspaces
    user, _ = user_create(username="ada", workspace=here, role=Role.ADMIN, actor=actor)
    browser = Client(raise_request_exception=False)
    browser.force_login(user)
    agent = agent_get_or_create(workspace_id=here.id, name="sampler", actor=actor)
    key = Client(headers={"authorization": f"Bearer {key_create(agent=agent, actor=actor, scopes=list(Scope)).secret}"})
    made = key.post("/api/v1/subject-tokens", {"user_id": "alice"}, content_type="application/json")
    token = Client(headers={"authorization": f"Bearer {made.json()['token']}"})
    pid = one_connection()
    for ask, status in (
        (lambda: browser.get(f"/w/{here.slug}/subjects/"), 200),
        (lambda: browser.get("/w/globex/"), 404),
        (lambda: browser.post(f"/w/{here.slug}/settings/", {}), 422),
        (lambda: key.get("/api/v1/facts?user_id=alice"), 200),
        (lambda: key.get(f"/api/v1/facts/{uuid4()}"), 404),
        (lambda: token.get("/api/v1/facts"), 200),
        (lambda: token.get("/api/v1/facts?user_id=bob"), 404),
    ):
        assert ask().status_code == status
        assert one_connection() == pid
