"""How the hub is: for load balancers (/healthz, /readyz) and for Prometheus (/metrics). Says nothing of anybody.

Degraded is not down: without its embedder, or with work waiting, the hub still answers, so /readyz stays 200 and names
the part. Only without a database, or with one that was not migrated, is there nothing to serve.
"""

import secrets
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from memoryhub.condition import queues_now, readiness
from memoryhub.core.observability import metrics

FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers at all. Asks nothing of the database."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when requests can be served, 503 when not; every part with its state, the degraded ones named."""
    parts = readiness()
    serving = parts["database"]["ok"] and parts["migrations"]["ok"]
    degraded = sorted(name for name, part in parts.items() if not part["ok"])
    status = "unavailable" if not serving else "degraded" if degraded else "ok"
    return JsonResponse(
        {"status": status, "degraded": degraded, "parts": parts},
        status=200 if serving else 503,
    )


@require_safe
@never_cache
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Figures for Prometheus, to whoever has the token; without a token set, to callers on this host alone."""
    if not may_read_metrics(request):
        return HttpResponse(
            "Set METRICS_TOKEN and send it as a bearer token, or ask from this host without a proxy.\n",
            content_type="text/plain",
            status=403,
        )
    body, content_type = metrics.render(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


def may_read_metrics(request: HttpRequest) -> bool:
    """A proxy on this host makes every caller look local, so a forwarded request needs the token."""
    token: str = settings.METRICS_TOKEN
    if token:
        scheme, _, offered = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(offered.strip().encode(), token.encode())
    return _is_loopback(request.META.get("REMOTE_ADDR", "")) and not any(key in request.META for key in FORWARDED)


@metrics.scraped("memoryhub_waiting", "Work that waits, by queue.", ("queue",))
def _waiting_figure() -> metrics.Samples:
    return {(name,): waiting.count for name, waiting in queues_now().waiting.items()}


@metrics.scraped("memoryhub_waiting_oldest_seconds", "How long the oldest piece of waiting work is due.", ("queue",))
def _oldest_figure() -> metrics.Samples:
    return {(name,): waiting.oldest_s for name, waiting in queues_now().waiting.items()}


@metrics.scraped("memoryhub_extractions", "Windows of turns to extract from, by state.", ("state",))
def _extraction_figure() -> metrics.Samples:
    return {(state,): count for state, count in queues_now().extractions.items()}


@metrics.scraped("memoryhub_audit_verdict_ok", "1 when every log passed its last check, 0 when one did not.")
def _verdict_figure() -> metrics.Samples:
    log = queues_now().audit
    return {(): 0.0 if log.failed else 1.0} if log.failed or log.verified_at else {}


@metrics.scraped("memoryhub_audit_verified_timestamp_seconds", "When the log was checked that was checked longest ago.")
def _verified_figure() -> metrics.Samples:
    log = queues_now().audit
    return {(): log.verified_at.timestamp()} if log.verified_at else {}


@metrics.scraped("memoryhub_audit_sealed_entries", "Audit entries that are sealed, of all logs.")
def _sealed_figure() -> metrics.Samples:
    return {(): queues_now().audit.sealed}


@metrics.scraped("memoryhub_audit_sealing_lag_seconds", "For how long the oldest entry waits to be sealed.")
def _lag_figure() -> metrics.Samples:
    return {(): queues_now().waiting["audit"].oldest_s}


@metrics.scraped("memoryhub_audit_anchor_behind", "Checkpoints that a place outside lacks.", ("place",))
def _behind_figure() -> metrics.Samples:
    return {(place,): behind for place, behind in queues_now().audit.behind.items()}


@metrics.scraped("memoryhub_audit_anchor_failing", "1 while a place outside takes no checkpoints.", ("place",))
def _failing_figure() -> metrics.Samples:
    log = queues_now().audit
    return {(place,): float(place in log.failing) for place in log.behind}


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:  # over a Unix socket there is no address, and usually a proxy before it
        return False
