"""What the pipeline hands to an extractor and what it gets back. Values only: no rows, no requests.

The pipeline (windows, attempts, applying) and the extractors (Claude, patterns) meet here and know nothing more of
each other. An extractor never decides who said something, about whom, or in which workspace: the pipeline does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from facts.models import FactType


@dataclass(frozen=True, slots=True)
class WindowTurn:
    """One message as an extractor sees it. `index` is the turn's index in its session."""

    index: int
    role: str
    name: str
    text: str
    occurred_at: datetime
    tool_name: str = ""


@dataclass(frozen=True, slots=True)
class KnownFact:
    """A fact of the same subject that bears on the window. `handle` ("F12") is how an answer names it."""

    handle: str
    fact_id: UUID
    type: str
    entity: str
    attribute: str
    content: str
    value: Decimal | None
    unit: str
    date: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive turns of one session. Facts are taken from `turns` alone; `context` comes before them, in order."""

    extraction_id: UUID
    workspace_id: UUID
    subject_id: UUID
    session_external_id: str
    turns: tuple[WindowTurn, ...]
    context: tuple[WindowTurn, ...] = ()
    known: tuple[KnownFact, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtractedFact:
    """One stated fact. `turn_index` is the turn of the window that states it; `replaces` is a handle of `known`."""

    type: FactType
    entity: str
    content: str
    turn_index: int
    attribute: str = ""
    value: Decimal | None = None
    unit: str = ""
    mentions: tuple[str, ...] = ()
    confidence: float = 1.0
    replaces: str | None = None
    coexists: bool = False
    special_category: str = ""
    """One of GDPR art. 9, or empty."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them. `input_tokens` are those neither read from nor written to its cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
        )


@dataclass(frozen=True, slots=True)
class Extracted:
    """A whole, valid answer for one window; never part of one. `raw` is the answer's text, kept by no one but tests.

    `dropped` counts, by a code, what the answer stated and the extractor did not let through.
    """

    facts: tuple[ExtractedFact, ...]
    model: str
    prompt_version: str
    usage: Usage = field(default_factory=Usage)
    request_id: str = ""
    raw: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def extracted_by(self) -> str:
        """What each fact carries: who read it out of the turns."""
        return f"{self.model}/{self.prompt_version}" if self.prompt_version else self.model


CODES: Mapping[str, bool] = {
    # The provider or the way to it: the breaker counts these (see PROVIDER), a later try may succeed.
    "rate_limited": True,
    "overloaded": True,
    "server_error": True,
    "bad_gateway": True,
    "connection_failed": True,
    "timed_out": True,
    # The answer: another try may be answered better.
    "answer_unreadable": True,
    "schema_violated": True,
    "refused": True,
    # What a batch says of one of its items.
    "batch_expired": True,
    "batch_canceled": True,
    "batch_item_missing": True,
    # The window is too much for one answer: the pipeline splits it and goes on.
    "truncated": True,
    "prompt_too_long": True,
    # The request itself is wrong: trying again changes nothing.
    "bad_request": False,
    # Nobody can work until a person acts: work waits, no attempt counts.
    "authentication_failed": False,
    "permission_denied": False,
    "billing_failed": False,
    "model_not_found": False,
    "not_configured": False,
}
"""Every way in which a window can fail at its extractor, and whether trying the same again makes sense."""

PROVIDER = frozenset(
    {"rate_limited", "overloaded", "server_error", "bad_gateway", "connection_failed", "timed_out"},
)
SPLIT = frozenset({"truncated", "prompt_too_long"})
BLOCKED = frozenset(
    {"authentication_failed", "permission_denied", "billing_failed", "model_not_found", "not_configured"},
)


class ExtractionFailed(Exception):
    """A window could not be extracted from. Carries a code of CODES and never content.

    `retry_after` is how many seconds the provider asked to wait; `usage` what the failed answer cost all the same;
    `request_id` the provider's id of the request, for its support.
    """

    def __init__(
        self,
        code: str,
        *,
        retry_after: float | None = None,
        usage: Usage | None = None,
        request_id: str = "",
        model: str = "",
    ) -> None:
        super().__init__(code)
        self.code = code
        self.retryable = CODES[code]
        self.retry_after = retry_after
        self.usage = usage or Usage()
        self.request_id = request_id
        self.model = model


class Extractor(Protocol):
    """Reads facts out of a window. Made once a process from the settings; called by several threads at once."""

    name: str

    def problem(self) -> str:
        """A code of BLOCKED when no window can be worked on as things are configured; empty when it can be tried."""
        ...

    def extract(self, window: Window) -> Extracted:
        """Raises ExtractionFailed, and nothing else on account of the provider, the network or the answer."""
        ...


@runtime_checkable
class BatchExtractor(Extractor, Protocol):
    """An extractor whose provider takes Message Batches. Batch mode sends `request` and hands the answers to `read`."""

    def request(self, window: Window) -> dict[str, Any]:
        """The body of the Messages request for the window."""
        ...

    def read(self, window: Window, message: Any) -> Extracted:
        """The facts in an anthropic Message. Raises ExtractionFailed."""
        ...

    def client(self) -> Any:
        """The anthropic client, with its time-outs and without retries of its own: the pipeline counts attempts."""
        ...

    def translated(self, error: Exception) -> ExtractionFailed:
        """An error of the client as a failure with its code."""
        ...
