"""Tags and filters of the console's templates: times, bars, status words, text made safe to look at."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from audit.actions import ACTIONS
from audit.reasons import REASONS
from audit.requests.states import Step
from facts.models import Status
from memoryhub.console.extraction import CAUSES
from memoryhub.core.text import visible as text_made_visible

register = template.Library()

_HANDLE = re.compile(r"^- (F\d+)(?= \[)")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400

STATUS_TONE: dict[str, str] = {
    Status.CURRENT: "good",
    Status.SUPERSEDED: "",
    Status.STALE: "warn",
    Status.QUARANTINED: "warn",
    Status.REJECTED: "bad",
}
STEP_DOES = {
    Step.CONFIRM_IDENTITY: "It is the person",
    Step.DOUBT_IDENTITY: "Doubt who asks",
    Step.APPROVE: "Approve",
    Step.COMPLETE: "It is complete",
    Step.REFUSE: "Refuse",
    Step.CANCEL: "Cancel the request",
}
OUTCOME_TONE = {"ok": "good", "denied": "bad", "failed": "bad", "degraded": "warn"}


@register.filter
def visible(text: str) -> str:
    """`text` with every character that would not be seen, or would reorder others, replaced by its number."""
    return text_made_visible(str(text))


@register.filter
def excerpt(text: str, length: int) -> str:
    """The beginning of `text`, at most `length` characters."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


@register.inclusion_tag("components/folded.html")
def folded(text: str, over: int = 600) -> dict[str, Any]:
    """`text`; its beginning, which unfolds, where it is longer than `over` characters."""
    return {"text": text, "beginning": excerpt(text, over // 2) if len(text) > over else ""}


@register.simple_tag
def ago(at: datetime | None) -> str:
    """How long ago, with the exact time in UTC on hover."""
    return _time(at, relative(at, timezone.now())) if at else "never"


@register.simple_tag
def day(at: datetime | None) -> str:
    """The day, with the exact time in UTC on hover."""
    return _time(at, short_date(at, timezone.now())) if at else ""


@register.simple_tag
def clock(at: datetime) -> str:
    return _time(at, f"{at.astimezone(UTC):%H:%M}")


def relative(at: datetime, now: datetime) -> str:
    """`just now`, `4 min ago`, `2 hours ago`, `3 days ago`, `in 5 min`; a date when it is more than a month away."""
    seconds = (now - at).total_seconds()
    size = abs(seconds)
    if size < _MINUTE:
        return "just now"
    if size >= 31 * _DAY:
        return short_date(at, now)
    if size < _HOUR:
        told = f"{int(size // _MINUTE)} min"
    elif size < _DAY:
        told = _count(int(size // _HOUR), "hour")
    else:
        told = _count(int(size // _DAY), "day")
    return f"{told} ago" if seconds > 0 else f"in {told}"


def short_date(at: datetime, now: datetime) -> str:
    """`14 Sep`, with the year when it is not the running one."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b}" + ("" if at.year == now.astimezone(UTC).year else f" {at.year}")


def _time(at: datetime, words: str) -> SafeString:
    at = at.astimezone(UTC)
    return format_html('<time datetime="{}" title="{} UTC">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}", words)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


@register.filter
def counted(number: int, word: str) -> str:
    """`1 fact`, `1,204 facts`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


@register.inclusion_tag("components/bar.html")
def bar(value: float) -> dict[str, Any]:
    """A figure of 0 to 1 as a bar and a number."""
    return {"value": value, "width": round(min(max(value, 0.0), 1.0) * 100, 1)}


@register.simple_tag
def share(value: float | None) -> str:
    """A share of 0 to 1 in percent; a dash where there is nothing to take one of."""
    return "–" if value is None else f"{100 * value:.0f} %"


@register.simple_tag
def status(version_status: str) -> str:
    return format_html('<span class="pill {}">{}</span>', STATUS_TONE.get(version_status, ""), version_status)


@register.simple_tag
def outcome(value: str) -> str:
    return format_html('<span class="pill {}">{}</span>', OUTCOME_TONE.get(value, ""), value)


@register.filter
def reason(code: str) -> str:
    """A reason's code in words."""
    return REASONS.get(code, code)


@register.filter
def cause(code: str) -> str:
    """Why a window could not be read, in words."""
    return CAUSES.get(code, code)


@register.filter
def step_does(step: str) -> str:
    """What a decision about a request is called on its button."""
    return STEP_DOES[Step(step)]


@register.filter
def action_says(name: str) -> str:
    return ACTIONS[name].says if name in ACTIONS else ""


@register.filter
def spaced(name: str) -> str:
    """`cloud_provider` as `cloud provider`."""
    return name.replace("_", " ")


@register.filter
def hexadecimal(digest: bytes) -> str:
    """A digest as people compare it."""
    return bytes(digest).hex()


@register.filter
def compact(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2, sort_keys=True)


@register.filter
def number(value: Any) -> str:
    """A stored decimal without the zeros its column adds: 500, 12.5."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def block_lines(text: str) -> SafeString:
    """The block, character for character; handles and the lines around the facts are coloured apart."""
    lines = text.split("\n")
    return mark_safe("\n".join(_block_line(line) for line in lines))  # noqa: S308 - every line is escaped # nosec B308, B703


def _block_line(line: str) -> str:
    handle = _HANDLE.match(line)
    if handle:
        return format_html('- <span class="handle">{}</span>{}', handle[1], line[handle.end() :])
    return escape(line) if line.startswith("- ") else format_html('<span class="dim">{}</span>', line)


@register.simple_tag(takes_context=True)
def with_query(context: Mapping[str, Any], **changes: Any) -> str:
    """The present address's query with `changes`; None or '' takes a parameter out. Filters survive paging."""
    query = context["request"].GET.copy()
    for key, value in changes.items():
        if value in (None, ""):
            query.pop(key, None)
        else:
            query[key] = value
    return "?" + query.urlencode() if query else "?"


@register.simple_tag
def list_of(items: list[str]) -> str:
    """`a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return format_html("{} and {}", format_html_join(", ", "{}", ((one,) for one in items[:-1])), items[-1])


@register.filter
def minutes(value: timedelta) -> int:
    return int(value.total_seconds() // _MINUTE)
