"""Facts by Claude: a window becomes one request, its answer is held to a schema and to the words of the turns.

The conversation goes in as data: one JSON document between delimiters that nothing in it can write. What comes back is
believed only as far as it can be checked: the turn must be one of the window, somebody who can state something must
speak in it, and the words that state the fact must stand there.
"""

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from facts.extraction.interface import Extracted, ExtractedFact, ExtractionFailed, Usage, Window, WindowTurn
from facts.extraction.schema import (
    AnswerUnreadable,
    SchemaViolated,
    StatedFact,
    answer_schema,
    read_answer,
)
from facts.extraction.speech import shown, without_memory
from facts.models import FactType
from memoryhub.core.text import one_line

if TYPE_CHECKING:
    import anthropic

PROMPTS = Path(__file__).with_name("prompts")
DELIMITERS = "<conversation_data>", "</conversation_data>"
MEMORY = "⟦memory⟧"

DEFAULT_MODELS = {
    "anthropic": "claude-haiku-4-5",
    "bedrock": "global.anthropic.claude-haiku-4-5-20251001-v1:0",
    "vertex": "claude-haiku-4-5@20251001",
}
# What each provider's client needs beside the SDK, and the extra that brings it.
PACKAGES = {"bedrock": "botocore", "vertex": "google.auth"}

TESTIFYING = ("user", "tool")
MOST_FACTS = 200
LONGEST = {"content": 4_000, "entity": 200, "attribute": 100, "unit": 40}  # characters, as the tables take them
LONGEST_MENTION, MOST_MENTIONS = 200, 50
LARGEST = Decimal(10) ** 20
PLACES = Decimal("0.0000000001")
CONNECT_SECONDS = 5.0


