"""The outermost layer of a request: its id, its one log line, its count."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import structlog
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch

from memoryhub.core.observability import metrics
from memoryhub.core.observability.requests import request_id_scope

HEADER = "X-Request-ID"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# Asked every few seconds by machines: counted, but not worth a line each.
QUIET_ROUTES = {"healthz", "readyz", "metrics"}

log = structlog.stdlib.get_logger(__name__)


class RequestMiddleware:
    """Must come first in MIDDLEWARE, so that its id covers everything that follows.

    Logs the route's pattern, never the path or the query: those carry the callers' ids for people, and searches.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        structlog.contextvars.clear_contextvars()
        with request_id_scope(request.headers.get(HEADER)) as request_id:
            started = time.perf_counter()
            response = self.get_response(request)
            seconds = time.perf_counter() - started
            response[HEADER] = request_id
            self._tell(request, response, seconds)
            if isinstance(response, StreamingHttpResponse) and not response.is_async:
                chunks = cast("Iterable[bytes]", response.streaming_content)
                response.streaming_content = _with_request_id(chunks, request_id)
        structlog.contextvars.clear_contextvars()
        return response

    def _tell(self, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
        method = request.method if request.method in METHODS else "OTHER"
        match: ResolverMatch | None = request.resolver_match
        # Without a route it is a file, or nothing: one label for all, whatever paths people try.
        route = match.route if match else "unrouted"
        metrics.REQUESTS.labels(method, route, str(response.status_code)).inc()
        metrics.REQUEST_SECONDS.labels(method, route).observe(seconds)
        if route in QUIET_ROUTES and response.status_code < 400:
            return
        level = log.error if response.status_code >= 500 else log.info
        level("request", method=method, route=route, status=response.status_code, ms=round(seconds * 1000, 1))


def _with_request_id(chunks: Iterable[bytes], request_id: str) -> Iterator[bytes]:
    """The chunks of a streamed answer, each made under the request's id: the scope around the view has ended."""
    pending = iter(chunks)
    while True:
        with request_id_scope(request_id):
            try:
                chunk = next(pending)
            except StopIteration:
                return
        yield chunk
