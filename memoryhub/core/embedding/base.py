"""What an embedder is."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memoryhub.core.degradation import Unavailable

Vectors = NDArray[np.float32]


class EmbedderUnavailable(Unavailable):
    """The embedder gave no usable vectors. The causes and what to do about each: docs/embedders.md."""


class Embedder(Protocol):
    """Turns texts into unit vectors. `model` is stored with each vector: vectors of two models are never compared.

    One instance serves all threads of a process, and no other process: make it after forking.
    """

    name: str
    model: str
    dimensions: int

    def embed(self, texts: Sequence[str], *, timeout: float) -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, of length 1, in the order of `texts`.

        `timeout`, in seconds, bounds each request to a service elsewhere. Raises EmbedderUnavailable.
        """
        ...


def openai_model(model: str, dimensions: int) -> str:
    """The key of an OpenAI-compatible model: its vectors of different sizes are different vectors."""
    return f"openai:{model}:{dimensions}"


def bounded(text: str, size: int) -> str:
    """The first `size` bytes of `text` in UTF-8, whole characters only; a lone surrogate becomes a question mark."""
    return text.encode(errors="replace")[:size].decode(errors="ignore")


def normalised(vectors: NDArray[np.floating]) -> Vectors:
    """`vectors` scaled to length 1. Raises EmbedderUnavailable for vectors that are no direction (zero, NaN)."""
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths == 0):
        raise EmbedderUnavailable("broken_answer")
    return (vectors / lengths).astype(np.float32)
