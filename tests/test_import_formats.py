"""Files that somebody else wrote: what is sound is taken, what is not is named by its place, and nothing twice."""

import json
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from facts.models import FactVersion
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace
from memoryhub.importing.files import ImportFile, UnknownFormat, read_file
from memoryhub.importing.formats import FORMATS, format_of
from sessions.models import Session, Turn


def lines(path: Path, records: Iterable[object]) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
    return path


def said(source: ImportFile) -> list[tuple[str, str, Any]]:
    """(session, role, content) of each turn."""
    return [(line.of[2], line.content["role"], line.content["content"].content) for line in source.lines]


def user(text: str) -> dict[str, object]:
    return {"role": "user", "content": text}


def exchange(history: list[dict[str, object]], answer: str, number: int, **more: object) -> dict[str, object]:
    response = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": answer}],
    }
    return {
        "timestamp": f"2026-03-02T09:1{number}:00Z",
        "request": {
            "model": "claude",
            "max_tokens": 100,
            "system": "Be brief.",
            "metadata": {"user_id": "robin"},
            "messages": history,
        },
        "response": response,
    } | more


def answered(text: str) -> dict[str, object]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def test_of_a_growing_conversation_each_message_is_taken_once(tmp_path: Path) -> None:
    first: list[dict[str, object]] = [user("We ship from Rotterdam.")]
    second: list[dict[str, object]] = [*first, answered("Noted."), user("And to Oslo.")]
    # The mark of a cached prefix moves from request to request.
    cached: list[dict[str, object]] = [
        {"role": "user", "content": [{"type": "text", "text": "We ship from Rotterdam.", "cache_control": {}}]}
    ]
    third: list[dict[str, object]] = [*cached, *second[1:], answered("Fine."), user("Thanks.")]
    other = [user("We ship from Rotterdam."), answered("Where to?"), user("Lima.")]
    file = lines(
        tmp_path / "log.jsonl",
        [
            exchange(first, "Noted.", 1),
            exchange(second, "Fine.", 2),
            exchange(third, "Bye.", 3),
            exchange(other, "Ok.", 4),
        ],
    )
    source = read_file(file)
    assert source.format == "messages_api" and not source.problems
    texts = [
        (session, role, content if isinstance(content, str) else content[0]["text"])
        for session, role, content in said(source)
    ]
    assert texts == [
        ("msg_1", "user", "We ship from Rotterdam."),
        ("msg_1", "assistant", "Noted."),
        ("msg_1", "user", "And to Oslo."),
        ("msg_1", "assistant", "Fine."),
        ("msg_1", "user", "Thanks."),
        ("msg_1", "assistant", "Bye."),
        ("msg_4", "user", "We ship from Rotterdam."),
        ("msg_4", "assistant", "Where to?"),
        ("msg_4", "user", "Lima."),
        ("msg_4", "assistant", "Ok."),
    ]


def test_a_question_that_was_answered_twice_is_one_question(tmp_path: Path, workspace: Workspace) -> None:
    asked = [user("Which port?")]
    file = lines(
        tmp_path / "log.jsonl",
        [exchange(asked, "Oslo.", 1, session_id="s"), exchange(asked, "Bergen.", 2, session_id="s")],
    )
    call_command(
        "import_sessions", str(file), workspace=workspace.slug, approve=True, stdout=StringIO(), stderr=StringIO()
    )
    with in_workspace(workspace.id):
        assert list(Turn.objects.order_by("index").values_list("text", flat=True)) == [
            "Which port?",
            "Oslo.",
            "Bergen.",
        ]


def test_chats_in_the_style_of_openai_keep_tools_and_leave_the_system_out(tmp_path: Path) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "track", "arguments": '{"parcel": 7}'}}
    file = lines(
        tmp_path / "chats.jsonl",
        [
            {
                "user": "robin",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "Where is it?"},
                            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                        ],
                    },
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "in Oslo"},
                    {"role": "assistant", "content": "In Oslo."},
                ],
            },
            {"user": "robin", "messages": [{"role": "pope", "content": "x"}]},
            {"messages": [{"role": "user", "content": "whose?"}]},
            "{broken",
        ],
    )
    source = read_file(file)
    assert source.format == "openai_chat"
    assert [role for _, role, _ in said(source)] == ["user", "assistant", "user", "assistant"]
    assert source.lines[2].content["content"].only_tool_results
    assert source.lines[1].content["content"].tool_calls == (("call_1", "track", '{"parcel": 7}'),)
    assert [str(one).split(": ")[:2] for one in source.problems] == [
        ["line 2", "messages[0].role"],
        ["line 3, message 0", "user_id"],
        ["line 4", "This is not JSON"],
    ]
    assert not [one for one in read_file(file, user_id="sam").problems if one.field == "user_id"]


def conversation(*messages: dict[str, object], uuid: str = "11111111-aaaa") -> dict[str, object]:
    return {"uuid": uuid, "name": "Ports", "created_at": "2026-03-02T09:00:00Z", "chat_messages": list(messages)}


def chat_message(number: int, sender: str, text: str, **more: object) -> dict[str, object]:
    at = f"2026-03-02T09:0{number}:00.123456Z"
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text, "citations": []}]
    return {"uuid": f"m-{number}", "sender": sender, "text": text, "content": blocks, "created_at": at} | more


