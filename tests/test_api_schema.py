"""The description of the API: complete, valid, the one that is committed, and served without foreign scripts."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from api_contract import as_json_schema
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from memoryhub.api.urls import urlpatterns

SNAPSHOT = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    return schema


def operations(described: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, item in described["paths"].items()
        for method, operation in item.items()
    ]


def test_the_snapshot_is_current(tmp_path: Path) -> None:
    made = tmp_path / "openapi.yaml"
    call_command("spectacular", file=str(made), validate=True, fail_on_warn=True)
    assert made.read_text() == SNAPSHOT.read_text(), (
        "The API changed: run `python manage.py spectacular --file docs/openapi.yaml` and look at the difference."
    )


def test_it_is_valid_openapi(described: dict[str, Any]) -> None:
    validate_schema(described)


def test_every_call_is_described(described: dict[str, Any]) -> None:
    offered = sum(len(pattern.callback.cls.permissions) for pattern in urlpatterns)  # type: ignore[union-attr]
    assert len(operations(described)) == offered


def test_every_operation_says_what_it_does_and_how_it_fails(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        assert operation["security"] == [{"ApiKey": []}], name
        assert {"401", "403", "429", "503"} <= operation["responses"].keys(), name
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= operation["responses"].keys(), name
            assert operation["requestBody"]["content"].keys() == {"application/json"}, name
        for response in operation["responses"].values():
            assert "X-Request-ID" in response["headers"], name
        for status in ("429", "503"):
            assert "Retry-After" in operation["responses"][status]["headers"], name


def test_examples_fit_what_they_are_examples_of(described: dict[str, Any]) -> None:
    strict = as_json_schema(described)
    checked = 0
    for _, operation in operations(strict):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (body.get("content", {}).get("application/json", {}) for body in bodies):
            for example in content.get("examples", {}).values():
                jsonschema.validate(example["value"], content["schema"] | {"components": strict["components"]})
                checked += 1
    assert checked > 10


def test_every_body_has_an_example(described: dict[str, Any]) -> None:
    without = [
        name
        for name, operation in operations(described)
        if "requestBody" in operation and not operation["requestBody"]["content"]["application/json"].get("examples")
    ]
    # Their bodies are optional, or the same as their counterpart's.
    assert without == [
        "POST /api/v1/subjects/{subject_id}/restrict",
        "POST /api/v1/subjects/{subject_id}/resume",
        "POST /api/v1/subjects/{subject_id}/unrestrict",
    ]


def test_the_schema_is_served_to_anybody(client: Client, described: dict[str, Any]) -> None:
    served = client.get("/api/schema/")
    assert served.status_code == 200
    assert yaml.safe_load(served.content) == json.loads(json.dumps(described))
    assert json.loads(client.get("/api/schema/?format=json").content)["info"] == described["info"]


def test_the_docs_load_everything_from_here(client: Client) -> None:
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert "script-src 'nonce-" in page["Content-Security-Policy"]
    text = page.content.decode()
    assert "<script>" not in text
    assert "http://" not in text
    assert "https://" not in text
