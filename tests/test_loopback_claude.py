"""The server that stands for Claude in tests: what it answers must be what the real client understands."""

import json
import threading
import time
from typing import Any

import anthropic
import pytest
from extraction_windows import window

from benchmarks.loopback_claude import KEY, LoopbackClaude, Step, always, document_of, faults, script
from facts.extraction.claude import ClaudeExtractor
from facts.extraction.interface import Window


def client(claude: LoopbackClaude, *, key: str = KEY, timeout: float = 5.0) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=claude.url, api_key=key, timeout=timeout, max_retries=0)


def body(*said: str) -> dict[str, Any]:
    return ClaudeExtractor(api_key=KEY).request(conversation(*said))


def conversation(*said: str) -> Window:
    return window(*(said or ("I prefer tea.",)))


def test_it_answers_with_the_facts_that_are_stated_in_the_request() -> None:
    with LoopbackClaude() as claude:
        message = client(claude).messages.create(**body("I prefer tea.", "Do we use AWS?"))
    assert isinstance(message, anthropic.types.Message)
    [fact] = json.loads(message.content[0].text)["facts"]
    assert (fact["content"], fact["quote"], fact["turn_index"]) == ("Prefers tea", "I prefer tea", 0)
    assert message.model == "claude-haiku-4-5-20251001"
    assert message._request_id


def test_a_request_without_a_conversation_gets_no_facts() -> None:
    with LoopbackClaude() as claude:
        message = client(claude).messages.create(
            model="claude-haiku-4-5", max_tokens=10, messages=[{"role": "user", "content": "I prefer tea."}]
        )
    assert json.loads(message.content[0].text) == {"facts": []}


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("bad_request", anthropic.BadRequestError),
        ("unauthorized", anthropic.AuthenticationError),
        ("billing", anthropic.APIStatusError),
        ("forbidden", anthropic.PermissionDeniedError),
        ("no_model", anthropic.NotFoundError),
        ("too_large", anthropic.APIStatusError),
        ("rate_limited", anthropic.RateLimitError),
        ("server_error", anthropic.InternalServerError),
        ("overloaded", anthropic.APIStatusError),
        ("bad_gateway", anthropic.InternalServerError),
        ("broken_body", json.JSONDecodeError),
        ("reset", anthropic.APIConnectionError),
        ("hang_up", anthropic.APIConnectionError),
    ],
)
def test_every_failure_is_what_the_client_makes_of_the_real_one(kind: str, error: type[Exception]) -> None:
    with LoopbackClaude(behave=always(kind)) as claude, pytest.raises(error):
        client(claude).messages.create(**body())


def test_a_slow_answer_runs_into_the_clients_time_out() -> None:
    with (
        LoopbackClaude(behave=always("slow", seconds=1.0)) as claude,
        pytest.raises(anthropic.APITimeoutError),
    ):
        client(claude, timeout=0.2).messages.create(**body())


def test_it_says_how_long_to_wait() -> None:
    with (
        LoopbackClaude(behave=always("rate_limited", retry_after=7)) as claude,
        pytest.raises(anthropic.RateLimitError) as raised,
    ):
        client(claude).messages.create(**body())
    assert raised.value.response.headers["retry-after"] == "7"


def test_it_refuses_connections_and_takes_them_again_on_the_same_port() -> None:
    with LoopbackClaude() as claude:
        claude.refuse()
        with pytest.raises(anthropic.APIConnectionError):
            client(claude).messages.create(**body())
        claude.listen()
        assert client(claude).messages.create(**body()).stop_reason == "end_turn"


def test_a_refusal_in_passing_ends_by_itself() -> None:
    with LoopbackClaude(behave=script(Step("refused", seconds=0.2))) as claude:
        with pytest.raises(anthropic.APIConnectionError):
            client(claude).messages.create(**body())
        with pytest.raises(anthropic.APIConnectionError):
            client(claude).messages.create(**body())
        deadline = time.monotonic() + 10
        while True:
            try:
                assert client(claude).messages.create(**body()).stop_reason == "end_turn"
                break
            except anthropic.APIConnectionError:
                assert time.monotonic() < deadline


def test_a_wrong_key_is_not_let_in() -> None:
    with LoopbackClaude() as claude, pytest.raises(anthropic.AuthenticationError):
        client(claude, key="another").messages.create(**body())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "Hi"}]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "integer", "minimum": 1}}}},
    ],
)
def test_it_takes_no_request_that_the_api_would_not_take(wrong: dict[str, Any]) -> None:
    with LoopbackClaude() as claude, pytest.raises(anthropic.BadRequestError):
        client(claude).messages.create(**(body() | wrong))


def test_a_script_is_followed_in_order_and_then_all_is_well() -> None:
    with LoopbackClaude(behave=script("overloaded", "good", "server_error")) as claude:
        outcomes = []
        for _ in range(4):
            try:
                client(claude).messages.create(**body())
                outcomes.append(200)
            except anthropic.APIStatusError as error:
                outcomes.append(error.status_code)
    assert outcomes == [529, 200, 500, 200]


def test_faults_depend_on_seed_content_and_try_alone() -> None:
    steps = ("overloaded", "server_error")
    texts = [f"I prefer tea number {number}." for number in range(40)]

    def outcomes(seed: int) -> list[int]:
        found = []
        with LoopbackClaude(behave=faults(seed=seed, rate=0.5, steps=steps)) as claude:
            for text in texts:
                try:
                    client(claude).messages.create(**body(text))
                    found.append(200)
                except anthropic.APIStatusError as error:
                    found.append(error.status_code)
        return found

    first = outcomes(1)
    assert first == outcomes(1) != outcomes(2)
    assert {200, 500, 529} == set(first)


