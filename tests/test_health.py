"""Probes: alive, ready, and what exactly is not well, without a word about anybody."""

import json
from datetime import timedelta

import pytest
from django.db import connections
from django.test import Client
from django.urls import path
from django.utils import timezone
from django_q.models import OrmQ

from facts.models import Extraction
from memoryhub import condition, health
from memoryhub.core.embedding import service
from memoryhub.core.ids import uuid7
from memoryhub.core.observability import metrics
from memoryhub.core.search.models import Pending
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject

urlpatterns = [path("healthz", health.healthz), path("readyz", health.readyz)]


@pytest.fixture(autouse=True)
def fresh_look(settings, monkeypatch):
    """No answer from the test before, and an embedder that needs nothing."""
    settings.ROOT_URLCONF = __name__
    settings.EMBEDDER = "minilm"
    service.reset()
    monkeypatch.setattr(condition, "_last_look", None)
    yield
    service.reset()


@pytest.fixture
def away(database_server, hub_db):
    """A database that cannot be reached any more."""
    connections["default"].close()
    name = connections["default"].settings_dict["NAME"]
    connections["default"].settings_dict["NAME"] = "gone"
    yield
    connections["default"].close()
    connections["default"].settings_dict["NAME"] = name


def ready() -> tuple[int, dict]:
    response = Client().get("/readyz")
    return response.status_code, json.loads(response.content)


def test_a_process_that_answers_is_alive_whatever_the_database_does(away):
    response = Client().get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
def test_being_alive_asks_the_database_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        Client().get("/healthz")


@pytest.mark.django_db
def test_an_empty_hub_is_ready():
    status, body = ready()
    assert status == 200
    assert (body["status"], body["degraded"]) == ("ok", [])
    assert body["parts"]["embedder"] == {"ok": True, "name": "minilm", "breaker": "closed"}
    assert body["parts"]["indexing"] == {"ok": True, "waiting": 0, "oldest_s": 0.0}


def test_without_a_database_it_is_not_ready(away):
    status, body = ready()
    assert (status, body["status"]) == (503, "unavailable")
    assert {"database", "migrations"} <= set(body["degraded"])


def test_with_a_migration_missing_it_is_not_ready(hub_db):
    with connections["owner"].cursor() as cursor:
        cursor.execute("delete from django_migrations where app = 'audit' and name = '0001_initial'")
    status, body = ready()
    assert status == 503
    assert body["parts"]["database"] == {"ok": True}
    assert body["parts"]["migrations"] == {"ok": False, "missing": 1}


def test_with_no_migration_at_all_it_says_so_instead_of_failing(hub_db):
    with connections["owner"].cursor() as cursor:
        cursor.execute("drop table django_migrations")
    status, body = ready()
    assert status == 503
    assert body["parts"]["migrations"]["missing"] > 20


@pytest.mark.django_db
def test_without_an_embedder_by_choice_nothing_is_degraded(settings):
    settings.EMBEDDER = "none"
    status, body = ready()
    assert (status, body["degraded"]) == (200, [])
    assert body["parts"]["embedder"] == {"ok": True, "name": "none"}


@pytest.mark.django_db
def test_an_embedder_that_fails_is_named_and_the_hub_still_serves(settings):
    settings.EMBEDDER, settings.EMBEDDER_MODEL, settings.EMBEDDER_DIMENSIONS = "openai", "m", 8
    settings.EMBEDDER_URL = "http://127.0.0.1:9/v1"  # nothing listens on the discard port
    for _ in range(3):
        with pytest.raises(service.EmbedderUnavailable):
            service.embed_query("anything")
    status, body = ready()
    assert (status, body["status"], body["degraded"]) == (200, "degraded", ["embedder"])
    assert body["parts"]["embedder"] == {"ok": False, "name": "openai", "breaker": "open", "cause": "unreachable"}


@pytest.mark.django_db
def test_work_that_waits_too_long_is_named_in_every_workspace(workspace, other_workspace, agent):
    now = timezone.now()
    for tenant, seconds in ((workspace, 5), (other_workspace, 100)):
        with in_workspace(tenant.id):
            Pending.objects.create(
                workspace_id=tenant.id,
                subject_id=uuid7(),
                kind="turn",
                item=uuid7(),
                since=now - timedelta(seconds=seconds),
            )
    with in_workspace(workspace.id):
        subject = Subject.objects.create(workspace=workspace, external_id="ann")
        session = Session.objects.create(
            workspace=workspace,
            subject=subject,
            agent=agent,
            external_id="s1",
            started_at=now,
            last_turn_at=now,
            extract_due_at=now - timedelta(seconds=60),
        )
        Extraction.objects.create(
            workspace=workspace, subject=subject, session=session, first_index=0, last_index=1, state="dead"
        )
    OrmQ.objects.create(key="memoryhub", payload="x", lock=now - timedelta(seconds=500))
    OrmQ.objects.create(key="memoryhub", payload="x", lock=now + timedelta(seconds=500))  # being worked on

    status, body = ready()
    assert (status, body["status"], body["degraded"]) == (200, "degraded", ["indexing", "tasks"])
    assert body["parts"]["indexing"]["waiting"] == 2
    assert 100 <= body["parts"]["indexing"]["oldest_s"] < 130
    assert (body["parts"]["extraction"]["waiting"], body["parts"]["extraction"]["dead_letters"]) == (1, 1)
    assert body["parts"]["tasks"]["waiting"] == 1
    assert "ann" not in json.dumps(body)

    figures = metrics.render()[0].decode()
    assert 'memoryhub_waiting{queue="indexing"} 2.0' in figures
    assert 'memoryhub_extractions{state="dead"} 1.0' in figures
    assert "memoryhub_scrape_errors 0.0" in figures


@pytest.mark.django_db
def test_many_probes_share_one_look_at_the_queues(workspace, django_assert_max_num_queries):
    ready()
    with django_assert_max_num_queries(6):  # savepoint and its release, the timeout, the two about migrations
        ready()


def test_figures_that_cannot_be_read_are_left_out_and_counted(away):
    figures = metrics.render()[0].decode()
    assert "memoryhub_scrape_errors 9.0" in figures
    assert "memoryhub_waiting{" not in figures


def test_a_hub_that_lost_its_database_recovers_without_a_restart(hub_db, database_server):
    assert ready()[0] == 200
    name = connections["default"].settings_dict["NAME"]
    connections["default"].close()
    connections["default"].settings_dict["NAME"] = "gone"
    assert ready()[0] == 503
    connections["default"].settings_dict["NAME"] = name
    assert ready()[0] == 200


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_probes_are_read_only(method):
    for address in ("/healthz", "/readyz"):
        assert getattr(Client(), method)(address).status_code == 405
