"""The process's one embedder, its cache of queries and its breaker."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import lru_cache

import numpy as np
from django.conf import settings

from memoryhub.core.breaker import CircuitBreaker, State
from memoryhub.core.embedding.base import Embedder, EmbedderUnavailable, Vectors
from memoryhub.core.observability import metrics

QUERIES_KEPT = 2048


class QueryCache:
    """The vectors of the latest queries, least recently used out first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], Vectors] = OrderedDict()

    def get(self, key: tuple[str, str]) -> Vectors | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[str, str], vector: Vectors) -> None:
        with self._lock:
            self._kept[key] = vector
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)


class _Holder:
    """Made on first use, so that a forked process loads its own model."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.embedder: Embedder | None = None
        self.cache = QueryCache(QUERIES_KEPT)
        self.breaker = CircuitBreaker(seconds=settings.EMBEDDER_BREAKER_SECONDS)
        # Queries wait here no longer than the timeout, whatever the embedder does.
        self.threads = ThreadPoolExecutor(max_workers=max(2, settings.WEB_THREADS), thread_name_prefix="embed")


@lru_cache(maxsize=1)
def _holder() -> _Holder:
    return _Holder()


def reset() -> None:
    """Forget the embedder and its state: after settings changed, and in tests."""
    _holder.cache_clear()


def embedding_model() -> str | None:
    """The key under which vectors are stored, known without loading anything; None when there is no embedder."""
    if settings.EMBEDDER == "minilm":
        return "minilm:all-MiniLM-L6-v2"
    if settings.EMBEDDER == "openai":
        return f"openai:{settings.EMBEDDER_MODEL}:{settings.EMBEDDER_DIMENSIONS}"
    return None


def get_embedder() -> Embedder | None:
    """The configured embedder, loaded on first use; None with `EMBEDDER=none`. Raises EmbedderUnavailable."""
    if settings.EMBEDDER == "none":
        return None
    holder = _holder()
    with holder.lock:
        if holder.embedder is None:
            holder.embedder = _build()
        return holder.embedder


def embed_query(text: str) -> Vectors | None:
    """The unit vector of a query, shape (dimensions,); None with `EMBEDDER=none`.

    Waits at most EMBEDDER_TIMEOUT seconds. Raises EmbedderUnavailable, at once while the breaker is open.
    """
    if settings.EMBEDDER == "none":
        return None
    holder = _holder()
    key = (embedding_model() or "", text)
    known = holder.cache.get(key)
    if known is not None:
        return known
    vector = _guarded(holder, lambda: _in_time(holder, text))
    holder.cache.put(key, vector)
    return vector


def embed_documents(texts: Sequence[str]) -> Vectors:
    """Unit vectors of shape (len(texts), dimensions), for storing. Raises EmbedderUnavailable."""
    embedder = get_embedder()
    if embedder is None:
        raise EmbedderUnavailable("no_embedder")
    return _guarded(_holder(), lambda: embedder.embed(texts))


def breaker_state() -> State:
    """`closed` is well, `open` is left alone, `half_open` is about to be asked again. Of this process."""
    return _holder().breaker.state


def warm_up() -> None:
    """Load the model before the first request needs it."""
    embedder = get_embedder()
    if embedder is not None and embedder.name == "minilm":
        embedder.embed(["warm"])


def _in_time(holder: _Holder, text: str) -> Vectors:
    embedder = get_embedder()
    if embedder is None:
        raise EmbedderUnavailable("no_embedder")
    if embedder.name == "minilm":
        # Computed here it takes milliseconds: there is nothing to wait for, and handing it over would cost a third.
        return np.asarray(embedder.embed([text])[0])
    future = holder.threads.submit(embedder.embed, [text])
    try:
        return np.asarray(future.result(timeout=settings.EMBEDDER_TIMEOUT)[0])
    except FutureTimeout as error:
        raise EmbedderUnavailable("timeout") from error


def _guarded(holder: _Holder, call: Callable[[], Vectors]) -> Vectors:
    if not holder.breaker.allows():
        metrics.EMBEDDER_CALLS.labels("breaker_open").inc()
        raise EmbedderUnavailable("breaker_open")
    outcome = "error"
    try:
        with metrics.EMBEDDER_SECONDS.time():
            vectors = call()
        outcome = "ok"
    except EmbedderUnavailable as error:
        outcome = error.cause
        raise
    finally:
        # Whatever else went wrong, a probe must not stay under way for ever.
        if outcome == "ok":
            holder.breaker.succeeded()
        else:
            holder.breaker.failed()
        metrics.EMBEDDER_CALLS.labels(outcome).inc()
        metrics.breaker_changed("embedder", is_open=holder.breaker.state != "closed")
    return vectors


def _build() -> Embedder:
    if settings.EMBEDDER == "minilm":
        from memoryhub.core.embedding.minilm import MiniLMEmbedder

        return MiniLMEmbedder(threads=settings.EMBEDDER_THREADS)
    from memoryhub.core.embedding.openai import OpenAIEmbedder

    return OpenAIEmbedder(
        url=settings.EMBEDDER_URL,
        model=settings.EMBEDDER_MODEL,
        dimensions=settings.EMBEDDER_DIMENSIONS,
        api_key=settings.EMBEDDER_API_KEY,
        timeout=settings.EMBEDDER_TIMEOUT,
    )
