"""Text into vectors, behind one interface; which embedder is used is a setting."""

from memoryhub.core.embedding.base import Embedder, EmbedderUnavailable, Vectors
from memoryhub.core.embedding.service import (
    breaker_state,
    embed_documents,
    embed_query,
    get_embedder,
    last_failure,
)

__all__ = [
    "Embedder",
    "EmbedderUnavailable",
    "Vectors",
    "breaker_state",
    "embed_documents",
    "embed_query",
    "get_embedder",
    "last_failure",
]