def test_it_counts_how_many_are_asked_at_once() -> None:
    with LoopbackClaude(latency=0.3) as claude:
        same = client(claude)
        threads = [threading.Thread(target=same.messages.create, kwargs=body(f"I prefer tea {n}.")) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert claude.most_at_once == 4


def test_a_long_prefix_is_written_to_the_cache_and_then_read_from_it() -> None:
    with LoopbackClaude() as claude:
        first, second = (
            client(claude).messages.create(**body(text)).usage for text in ("I prefer tea.", "We use AWS.")
        )
    assert first.cache_creation_input_tokens
    assert first.cache_read_input_tokens == 0
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation_input_tokens == 0


def test_a_short_prefix_is_never_cached() -> None:
    short = body() | {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]}
    with LoopbackClaude() as claude:
        for _ in range(2):
            usage = client(claude).messages.create(**short).usage
            assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (0, 0)


def test_tokens_can_be_counted_without_an_answer() -> None:
    with LoopbackClaude() as claude:
        asked = {name: body()[name] for name in ("model", "system", "messages")}
        assert client(claude).messages.count_tokens(**asked).input_tokens > 4_000


def test_it_keeps_what_it_was_asked() -> None:
    with LoopbackClaude() as claude:
        client(claude).messages.create(**body("I prefer tea."))
        [received] = claude.messages()
    assert received.path == "/v1/messages"
    assert received.document is not None
    assert received.document["turns"][0]["text"] == "I prefer tea."


def batch_of(*texts: str) -> list[Any]:
    return [{"custom_id": f"window-{at}", "params": body(text)} for at, text in enumerate(texts)]


def test_a_batch_goes_from_creation_over_its_results_to_deletion() -> None:
    with LoopbackClaude(batch_seconds=60) as claude:
        batches = client(claude).messages.batches
        batch = batches.create(requests=batch_of("I prefer tea.", "We use AWS.", "Hello."))
        assert batch.processing_status == "in_progress"
        assert batch.request_counts.processing == 3
        with pytest.raises(anthropic.AnthropicError):
            list(batches.results(batch.id))
        with pytest.raises(anthropic.BadRequestError):
            batches.delete(batch.id)
        claude.end_batches()
        ended = batches.retrieve(batch.id)
        assert ended.processing_status == "ended"
        assert ended.request_counts.succeeded == 3
        results = {one.custom_id: one.result for one in batches.results(batch.id)}
        assert set(results) == {"window-0", "window-1", "window-2"}
        contents = [
            fact["content"]
            for name in sorted(results)
            if results[name].type == "succeeded"
            for fact in json.loads(results[name].message.content[0].text)["facts"]  # type: ignore[union-attr]
        ]
        assert contents == ["Prefers tea", "Uses AWS"]
        assert batches.delete(batch.id).type == "message_batch_deleted"
        with pytest.raises(anthropic.NotFoundError):
            batches.retrieve(batch.id)
        assert not claude.batches


def test_the_items_of_a_batch_fail_each_for_itself() -> None:
    behave = script("good", "overloaded", "refusal", "slow", "schema_violating")
    with LoopbackClaude(behave=behave) as claude:
        batches = client(claude).messages.batches
        batch = batches.create(requests=batch_of(*(f"I prefer tea {n}." for n in range(5))))
        assert batches.retrieve(batch.id).processing_status == "ended"
        results = {one.custom_id: one.result for one in batches.results(batch.id)}
    assert [results[f"window-{n}"].type for n in range(5)] == [
        "succeeded",
        "errored",
        "succeeded",
        "expired",
        "succeeded",
    ]
    refused = results["window-2"]
    assert refused.type == "succeeded"
    assert refused.message.stop_reason == "refusal"


def test_a_cancelled_batch_ends_without_answers() -> None:
    with LoopbackClaude(batch_seconds=60) as claude:
        batches = client(claude).messages.batches
        batch = batches.create(requests=batch_of("I prefer tea."))
        assert batches.cancel(batch.id).processing_status == "canceling"
        ended = batches.retrieve(batch.id)
        assert (ended.processing_status, ended.request_counts.canceled) == ("ended", 1)
        assert [one.result.type for one in batches.results(batch.id)] == ["canceled"]


def test_batches_are_listed_page_by_page_the_newest_first() -> None:
    with LoopbackClaude() as claude:
        batches = client(claude).messages.batches
        made = [batches.create(requests=batch_of("I prefer tea.")).id for _ in range(5)]
        assert [one.id for one in batches.list(limit=2)] == made[::-1]


def test_a_batch_may_be_made_although_the_answer_is_lost() -> None:
    with LoopbackClaude(at_batches=lambda operation: Step("hang_up" if operation == "create" else "good")) as claude:
        with pytest.raises(anthropic.APIConnectionError):
            client(claude).messages.batches.create(requests=batch_of("I prefer tea."))
        assert len(claude.batches) == 1


def test_custom_ids_are_held_to_the_apis_rules() -> None:
    with LoopbackClaude() as claude, pytest.raises(anthropic.BadRequestError):
        client(claude).messages.batches.create(requests=[*batch_of("a"), *batch_of("b")])


def test_a_document_that_is_not_there_is_none() -> None:
    assert document_of({"messages": [{"role": "user", "content": "Hello"}]}) is None
    assert document_of(None) is None
