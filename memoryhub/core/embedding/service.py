"""The process's one embedder, its cache of queries and its breaker."""

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

import structlog
from django.conf import settings

from memoryhub.core.breaker import BreakerOpen, CircuitBreaker, State
from memoryhub.core.embedding import minilm
from memoryhub.core.embedding.base import Embedder, EmbedderUnavailable, Vectors, openai_model
from memoryhub.core.observability import metrics

log = structlog.get_logger(__name__)

QUERIES_KEPT = 2048
QUERY_LIFE = 600.0  # seconds without use
# A batch of documents is made off the request path and may take its time.
DOCUMENTS_TIMEOUT = 30.0  # seconds a request
BREAKER = "embedder"


class QueryCache:
    """The vectors of the latest queries: at most `size`, each for `life` seconds after its last use.

    What was asked is kept as a digest only. Thread-safe; the vectors are read-only.
    """

    def __init__(self, size: int, life: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._life = life
        self._clock = clock
        self._lock = threading.Lock()
        # The one that was used last stands last.
        self._kept: OrderedDict[bytes, tuple[float, Vectors]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, text: str) -> Vectors | None:
        key = _digest(text)
        with self._lock:
            now = self._forget()
            if key not in self._kept:
                return None
            _, vector = self._kept.pop(key)
            self._kept[key] = now, vector
            return vector

    def put(self, text: str, vector: Vectors) -> None:
        with self._lock:
            self._kept[_digest(text)] = self._forget(), vector
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def _forget(self) -> float:
        now = self._clock()
        while self._kept and now - next(iter(self._kept.values()))[0] > self._life:
            self._kept.popitem(last=False)
        return now


class _Process:
    """What one process keeps. Nothing is loaded before it is needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.embedder: Embedder | None = None
        self.cache = QueryCache(QUERIES_KEPT, QUERY_LIFE)
        self.breaker = CircuitBreaker(seconds=settings.EMBEDDER_BREAKER_SECONDS, on_change=_breaker_changed)
        # Whoever asks waits no longer than the timeout, whatever happens here. Handing over costs less than shows.
        self.threads = ThreadPoolExecutor(max_workers=max(2, settings.WEB_THREADS), thread_name_prefix="embed")
        self.failure: str | None = None
        metrics.breaker_changed(BREAKER, is_open=False)


_lock = threading.Lock()
_kept: _Process | None = None


def _process() -> _Process:
    global _kept
    with _lock:
        if _kept is None:
            _kept = _Process()
        return _kept


def reset() -> None:
    """Forget the embedder and its state: after settings changed, and in tests."""
    global _lock, _kept
    _lock = threading.Lock()
    _kept = None


# A lock that another thread held when this process was forked would never be released here; nor do threads survive.
os.register_at_fork(after_in_child=reset)


def embedding_model() -> str | None:
    """The key under which vectors are stored, known without loading anything; None when there is no embedder."""
    if settings.EMBEDDER == "minilm":
        return minilm.MODEL
    if settings.EMBEDDER == "openai":
        return openai_model(settings.EMBEDDER_MODEL, settings.EMBEDDER_DIMENSIONS)
    return None


def get_embedder() -> Embedder | None:
    """The configured embedder, loaded on first use; None with `EMBEDDER=none`. Raises EmbedderUnavailable."""
    return None if settings.EMBEDDER == "none" else _loaded(_process())


def embed_query(text: str) -> Vectors | None:
    """The unit vector of a query, shape (dimensions,), read-only; None with `EMBEDDER=none`.

    Takes at most EMBEDDER_TIMEOUT seconds. Raises EmbedderUnavailable, at once while the breaker is open.
    """
    if settings.EMBEDDER == "none":
        return None
    process = _process()
    known = process.cache.get(text)
    if known is not None:
        return known
    vector = _guarded(process, lambda: _in_time(process, text))[0]
    vector.flags.writeable = False
    process.cache.put(text, vector)
    return vector


def embed_documents(texts: Sequence[str]) -> Vectors:
    """Unit vectors of shape (len(texts), dimensions), for storing. Raises EmbedderUnavailable."""
    if settings.EMBEDDER == "none":
        raise EmbedderUnavailable("no_embedder")
    process = _process()
    return _guarded(process, lambda: _loaded(process).embed(texts, timeout=DOCUMENTS_TIMEOUT))


def breaker_state() -> State:
    """`closed` is well, `open` is left alone, `half_open` is about to be asked again. Of this process."""
    return _process().breaker.state


def last_failure() -> str | None:
    """The cause of the latest failure of this process, until the embedder works again."""
    return _process().failure


def warm_up() -> None:
    """Load the model before the first request needs it; call it after forking. Asks no service elsewhere.

    Raises EmbedderUnavailable.
    """
    embedder = get_embedder()
    if isinstance(embedder, minilm.MiniLMEmbedder):
        embedder.embed(["warm"], timeout=settings.EMBEDDER_TIMEOUT)


def _loaded(process: _Process) -> Embedder:
    with process.lock:
        if process.embedder is None:
            process.embedder = _build()
        return process.embedder


def _in_time(process: _Process, text: str) -> Vectors:
    timeout: float = settings.EMBEDDER_TIMEOUT
    future = process.threads.submit(lambda: _loaded(process).embed([text], timeout=timeout))
    try:
        return future.result(timeout=timeout)
    except FutureTimeout as error:
        future.cancel()
        raise EmbedderUnavailable("timeout") from error


def _guarded(process: _Process, call: Callable[[], Vectors]) -> Vectors:
    started = time.perf_counter()
    try:
        vectors = process.breaker.call(call, failure=EmbedderUnavailable)
    except BreakerOpen as error:
        metrics.EMBEDDER_CALLS.labels("breaker_open").inc()
        raise EmbedderUnavailable("breaker_open") from error
    except EmbedderUnavailable as error:
        process.failure = error.cause
        elapsed = _measured(started, error.cause)
        log.warning("embedder.failed", reason=error.cause, ms=round(elapsed * 1000))
        raise
    process.failure = None
    _measured(started, "ok")
    return vectors


def _measured(started: float, outcome: str) -> float:
    elapsed = time.perf_counter() - started
    metrics.EMBEDDER_CALLS.labels(outcome).inc()
    metrics.EMBEDDER_SECONDS.observe(elapsed)
    return elapsed


def _breaker_changed(is_open: bool) -> None:
    metrics.breaker_changed(BREAKER, is_open=is_open)
    if is_open:
        log.warning("embedder.breaker", state="open", retry_s=settings.EMBEDDER_BREAKER_SECONDS)
    else:
        log.info("embedder.breaker", state="closed")


def _build() -> Embedder:
    if settings.EMBEDDER == "minilm":
        return minilm.MiniLMEmbedder(threads=settings.EMBEDDER_THREADS)
    # httpx, which only this embedder needs, takes a while to import.
    from memoryhub.core.embedding.openai import OpenAIEmbedder

    return OpenAIEmbedder(
        url=settings.EMBEDDER_URL,
        model=settings.EMBEDDER_MODEL,
        dimensions=settings.EMBEDDER_DIMENSIONS,
        api_key=settings.EMBEDDER_API_KEY,
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
