"""How extraction stands, in words."""

from typing import Any

from facts.extraction.extractors import extractor_state

CAUSES: dict[str, str] = {
    "answer_unreadable": "The answer could not be read",
    "authentication_failed": "The provider refused the key",
    "bad_gateway": "Something between here and the provider failed",
    "bad_request": "The provider refused the request",
    "batch_canceled": "The batch was cancelled at the provider",
    "batch_expired": "The batch was not answered within a day",
    "batch_item_missing": "The batch came back without it",
    "billing_failed": "The provider's account cannot pay",
    "connection_failed": "The provider could not be reached",
    "internal_error": "A fault of the hub's own: see the log",
    "model_not_found": "The provider does not know the model",
    "not_configured": "No key is configured",
    "overloaded": "The provider was overloaded",
    "permission_denied": "The key may not use the model",
    "prompt_too_long": "A turn was too long for the model",
    "rate_limited": "The provider's limit was reached",
    "refused": "The model declined to answer",
    "schema_violated": "The answer did not have the agreed form",
    "server_error": "The provider failed",
    "timed_out": "The answer took too long",
    "truncated": "The answer broke off",
    "worker_died": "The worker ended while it was read",
}
"""Each cause in words."""


def extractor_now() -> dict[str, Any]:
    """How extraction stands, with what is wrong in words."""
    state = extractor_state()
    return state | {"says": CAUSES.get(state.get("blocked") or state.get("cause", ""), "")}
