"""Sensitive data in what is recorded: gone before it is kept, or kept and shown to nobody."""

import json
from typing import Any

import pytest
from api_contract import ContractClient
from django.db import connections
from memory_samples import embed_all, say, viewpoint

from audit.models import Entry
from facts.models import Recall
from facts.search import SearchRequest, memory_search
from facts.working_memory import MemoryRequest, working_memory
from memoryhub.access.models import Agent, Workspace
from memoryhub.access.policy import Treatment, WorkspacePolicy, differences
from memoryhub.core.screening import Kind
from memoryhub.core.search.models import Posting
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Turn

CARD = "4111 1111 1111 1111"
IBAN = "DE89370400440532013000"
KEY = "AKIAIOSFODNN7EXAMPLE"
PLACES: dict[str, dict[str, Any]] = {
    "text": {"role": "user", "content": f"My card is {CARD}."},
    "block": {"role": "user", "content": [{"type": "text", "text": f"Take {CARD}, please."}]},
    "tool call": {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t1", "name": "pay", "input": {"deep": [{"card": CARD}], CARD: 1}}],
    },
    "tool result": {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": CARD}]}],
    },
    "number": {"role": "assistant", "content": "Paid.", "tool_name": "pay", "tool_input": {"card": 4111111111111111}},
    "result beside": {"role": "tool", "content": "ok", "tool_name": "pay", "tool_result": {"card": CARD}},
    "metadata": {"role": "user", "content": "Hello", "metadata": {"note": f"card {CARD}"}},
    "name": {"role": "user", "content": "Hello", "name": CARD},
}


def everything_kept(owner: str = "owner") -> str:
    """Every value of every table, as text."""
    with connections[owner].cursor() as cursor:
        cursor.execute("select tablename from pg_tables where schemaname = 'public'")
        tables = [row[0] for row in cursor.fetchall()]
        rows = []
        for table in tables:
            cursor.execute(f'select t::text from "{table}" t')  # noqa: S608 - a table's own name
            rows += [row[0] for row in cursor.fetchall()]
    return "\n".join(rows)


def set_policy(workspace: Workspace, **changes: Any) -> None:
    workspace.policy = differences(WorkspacePolicy(**changes))
    workspace.save(update_fields=["policy"])


@pytest.mark.parametrize("place", PLACES)
def test_a_card_number_is_kept_nowhere(hub_db: str, api: ContractClient, agent: Agent, place: str) -> None:
    sent = {"user_id": "maria", "turns": [PLACES[place]], "metadata": {"from": f"desk {CARD}"}}
    answer = api.send("POST", "/sessions/s1/turns", sent)
    assert answer.status_code == 201
    [finding] = answer.json()["turns"][0]["findings"]
    assert (finding["kind"], finding["treatment"]) == ("payment_card", "redact")
    embed_all(agent.workspace_id)
    kept = everything_kept()
    assert "1111 1111" not in kept and "4111111111111111" not in kept
    with in_workspace(agent.workspace_id):
        turn = Turn.objects.get()
        entry = Entry.objects.get(action="turns.recorded")
        assert Session.objects.get().metadata == {"from": "desk [redacted: payment card]"}
    assert {(one["kind"], one["treatment"]) for one in turn.findings} == {("payment_card", "redact")}
    assert entry.data["found"] == ["payment_card"]


def test_what_is_redacted_can_still_be_read_around(api: ContractClient, agent: Agent, db: None) -> None:
    api.send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": [PLACES["text"]]})
    with in_workspace(agent.workspace_id):
        turn = Turn.objects.get()
    assert turn.text == turn.content == "My card is [redacted: payment card]."


def test_sending_the_same_again_is_a_duplicate_still(api: ContractClient, db: None) -> None:
    sent = {"user_id": "maria", "turns": [PLACES["text"] | {"id": "one"}]}
    assert api.send("POST", "/sessions/s1/turns", sent).status_code == 201
    again = api.send("POST", "/sessions/s1/turns", sent)
    assert (again.status_code, again.json()["duplicates"]) == (200, 1)


def test_the_workspace_decides_what_is_redacted(db: None, api: ContractClient, workspace: Workspace) -> None:
    set_policy(workspace, sensitive_data={"iban": "allow", "email": "redact"})
    said = f"Pay to {IBAN}, write to maria@example.org, {CARD}"
    api.send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": [{"role": "user", "content": said}]})
    with in_workspace(workspace.id):
        assert Turn.objects.get().text == (
            f"Pay to {IBAN}, write to [redacted: e-mail address], [redacted: payment card]"
        )


def test_what_is_quarantined_is_kept_and_shown_to_nobody(
    hub_db: str, api: ContractClient, agent: Agent, workspace: Workspace
) -> None:
    set_policy(workspace, sensitive_data={"secret": "quarantine"})
    turns = [
        {"role": "user", "content": f"The deploy key is {KEY}."},
        {"role": "user", "content": "We deploy Mondays."},
    ]
    answer = api.send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": turns})
    assert answer.json()["recorded"] == 2
    embed_all(workspace.id)
    with in_workspace(workspace.id):
        withheld, kept = Turn.objects.order_by("index")
        assert (withheld.withheld_reason, kept.withheld_at) == ("sensitive", None)
        assert KEY in withheld.text
        assert not Posting.objects.filter(item=withheld.id).exists()
    memory = working_memory(view=viewpoint(agent), ask=MemoryRequest("maria", "What is the deploy key?", "s2"))
    assert KEY not in memory.block and "We deploy Mondays." in memory.block
    found = api.send("POST", "/search", {"user_id": "maria", "query": "deploy key", "kinds": ["turn"]}).json()
    assert KEY not in json.dumps(found) and len(found["hits"]) == 1


def test_what_is_asked_with_is_screened_as_what_is_told(hub_db: str, agent: Agent, workspace: Workspace) -> None:
    say(agent, "Hello.", user="maria")
    working_memory(view=viewpoint(agent), ask=MemoryRequest("maria", f"Is {CARD} my card?", "s2"))
    memory_search(view=viewpoint(agent), ask=SearchRequest("maria", f"the card {CARD}"))
    with in_workspace(workspace.id):
        messages = list(Recall.objects.order_by("at").values_list("message", flat=True))
    assert messages == ["Is [redacted: payment card] my card?", "the card [redacted: payment card]"]
    assert CARD not in everything_kept()


def test_ordinary_talk_is_kept_as_it_was_said(agent: Agent) -> None:
    said = "Order 4929-1234 came on 2026-03-04 10:11:12, call extension 555-0199, version 10.2.33.4, 978-3-16-148410-0."
    [turn] = say(agent, said).turns
    assert (turn.text, turn.findings) == (said, [])


def test_a_policy_names_sensitive_classes_only() -> None:
    with pytest.raises(ValueError, match="no class of sensitive data"):
        WorkspacePolicy(sensitive_data={Kind.LINK: Treatment.REDACT})
