"""The system page: the state of the hub's parts, for administrators."""

import re

import pytest
from django.test import Client

from memoryhub import condition
from memoryhub.access.models import User, Workspace

pytestmark = pytest.mark.django_db


def test_an_administrator_sees_every_part_that_readyz_tells(
    client: Client, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condition, "_last_look", None)
    client.force_login(admin)
    page = client.get("/w/acme/system/").content.decode()
    told = client.get("/readyz").json()["parts"]
    parts = re.findall(r'<th scope="row">([^<]+)</th>', page)
    assert len(parts) == len(told) and {"Database", "Embedder", "Extractor", "Indexer"} <= set(parts)
    assert re.search(r"PostgreSQL</dt><dd class=\"mono\">\d\d", page)
    assert "memoryhub_owner" in page and re.search(r"Its size</dt><dd class=\"mono\">[\d.]+ [kMG]?B", page)


def test_what_is_degraded_is_named(client: Client, admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    late = condition.Queues(
        {name: condition.Waiting(7, 10_000) for name in condition.LATE},
        {},
        {"ok": True, "name": "none"},
        condition.AuditState(0, ("ALTERED",), None, {}, ()),
    )
    monkeypatch.setattr(condition, "look_at_queues", lambda: late)
    monkeypatch.setattr(condition, "_last_look", None)
    client.force_login(admin)
    page = client.get("/w/acme/system/").content.decode()
    assert (
        "degraded: Indexer, Extraction queue, Task queue, Audit log" in page
        and "ALTERED" in page
        and "7 waiting" in page
    )
    monkeypatch.setattr(condition, "_last_look", None)


def test_others_do_not_see_it(client: Client, auditor: User, workspace: Workspace) -> None:
    client.force_login(auditor)
    assert client.get("/w/acme/system/").status_code == 403
    assert "/w/acme/system/" not in client.get("/w/acme/").content.decode()
