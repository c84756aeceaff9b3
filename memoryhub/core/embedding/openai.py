"""Any service with an OpenAI-compatible `/embeddings`: OpenAI, Ollama, vLLM and others."""

from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np

from memoryhub.core.embedding.base import EmbedderUnavailable, Vectors, normalised

BATCH = 64


class OpenAIEmbedder:
    """`POST {url}/embeddings` with a bearer key. `timeout` in seconds bounds each request as a whole."""

    name = "openai"

    def __init__(self, *, url: str, model: str, dimensions: int, api_key: str = "", timeout: float = 2.0) -> None:
        self._url = url.rstrip("/") + "/embeddings"
        self._model = model
        self.model = f"openai:{model}:{dimensions}"
        self.dimensions = dimensions
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(timeout=timeout, headers=headers, trust_env=False)

    def embed(self, texts: Sequence[str]) -> Vectors:
        parts = [self._request(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
        return normalised(np.concatenate(parts)) if parts else np.empty((0, self.dimensions), np.float32)

    def _request(self, texts: Sequence[str]) -> Vectors:
        # An empty input is refused by some services; a space means as little.
        body: dict[str, Any] = {"model": self._model, "input": [text or " " for text in texts]}
        if self._model.startswith("text-embedding-3"):
            body["dimensions"] = self.dimensions
        try:
            response = self._client.post(self._url, json=body)
            response.raise_for_status()
            rows = sorted(response.json()["data"], key=lambda row: row["index"])
            vectors = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
        except httpx.TimeoutException as error:
            raise EmbedderUnavailable("timeout") from error
        except httpx.HTTPStatusError as error:
            raise EmbedderUnavailable(f"http_{error.response.status_code}") from error
        except httpx.HTTPError as error:
            raise EmbedderUnavailable("unreachable") from error
        except (ValueError, KeyError, TypeError) as error:
            raise EmbedderUnavailable("broken_answer") from error
        if vectors.shape != (len(texts), self.dimensions):
            raise EmbedderUnavailable("wrong_dimensions")
        return vectors
