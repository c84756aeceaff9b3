"""Every address of the hub: console, API, its description, MCP, and health."""

from django.urls import include, path

from memoryhub.api.views.docs import docs, schema
from memoryhub.health import healthz, metrics_view, readyz
from memoryhub.mcp.views import mcp

urlpatterns = [
    path("api/v1/", include("memoryhub.api.urls")),
    path("api/schema/", schema, name="api-schema"),
    path("api/docs/", docs, name="api-docs"),
    path("mcp", mcp, name="mcp"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics_view, name="metrics"),
    path("", include("memoryhub.console.urls")),
]

handler400 = "memoryhub.api.errors.bad_request"
handler403 = "memoryhub.api.errors.forbidden"
handler404 = "memoryhub.api.errors.not_found"
handler500 = "memoryhub.api.errors.failed"
