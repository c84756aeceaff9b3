"""Claude's Messages and Batches API on this machine, for tests and benchmarks: a real HTTP server for the real client.

It checks a request as the API does, counts tokens (estimated) and its prompt cache, and answers with the facts that our
patterns find in the window it was sent, so that results mean something. What else may happen is scripted, request by
request: see `Step`. Nothing is random: a script sees what was asked and how often, `faults` draws by a hash of both.

    with LoopbackClaude(behave=script("overloaded", "good")) as claude:
        Anthropic(base_url=claude.url, api_key=KEY)
"""

import argparse
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from benchmarks.loopback_conversation import Conversations, Converse, Problem, uses

KEY = "loopback-key"
OPEN, CLOSE = "<conversation_data>", "</conversation_data>"

# Name → the dated name it stands for, and how many tokens a prefix needs before it is cached.
MODELS = {
    "claude-haiku-4-5": ("claude-haiku-4-5-20251001", 4096),
    "claude-sonnet-4-5": ("claude-sonnet-4-5-20250929", 1024),
    "claude-opus-4-5": ("claude-opus-4-5-20251101", 4096),
}
CACHED_SECONDS = 300.0
CONTEXT_TOKENS = 200_000
CHARACTERS_A_TOKEN = 3.6

ERRORS = {
    "bad_request": (400, "invalid_request_error"),
    "too_long": (400, "invalid_request_error"),
    "unauthorized": (401, "authentication_error"),
    "billing": (402, "billing_error"),
    "no_credit": (400, "invalid_request_error"),
    "forbidden": (403, "permission_error"),
    "no_model": (404, "not_found_error"),
    "too_large": (413, "request_too_large"),
    "rate_limited": (429, "rate_limit_error"),
    "server_error": (500, "api_error"),
    "unavailable": (503, "api_error"),
    "gateway_timeout": (504, "timeout_error"),
    "overloaded": (529, "overloaded_error"),
}
ANSWERS = ("good", "schema_violating", "not_json", "truncated", "refusal", "context_exceeded", "paused", "empty")
BREAKS = ("slow", "bad_gateway", "broken_body", "html", "reset", "hang_up", "refused")
KINDS = (*ANSWERS, *ERRORS, *BREAKS)

