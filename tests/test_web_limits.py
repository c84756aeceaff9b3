"""How large a request may be, how slow, and what whoever exceeds it is told."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from api_contract import ContractClient
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.api.errors import Malformed, TooLarge
from memoryhub.api.rendering import _STRINGS, MAX_VALUES, _values, parse_object

SECONDS = 1.0
THREADS = 2


def test_a_body_of_very_many_values_is_too_large(api: ContractClient) -> None:
    body = b'{"user_id": "maria", "turns": [' + b"[]," * MAX_VALUES + b"[]]}"
    answer = api.send("POST", "/sessions/s1/turns", body)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"
    assert str(MAX_VALUES) in answer.json()["error"]["message"]


@pytest.mark.parametrize("many", [b"[]," * MAX_VALUES + b"[]", b"{}," * MAX_VALUES + b"{}", b"1," * MAX_VALUES + b"1"])
def test_values_are_counted_whatever_they_are(many: bytes) -> None:
    with pytest.raises(TooLarge):
        parse_object(b'{"a": [' + many + b"]}")


def test_commas_and_brackets_in_a_text_are_no_values() -> None:
    said = ',[{"\\' * MAX_VALUES
    assert parse_object(json.dumps({"content": said}).encode()) == {"content": said}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ),
    st.booleans(),
)
def test_no_fewer_values_are_counted_than_there_are(value: Any, ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert _how_many(value) <= _values(_STRINGS.sub(b"", raw)) <= _values(raw)


def _how_many(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_how_many, inner))


@pytest.mark.parametrize("piece", [b'\\"', b'"', b"\\", b'"\\'])
def test_strings_that_are_never_closed_take_no_longer(piece: bytes) -> None:
    began = time.monotonic()
    with pytest.raises((Malformed, TooLarge)):
        parse_object(b'{"a": ' + b"," * MAX_VALUES + b'"' + piece * 1_000_000)
    assert time.monotonic() - began < 10, "trying each quotation mark anew would take hours"


def test_a_form_over_its_limit_is_refused_with_the_limit_on_the_page(db: None) -> None:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    assert limit == 1_000_000
    answer = Client().post("/sign-in/", "login=" + "x" * limit, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 413
    assert f"The form is larger than {limit} bytes." in answer.content.decode()


def test_a_form_of_many_fields_is_refused(db: None) -> None:
    fields = {f"field{number}": "x" for number in range(settings.DATA_UPLOAD_MAX_NUMBER_FIELDS + 1)}
    assert Client().post("/sign-in/", fields).status_code == 400


def test_no_page_takes_a_file(db: None) -> None:
    assert Client().post("/sign-in/", {"file": SimpleUploadedFile("a.txt", b"text")}).status_code == 400


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The hub's web server with few threads and little patience, and no database: /healthz asks for none."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--config", "python:memoryhub.webserver"),
                *("--bind", f"fd://{listener.fileno()}", "memoryhub.wsgi"),
            ],
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "memoryhub.settings",
                "MEMORYHUB_DATA_DIR": str(tmp_path_factory.mktemp("data")),
                "EMBEDDER": "none",
                "WEB_WORKERS": "1",
                "WEB_THREADS": str(THREADS),
                "WEB_REQUEST_SECONDS": str(SECONDS),
            },
            pass_fds=[listener.fileno()],
        )
        try:
            # Whoever comes before it listens waits in the socket's queue.
            assert status(ask(listener.getsockname()[1], b"")) == 200
            yield listener.getsockname()[1]
        finally:
            server.terminate()
            server.wait(20)


def ask(port: int, headers: bytes, *, target: bytes = b"/healthz", method: bytes = b"GET") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        always = b"Host: localhost\r\nConnection: close\r\n"
        connection.sendall(method + b" " + target + b" HTTP/1.1\r\n" + always + headers + b"\r\n")
        return connection.makefile("rb").read()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        ({"target": b"/healthz?" + b"x" * 8_190}, 414),
        ({"headers": b"X-Large: " + b"x" * 8_190 + b"\r\n"}, 431),
        ({"headers": b"".join(b"X-%d: x\r\n" % number for number in range(64))}, 431),
        ({"headers": b"X-Fits: " + b"x" * 8_000 + b"\r\n"}, 200),
    ],
    ids=["address", "field", "fields", "fits"],
)
def test_addresses_and_headers_have_a_limit(port: int, sent: dict[str, bytes], refused: int) -> None:
    assert status(ask(port, **{"headers": b""} | sent)) == refused


@pytest.mark.parametrize("target", [b"/sign-in/", b"/api/v1/facts"])
def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(port: int, target: bytes) -> None:
    announced = b"Content-Type: application/json\r\nContent-Length: 5000001\r\n"
    answer = ask(port, announced, target=target, method=b"POST")
    assert status(answer) == 413
    assert b"larger than 5000000 bytes" in answer


@pytest.mark.parametrize(
    "begun",
    [b"G", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"POST /sign-in/ HTTP/1.1\r\nContent-Length: 100\r\n\r\n"],
    ids=["nothing but a letter", "half the headers", "no body"],
)
def test_clients_that_do_not_go_on_hold_no_threads(port: int, begun: bytes) -> None:
    slow = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(2 * THREADS)]
    for connection in slow:
        connection.sendall(begun)
    assert status(ask(port, b"")) == 200
    for connection in slow:
        connection.close()


def test_a_client_that_trickles_is_given_the_time_of_one_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS / 10) as connection:
        began = time.monotonic()
        while time.monotonic() - began < 20 * SECONDS:
            try:
                connection.sendall(b"x")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert SECONDS / 2 < time.monotonic() - began < 20 * SECONDS
