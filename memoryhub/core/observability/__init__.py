"""What an operator sees of a running hub: one request id everywhere, JSON logs without content, metrics."""

from memoryhub.core.observability.logs import log_fields, logging_config
from memoryhub.core.observability.middleware import RequestMiddleware
from memoryhub.core.observability.requests import current_request_id, request_id_scope

__all__ = ["RequestMiddleware", "current_request_id", "log_fields", "logging_config", "request_id_scope"]
