"""JSON logs: what happened, under which request, and never what anybody said."""

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.observability import RequestMiddleware, log_fields, logging_config, request_id_scope
from memoryhub.core.observability.logs import known_fields_only

SECRET = "Margarethe prefers Darjeeling"


class Lines:
    """What was logged, as objects."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def all(self) -> list[dict]:
        return [json.loads(line) for line in self.text.splitlines()]

    def one(self) -> dict:
        (line,) = self.all()
        return line


def _configure(lines: Lines, **options: object) -> None:
    config = logging_config(**options)
    config["handlers"]["stderr"] = {"class": "logging.StreamHandler", "stream": lines.stream, "formatter": "json"}
    config["loggers"]["django.server"]["handlers"] = []
    logging.config.dictConfig(config)


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    _configure(lines)
    try:
        yield lines
    finally:
        logging.config.dictConfig(settings.LOGGING)


log = structlog.stdlib.get_logger("memoryhub.test")


def test_a_line_is_one_json_object_with_time_level_and_event(lines):
    log.info("extraction.done", extraction=UUID(int=7), turns=3, ms=Decimal("12.5"))
    line = lines.one()
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {
        "event": "extraction.done",
        "level": "info",
        "logger": "memoryhub.test",
        "extraction": "00000000-0000-0000-0000-000000000007",
        "turns": 3,
        "ms": 12.5,
    }


def test_fields_that_are_not_known_are_dropped_and_named(lines):
    log.info("turn.recorded", content=SECRET, turns=1)
    line = lines.one()
    assert line["dropped"] == ["content"]
    assert line["turns"] == 1
    assert "Margarethe" not in lines.text


@pytest.mark.parametrize(
    "value", [SECRET, "zwei Wörter", {"text": SECRET}, [SECRET], "x" * 201, "ü", object(), b"bytes"]
)
def test_a_known_field_with_something_like_content_is_dropped_too(lines, value):
    log.info("turn.recorded", reason=value)
    assert "reason" not in lines.one()
    assert lines.one()["dropped"] == ["reason"]


def test_an_event_is_a_name_not_a_sentence(lines):
    log.info(f"said: {SECRET}")
    assert lines.one()["event"] == "unnamed"
    assert "Margarethe" not in lines.text


def test_a_field_name_cannot_smuggle_content(lines):
    log.info("turn.recorded", **{SECRET: 1})
    assert lines.one()["dropped"] == ["?"]
    assert "Margarethe" not in lines.text


texts_with_a_gap = st.text(min_size=1).filter(lambda text: any(sign.isspace() or not sign.isascii() for sign in text))


@given(
    st.dictionaries(
        st.sampled_from(["reason", "state", "content", "note", "_private", "model"]),
        st.recursive(texts_with_a_gap, lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner)),
        min_size=1,
    )
)
def test_no_text_with_white_space_or_beyond_ascii_passes(fields):
    kept = known_fields_only(None, "info", {"event": "x", **fields})
    left = {key: value for key, value in kept.items() if key not in {"event", "dropped"} and not key.startswith("_")}
    assert all(value == {} or value == [] for value in left.values())


def test_an_exception_is_told_by_type_and_place(lines):
    try:
        int(SECRET)
    except ValueError:
        log.exception("import.failed")
    line = lines.one()
    assert line["exception"][0]["type"] == "builtins.ValueError"
    assert "test_observability_logs.py" in line["exception"][0]["frames"][-1]
    assert "Margarethe" not in lines.text


def test_causes_are_told_as_well(lines):
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise RuntimeError(SECRET) from error
    except RuntimeError:
        log.exception("import.failed")
    assert [link["type"] for link in lines.one()["exception"]] == ["builtins.RuntimeError", "builtins.ValueError"]
    assert "Margarethe" not in lines.text


@pytest.mark.django_db
def test_a_database_error_names_our_schema_and_not_the_row(lines):
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("create temp table person (name text constraint one_name unique)")
            cursor.execute("insert into person values (%s), (%s)", [SECRET, SECRET])
    except DatabaseError:
        log.exception("write.failed")
    chain = lines.one()["exception"]
    cause = next(link for link in chain if link["type"] == "psycopg.errors.UniqueViolation")
    assert (cause["sqlstate"], cause["constraint"]) == (psycopg.errors.UniqueViolation.sqlstate, "one_name")
    assert "Margarethe" not in lines.text


def test_other_libraries_keep_their_template_and_lose_what_was_filled_in(lines):
    logging.getLogger("somelib").warning("could not store %s", SECRET)
    line = lines.one()
    assert line["event"] == "could not store %s"
    assert "tests/test_observability_logs.py:" in line["at"]
    assert "Margarethe" not in lines.text


def test_a_message_that_was_formatted_before_is_withheld(lines):
    logging.getLogger("somelib").warning(f"could not store {SECRET}")
    assert lines.one()["event"] == "message_withheld"
    assert "Margarethe" not in lines.text


def test_the_messages_of_process_managers_are_read_whole(lines):
    logging.getLogger("gunicorn.error").info("Booting worker with pid: %s", 4711)
    assert lines.one()["event"] == "Booting worker with pid: 4711"


def test_messages_can_be_let_through_for_development():
    lines = Lines()
    _configure(lines, messages=True)
    try:
        try:
            int(SECRET)
        except ValueError:
            logging.getLogger("somelib").exception("could not store %s", SECRET)
    finally:
        logging.config.dictConfig(settings.LOGGING)
    assert lines.one()["event"] == f"could not store {SECRET}"
    assert SECRET in lines.one()["exception"][0]["message"]


def test_every_line_of_a_request_carries_its_id(lines):
    with request_id_scope("request-77"):
        log.info("something.happened")
        logging.getLogger("somelib").warning("it did")
    log.info("afterwards")
    assert [line.get("request_id") for line in lines.all()] == ["request-77", "request-77", None]


# The access line


def view(request: HttpRequest, session_id: str = "") -> HttpResponse:
    log_fields(workspace=UUID(int=1), key="mh_1a2b3c4d")
    return HttpResponse("hello")


def broken_view(request: HttpRequest) -> HttpResponse:
    raise RuntimeError(SECRET)


urlpatterns = [
    path("sessions/<str:session_id>/turns", view),
    path("broken", broken_view),
    path("healthz", view),
]


@pytest.fixture
def client(settings) -> Client:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["memoryhub.core.observability.RequestMiddleware"]
    return Client(raise_request_exception=False)


def test_a_request_is_one_line_with_its_route_and_not_its_path(lines, client):
    response = client.get("/sessions/margarethe@example.org/turns?q=Darjeeling", headers={"User-Agent": "Margarethe"})
    line = lines.one()
    assert line["event"] == "request"
    assert (line["method"], line["route"], line["status"]) == ("GET", "sessions/<str:session_id>/turns", 200)
    assert (line["key"], line["workspace"]) == ("mh_1a2b3c4d", str(UUID(int=1)))
    assert line["ms"] >= 0
    assert line["request_id"] == response["X-Request-ID"]
    assert "argarethe" not in lines.text
    assert "Darjeeling" not in lines.text


def test_what_one_request_put_on_its_lines_does_not_reach_the_next(lines, client):
    client.get("/sessions/1/turns")
    client.get("/nowhere")
    assert "key" not in lines.all()[1]


def test_a_path_that_leads_nowhere_is_not_repeated(lines, client):
    client.get("/margarethe@example.org")
    assert (lines.one()["route"], lines.one()["status"]) == ("unrouted", 404)
    assert "margarethe" not in lines.text


def test_a_failure_is_an_error_with_its_place_under_the_same_id(lines, client):
    response = client.get("/broken")
    failed, access = lines.all()
    assert failed["event"] == "request_failed"
    assert failed["exception"][0]["type"] == "builtins.RuntimeError"
    assert (access["level"], access["status"]) == ("error", 500)
    assert failed["request_id"] == access["request_id"] == response["X-Request-ID"]
    assert "Margarethe" not in lines.text


def test_probes_leave_no_line_while_all_is_well(lines, client):
    client.get("/healthz")
    assert lines.all() == []


def test_an_invented_method_is_not_repeated(lines):
    RequestMiddleware(view)(RequestFactory().generic("MARGARETHE", "/"))
    assert lines.one()["method"] == "OTHER"
