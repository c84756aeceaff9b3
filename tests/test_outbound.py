"""The hub calls nobody but the providers it is configured with."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from django.test import Client
from extraction_work import converse, planned, read_one
from test_access_walk import PAGES, Tenant, _tenant

from audit.actors import Actor
from facts.extraction.patterns import PatternsExtractor
from memoryhub.access.models import Role, Scope
from memoryhub.access.people import user_create
from memoryhub.access.services import agent_get_or_create, key_create
from memoryhub.core.embedding import service
from tests.conftest import LiveHub

ACTOR = Actor.command("tests")
LOOPBACK = ("127.", "::1", "localhost")


@dataclass
class Calls:
    """Where anything in this process wanted to go, while `watching`. What leads off this host is refused."""

    watching: bool = False
    wanted: list[str] = field(default_factory=list)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watching or event not in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
            return
        target = arguments[0] if event == "socket.getaddrinfo" else arguments[-1]
        host = target[0] if isinstance(target, tuple) else target
        if isinstance(target, tuple | str) and not str(host).startswith(("/", *LOOPBACK)):
            self.wanted.append(str(host))
            raise ConnectionRefusedError(f"an outbound call to {host}")


CALLS = Calls()
sys.addaudithook(CALLS.hook)  # for good: Python takes none away again


@contextmanager
def watched() -> Iterator[list[str]]:
    CALLS.wanted.clear()
    CALLS.watching = True
    try:
        yield CALLS.wanted
    finally:
        CALLS.watching = False


def ask(url: str, secret: str, body: dict[str, Any] | None = None) -> Any:
    request = Request(url, json.dumps(body).encode() if body else None)  # noqa: S310 - loopback
    request.add_header("Authorization", f"Bearer {secret}")
    request.add_header("Content-Type", "application/json")
    try:
        with urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.read()
    except HTTPError as refused:
        pytest.fail(f"{url}: {refused.code} {refused.read()[:200]!r}")


@pytest.fixture
def tenant(live_hub: LiveHub) -> Tenant:
    return _tenant("acme", ACTOR)


def use_all_of_it(hub: LiveHub, tenant: Tenant) -> None:
    """Record, remember, search, export, read every page, extract."""
    agent = agent_get_or_create(workspace_id=tenant.workspace.id, name="sampler", actor=ACTOR)
    secret = key_create(agent=agent, actor=ACTOR, scopes=list(Scope)).secret
    api = f"{hub.url}/api/v1"
    said = "Look at https://docs.example.com/a.png and ![x](https://img.example.com/x.png)"
    blocks = [{"type": "image", "source": {"type": "url", "url": "https://img.example.com/y.png"}}]
    turns = [{"role": "user", "content": said}, {"role": "user", "content": blocks}]
    ask(f"{api}/sessions/s1/turns", secret, {"user_id": "alice", "turns": turns})
    fact = {"user_id": "alice", "type": "goal", "entity": "https://shop.example.com", "content": said}
    ask(f"{api}/facts", secret, fact)
    ask(f"{api}/working-memory", secret, {"user_id": "alice", "message": said, "session_id": "s2"})
    ask(f"{api}/search", secret, {"user_id": "alice", "query": said})
    for path in ("/api/v1/audit/export?format=csv", "/api/v1/audit/export?format=jsonl", "/api/schema/", "/api/docs/"):
        ask(f"{hub.url}{path}", secret)
    user, _ = user_create(username="ada", workspace=tenant.workspace, role=Role.ADMIN, actor=ACTOR)
    console = Client()
    console.force_login(user)
    for page in PAGES:
        answer = console.get(page.at(tenant.ids))
        assert answer.status_code in (200, 405), page.route
        assert answer.streaming is False or b"".join(answer)
    preview = f"/w/acme/subjects/{tenant.ids['subject_id']}/preview/"
    assert console.post(preview, {"message": said}).status_code == 200
    console.get(f"/w/acme/subjects/?{urlencode({'q': said})}")
    converse(agent, "I prefer tea. My budget is 500 EUR a month.", session="s3")
    planned(agent)
    assert read_one(agent, PatternsExtractor()) == "done"  # type: ignore[arg-type]


def test_a_hub_without_providers_calls_nobody(live_hub: LiveHub, tenant: Tenant) -> None:
    with watched() as wanted:
        use_all_of_it(live_hub, tenant)
    assert wanted == []


def test_a_configured_embedding_service_is_the_only_one_that_is_called(
    live_hub: LiveHub, tenant: Tenant, settings: Any
) -> None:
    settings.EMBEDDER, settings.EMBEDDER_MODEL, settings.EMBEDDER_DIMENSIONS = "openai", "m", 8
    settings.EMBEDDER_URL, settings.EMBEDDER_API_KEY = "https://vectors.example.com/v1", "k"
    service.reset()
    try:
        with watched() as wanted:
            use_all_of_it(live_hub, tenant)
    finally:
        service.reset()
    assert set(wanted) == {"vectors.example.com"}


def test_the_watch_notices_a_call() -> None:
    with watched() as wanted, pytest.raises(OSError, match=r"outbound call|elsewhere"):
        urlopen("http://elsewhere.example.com/", timeout=1)
    assert wanted == ["elsewhere.example.com"]
