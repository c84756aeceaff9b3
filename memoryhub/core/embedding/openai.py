"""Any service with an OpenAI-compatible `/embeddings`: OpenAI, Ollama, vLLM and others."""

import json
import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from memoryhub.core.embedding.base import EmbedderUnavailable, Vectors, bounded, normalised, openai_model

BATCH = 64
# A token is at least a byte, so no text exceeds the 8,191 tokens that OpenAI's models take.
MAX_BYTES = 8_000
# A text is not cut below this to make it fit: every model takes as much.
LEAST_BYTES = 500
# Services answer so when a text has too many tokens, among other reasons.
REFUSED = ("http_400", "http_413", "http_422")
# 64 vectors of 3,072 numbers take 4 MB as JSON.
LONGEST_ANSWER = 32_000_000


class OpenAIEmbedder:
    """`POST {url}/embeddings`, with a bearer key if there is one, at most 64 texts at a time.

    The `dimensions` parameter, which many services refuse, is sent only to a model whose own vectors are longer.
    Redirects are not followed: they could carry texts to somebody else.
    """

    name = "openai"

    def __init__(self, *, url: str, model: str, dimensions: int, api_key: str = "") -> None:
        self._url = url.rstrip("/") + "/embeddings"
        self._model = model
        self.model = openai_model(model, dimensions)
        self.dimensions = dimensions
        self._shorten = False
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(headers=headers)

    def embed(self, texts: Sequence[str], *, timeout: float) -> Vectors:
        """As promised by Embedder. A text that the service refuses as too long is cut until it fits."""
        # Some services refuse an empty input; a space means as little.
        sent = [bounded(text, MAX_BYTES) or " " for text in texts]
        parts = [self._fitting(sent[at : at + BATCH], timeout) for at in range(0, len(sent), BATCH)]
        return normalised(np.concatenate(parts)) if parts else np.empty((0, self.dimensions), np.float32)

    def _fitting(self, texts: list[str], timeout: float) -> NDArray[np.float64]:
        try:
            return self._sized(texts, timeout)
        except EmbedderUnavailable as refusal:
            if refusal.cause not in REFUSED:
                raise
            if len(texts) > 1:
                middle = len(texts) // 2
                return np.concatenate([self._fitting(half, timeout) for half in (texts[:middle], texts[middle:])])
            size = len(texts[0].encode()) // 2
            if size < LEAST_BYTES:
                raise
            return self._fitting([bounded(texts[0], size)], timeout)

    def _sized(self, texts: list[str], timeout: float) -> NDArray[np.float64]:
        vectors = self._request(texts, timeout)
        if vectors.shape[1] > self.dimensions and not self._shorten:
            self._shorten = True
            vectors = self._request(texts, timeout)
        if vectors.shape[1] != self.dimensions:
            raise EmbedderUnavailable(f"dimensions_{vectors.shape[1]}")
        return vectors

    def _request(self, texts: list[str], timeout: float) -> NDArray[np.float64]:
        body: dict[str, Any] = {"model": self._model, "input": texts}
        if self._shorten:
            body["dimensions"] = self.dimensions
        # httpx bounds each step of a request, not the whole: a service that sends a byte now and then has no end.
        deadline = time.monotonic() + timeout
        answer = bytearray()
        try:
            with self._client.stream("POST", self._url, json=body, timeout=timeout) as response:
                if response.status_code != 200:
                    raise EmbedderUnavailable(f"http_{response.status_code}")
                for piece in response.iter_bytes():
                    answer += piece
                    if time.monotonic() > deadline:
                        raise EmbedderUnavailable("timeout")
                    if len(answer) > LONGEST_ANSWER:
                        raise EmbedderUnavailable("broken_answer")
        except httpx.TimeoutException as error:
            raise EmbedderUnavailable("timeout") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EmbedderUnavailable("unreachable") from error
        return _vectors(answer, len(texts))


def _vectors(answer: bytearray, count: int) -> NDArray[np.float64]:
    """The `count` vectors of an answer, by their `index`: services may send them in any order."""
    try:
        rows = {row["index"]: row["embedding"] for row in json.loads(answer)["data"]}
        vectors = np.asarray([rows[at] for at in range(count)], dtype=np.float64)
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise EmbedderUnavailable("broken_answer") from error
    if len(rows) != count or vectors.ndim != 2:
        raise EmbedderUnavailable("broken_answer")
    return vectors