# What a schema may hold that an answer is to be held to.
SCHEMA_KEYS = frozenset(
    {
        "$defs", "$ref", "type", "properties", "required", "additionalProperties", "items", "minItems", "enum", "const",
        "anyOf", "allOf", "description", "title", "format", "default",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one request.

    An answer: `good`, or one that `schema_violating`, `not_json`, `truncated`, `refusal`, `context_exceeded`, `paused`,
    `empty` name. An error: one of ERRORS, with `retry_after` seconds. A break: `slow` (answers after `seconds`),
    `bad_gateway` (502 with a page of HTML), `broken_body` (half of the JSON), `html` (200 and no JSON), `reset`,
    `hang_up`, `refused` (hangs up, and takes no connection for `seconds`).
    """

    kind: str = "good"
    retry_after: float | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown behaviour {self.kind}")


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came. `body` is the Messages request; `batch` is set for one that came in a batch."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    batch: str = ""

    @property
    def digest(self) -> str:
        """Equal for equal content, whenever and in whatever batch it comes."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()

    @property
    def document(self) -> dict[str, Any] | None:
        """The conversation in it, if there is one."""
        return document_of(self.body)


Behaviour = Callable[[Received, int], Step]
"""From a request, and the how-manieth time its content comes (from 1), to what becomes of it."""


def always(kind: str, **more: Any) -> Behaviour:
    step = Step(kind, **more)
    return lambda received, time_asked: step


def script(*steps: str | Step) -> Behaviour:
    """These, one a request in the order they come, then good ones."""
    waiting = iter([Step(step) if isinstance(step, str) else step for step in steps])
    lock = threading.Lock()

    def behave(received: Received, time_asked: int) -> Step:
        with lock:
            return next(waiting, Step())

    return behave


def faults(*, seed: int, rate: float, steps: Sequence[str | Step]) -> Behaviour:
    """Each try of each content fails with a chance of `rate`, in one of these ways; the same for the same seed."""
    kinds = [Step(step) if isinstance(step, str) else step for step in steps]

    def behave(received: Received, time_asked: int) -> Step:
        drawn = hashlib.sha256(f"{seed} {received.digest} {time_asked}".encode()).digest()
        chance, which = struct.unpack(">QQ", drawn[:16])
        return kinds[which % len(kinds)] if chance / 2**64 < rate else Step()

    return behave


@dataclass(slots=True)
class Batch:
    id: str
    created: datetime
    items: list[tuple[str, Any]]
    ends: float
    cancelled: datetime | None = None
    ended: datetime | None = None
    results: list[dict[str, Any]] = field(default_factory=list)


class LoopbackClaude:
    """The server, from `with` to its end. `behave` and `latency` (seconds before an answer) may be set anew meanwhile.

    `received` holds every request, `batches` what is stored. Batches end `batch_seconds` after they were made, or when
    `end_batches` is called. With `converse` the good answers are those of a conversation, with tools and threads.
    `at_batches` scripts the calls about batches themselves, by their names: create, retrieve,
    list, results, cancel, delete; a create that is to `hang_up` is carried out first.
    """

    def __init__(
        self,
        *,
        behave: Behaviour | None = None,
        latency: float = 0.0,
        key: str = KEY,
        batch_seconds: float = 0.0,
        at_batches: Callable[[str], Step] | None = None,
        converse: Converse | None = None,
        port: int = 0,
    ) -> None:
        self.behave = behave or always("good")
        self.latency = latency
        self.key = key
        self.batch_seconds = batch_seconds
        self.at_batches = at_batches or (lambda operation: Step())
        self.converse = converse
        self.conversations = Conversations()
        self.received: list[Received] = []
        self.batches: dict[str, Batch] = {}
        self.at_once = 0
        self.most_at_once = 0
        self._port = port
        self._asked: Counter[str] = Counter()
        self._cache: dict[str, float] = {}
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._answers: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "LoopbackClaude":
        self.listen()
        return self

    def __exit__(self, *exc: object) -> None:
        self.refuse()

    def listen(self) -> None:
        """Take connections (again), on the same port as before."""
        with self._lock:
            if self._listener is not None:
                return
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self._port))
            listener.listen(512)
            self._port = listener.getsockname()[1]
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Take no connection any more, and end those there are."""
        with self._lock:
            listener, self._listener = self._listener, None
            open_ones = list(self._connections)
        if listener is not None:
            # Closing alone would not wake the thread that waits in accept().
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in open_ones:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def end_batches(self) -> None:
        """Let every batch be processed by now."""
        with self._lock:
            for batch in self.batches.values():
                batch.ends = 0.0

    def messages(self) -> list[Received]:
        """The requests to the Messages API, in the order they came; those of batches too."""
        with self._lock:
            return [one for one in self.received if one.batch or "/messages" in one.path or "/model/" in one.path]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: object) -> None:
        try:
            Handler(connection, address, self)  # type: ignore[arg-type]
        except (OSError, ValueError):
            pass  # the other side went away, or was sent away
        finally:
            with self._lock:
                self._connections.discard(connection)
            with contextlib.suppress(OSError):
                connection.close()

    def note(self, method: str, path: str, headers: Mapping[str, str], body: Any, batch: str = "") -> Received:
        with self._lock:
            received = Received(len(self.received) + 1, method, path, headers, body, batch)
            self.received.append(received)
            return received

    def step_for(self, received: Received) -> Step:
        with self._lock:
            self._asked[received.digest] += 1
            asked = self._asked[received.digest]
        return self.behave(received, asked)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """How many requests are worked on at once, for those who want to know."""
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self._lock:
                self.at_once -= 1

    def message(self, received: Received, kind: str) -> dict[str, Any]:
        """The body of an answer of this kind."""
        body = received.body
        text, stopped = self._answer(received), "end_turn"
        if kind == "schema_violating":
            text = json.dumps({"facts": [{"turn_index": 0, "type": "rumour", "source": "operator"}]})
        elif kind == "not_json":
            text = f"Here are the facts: {text}"
        elif kind == "truncated":
            text, stopped = text[: len(text) // 2], "max_tokens"
        elif kind == "refusal":
            text, stopped = "", "refusal"
        elif kind == "context_exceeded":
            text, stopped = text[: len(text) // 2], "model_context_window_exceeded"
        elif kind == "paused":
            stopped = "pause_turn"
        elif kind == "empty":
            text = ""
        model = str(body.get("model", ""))
        return {
            "id": f"msg_{received.digest[:24]}",
            "type": "message",
            "role": "assistant",
            "model": MODELS[model][0] if model in MODELS else model,
            "content": [{"type": "text", "text": text}] if text else [],
            "stop_reason": stopped,
            "stop_sequence": None,
            "usage": self._usage(body, text) | {"service_tier": "batch" if received.batch else "standard"},
        }

    def _answer(self, received: Received) -> str:
        """What is extracted from a request, once for equal ones."""
        with self._lock:
            known = self._answers.get(received.digest)
        if known is None:
            known = answer_to(received.body)
            with self._lock:
                self._answers[received.digest] = known
        return known

    def _usage(self, body: Mapping[str, Any], answer: str) -> dict[str, int]:
        prefix, rest = _cached_part(body)
        written = read = 0
        minimum = MODELS.get(str(body.get("model", "")), ("", 1024))[1]
        if prefix and tokens(prefix) >= minimum:
            key = hashlib.sha256(f"{body.get('model')} {prefix}".encode()).hexdigest()
            with self._lock:
                fresh = time.monotonic() - self._cache.get(key, float("-inf")) < CACHED_SECONDS
                self._cache[key] = time.monotonic()
            read, written = (tokens(prefix), 0) if fresh else (0, tokens(prefix))
            prefix = ""
        return {
            "input_tokens": tokens(prefix + rest),
            "output_tokens": tokens(answer),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
        }

    def batch_create(self, requests: Sequence[Mapping[str, Any]]) -> Batch:
        with self._lock:
            number = len(self.received)
            batch = Batch(
                id=f"msgbatch_{number:08d}",
                created=datetime.now(UTC),
                items=[(str(one["custom_id"]), one["params"]) for one in requests],
                ends=time.monotonic() + self.batch_seconds,
            )
            self.batches[batch.id] = batch
        return batch

    def batch_look(self, batch: Batch) -> None:
        """Process a batch whose time has come; once."""
        with self._lock:
            if batch.ended or (time.monotonic() < batch.ends and not batch.cancelled):
                return
            batch.ended = datetime.now(UTC)
        done = []
        for custom_id, params in batch.items:
            if batch.cancelled:
                result: dict[str, Any] = {"type": "canceled"}
            else:
                received = self.note("POST", "/v1/messages", {}, params, batch.id)
                result = self._batched(received, self.step_for(received))
            done.append({"custom_id": custom_id, "result": result})
        # In another order than asked: only the custom_id tells which is which.
        batch.results = done[::-1]

    def _batched(self, received: Received, step: Step) -> dict[str, Any]:
        problem = _wrong_with(received.body)
        if problem is not None:
            return {"type": "errored", "error": _error_body(problem[1], problem[2], "")}
        if step.kind in ANSWERS:
            return {"type": "succeeded", "message": self.message(received, step.kind)}
        if step.kind in ("slow", "refused"):
            return {"type": "expired"}
        kind = ERRORS.get(step.kind, (500, "api_error"))[1]
        return {"type": "errored", "error": _error_body(kind, "It did not work.", "")}

    def batch_body(self, batch: Batch) -> dict[str, Any]:
        kinds = Counter(one["result"]["type"] for one in batch.results)
        waiting = 0 if batch.results or batch.ended else len(batch.items)
        status = "ended" if batch.ended and batch.results else ("canceling" if batch.cancelled else "in_progress")
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {"processing": waiting}
            | {kind: kinds[kind] for kind in ("succeeded", "errored", "canceled", "expired")},
            "created_at": batch.created.isoformat(),
            "expires_at": (batch.created + timedelta(hours=24)).isoformat(),
            "ended_at": batch.ended.isoformat() if status == "ended" and batch.ended else None,
            "archived_at": None,
            "cancel_initiated_at": batch.cancelled.isoformat() if batch.cancelled else None,
            "results_url": f"{self.url}/v1/messages/batches/{batch.id}/results" if status == "ended" else None,
        }


class Handler(BaseHTTPRequestHandler):
    """One connection. `server` is the LoopbackClaude."""

    protocol_version = "HTTP/1.1"
    server: LoopbackClaude  # type: ignore[assignment]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        path = urlsplit(self.path).path
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            self._error(400, "invalid_request_error", "The body is no JSON.")
            return
        platform = re.fullmatch(r"/model/(?P<model>[^/]+)/invoke", path)
        if platform and isinstance(body, dict):
            body = body | {"model": unquote(platform["model"])}
        received = self.server.note(self.command, path, dict(self.headers.items()), body)
        with self.server.counted():
            given = self.headers.get("authorization", "").removeprefix("Bearer ") or self.headers.get("x-api-key", "")
            if given != self.server.key:
                self._error(401, "authentication_error", "invalid x-api-key")
            elif not platform and not self.headers.get("anthropic-version"):
                self._error(400, "invalid_request_error", "anthropic-version: header is required")
            elif path == "/v1/messages/count_tokens":
                self._send(200, {"input_tokens": sum(map(tokens, _cached_part(body or {})))})
            elif path.startswith("/v1/messages/batches"):
                self._batches(path, body)
            elif path == "/v1/messages" or platform:
                self._messages(received, known_models=not platform)
            else:
                self._error(404, "not_found_error", f"Not found: {path}")

    def _messages(self, received: Received, *, known_models: bool) -> None:
        step = self.server.step_for(received)
        if self.server.latency:
            time.sleep(self.server.latency)
        if step.kind == "slow":
            time.sleep(step.seconds)
        problem = _wrong_with(received.body, known_models=known_models)
        if step.kind in ERRORS:
            self._scripted_error(step, received)
        elif step.kind in ("reset", "hang_up", "refused"):
            self._break(step)
        elif step.kind == "bad_gateway":
            self._send_bytes(502, b"<html><head><title>502 Bad Gateway</title></head></html>", "text/html")
        elif step.kind == "html":
            self._send_bytes(200, b"<html><body>Please sign in</body></html>", "text/html")
        elif problem is not None:
            self._error(*problem)
        elif self.server.converse is not None and step.kind == "good":
            self._conversation(received.body, self.server.converse)
        else:
            answer = self.server.message(received, step.kind if step.kind in ANSWERS else "good")
            whole = json.dumps(answer).encode()
            self._send_bytes(200, whole[: len(whole) // 2] if step.kind == "broken_body" else whole, "application/json")

    def _conversation(self, body: Mapping[str, Any], converse: Converse) -> None:
        try:
            whole = self.server.conversations.whole(body)
        except Problem as problem:
            self._send(problem.status, problem.body())
            return
        content = converse(whole)
        self._send(
            200,
            {
                "id": self.server.conversations.replied(whole, content),
                "type": "message",
                "role": "assistant",
                "model": MODELS[body["model"]][0],
                "content": content,
                "stop_reason": "tool_use" if uses(content) else "end_turn",
                "stop_sequence": None,
                "usage": {"input_tokens": tokens(json.dumps(whole["messages"])), "output_tokens": 1},
            },
        )

    def _batches(self, path: str, body: Any) -> None:
        match = re.fullmatch(r"/v1/messages/batches(?:/(?P<id>[\w-]+)(?P<rest>/results|/cancel)?)?", path)
        if match is None:
            self._error(404, "not_found_error", "Not found")
            return
        operation = {
            ("POST", False, None): "create",
            ("GET", False, None): "list",
            ("GET", True, None): "retrieve",
            ("DELETE", True, None): "delete",
            ("GET", True, "/results"): "results",
            ("POST", True, "/cancel"): "cancel",
        }.get((self.command, bool(match["id"]), match["rest"]))
        if operation is None:
            self._error(405, "invalid_request_error", "Method not allowed")
            return
        step = self.server.at_batches(operation)
        if step.kind in ERRORS:
            self._scripted_error(step, None)
            return
        if step.kind == "bad_gateway":
            self._send_bytes(502, b"<html>502</html>", "text/html")
            return
        done = self._batch_answer(operation, match["id"] or "", body)
        if step.kind in ("reset", "hang_up", "refused"):
            self._break(step)
        elif isinstance(done, bytes):
            self._send_bytes(200, done[: len(done) // 2] if step.kind == "broken_body" else done, "application/x-jsonl")
        elif isinstance(done, tuple):
            self._error(*done)
        else:
            self._send(200, done)

    def _batch_answer(self, operation: str, batch_id: str, body: Any) -> Any:
        """A JSON object, the bytes of a file, or an error as (status, type, message)."""
        server = self.server
        if operation == "create":
            problem = _wrong_with_batch(body)
            return problem or server.batch_body(server.batch_create(body["requests"]))
        if operation == "list":
            return self._batch_page()
        batch = server.batches.get(batch_id)
        if batch is None:
            return 404, "not_found_error", f"Not found: {batch_id}"
        if operation == "cancel" and not batch.ended:
            batch.cancelled = datetime.now(UTC)
            return server.batch_body(batch)
        server.batch_look(batch)
        if operation in ("retrieve", "cancel"):
            return server.batch_body(batch)
        if not batch.ended:
            return 400, "invalid_request_error", "The batch is still in progress."
        if operation == "delete":
            del server.batches[batch.id]
            return {"id": batch.id, "type": "message_batch_deleted"}
        return "".join(json.dumps(one) + "\n" for one in batch.results).encode()

    def _batch_page(self) -> dict[str, Any]:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        rows = sorted(self.server.batches.values(), key=lambda one: one.id, reverse=True)
        if "after_id" in asked:
            rows = [one for one in rows if one.id < asked["after_id"]]
        if "before_id" in asked:
            rows = [one for one in rows if one.id > asked["before_id"]]
        page = rows[: int(asked.get("limit", "20"))]
        for one in page:
            self.server.batch_look(one)
        return {
            "data": [self.server.batch_body(one) for one in page],
            "has_more": len(rows) > len(page),
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }

    def _scripted_error(self, step: Step, received: Received | None) -> None:
        status, kind = ERRORS[step.kind]
        # The API's messages may quote what was sent. Whoever passes them on is found out by this.
        said = json.dumps(received.body["messages"])[:300] if received else ""
        message = {
            "too_long": "prompt is too long: 250000 tokens > 200000 maximum",
            "no_credit": "Your credit balance is too low to access the Anthropic API.",
            "no_model": "model: claude-unknown",
        }.get(step.kind, f"{step.kind}: {said}")
        headers = {"retry-after": f"{step.retry_after:g}"} if step.retry_after is not None else {}
        self._error(status, kind, message, headers)

    def _break(self, step: Step) -> None:
        self.close_connection = True
        if step.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise ConnectionResetError
        if step.kind == "refused":
            self.server.refuse()
            again = threading.Timer(step.seconds, self.server.listen)
            again.daemon = True
            again.start()

    def _error(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, _error_body(kind, message, self._request_id()), headers)

    def _send(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(body).encode(), "application/json", headers)

    def _send_bytes(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status, "Overloaded" if status == 529 else HTTPStatus(status).phrase)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("request-id", self._request_id())
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _request_id(self) -> str:
        return f"req_{self.server.received[-1].number:08d}"


def document_of(body: Any) -> dict[str, Any] | None:
    """The conversation in a Messages request: the JSON document between the delimiters of its last message."""
    try:
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(block["text"] for block in content)
        document = json.loads(text[text.index(OPEN) + len(OPEN) : text.rindex(CLOSE)])
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def answer_to(body: Any) -> str:
    """The answer to a request, as JSON: what our patterns find in the turns that are in it."""
    from facts.extraction.interface import KnownFact, Window, WindowTurn
    from facts.extraction.patterns import statements

    document = document_of(body)
    if document is None:
        return json.dumps({"facts": []})
    nobody = UUID(int=0)
    window = Window(
        extraction_id=nobody,
        workspace_id=nobody,
        subject_id=nobody,
        session_external_id="",
        turns=tuple(
            WindowTurn(turn["turn_index"], turn["role"], turn.get("speaker", ""), turn["text"], _day(turn["said_on"]))
            for turn in document["turns"]
        ),
        known=tuple(
            KnownFact(
                fact["handle"], nobody, fact["type"], fact["entity"], fact["attribute"], fact["content"], None, "",
                _day(fact["date"]),
            )
            for fact in document["known_facts"]
        ),
    )  # fmt: skip
    texts = {turn.index: turn.text for turn in window.turns}
    return json.dumps(
        {
            "facts": [
                {
                    "turn_index": one.fact.turn_index,
                    "quote": texts[one.fact.turn_index][one.start : one.end][:200],
                    "type": str(one.fact.type),
                    "entity": one.fact.entity,
                    "attribute": one.fact.attribute,
                    "content": one.fact.content,
                    "value": None if one.fact.value is None else float(one.fact.value),
                    "unit": one.fact.unit,
                    "mentions": list(one.fact.mentions),
                    "confidence": one.fact.confidence,
                    "replaces": one.fact.replaces or "",
                    "coexists": one.fact.coexists,
                    "special_category": one.fact.special_category or "none",
                }
                for one in statements(window)
            ]
        },
        ensure_ascii=False,
    )


def tokens(text: str) -> int:
    return round(len(text) / CHARACTERS_A_TOKEN)


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text[:10]).replace(tzinfo=UTC)


def _cached_part(body: Mapping[str, Any]) -> tuple[str, str]:
    """What stands before the last cache mark, schema included, and the rest."""
    before: list[str] = [json.dumps(body.get("output_config") or {}), json.dumps(body.get("tools") or [])]
    after: list[str] = []
    system = body.get("system") or []
    blocks = [{"text": system}] if isinstance(system, str) else list(system)
    for message in body.get("messages") or []:
        content = message.get("content") or ""
        blocks += [{"text": content}] if isinstance(content, str) else list(content)
    marked = [at for at, block in enumerate(blocks) if block.get("cache_control")]
    last = marked[-1] if marked else -1
    for at, block in enumerate(blocks):
        (before if at <= last else after).append(str(block.get("text", "")))
    return ("\n".join(before), "\n".join(after)) if marked else ("", "\n".join(before + after))


def _error_body(kind: str, message: str, request_id: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def _wrong_with(body: Any, *, known_models: bool = True) -> tuple[int, str, str] | None:
    """What the API would not take in a Messages request."""

    def bad(message: str) -> tuple[int, str, str]:
        return 400, "invalid_request_error", message

    if not isinstance(body, dict):
        return bad("The body is no object.")
    for name in ("max_tokens", "messages", "model"):
        if name not in body:
            return bad(f"{name}: Field required")
    if known_models and body["model"] not in MODELS:
        return 404, "not_found_error", f"model: {body['model']}"
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        return bad("max_tokens: must be a positive integer")
    messages = body["messages"]
    if not isinstance(messages, list) or not messages or messages[0].get("role") != "user":
        return bad("messages: the first message must use the user role")
    if any(not message.get("content") for message in messages):
        return bad("messages: all messages must have non-empty content")
    total = sum(tokens(part) for part in _cached_part(body))
    if total > CONTEXT_TOKENS:
        return bad(f"prompt is too long: {total} tokens > {CONTEXT_TOKENS} maximum")
    wanted = (body.get("output_config") or {}).get("format")
    if wanted is not None:
        if wanted.get("type") != "json_schema":
            return bad("output_config.format.type: must be json_schema")
        problem = _wrong_with_schema(wanted.get("schema"), "schema")
        if problem:
            return bad(f"output_config.format.{problem}")
    return None


def _wrong_with_schema(schema: Any, path: str) -> str:
    if not isinstance(schema, dict):
        return f"{path}: must be an object"
    if unknown := set(schema) - SCHEMA_KEYS:
        return f"{path}: {sorted(unknown)[0]} is not supported"
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return f"{path}: additionalProperties must be false"
    parts = [(f"{path}.{name}", part) for name, part in (schema.get("properties") or {}).items()]
    parts += [(f"{path}.$defs.{name}", part) for name, part in (schema.get("$defs") or {}).items()]
    parts += [(f"{path}.anyOf", part) for part in schema.get("anyOf") or []]
    if "items" in schema:
        parts.append((f"{path}.items", schema["items"]))
    return next((problem for where, part in parts if (problem := _wrong_with_schema(part, where))), "")


def _wrong_with_batch(body: Any) -> tuple[int, str, str] | None:
    requests = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(requests, list) or not requests:
        return 400, "invalid_request_error", "requests: Field required"
    ids = [one.get("custom_id") for one in requests]
    if any(not isinstance(one, str) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in ids):
        return 400, "invalid_request_error", "requests: custom_id must match ^[a-zA-Z0-9_-]{1,64}$"
    if len(set(ids)) != len(ids):
        return 400, "invalid_request_error", "requests: custom_id must be unique"
    if len(requests) > 100_000:
        return 413, "request_too_large", "requests: too many"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--rate", type=float, default=0.0, help="share of requests that fail, in any of the ways")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    import django

    django.setup()
    steps = [Step(kind, retry_after=1, seconds=1) for kind in ("rate_limited", "overloaded", "server_error", *BREAKS)]
    behave = faults(seed=arguments.seed, rate=arguments.rate, steps=steps)
    with LoopbackClaude(behave=behave, latency=arguments.latency, port=arguments.port) as claude:
        print(f"ANTHROPIC_BASE_URL={claude.url} ANTHROPIC_API_KEY={claude.key}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
