"""Figures for Prometheus, in OpenMetrics.

Several processes serve the hub. With PROMETHEUS_MULTIPROC_DIR set (by `up`, emptied at each start) every process
writes its counts there and whichever answers /metrics adds them up; without it each process knows its own alone.
What the database knows (queues, states) is asked for at scrape time, by functions registered with `scraped`.

Labels are routes, codes and states: never an id, so that the number of series stays small.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"
if os.environ.get(MULTIPROC_DIR):
    # prometheus_client opens files there the moment a metric is made.
    Path(os.environ[MULTIPROC_DIR]).mkdir(parents=True, exist_ok=True)

from django.db import Error as DatabaseError  # noqa: E402
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram  # noqa: E402
from prometheus_client.core import GaugeMetricFamily  # noqa: E402
from prometheus_client.exposition import choose_encoder  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead  # noqa: E402
from prometheus_client.registry import Collector  # noqa: E402

logger = logging.getLogger(__name__)

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

REQUESTS = Counter("memoryhub_requests", "Requests answered.", ("method", "route", "status"))
REQUEST_SECONDS = Histogram(
    "memoryhub_request_duration_seconds",
    "Time to the answer, by route.",
    ("method", "route"),
    buckets=(0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.1, 0.2, 0.5, 1, 2.5, 10),
)
SURFACINGS = Counter("memoryhub_surfacings", "Times memory was given to an agent.", ("kind",))
SURFACED_ITEMS = Counter("memoryhub_surfaced_items", "Fact versions and turns given to agents.", ("kind",))
DEGRADED = Counter("memoryhub_degraded", "Answers given without one of their parts.", ("part",))
EMBEDDER_CALLS = Counter("memoryhub_embedder_calls", "Calls to the embedder, by how they ended.", ("outcome",))
EMBEDDER_SECONDS = Histogram(
    "memoryhub_embedder_duration_seconds",
    "Time of one call to the embedder.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)
EXTRACTION_ATTEMPTS = Counter(
    "memoryhub_extraction_attempts", "Attempts at a window of turns, by how they ended.", ("outcome",)
)
EXTRACTION_SECONDS = Histogram(
    "memoryhub_extraction_duration_seconds",
    "Time a window took to be read, until it could be written.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
)
EXTRACTION_TOKENS = Counter("memoryhub_extraction_tokens", "Tokens used to extract facts.", ("kind",))
# The worst of all processes: one open breaker is worth an alarm.
BREAKER_OPEN = Gauge(
    "memoryhub_breaker_open", "1 while a failing provider is left alone.", ("part",), multiprocess_mode="livemax"
)

Samples = Mapping[tuple[str, ...], float]
_scraped: dict[str, tuple[str, tuple[str, ...], Callable[[], Samples]]] = {}


def scraped(
    name: str, says: str, labels: tuple[str, ...] = ()
) -> Callable[[Callable[[], Samples]], Callable[[], Samples]]:
    """Register a function that is asked at every scrape: it returns the value for each tuple of label values."""

    def register(function: Callable[[], Samples]) -> Callable[[], Samples]:
        _scraped[name] = (says, labels, function)
        return function

    return register


def start_afresh(directory: Path) -> None:
    """Make `directory` ready for a new set of processes: counts of earlier ones are not theirs."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)


def count_surfacing(kind: str, *, facts: int = 0, turns: int = 0, degraded: Iterable[str] = ()) -> None:
    """Call after the commit: what was rolled back was not surfaced."""
    SURFACINGS.labels(kind).inc()
    SURFACED_ITEMS.labels("fact").inc(facts)
    SURFACED_ITEMS.labels("turn").inc(turns)
    for part in degraded:
        DEGRADED.labels(part).inc()


def breaker_changed(part: str, *, is_open: bool) -> None:
    BREAKER_OPEN.labels(part).set(1 if is_open else 0)


def render(accept: str = "") -> tuple[bytes, str]:
    """Everything as (body, content type): OpenMetrics, unless the scraper asks for the older text format alone."""
    offered = OPENMETRICS if not accept or "*/*" in accept else accept
    encode, content_type = choose_encoder(offered)
    registry = CollectorRegistry()
    directory = os.environ.get(MULTIPROC_DIR)
    if directory:
        _forget_the_dead(Path(directory))
        MultiProcessCollector(registry)
    else:
        for collector in (REQUESTS, REQUEST_SECONDS, SURFACINGS, SURFACED_ITEMS, DEGRADED, EMBEDDER_CALLS):
            registry.register(collector)
        for collector in (EXTRACTION_ATTEMPTS, EXTRACTION_TOKENS):
            registry.register(collector)
        registry.register(EMBEDDER_SECONDS)
        registry.register(EXTRACTION_SECONDS)
        registry.register(BREAKER_OPEN)
    registry.register(_DatabaseFigures())
    return encode(registry), content_type


def _forget_the_dead(directory: Path) -> None:
    """Drop the gauges of processes that are gone, so that a breaker that died open does not stay open for ever."""
    for file in directory.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)
        except PermissionError:
            continue


class _DatabaseFigures(Collector):
    """Asks each registered function; one that cannot reach the database is left out and counted as an error."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        errors = 0
        for name, (says, labels, function) in _scraped.items():
            try:
                samples = function()
            except DatabaseError:
                logger.warning("scrape_failed", exc_info=True)
                errors += 1
                continue
            family = GaugeMetricFamily(name, says, labels=labels)
            for values, amount in samples.items():
                family.add_metric(values, amount)
            yield family
        failed = GaugeMetricFamily("memoryhub_scrape_errors", "Figures that could not be read at this scrape.")
        failed.add_metric((), errors)
        yield failed
