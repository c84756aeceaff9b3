"""The formats that conversations come in, and what each record of one is to us. Pure. Described in docs/import.md.

A converter takes the records of a file and says for each what it holds: lines as our own format has them
(`{"user_id", "session_id", "turn"}` or `{"fact"}`) with their place, or what is wrong with it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from memoryhub.importing.messages import Threads, Unreadable, is_empty, portable, turn_of
from memoryhub.importing.records import Problem, Record

NATIVE = "memoryhub"


@dataclass(frozen=True)
class Held:
    """What a place in a file holds, as a line of our own format."""

    place: str
    line: dict[str, Any]


Found = Iterator[Held | Problem]
Converter = Callable[[Iterable[Record | Problem], str], Found]


@dataclass(frozen=True)
class Format:
    """A format: how it is told from others, and how its records are read."""

    title: str
    is_one: Callable[[Mapping[str, Any]], bool]
    convert: Converter


def messages_api(records: Iterable[Record | Problem], user_id: str) -> Found:
    """Requests to Anthropic's Messages API with their responses, oldest first.

    Each repeats the conversation until then; only what it adds is taken.
    """
    return _exchanges(records, user_id, _anthropic_exchange)


def openai_chat(records: Iterable[Record | Problem], user_id: str) -> Found:
    """Chat completions, or conversations as they are kept for fine-tuning: `messages` with roles."""
    return _exchanges(records, user_id, _openai_exchange)


def claude_export(records: Iterable[Record | Problem], user_id: str) -> Found:
    """conversations.json of a claude.ai data export: conversations with their chat messages."""
    for record in records:
        if isinstance(record, Problem):
            yield record
            continue
        session, messages = record.value.get("uuid"), record.value.get("chat_messages")
        if not isinstance(session, str) or not isinstance(messages, list):
            wrong = "chat_messages" if isinstance(session, str) else "uuid"
            yield Problem(record.place, wrong, "A conversation has a uuid and chat_messages.")
            continue
        for number, message in enumerate(messages):
            place = f"{record.place}.chat_messages[{number}]"
            try:
                turn = _of_claude_export(message)
            except Unreadable as wrong_with:
                yield Problem(place, wrong_with.field, wrong_with.message)
                continue
            if turn is not None:
                yield Held(place, {"user_id": user_id, "session_id": session, "turn": turn})


def claude_code(records: Iterable[Record | Problem], user_id: str) -> Found:
    """A transcript of Claude Code: one file a session, an event a line. Subagents' talk and the tool's own are left."""
    for record in records:
        if isinstance(record, Problem):
            yield record
            continue
        event = record.value
        if event.get("type") not in ("user", "assistant") or event.get("isSidechain") or event.get("isMeta"):
            continue
        if event.get("isApiErrorMessage") or event.get("isCompactSummary"):
            continue
        try:
            message = _object(event.get("message"), "message")
            session, uuid = _text(event.get("sessionId"), "sessionId"), _text(event.get("uuid"), "uuid")
            content = portable(message.get("content"), "message.content")
        except Unreadable as wrong_with:
            yield Problem(record.place, wrong_with.field, wrong_with.message)
            continue
        if is_empty(content) or (isinstance(content, str) and content.lstrip().startswith(_OF_THE_TOOL)):
            continue
        turn = turn_of(str(event["type"]), content, turn_id=uuid, timestamp=event.get("timestamp"))
        yield Held(record.place, {"user_id": user_id, "session_id": session, "turn": turn})


def mem0(records: Iterable[Record | Problem], user_id: str) -> Found:
    """Memories as mem0's get_all gives them, as facts about the person: each stands for itself."""
    for record in records:
        if isinstance(record, Problem):
            yield record
            continue
        memory = record.value
        content = memory.get("memory") or memory.get("text")
        if not isinstance(content, str) or not content.strip():
            yield Problem(record.place, "memory", "A memory is a text.")
            continue
        fact: dict[str, Any] = {
            "user_id": memory.get("user_id") or user_id,
            "type": "entity",
            "entity": "user",
            "content": content.strip(),
            "coexists": True,
        }
        if since := memory.get("updated_at") or memory.get("created_at"):
            fact["valid_from"] = since
        yield Held(record.place, {"fact": fact})


_OF_THE_TOOL = ("<command-name>", "<command-message>", "<local-command-stdout>", "<bash-", "Caveat: The messages below")
_Exchange = tuple[list[dict[str, Any]], dict[str, Any]]


def _exchanges(
    records: Iterable[Record | Problem], user_id: str, read: Callable[[Mapping[str, Any]], _Exchange]
) -> Found:
    threads = Threads()
    for number, record in enumerate(records, start=1):
        if isinstance(record, Problem):
            yield record
            continue
        try:
            messages, about = read(record.value)
        except Unreadable as wrong_with:
            yield Problem(record.place, wrong_with.field, wrong_with.message)
            continue
        named = str(about.get("session_id") or "")
        new = str(about.get("id") or f"{record.place.replace(' ', '-')}-{number}")
        session, fresh = threads.go_on(messages, named=named, new=new)
        for at, turn_id in fresh:
            message = messages[at]
            if message["role"] in ("user", "assistant") and not is_empty(message["content"]):
                turn = turn_of(message["role"], message["content"], turn_id=turn_id, timestamp=about.get("timestamp"))
                line = {"user_id": about.get("user_id") or user_id, "session_id": session, "turn": turn}
                yield Held(f"{record.place}, message {at}", line)


