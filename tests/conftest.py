"""One embedded PostgreSQL for the whole run, its database migrated once, and the small cast of people and agents.

Two ways to a database, both as the runtime role, under row-level security, through the alias `default`:

- `db` or the mark `django_db`: everything a test writes is rolled back. The default choice.
- `hub_db`: a database of the test's own, cloned from the migrated one and dropped afterwards. For what commits: several
  connections, threads, other processes, a server over HTTP (`live_hub`). The alias `owner` reaches the same database.

Truncating between tests is not among them: the audit log forbids it.
"""

import itertools
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from api_contract import ContractClient
from django.conf import settings
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.test.testcases import QuietWSGIRequestHandler
from django.utils import timezone
from psycopg import sql
from pytest_django import DjangoDbBlocker
from tool_calls import Tokens, agent_in

from audit.actors import Actor
from memoryhub.access.models import Agent, MemoryMode, Role, Scope, User, Workspace
from memoryhub.access.people import user_create
from memoryhub.access.services import NewKey, agent_get_or_create, key_create, workspace_create
from memoryhub.access.tokens import TOKEN_SCOPES, new_token, write_token
from memoryhub.core.postgres import DATABASE, OWNER, RUNTIME, SUPERUSER, EmbeddedPostgres
from memoryhub.core.tenancy import in_workspace
from sessions.services import subject_get_or_create

# Its data need not survive the machine.
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "128MB",
    "max_connections": "100",
}
ROOM = 4e9  # bytes
ROLLED_BACK = "tests"
ROLES = {"default": RUNTIME, "owner": OWNER}
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("django_db")
        transaction = mark is not None and (mark.kwargs.get("transaction") or mark.args[:1] == (True,))
        if transaction or {"transactional_db", "live_server"} & set(getattr(item, "fixturenames", ())):
            raise pytest.UsageError(f"{item.nodeid} would truncate tables after itself: use hub_db or live_hub")


@pytest.fixture(scope="session")
def database_server() -> Iterator[EmbeddedPostgres]:
    """A running server. Not in pytest's own temporary directory, which its unprivileged user may not enter."""
    memory = Path("/dev/shm")  # noqa: S108 - a clone there takes a tenth of the time
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM
    place = Path(tempfile.mkdtemp(prefix="mh-tests-", dir=memory if roomy else None))
    settings.DATA_DIR = place
    try:
        with EmbeddedPostgres(place, options=FAST).running() as server:
            yield server
    finally:
        shutil.rmtree(place)


