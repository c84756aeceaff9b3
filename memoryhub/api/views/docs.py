"""The API's description, and pages to try it from. Everything they load comes from this server."""

from functools import cache

from csp.decorators import csp_replace, csp_update
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer

RENDERERS = {"yaml": OpenApiYamlRenderer, "json": OpenApiJsonRenderer}


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """OpenAPI 3, as YAML; with `?format=json` as JSON."""
    wanted = "json" if request.GET.get("format") == "json" else "yaml"
    return HttpResponse(_schema(wanted), content_type=RENDERERS[wanted].media_type)


@require_safe
# The stylesheet carries its small icons in itself.
@csp_update({"img-src": ["data:"]})
# Swagger UI writes text into the page without Trusted Types. It shows the API's description and what is typed into it.
@csp_replace({"require-trusted-types-for": None, "trusted-types": None})
def docs(request: HttpRequest) -> HttpResponse:
    return render(request, "api/docs.html")


@cache
def _schema(form: str) -> str | bytes:
    # Half a second of work, and the same for everybody until the next start.
    return RENDERERS[form]().render(SchemaGenerator().get_schema(public=True), renderer_context={})