def test_an_export_of_claude_ai(tmp_path: Path, workspace: Workspace) -> None:
    file = tmp_path / "conversations.json"
    file.write_text(
        json.dumps(
            [
                conversation(
                    chat_message(1, "human", "We ship from Rotterdam.", attachments=[{"file_name": "ports.csv"}]),
                    chat_message(2, "assistant", "Noted."),
                    chat_message(3, "bishop", "x"),
                    {"uuid": "m-4", "sender": "human", "text": "In short.", "content": [], "created_at": "yesterday"},
                ),
                {"uuid": "22222222-bbbb"},
                7,
            ],
            indent=1,
        )
    )
    source = read_file(file, user_id="robin")
    assert source.format == "claude_export"
    assert [str(one).split(": ")[:2] for one in source.problems] == [
        ["[0].chat_messages[2]", "sender"],
        ["[0].chat_messages[3]", "turn.timestamp"],
        ["[1]", "chat_messages"],
        ["[2]", "A record is a JSON object."],
    ]
    errors = StringIO()
    with pytest.raises(CommandError, match="Not all of"):
        call_command(
            "import_sessions", str(file), user_id="robin", workspace=workspace.slug, stdout=StringIO(), stderr=errors
        )
    assert "4 records could not be read and were left out" in errors.getvalue()
    with in_workspace(workspace.id):
        assert list(Turn.objects.order_by("index").values_list("role", "text")) == [
            ("user", "We ship from Rotterdam.\n[attachment: ports.csv]"),
            ("assistant", "Noted."),
        ]
        assert Session.objects.get().external_id == "11111111-aaaa"


def event(number: int, role: str, content: object, **more: object) -> dict[str, object]:
    return {
        "type": role,
        "uuid": f"e-{number}",
        "sessionId": "coding",
        "timestamp": f"2026-03-02T09:0{number}:00.000Z",
        "cwd": "/home/robin/ports",
        "message": {"role": role, "content": content},
    } | more


def test_a_transcript_of_claude_code(tmp_path: Path) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    file = lines(
        tmp_path / "coding.jsonl",
        [
            {"type": "summary", "summary": "Ports", "leafUuid": "e-9"},
            event(1, "user", "<command-name>/clear</command-name>"),
            event(2, "user", "Use Django, please."),
            event(3, "assistant", [{"type": "thinking", "thinking": "hm", "signature": "x"}]),
            event(4, "assistant", [{"type": "tool_use", "id": "t1", "name": "Read", "input": {"file": "a.py"}}]),
            event(5, "user", [{"type": "tool_result", "tool_use_id": "t1", "content": [picture]}]),
            event(6, "assistant", "A subagent's words.", isSidechain=True),
            event(7, "user", "A caveat of the tool.", isMeta=True),
            {"type": "user", "uuid": "e-8", "message": {"role": "user", "content": "no session"}},
        ],
    )
    source = read_file(file, user_id="robin")
    assert source.format == "claude_code"
    assert [line.content["id"] for line in source.lines] == ["e-2", "e-4", "e-5"]
    assert source.lines[2].content["content"].text == "[image/png left out]"
    assert [str(one) for one in source.problems] == ["line 9: sessionId: A text is required."]


@pytest.mark.parametrize("wrapped", [True, False])
def test_memories_of_mem0_become_facts(tmp_path: Path, workspace: Workspace, wrapped: bool) -> None:
    memories = [
        {
            "id": "1",
            "memory": "Likes green tea",
            "user_id": "robin",
            "hash": "x",
            "created_at": "2026-03-02T01:15:00-08:00",
            "updated_at": None,
        },
        {"id": "2", "memory": "Ships from Rotterdam", "user_id": "robin", "created_at": "2026-03-02T01:15:00-08:00"},
        {"id": "3", "memory": "", "user_id": "robin"},
    ]
    file = tmp_path / "memories.json"
    file.write_text(json.dumps({"results": memories, "relations": []} if wrapped else memories))
    assert [str(one) for one in read_file(file).problems] == [
        f"{'results' if wrapped else ''}[2]: memory: A memory is a text."
    ]
    with pytest.raises(CommandError):
        call_command(
            "import_sessions", str(file), workspace=workspace.slug, approve=True, stdout=StringIO(), stderr=StringIO()
        )
    with in_workspace(workspace.id):
        assert sorted(FactVersion.objects.values_list("content", "status", "source")) == [
            ("Likes green tea", "current", "import"),
            ("Ships from Rotterdam", "current", "import"),
        ]


def test_what_is_no_format_is_refused_by_name(tmp_path: Path, workspace: Workspace) -> None:
    file = tmp_path / "any.json"
    file.write_text('[{"a": 1}]')
    with pytest.raises(UnknownFormat):
        read_file(file)
    with pytest.raises(CommandError, match="messages_api: requests and responses"):
        call_command("import_sessions", str(file), workspace=workspace.slug, stdout=StringIO(), stderr=StringIO())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "text",
                    "role",
                    "content",
                    "messages",
                    "request",
                    "response",
                    "uuid",
                    "message",
                    "sessionId",
                    "user_id",
                ]
                + [
                    "chat_messages",
                    "sender",
                    "memory",
                    "tool_calls",
                    "function",
                    "choices",
                    "metadata",
                    "source",
                    "created",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@pytest.mark.parametrize("form", sorted(FORMATS))
@given(records=st.lists(JSON, max_size=4))
def test_whatever_the_records_reading_names_problems_and_never_fails(
    tmp_path_factory: pytest.TempPathFactory, form: str, records: list[Any]
) -> None:
    file = lines(tmp_path_factory.mktemp("import") / "any", records)
    source = read_file(file, form=form, user_id="robin")
    assert all(one.place and one.message for one in source.problems)
    format_of(one for one in records if isinstance(one, dict))
