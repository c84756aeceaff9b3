"""The Claude SDK's own tool runner with the hub's tools: told on Monday, remembered on Tuesday, contradicted on
Wednesday, right on Thursday. The model is a server on this machine that answers by rules from what it is sent."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from memory_samples import learn

from audit.actors import Actor
from audit.models import Entry
from benchmarks.loopback_claude import KEY, LoopbackClaude
from benchmarks.loopback_conversation import results
from facts.models import FactVersion
from memoryhub.access.models import Agent, Scope, Workspace
from memoryhub.access.services import key_create
from memoryhub.client.tools import UNAVAILABLE, AsyncMemoryTools, MemoryTools, MemoryToolsError
from memoryhub.core.tenancy import in_workspace
from tests.conftest import LiveHub

MODEL = "claude-haiku-4-5"
AMOUNT = re.compile(r"(\d+) EUR")
FACT = re.compile(r"^- (F\d+) .*?(\d+) EUR", re.MULTILINE)


def token_from(hub: LiveHub, key: str) -> str:
    """What the agent's backend does before a session."""
    made = httpx.post(
        f"{hub.url}/api/v1/subject-tokens", json={"user_id": "robin"}, headers={"authorization": f"Bearer {key}"}
    )
    return str(made.json()["token"])


def use(name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{uuid4().hex[:16]}", "name": name, "input": given}


def text(said: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": said}]


def model(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A model that knows nothing but what stands in the request: it searches, compares, and corrects."""
    messages = body["messages"]
    asked = next(one["content"] for one in messages if isinstance(one["content"], str))
    told = AMOUNT.search(asked)
    last = results(messages[-1]["content"])
    answers = "\n".join(block["text"] for one in last for block in one["content"] if isinstance(one["content"], list))
    answers += "\n".join(one["content"] for one in last if isinstance(one["content"], str))
    if not last:
        return [use("search_memory", query="shipping budget")]
    known = FACT.search(answers)
    if told is None:
        return text(f"Your budget is {known[2]} EUR a month [{known[1]}]." if known else "I do not know your budget.")
    if "marked as no longer true" in answers or "Remembered as" in answers or "now says" in answers:
        return text("Noted.")
    remember = use(
        "remember",
        type="constraint",
        entity="shipping",
        attribute="budget",
        content=f"The shipping budget is {told[1]} EUR a month.",
        value=int(told[1]),
        unit="EUR/month",
    )
    if known and known[2] != told[1]:
        return [use("mark_fact_stale", fact=known[1], reason="contradicted"), remember]
    return [remember]


def test_what_was_contradicted_is_right_the_next_day(
    live_hub: LiveHub, workspace: Workspace, manager: Agent, actor: Actor
) -> None:
    key = key_create(agent=manager, actor=actor, scopes=list(Scope)).secret

    def day(claude: LoopbackClaude, said: str) -> str:
        """One session, with a token of its own."""
        made = token_from(live_hub, key)
        with MemoryTools(live_hub.url, made) as memory:
            runner = Anthropic(base_url=claude.url, api_key=KEY).beta.messages.tool_runner(
                model=MODEL, max_tokens=500, messages=[{"role": "user", "content": said}], tools=memory.beta_tools()
            )
            return "".join(block.text for block in runner.until_done().content if block.type == "text")

    with LoopbackClaude(converse=model) as claude:
        assert day(claude, "Our shipping budget is 300 EUR a month.") == "Noted."
        assert day(claude, "Can I afford express shipping?") == "Your budget is 300 EUR a month [F1]."
        assert day(claude, "No, since today it is 500 EUR a month.") == "Noted."
        assert day(claude, "What is my shipping budget?") == "Your budget is 500 EUR a month [F1]."
        sent = [one.body for one in claude.messages()]
    # The runner goes on with the thread it began: what the server has it does not send again.
    assert [one["thread"]["type"] for one in sent[:3]] == ["create", "continue", "continue"]
    assert "tools" in sent[0] and "tools" not in sent[1] and len(sent[1]["messages"]) == 1
    with in_workspace(workspace.id):
        versions = FactVersion.objects.order_by("id")
        assert [(one.content, one.status) for one in versions] == [
            ("The shipping budget is 300 EUR a month.", "stale"),
            ("The shipping budget is 500 EUR a month.", "current"),
        ]
        assert Entry.objects.get(action="fact.marked_stale").reason == "contradicted"
        assert Entry.objects.filter(action="memory.surfaced").count() == 4


def test_the_asynchronous_runner_too(live_hub: LiveHub, manager: Agent, actor: Actor) -> None:
    learn(manager, "The shipping budget is 300 EUR a month.", user="robin", entity="shipping", attribute="budget")
    key = key_create(agent=manager, actor=actor, scopes=list(Scope)).secret
    asked: list[int] = []

    async def token() -> str:
        asked.append(1)
        if len(asked) == 1:
            return "mht_no.longer"  # the runner is given another
        return token_from(live_hub, key)

    async def run(claude: LoopbackClaude) -> str:
        async with AsyncMemoryTools(live_hub.url, token) as memory:
            runner = AsyncAnthropic(base_url=claude.url, api_key=KEY).beta.messages.tool_runner(
                model=MODEL,
                max_tokens=500,
                messages=[{"role": "user", "content": "What is my budget?"}],
                tools=await memory.beta_tools(),
            )
            done = await runner.until_done()
            return "".join(block.text for block in done.content if block.type == "text")

    with LoopbackClaude(converse=model) as claude:
        assert asyncio.run(run(claude)) == "Your budget is 300 EUR a month [F1]."
    assert len(asked) == 2


def test_what_a_tool_says_is_wrong_reaches_the_model(live_hub: LiveHub, manager: Agent, actor: Actor) -> None:
    learn(manager, "Likes tea", user="robin")
    key = key_create(agent=manager, actor=actor, scopes=list(Scope)).secret
    seen: list[Any] = []

    def clumsy(body: Mapping[str, Any]) -> list[dict[str, Any]]:
        last = results(body["messages"][-1]["content"])
        seen.extend(last)
        return text("Sorry.") if last else [use("mark_fact_stale", fact="F9", reason="wrong")]

    made = token_from(live_hub, key)
    with LoopbackClaude(converse=clumsy) as claude, MemoryTools(live_hub.url, made) as memory:
        Anthropic(base_url=claude.url, api_key=KEY).beta.messages.tool_runner(
            model=MODEL, max_tokens=500, messages=[{"role": "user", "content": "Hi"}], tools=memory.beta_tools()
        ).until_done()
        # A loop of one's own sends the block as it came.
        own = memory.call("mark_fact_stale", {"fact": "F9", "reason": "wrong"}, tool_use_id="toolu_1")
    [block] = seen
    assert block["is_error"] and "There is no fact F9" in str(block["content"])
    assert own["is_error"] and own["tool_use_id"] == "toolu_1" and "no fact F9" in own["content"][0]["text"]


# When the hub is not as it should be


def served(status: int, body: Any) -> httpx.Client:
    """A client for which something else answers under the hub's address."""
    return httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(status, json=body)))


def test_an_agent_goes_on_without_a_hub() -> None:
    tools = MemoryTools("http://127.0.0.1:9", "mht_x.y", timeout=1)
    result = tools.call("search_memory", {"query": "x"}, tool_use_id="toolu_1")
    assert result["is_error"] and result["content"][0]["text"] == UNAVAILABLE
    with pytest.raises(httpx.HTTPError):
        tools.definitions()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_cannot_serve_is_one_that_is_away(status: int) -> None:
    tools = MemoryTools("http://hub", "mht_x.y", http=served(status, {"error": {"code": "x", "message": "x"}}))
    assert tools.call("list_facts", {})["content"][0]["text"] == UNAVAILABLE


def test_a_page_of_something_else_is_no_hub() -> None:
    tools = MemoryTools("http://hub", "mht_x.y", http=served(302, ["moved"]))
    assert tools.call("list_facts", {})["is_error"]


def test_a_refusal_is_the_developers_to_see() -> None:
    error = {"error": {"code": "unauthenticated", "message": "This token is expired.", "fields": {}}}
    tools = MemoryTools("http://hub", "mht_x.y", http=served(401, error))
    with pytest.raises(MemoryToolsError) as refused:
        tools.call("list_facts", {})
    assert (refused.value.status, refused.value.code) == (401, "unauthenticated")
