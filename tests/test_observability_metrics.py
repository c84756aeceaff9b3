"""Metrics: OpenMetrics that a parser accepts, summed over processes, without ids, for those who may read them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_older_format

from memoryhub import health
from memoryhub.core.observability import metrics

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "a-token-long-enough-for-anyone"

urlpatterns = [
    path("metrics", health.metrics_view, name="metrics"),
    path("things/<int:number>", lambda request, number: HttpResponse("ok")),
]


@pytest.fixture
def client(settings) -> Client:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["memoryhub.core.observability.RequestMiddleware"]
    settings.METRICS_TOKEN = ""
    return Client()


def samples(body: str) -> dict[str, float]:
    """`name{label="value"}` → value, as an OpenMetrics parser reads it."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


@pytest.mark.django_db
def test_the_figures_are_openmetrics(client):
    response = client.get("/metrics")
    assert response["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    body = response.content.decode()
    assert body.endswith("# EOF\n")
    assert "memoryhub_scrape_errors" in samples(body)


@pytest.mark.django_db
def test_prometheus_itself_is_understood(client):
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
    assert client.get("/metrics", headers={"Accept": accept}).content.endswith(b"# EOF\n")


@pytest.mark.django_db
def test_an_older_scraper_gets_the_older_format(client):
    response = client.get("/metrics", headers={"Accept": "text/plain;version=0.0.4"})
    assert response["Content-Type"].startswith("text/plain")
    assert any(family.name == "memoryhub_scrape_errors" for family in parse_older_format(response.content.decode()))


@pytest.mark.django_db
def test_requests_are_counted_by_route_and_never_by_path(client):
    name = "memoryhub_requests_total method=GET route=things/<int:number> status=200"
    before = samples(client.get("/metrics").content.decode()).get(name, 0)
    client.get("/things/4711")
    client.get("/things/4712")
    body = client.get("/metrics").content.decode()
    assert samples(body)[name] == before + 2
    assert samples(body)["memoryhub_request_duration_seconds_count method=GET route=things/<int:number>"] == before + 2
    assert "things/4711" not in body


@pytest.mark.django_db
def test_paths_people_try_are_one_series(client):
    for number in range(5):
        client.get(f"/wp-admin/{number}.php")
    assert "wp-admin" not in metrics.render()[0].decode()


@pytest.mark.django_db
def test_surfacings_and_lost_parts_are_counted(client):
    before = samples(metrics.render()[0].decode())
    metrics.count_surfacing("search", facts=3, turns=2, degraded=["semantic"])
    after = samples(metrics.render()[0].decode())
    for name, grew in {
        "memoryhub_surfacings_total kind=search": 1,
        "memoryhub_surfaced_items_total kind=fact": 3,
        "memoryhub_surfaced_items_total kind=turn": 2,
        "memoryhub_degraded_total part=semantic": 1,
    }.items():
        assert after[name] - before.get(name, 0) == grew


# Who may read them


def may_read(**meta: str) -> bool:
    return health.may_read_metrics(RequestFactory().get("/metrics", **meta))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.8.8.8"])
def test_without_a_token_only_this_host_may_read(settings, address):
    settings.METRICS_TOKEN = ""
    assert may_read(REMOTE_ADDR=address)


@pytest.mark.parametrize("address", ["10.0.0.7", "203.0.113.9", "", "unix:", "2001:db8::1"])
def test_other_hosts_may_not(settings, address):
    settings.METRICS_TOKEN = ""
    assert not may_read(REMOTE_ADDR=address)


@pytest.mark.parametrize("header", ["HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP"])
def test_a_proxy_on_this_host_does_not_make_everyone_local(settings, header):
    settings.METRICS_TOKEN = ""
    assert not may_read(REMOTE_ADDR="127.0.0.1", **{header: "203.0.113.9"})


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (f"Bearer {TOKEN}x", False),
        (f"Basic {TOKEN}", False),
        ("Bearer ", False),
        ("Bearer ünïcödé", False),
        ("", False),
    ],
)
def test_with_a_token_the_token_decides_wherever_one_asks_from(settings, authorization, allowed):
    settings.METRICS_TOKEN = TOKEN
    for address in ("127.0.0.1", "203.0.113.9"):
        assert may_read(REMOTE_ADDR=address, HTTP_AUTHORIZATION=authorization) == allowed


def test_the_refusal_says_what_to_do(client):
    response = client.get("/metrics", REMOTE_ADDR="203.0.113.9")
    assert response.status_code == 403
    assert b"METRICS_TOKEN" in response.content


# Several processes

COUNT = """
from memoryhub.core.observability import metrics
metrics.count_surfacing("search", facts=2)
metrics.breaker_changed("embedder", is_open={is_open})
print(metrics.render()[0].decode(), end="")
"""


def another_process(directory: Path, is_open: bool = False) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(is_open=is_open)],
        cwd=ROOT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)},
        check=True,
        capture_output=True,
        text=True,
    )
    return samples(done.stdout)


def test_whichever_process_answers_adds_up_all_of_them(tmp_path):
    directory = tmp_path / "metrics"  # made when it is not there
    assert another_process(directory)["memoryhub_surfacings_total kind=search"] == 1
    assert another_process(directory)["memoryhub_surfacings_total kind=search"] == 2
    assert another_process(directory)["memoryhub_surfaced_items_total kind=fact"] == 6


def test_the_open_breaker_of_a_process_that_is_gone_is_forgotten(tmp_path):
    assert another_process(tmp_path, is_open=True)["memoryhub_breaker_open part=embedder"] == 1
    assert another_process(tmp_path, is_open=False)["memoryhub_breaker_open part=embedder"] == 0


def test_a_start_begins_at_nothing(tmp_path):
    another_process(tmp_path)
    (tmp_path / "kept.txt").write_text("not ours")
    metrics.start_afresh(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]
    assert another_process(tmp_path)["memoryhub_surfacings_total kind=search"] == 1