class ClaudeExtractor:
    """Calls Claude once a window. Without arguments as the settings say; one client for all threads of a process."""

    name = "claude"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        prompt_version: str | None = None,
        timeout: float | None = None,
        max_tokens: int | None = None,
        structured: bool | None = None,
    ) -> None:
        self.provider = provider or settings.EXTRACT_PROVIDER
        self.model = model or settings.EXTRACT_MODEL or DEFAULT_MODELS[self.provider]
        self.prompt_version = prompt_version or settings.EXTRACT_PROMPT
        self._api_key = settings.ANTHROPIC_API_KEY if api_key is None else api_key
        self._base_url = settings.ANTHROPIC_BASE_URL if base_url is None else base_url
        self._timeout = settings.EXTRACT_TIMEOUT if timeout is None else timeout
        self._max_tokens = settings.EXTRACT_MAX_TOKENS if max_tokens is None else max_tokens
        self._structured = settings.EXTRACT_STRUCTURED if structured is None else structured
        self._client: Any = None
        self._lock = threading.Lock()

    def problem(self) -> str:
        if missing_package(self.provider):
            return "not_configured"
        if self.provider == "anthropic" and self._api_key:
            return ""
        try:
            client = self.client()
        except ExtractionFailed as failure:
            return failure.code
        # The SDK finds credentials elsewhere too: a token, a profile, workload identity.
        has_some = any(getattr(client, name, None) for name in ("api_key", "auth_token", "credentials"))
        return "" if self.provider != "anthropic" or has_some else "not_configured"

    def client(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def extract(self, window: Window) -> Extracted:
        body = self.request(window)
        try:
            message = self.client().messages.create(**body)
        except Exception as error:
            failure = self._failure(error)
            if failure is None:
                raise
            # Not chained: what the SDK says of a failure may quote what was sent.
            raise failure from None
        return self.read(window, message)

    def request(self, window: Window) -> dict[str, Any]:
        system = load_prompt(self.prompt_version)
        if not self._structured:
            schema = json.dumps(provider_schema(), ensure_ascii=False, separators=(",", ":"))
            system = (
                f"{system}\n# The schema\n\nAnswer with one JSON object that this JSON schema describes:\n\n{schema}\n"
            )
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self._max_tokens,
            # The same for every window: what comes before the mark is cached by the provider.
            "system": [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": window_document(window)}],
        }
        if self._structured:
            body["output_config"] = {"format": {"type": "json_schema", "schema": provider_schema()}}
        return body

    def read(self, window: Window, message: Any) -> Extracted:
        usage = _usage(message)
        model = str(getattr(message, "model", "") or self.model)
        request_id = str(getattr(message, "_request_id", "") or "")

        def failed(code: str) -> ExtractionFailed:
            return ExtractionFailed(code, usage=usage, model=model, request_id=request_id)

        stopped = getattr(message, "stop_reason", None)
        if stopped == "refusal":
            raise failed("refused")
        if stopped == "max_tokens":
            raise failed("truncated")
        if stopped == "model_context_window_exceeded":
            raise failed("prompt_too_long")
        blocks = getattr(message, "content", None)
        texts = [
            block.text
            for block in (blocks if isinstance(blocks, list) else [])
            if getattr(block, "type", "") == "text" and isinstance(getattr(block, "text", None), str)
        ]
        if stopped != "end_turn" or not texts:
            raise failed("answer_unreadable")
        text = "".join(texts)
        try:
            answer = read_answer(text if self._structured else text[text.find("{") : text.rfind("}") + 1])
        except AnswerUnreadable:
            raise failed("answer_unreadable") from None
        except SchemaViolated:
            raise failed("schema_violated") from None
        facts, dropped = checked(answer.facts, window)
        return Extracted(
            facts=tuple(facts),
            model=model,
            prompt_version=self.prompt_version,
            usage=usage,
            request_id=request_id,
            raw=text,
            dropped=dropped,
        )

    def translated(self, error: Exception) -> ExtractionFailed:
        failure = self._failure(error)
        if failure is None:
            raise error
        return failure

    def _failure(self, error: Exception) -> ExtractionFailed | None:
        """The error as a failure with its code; None for what is not the client's, network's or answer's."""
        import anthropic

        if isinstance(error, ExtractionFailed):
            return error
        if isinstance(error, anthropic.APIStatusError):
            return ExtractionFailed(
                _status_code(error),
                retry_after=_retry_after(error.response.headers),
                request_id=error.request_id or "",
                model=self.model,
            )
        code = _code(error)
        return ExtractionFailed(code, model=self.model) if code else None

    def _make_client(self) -> Any:
        import anthropic

        options: dict[str, Any] = {
            "timeout": anthropic.Timeout(self._timeout, connect=min(CONNECT_SECONDS, self._timeout)),
            "max_retries": 0,
        }
        if self._base_url:
            options["base_url"] = self._base_url
        try:
            match self.provider:
                case "bedrock":
                    return anthropic.AnthropicBedrock(**options)
                case "vertex":
                    return anthropic.AnthropicVertex(**options)
            return anthropic.Anthropic(api_key=self._api_key or None, **options)
        except (anthropic.AnthropicError, ImportError, OSError, RuntimeError, TypeError, ValueError):
            raise ExtractionFailed("not_configured", model=self.model) from None


def missing_package(provider: str) -> str:
    """The extra of memoryhub that `provider` needs and that is not installed; empty when nothing is missing."""
    package = PACKAGES.get(provider)
    if package is None or (provider == "bedrock" and os.environ.get("AWS_BEARER_TOKEN_BEDROCK")):
        return ""
    try:
        return "" if find_spec(package) else provider
    except ModuleNotFoundError:
        return provider


@lru_cache(maxsize=8)
def load_prompt(version: str) -> str:
    """The text of a prompt, by its version. Raises ExtractionFailed("not_configured") when there is no such one."""
    if not has_prompt(version):
        raise ExtractionFailed("not_configured")
    return (PROMPTS / f"{version}.md").read_text(encoding="utf-8")


def has_prompt(version: str) -> bool:
    return bool(re.fullmatch(r"v\d{1,4}", version)) and (PROMPTS / f"{version}.md").is_file()


@lru_cache(maxsize=1)
def provider_schema() -> dict[str, Any]:
    """The schema of an answer as the API takes it."""
    import anthropic

    return anthropic.transform_schema(answer_schema())


def window_document(window: Window) -> str:
    """The window as the one document the prompt speaks of. No text in it can write one of the delimiters."""
    document = {
        "known_facts": [
            {
                "handle": fact.handle,
                "type": fact.type,
                "entity": one_line(fact.entity),
                "attribute": fact.attribute,
                "content": one_line(fact.content),
                **({"value": str(fact.value.normalize()), "unit": fact.unit} if fact.value is not None else {}),
                "date": _day(fact.date),
            }
            for fact in window.known
        ],
        "context": [_turn(turn) for turn in window.context],
        "turns": [_turn(turn) for turn in window.turns],
    }
    text = json.dumps(document, ensure_ascii=False, indent=0)
    return "\n".join([DELIMITERS[0], text.replace("<", "\\u003c").replace(">", "\\u003e"), DELIMITERS[1]])


def spoken(turn: WindowTurn) -> str:
    """What a turn says of its own, as the model is shown it: no memory handed back, no invisible characters."""
    return "\n".join(one_line(line) for line in shown(without_memory(turn.text), MEMORY).splitlines())


def checked(stated: list[StatedFact], window: Window) -> tuple[list[ExtractedFact], Mapping[str, int]]:
    """The facts of an answer that stand up to the window, and how many did not, by a code.

    `outside_window`: no such turn, or one of the context. `no_testimony`: an assistant or the system speaks in it.
    `not_in_turn`: the quoted words are not there. `too_long`, `empty`: it does not fit the tables. `too_many`: beyond
    what a window can state. `unknown_handle`: it stays, but replaces nothing. Control characters are taken out.
    """
    turns = {turn.index: turn for turn in window.turns}
    heard = {index: _folded(spoken(turn)) for index, turn in turns.items() if turn.role in TESTIFYING}
    handles = {fact.handle for fact in window.known}
    kept: list[ExtractedFact] = []
    dropped: Counter[str] = Counter()
    for one in stated:
        content, entity, attribute, unit = (
            one_line(text) for text in (one.content, one.entity, one.attribute, one.unit)
        )
        quote = _folded(one.quote)
        if one.turn_index not in turns:
            dropped["outside_window"] += 1
        elif one.turn_index not in heard:
            dropped["no_testimony"] += 1
        elif len(quote) < 2 or quote not in heard[one.turn_index]:
            dropped["not_in_turn"] += 1
        elif not content or not entity:
            dropped["empty"] += 1
        elif any(
            len(text) > LONGEST[name]
            for name, text in {"content": content, "entity": entity, "attribute": attribute, "unit": unit}.items()
        ):
            dropped["too_long"] += 1
        elif len(kept) == MOST_FACTS:
            dropped["too_many"] += 1
        else:
            replaces = one.replaces.strip().upper()
            if replaces and replaces not in handles:
                dropped["unknown_handle"] += 1
                replaces = ""
            mentions = dict.fromkeys(name for name in map(one_line, one.mentions) if 0 < len(name) <= LONGEST_MENTION)
            kept.append(
                ExtractedFact(
                    type=FactType(one.type),
                    entity=entity,
                    content=content,
                    turn_index=one.turn_index,
                    attribute=attribute,
                    value=_stored(one.value),
                    unit=unit,
                    mentions=tuple(mentions)[:MOST_MENTIONS],
                    confidence=float(min(max(one.confidence, Decimal(0)), Decimal(1))),
                    replaces=replaces or None,
                    coexists=one.coexists and not replaces,
                    special_category="" if one.special_category == "none" else one.special_category,
                )
            )
    return kept, dict(dropped)


def _turn(turn: WindowTurn) -> dict[str, Any]:
    return {
        "turn_index": turn.index,
        "role": turn.role,
        **({"speaker": one_line(turn.name)} if turn.name else {}),
        **({"tool": one_line(turn.tool_name)} if turn.role == "tool" and turn.tool_name else {}),
        "said_on": _day(turn.occurred_at),
        "text": spoken(turn),
    }


def _day(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d, a %A")


def _folded(text: str) -> str:
    """For finding a quote: without case, line breaks, and the difference between straight and curly marks."""
    return one_line(text).casefold().translate({0x2019: "'", 0x2018: "'", 0x201C: '"', 0x201D: '"', 0x2026: "..."})


def _stored(value: Decimal | None) -> Decimal | None:
    """The number as the column holds it; what is too large for it stays in the sentence alone."""
    return value.quantize(PLACES).normalize() + 0 if value is not None and abs(value) < LARGEST else None


def _usage(message: Any) -> Usage:
    used = getattr(message, "usage", None)

    def count(name: str) -> int:
        number = getattr(used, name, None)
        return number if isinstance(number, int) and number > 0 else 0

    return Usage(
        input_tokens=count("input_tokens"),
        output_tokens=count("output_tokens"),
        cache_read_tokens=count("cache_read_input_tokens"),
        cache_write_tokens=count("cache_creation_input_tokens"),
    )


def _status_code(error: "anthropic.APIStatusError") -> str:
    """The code for an answer of the API that is an error."""
    status, kind = error.status_code, str(error.type or "")
    said = str(error.api_message or "").casefold()
    cause = str(error.error_code or "")
    # The API tells these apart by their words alone.
    if status == 402 or kind == "billing_error" or cause.endswith("spend_limit_reached") or "credit balance" in said:
        return "billing_failed"
    if status == 400 and re.search(r"output_config|output_format|structured output", said):
        return "not_configured"
    too_long = re.search(r"(?:prompt|input) is too long|too many (?:input )?tokens", said)
    if status == 413 or (status == 400 and too_long):
        return "prompt_too_long"
    if status == 404 or (status == 400 and "model identifier is invalid" in said):
        return "model_not_found"
    if kind == "overloaded_error":
        return "overloaded"
    by_status = {
        401: "authentication_failed",
        403: "permission_denied",
        408: "timed_out",
        409: "server_error",
        429: "rate_limited",
        499: "connection_failed",
        502: "bad_gateway",
        503: "overloaded",
        504: "bad_gateway",
        529: "overloaded",
    }
    return by_status.get(status) or ("server_error" if status >= 500 else "bad_request")


def _code(error: Exception) -> str:
    """The code for what went wrong before there was an answer, or in reading one; empty for anything else."""
    import anthropic

    if isinstance(error, anthropic.APITimeoutError):
        return "timed_out"
    if isinstance(error, anthropic.APIConnectionError):
        return "connection_failed"
    # A body that is no JSON, or not of the shape of a message.
    if isinstance(error, anthropic.APIResponseValidationError | json.JSONDecodeError | UnicodeDecodeError):
        return "answer_unreadable"
    if type(error).__module__.startswith("google.auth"):
        return {"TransportError": "connection_failed", "RefreshError": "authentication_failed"}.get(
            type(error).__name__, "not_configured"
        )
    if isinstance(error, anthropic.CredentialsError | ImportError):
        return "not_configured"
    # The SDK says with these that it found no credentials to send.
    if isinstance(error, TypeError | RuntimeError) and re.search(
        r"credential|authentication|api_key|token", str(error)
    ):
        return "not_configured"
    return "bad_request" if isinstance(error, anthropic.AnthropicError) else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait, given as milliseconds, seconds or a date."""
    try:
        if "retry-after-ms" in headers:
            return max(float(headers["retry-after-ms"]) / 1000, 0.0)
        return max(float(headers["retry-after"]), 0.0)
    except KeyError:
        return None
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(headers["retry-after"])
    except (ValueError, KeyError):
        return None
    return max((until - datetime.now(UTC)).total_seconds(), 0.0)
