"""A test client that holds every answer of the API against the API's own description."""

import json
import re
from functools import cache
from typing import Any

import jsonschema
from django.http import HttpResponse
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from memoryhub.access.services import NewKey


class ContractClient(Client):
    """Fails when an answer below /api/v1/ has a status, a body or a header that the description does not tell of."""

    @classmethod
    def of(cls, key: NewKey) -> "ContractClient":
        return cls(headers={"authorization": f"Bearer {key.secret}"})

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """A request with a JSON body; bytes are sent as they are, None is no body. Paths begin after /api/v1."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.generic(method, f"/api/v1{path}", data, content_type="application/json")

    def ask(self, path: str, **query: Any) -> Any:
        """A GET with query parameters."""
        return self.get(f"/api/v1{path}", query)

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        match = getattr(response, "resolver_match", None)
        # Neither a method that is not there nor a defect that a test provokes is described.
        if match and match.route.startswith("api/v1/") and response.status_code not in (405, 500):
            assert_documented(response, request["REQUEST_METHOD"], match.route)
        return response


def assert_documented(response: HttpResponse, method: str, route: str) -> None:
    described = _schema()
    path = "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)
    operation = described["paths"][path][("GET" if method == "HEAD" else method).lower()]
    status = str(response.status_code)
    assert status in operation["responses"], f"{method} {path} answered {status}, which is not documented"
    documented = operation["responses"][status]
    for name, header in documented.get("headers", {}).items():
        assert not header.get("required") or name in response.headers, f"{method} {path} {status} lacks {name}"
    content = documented.get("content")
    if content is None:
        assert response.content == b"", f"{method} {path} {status} has a body"
        return
    media_type = response["Content-Type"].partition(";")[0]
    assert media_type in content, f"{method} {path} {status} is {media_type}"
    if media_type != "application/json":
        return
    assert response["Content-Type"] == "application/json"
    if method == "HEAD":
        return
    jsonschema.validate(
        json.loads(response.content),
        content["application/json"]["schema"] | {"components": described["components"]},
        format_checker=jsonschema.FormatChecker(),
    )


@cache
def _schema() -> dict[str, Any]:
    return as_json_schema(SchemaGenerator().get_schema(public=True))


def as_json_schema(part: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` spelled out, and objects without other keys than the named ones."""
    if isinstance(part, list):
        return [as_json_schema(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    made = {key: as_json_schema(inner) for key, inner in part.items()}
    if "properties" in made and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    if made.pop("nullable", False):
        if "enum" in made:
            made["enum"] = [*dict.fromkeys([*made["enum"], None])]
        made = {"anyOf": [made, {"type": "null"}]}
    return made