def _anthropic_exchange(record: Mapping[str, Any]) -> _Exchange:
    request, response = _object(record.get("request"), "request"), record.get("response")
    messages = _messages(request.get("messages"), "request.messages")
    about = {
        "session_id": record.get("session_id"),
        "user_id": record.get("user_id") or _maybe(request.get("metadata")).get("user_id"),
        "timestamp": record.get("timestamp"),
    }
    if response is not None:
        answer = _object(response, "response")
        about["id"] = answer.get("id")
        messages.append({"role": "assistant", "content": portable(answer.get("content"), "response.content")})
    return messages, about


def _openai_exchange(record: Mapping[str, Any]) -> _Exchange:
    request = _object(record["request"], "request") if "request" in record else record
    response = _maybe(record.get("response")) or (record if "choices" in record else {})
    messages = []
    for number, message in enumerate(_list(request.get("messages"), "messages")):
        messages.append(_of_openai(message, f"messages[{number}]"))
    choices = response.get("choices")
    if isinstance(choices, list) and choices:
        messages.append(_of_openai(_maybe(choices[0]).get("message"), "choices[0].message"))
    about = {
        "session_id": record.get("session_id") or record.get("conversation_id"),
        "user_id": record.get("user_id") or request.get("user") or _maybe(request.get("metadata")).get("user_id"),
        "timestamp": record.get("timestamp") or _from_epoch(response.get("created") or record.get("created")),
        "id": response.get("id") or record.get("id"),
    }
    return messages, about


def _of_openai(message: Any, field: str) -> dict[str, Any]:
    """A chat message as the Messages API would have it; what the system says is kept out by its role."""
    said = _object(message, field)
    role = said.get("role")
    if role in ("system", "developer"):
        return {"role": "system", "content": ""}
    if role in ("tool", "function"):
        result = {
            "type": "tool_result",
            "tool_use_id": str(said.get("tool_call_id") or said.get("name") or "call"),
            "content": _openai_content(said.get("content"), field),
        }
        return {"role": "user", "content": [result]}
    if role not in ("user", "assistant"):
        raise Unreadable(f"{field}.role", "A role is system, developer, user, assistant or tool.")
    content = _openai_content(said.get("content"), field)
    calls = [
        {
            "type": "tool_use",
            "id": str(call.get("id") or "call"),
            "name": str(_maybe(call.get("function")).get("name") or "function"),
            "input": _maybe(call.get("function")).get("arguments"),
        }
        for call in said.get("tool_calls") or []
        if isinstance(call, dict)
    ]
    if not calls:
        return {"role": role, "content": content}
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
    return {"role": role, "content": [*blocks, *calls]}


def _openai_content(content: Any, field: str) -> str | list[dict[str, Any]]:
    if content is None or isinstance(content, str):
        return content or ""
    blocks = []
    for number, part in enumerate(_list(content, f"{field}.content")):
        of = _object(part, f"{field}.content[{number}]")
        url = _maybe(of.get("image_url")).get("url")
        if isinstance(of.get("text"), str):
            blocks.append({"type": "text", "text": of["text"]})
        elif isinstance(url, str) and url.startswith(("https://", "http://")):
            blocks.append({"type": "image", "source": {"type": "url", "url": url}})
        else:
            blocks.append({"type": "text", "text": f"[{of.get('type', 'part')} left out]"})
    return blocks


def _of_claude_export(message: Any) -> dict[str, Any] | None:
    said = _object(message, "")
    sender = said.get("sender")
    if sender not in ("human", "assistant"):
        raise Unreadable("sender", "A sender is human or assistant.")
    content = portable(said.get("content") or None)
    if is_empty(content):
        content = portable(said.get("text"), "text")
    names = [
        f"[attachment: {one.get('file_name') or 'without a name'}]"
        for kind in ("attachments", "files")
        for one in said.get(kind) or []
        if isinstance(one, dict)
    ]
    if names:
        before = [{"type": "text", "text": content}] if isinstance(content, str) else content
        content = [*(one for one in before if not is_empty([one])), {"type": "text", "text": "\n".join(names)}]
    if is_empty(content):
        return None
    role = "user" if sender == "human" else "assistant"
    return turn_of(role, content, turn_id=_text(said.get("uuid"), "uuid"), timestamp=said.get("created_at"))


def _messages(value: Any, field: str) -> list[dict[str, Any]]:
    messages = []
    for number, message in enumerate(_list(value, field)):
        said = _object(message, f"{field}[{number}]")
        if said.get("role") not in ("user", "assistant"):
            raise Unreadable(f"{field}[{number}].role", "A role is user or assistant.")
        messages.append({"role": said["role"], "content": portable(said.get("content"), f"{field}[{number}].content")})
    return messages


def _from_epoch(seconds: Any) -> str | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def _object(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(field, "An object is required.")
    return value


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise Unreadable(field, "A list is required.")
    return value


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise Unreadable(field, "A text is required.")
    return value


def _maybe(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


FORMATS: dict[str, Format] = {
    "messages_api": Format(
        "requests and responses of the Messages API",
        lambda one: "request" in one and "choices" not in _maybe(one.get("response")),
        messages_api,
    ),
    "openai_chat": Format(
        "OpenAI-style chats",
        lambda one: "messages" in one or "choices" in _maybe(one.get("response")),
        openai_chat,
    ),
    "claude_export": Format("conversations.json of claude.ai", lambda one: "chat_messages" in one, claude_export),
    "claude_code": Format(
        "Claude Code transcripts",
        lambda one: "sessionId" in one or (one.get("type") == "summary" and "leafUuid" in one),
        claude_code,
    ),
    "mem0": Format("mem0 memories", lambda one: "memory" in one, mem0),
}


def format_of(samples: Iterable[Mapping[str, Any]]) -> str | None:
    """Which format the first record that is known belongs to; our own counts too. None when none is known."""
    for one in samples:
        if "turn" in one or "fact" in one:
            return NATIVE
        for name, known in FORMATS.items():
            if known.is_one(one):
                return name
    return None