@pytest.fixture(scope="session")
def django_db_setup(database_server: EmbeddedPostgres, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Migrate the template as the owner and point Django at a clone of it, in place of pytest-django's own setup."""
    with django_db_blocker.unblock():
        _point_django_at(database_server, DATABASE)
        call_command("migrate", database="owner", verbosity=0)
        _create(database_server, ROLLED_BACK, template=DATABASE)
        _point_django_at(database_server, ROLLED_BACK)
    yield
    with django_db_blocker.unblock():
        connections.close_all()


@pytest.fixture
def hub_db(
    request: pytest.FixtureRequest,
    database_server: EmbeddedPostgres,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[str]:
    """A fresh migrated database that the test may commit to; its name."""
    if request.node.get_closest_marker("django_db") or "db" in request.fixturenames:
        pytest.fail("a test uses either hub_db, which commits, or django_db, which rolls back")
    with _committing_to_own_database(database_server, django_db_blocker) as name:
        yield name


@pytest.fixture(scope="module")
def module_db(
    database_server: EmbeddedPostgres, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """As `hub_db`, for all tests of a module, which then use no other and leave it as they found it."""
    with _committing_to_own_database(database_server, django_db_blocker) as name:
        yield name


@contextmanager
def _committing_to_own_database(server: EmbeddedPostgres, blocker: DjangoDbBlocker) -> Iterator[str]:
    with blocker.unblock(), own_database(server, template=DATABASE) as name:
        _point_django_at(server, name)
        try:
            yield name
        finally:
            _point_django_at(server, ROLLED_BACK)


@contextmanager
def own_database(server: EmbeddedPostgres, *, template: str) -> Iterator[str]:
    """A database, by its name, that is dropped afterwards whoever is still connected."""
    name = f"hub_{next(_numbers)}"
    _create(server, name, template=template)
    try:
        yield name
    finally:
        # Only a superuser may end the connections that the other role still holds.
        _execute(server, SUPERUSER, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@dataclass(frozen=True)
class LiveHub:
    """The hub over HTTP; `url` has no slash at its end."""

    url: str


@pytest.fixture
def live_hub(hub_db: str) -> Iterator[LiveHub]:
    """The hub served by threads of this process on a free port, over a database of its own."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietWSGIRequestHandler)
    server.daemon_threads = True
    server.set_app(get_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield LiveHub(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def any_db(request: pytest.FixtureRequest) -> None:
    """The database of this test: its own if it asked for one, else the one that is rolled back."""
    request.getfixturevalue("hub_db" if {"hub_db", "live_hub"} & set(request.fixturenames) else "db")


@pytest.fixture
def actor() -> Actor:
    return Actor.command("tests")


@pytest.fixture
def workspace(any_db: None, actor: Actor) -> Workspace:
    return workspace_create(slug="acme", name="Acme", actor=actor)


@pytest.fixture
def other_workspace(any_db: None, actor: Actor) -> Workspace:
    return workspace_create(slug="globex", name="Globex", actor=actor)


def _person(username: str, workspace: Workspace, role: Role, actor: Actor) -> User:
    user, _ = user_create(username=username, workspace=workspace, role=role, actor=actor)
    return user


@pytest.fixture
def admin(workspace: Workspace, actor: Actor) -> User:
    return _person("ada", workspace, Role.ADMIN, actor)


@pytest.fixture
def operator(workspace: Workspace, actor: Actor) -> User:
    return _person("oscar", workspace, Role.OPERATOR, actor)


@pytest.fixture
def privacy_officer(workspace: Workspace, actor: Actor) -> User:
    return _person("petra", workspace, Role.PRIVACY_OFFICER, actor)


@pytest.fixture
def auditor(workspace: Workspace, actor: Actor) -> User:
    return _person("amir", workspace, Role.AUDITOR, actor)


@pytest.fixture
def viewer(workspace: Workspace, actor: Actor) -> User:
    return _person("vera", workspace, Role.VIEWER, actor)


@pytest.fixture
def outsider(other_workspace: Workspace, actor: Actor) -> User:
    """The administrator of another workspace: has every right, but not here."""
    return _person("otto", other_workspace, Role.ADMIN, actor)


@pytest.fixture
def agent(workspace: Workspace, actor: Actor) -> Agent:
    """An agent with memory mode `full`."""
    return agent_get_or_create(workspace_id=workspace.id, name="assistant", actor=actor)


@pytest.fixture
def agent_key(agent: Agent, actor: Actor) -> NewKey:
    """A key of `agent` with every scope."""
    return key_create(agent=agent, actor=actor, scopes=list(Scope))


@pytest.fixture
def outsider_key(other_workspace: Workspace, actor: Actor) -> NewKey:
    """A key with every scope, in another workspace."""
    agent = agent_get_or_create(workspace_id=other_workspace.id, name="assistant", actor=actor)
    return key_create(agent=agent, actor=actor, scopes=list(Scope))


@pytest.fixture
def api(agent_key: NewKey) -> ContractClient:
    """The test client with the agent's key; a body given as a dict with content_type="application/json" is JSON."""
    return ContractClient.of(agent_key)


@pytest.fixture
def token_of(workspace: Workspace, actor: Actor) -> Tokens:
    """A client that holds a subject token."""

    def make(
        agent: Agent, user: str = "alice", scopes: frozenset[Scope] = TOKEN_SCOPES, session: str = ""
    ) -> ContractClient:
        with in_workspace(workspace.id):
            subject = subject_get_or_create(workspace_id=workspace.id, external_id=user, actor=actor)
        key = key_create(agent=agent, actor=actor, scopes=list(Scope))
        made = new_token(
            key_id=key.key.id,
            subject_id=subject.id,
            mode=MemoryMode(agent.mode),
            scopes=scopes,
            expires_at=timezone.now() + timedelta(hours=1),
            session=session,
        )
        return ContractClient(headers={"authorization": f"Bearer {write_token(made)}"})

    return make


@pytest.fixture
def manager(workspace: Workspace, actor: Actor) -> Agent:
    return agent_in(workspace, MemoryMode.MANAGED, actor)


@pytest.fixture
def tools(manager: Agent, token_of: Tokens) -> ContractClient:
    """All tools, for alice."""
    return token_of(manager)


@pytest.fixture
def outsider_api(outsider_key: NewKey) -> ContractClient:
    return ContractClient.of(outsider_key)


def _point_django_at(server: EmbeddedPostgres, name: str) -> None:
    connections.close_all()
    for alias, role in ROLES.items():
        # The same dictionary serves the connections of every thread.
        connections.settings[alias].update(HOST=str(server.socket_dir), PORT="5432", USER=role, PASSWORD="", NAME=name)


def _create(server: EmbeddedPostgres, name: str, *, template: str) -> None:
    connections.close_all()  # a template may have no connections
    statement = sql.SQL("create database {} template {} strategy file_copy")
    _execute(server, OWNER, statement.format(sql.Identifier(name), sql.Identifier(template)))


def _execute(server: EmbeddedPostgres, role: str, statement: sql.Composed) -> None:
    with psycopg.connect(server.dsn(role, "postgres"), autocommit=True) as connection:
        connection.execute(statement)
