"""One request id everywhere: accepted when harmless, else made; in the answer, the log and the audit entry."""

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory

from memoryhub.core.observability import RequestMiddleware, current_request_id, request_id_scope

factory = RequestFactory()


def answer_with_id(request: HttpRequest) -> HttpResponse:
    return HttpResponse(current_request_id())


def served(view=answer_with_id, **headers: str) -> HttpResponse:
    return RequestMiddleware(view)(factory.get("/", headers=headers))


@pytest.mark.parametrize("offered", ["abcdefgh", "0199f6a1-3c00-7abc-8def-0123456789ab", "A.b_c-d.1", "x" * 64])
def test_a_harmless_id_is_kept(offered):
    response = served(**{"X-Request-ID": offered})
    assert response["X-Request-ID"] == offered
    assert response.content.decode() == offered


@pytest.mark.parametrize(
    "offered",
    [
        "",
        "short",
        "x" * 65,
        "with space in it",
        "new\nline-12345",
        'quote"-12345',
        "ünïcödé-1",
        "abcdefgh\n",
        "a/b/c/d/e/f",
    ],
)
def test_any_other_id_is_replaced(offered):
    response = served(**{"X-Request-ID": offered})
    assert response["X-Request-ID"] != offered
    assert response["X-Request-ID"] == response.content.decode()
    assert len(response["X-Request-ID"]) == 36


def test_each_request_has_an_id_of_its_own():
    assert served()["X-Request-ID"] != served()["X-Request-ID"]


def test_outside_a_request_there_is_none():
    served()
    assert current_request_id() == ""


def test_a_streamed_answer_is_made_under_the_same_id():
    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(current_request_id() + "\n" for _ in range(3))

    response = served(view, **{"X-Request-ID": "streaming-1"})
    assert current_request_id() == ""
    assert b"".join(response.streaming_content) == b"streaming-1\n" * 3
    assert current_request_id() == ""


def test_a_task_may_carry_on_the_id_of_the_request_that_queued_it():
    with request_id_scope("queued-by-me"):
        assert current_request_id() == "queued-by-me"
        with request_id_scope():
            assert len(current_request_id()) == 36
        assert current_request_id() == "queued-by-me"
