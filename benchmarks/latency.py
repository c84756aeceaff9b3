"""How long working memory takes over HTTP, one client, in a memory of a realistic size.

    python -m benchmarks.latency [--facts 1000] [--turns 2000] [--others 100000] [--small]

One person has `--facts` facts and `--turns` turns, written over REST and embedded. The tables hold `--others` facts of
other people, written by SQL with random unit vectors. Then the same person is asked about, a new message each time.
A second pass runs the same requests through the same code in this process and times its parts: the embedding of the
message, reading (SQL), the audit entry, the rest of the writing, and what is left, the framework with JSON.

Promise: p95 ≤ 60 ms.
"""

import argparse
import functools
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import httpx
import psutil
import psycopg

from benchmarks.harness import Hub, add_hub_arguments, finish, hub, join, owner_dsn, print_table, wait_until_indexed

LIMIT_MS = 60.0
PERSON, BATCH, FACTS_EACH = "latency-person", 50, 100
WARM, COUNTED, COUNTED_INSIDE = 30, 300, 100
TOPICS = (
    *("cloud", "budget", "invoice", "sailing", "garden", "piano", "tax"),
    *("server", "hiking", "recipe", "passport", "bicycle", "camera", "lease"),
)
VERBS = ("likes", "avoids", "plans", "moved", "cancelled", "prefers", "ordered", "repaired", "sold", "compares")
PLACES = ("Berlin", "Lisbon", "Oslo", "Kyoto", "Quito", "Accra", "Perth", "Lima", "Turin", "Leeds", "Malmo", "Split")
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=2000)
    parser.add_argument("--others", type=int, default=100_000, help="facts of other people in the same tables")
    add_hub_arguments(parser)
    arguments = parser.parse_args()
    if arguments.url:
        parser.error("this benchmark fills the tables by SQL: it starts its own hub")
    if arguments.small:
        arguments.facts, arguments.turns, arguments.others = 100, 200, 5_000
    chance = random.Random(7)  # noqa: S311 - the same sentences every time
    # All requests of the measurement come from one key within minutes.
    with hub(arguments, environment={"THROTTLE_PER_MINUTE": "1000000"}) as at:
        with httpx.Client(base_url=at.url, headers=at.headers, timeout=60) as client:
            write(client, arguments.facts, arguments.turns, chance)
            wait_until_indexed(at)
            fill(at, arguments.others)
            times = [asked(client, question(chance)) for _ in range(WARM + COUNTED)][WARM:]
        memory = megabytes(at)
        parts = inside(at, [question(chance) for _ in range(WARM + COUNTED_INSIDE)])
    p50, p95, p99 = (statistics.quantiles(times, n=100)[at] for at in (49, 94, 98))
    whole = sum(parts.values())
    print_table(
        ("part", "ms (mean)", "share"), [(name, f"{ms:.1f}", f"{ms / whole:.0%}") for name, ms in parts.items()]
    )
    print(f"Memory of all processes of the hub: {memory:.0f} MB (PSS)")
    finish(
        p95 <= LIMIT_MS,
        f"working memory p50 {p50:.1f} ms, p95 {p95:.1f} ms (limit {LIMIT_MS:.0f}), p99 {p99:.1f} ms; "
        f"{arguments.facts} facts and {arguments.turns} turns of the person, {arguments.others} facts of others",
    )


def sentence(chance: random.Random) -> str:
    topic, verb, place = chance.choice(TOPICS), chance.choice(VERBS), chance.choice(PLACES)
    amount, week = chance.randrange(10, 9999), chance.randrange(53)
    return f"The customer {verb} the {topic} in {place} for {amount} EUR since week {week}"


def question(chance: random.Random) -> str:
    topic, verb, place = chance.choice(TOPICS), chance.choice(VERBS), chance.choice(PLACES)
    return f"Which {topic} was it that the customer {verb} in {place}, and for how much in week {chance.randrange(53)}?"


def write(client: httpx.Client, facts: int, turns: int, chance: random.Random) -> None:
    for start in range(0, turns, BATCH):
        said = [{"role": "user", "content": sentence(chance)} for _ in range(min(BATCH, turns - start))]
        body: dict[str, Any] = {"user_id": PERSON, "turns": said}
        client.post(f"/api/v1/sessions/latency-{start}/turns", json=body).raise_for_status()
    for start in range(0, facts, BATCH):
        known = [
            {
                "user_id": PERSON,
                "type": "constraint",
                "entity": chance.choice(TOPICS),
                "attribute": f"detail {number}",
                "content": sentence(chance),
            }
            for number in range(start, min(start + BATCH, facts))
        ]
        client.post("/api/v1/facts", json={"facts": known}).raise_for_status()


def fill(at: Hub, others: int) -> None:
    """Write facts of other people straight into the tables, as many lexemes and as long vectors as real ones have."""
    people = max(1, others // FACTS_EACH)
    # Parameters filled in here: PostgreSQL takes none in "create table as".
    with psycopg.connect(owner_dsn(at), autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        workspace = connection.execute("select id from access_workspace where slug = 'default'").fetchone()
        values = {"workspace": workspace[0] if workspace else None, "people": people, "each": FACTS_EACH}
        for statement in FILL:
            connection.execute(statement, values)
        connection.execute("vacuum analyze")


FILL = (
    """create temp table person as select gen_random_uuid() as id, n from generate_series(1, %(people)s) n""",
    """insert into memory_sessions_subject (id, workspace_id, external_id, created_at, last_handle)
       select id, %(workspace)s, 'other-' || n, now(), %(each)s from person""",
    """create temp table known as
       select gen_random_uuid() as fact, gen_random_uuid() as version, person.id as subject, h as handle
       from person, generate_series(1, %(each)s::int) h""",
    """insert into facts_fact (id, workspace_id, subject_id, type, entity, entity_key, attribute, handle, pinned,
         created_at)
       select fact, %(workspace)s, subject, 'constraint', 'topic', 'topic', 'detail_' || handle, handle, false, now()
       from known""",
    """insert into facts_factversion (id, workspace_id, fact_id, number, content, unit, mentions, confidence, source,
         extracted_by, written_with, special_category, findings, valid_from, created_at, status, status_at)
       select version, %(workspace)s, fact, 1, 'Something about word ' || handle || ' of somebody else', '', '{}', 1,
         'agent', '', '', '', '[]', now(), now(), 'current', now() from known""",
    """insert into search_posting (workspace_id, subject_id, kind, item, lexeme, frequency, length)
       select %(workspace)s, subject, 'fact', version, 'word' || (handle * 7 + n * n * 31) %% 500, 1, 8
       from known, generate_series(1, 8) n""",
    """insert into search_corpus (workspace_id, subject_id, kind, items, length)
       select %(workspace)s, id, 'fact', %(each)s, %(each)s * 8 from person""",
    """insert into search_vector (workspace_id, subject_id, kind, item, model, embedding)
       select %(workspace)s, subject, 'fact', version, 'minilm:all-MiniLM-L6-v2',
         l2_normalize(array(select random() - 0.5 + 0 * handle from generate_series(1, 384))::real[]::halfvec)
       from known""",
)


def asked(client: httpx.Client, message: str) -> float:
    """Milliseconds until the answer is read."""
    body = {"user_id": PERSON, "message": message, "session_id": "latency-now"}
    began = time.perf_counter()
    answer = client.post("/api/v1/working-memory", json=body)
    took = (time.perf_counter() - began) * 1000
    answer.raise_for_status()
    if not answer.json()["recall_id"]:
        raise SystemExit("Nothing was recorded as surfaced.")
    return took


def inside(at: Hub, messages: list[str]) -> dict[str, float]:
    """The mean milliseconds that each part of a request takes, in this process, on the hub's database."""
    join(at, THROTTLE_PER_MINUTE="1000000")
    from django.db import connection
    from django.test import Client

    import facts.retrieval.search as retrieval

    spent: dict[str, float] = defaultdict(float)

    def timed(part: str, call: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(call)
        def measured(*args: Any, **kwargs: Any) -> T:
            with clock(part):
                return call(*args, **kwargs)

        return measured

    @contextmanager
    def clock(part: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        spent[part] += time.perf_counter() - began

    def statement(execute: Callable[..., T], sql: str, params: Any, many: bool, context: Any) -> T:
        writes = sql.lstrip()[:6].upper() == "INSERT"
        part = "audit" if 'INTO "audit_' in sql else "recall written" if writes else "SQL, reading"
        with clock(part):
            return execute(sql, params, many, context)

    retrieval.embed_query = timed("embedding", retrieval.embed_query)
    retrieval.scan = timed("SQL, scanning", retrieval.scan)
    client = Client(headers={"authorization": f"Bearer {at.key}"}, SERVER_NAME="localhost")
    total = 0.0
    with connection.execute_wrapper(statement):
        for number, message in enumerate(messages):
            if number == WARM:
                spent.clear()
                total = 0.0
            body = {"user_id": PERSON, "message": message, "session_id": "latency-now"}
            began = time.perf_counter()
            answer = client.post("/api/v1/working-memory", body, content_type="application/json")
            total += time.perf_counter() - began
            if answer.status_code != 200:
                raise SystemExit(f"In this process the answer was {answer.status_code}: {answer.content[:300]!r}")
    connection.close()
    count = len(messages) - WARM
    parts = {name: seconds * 1000 / count for name, seconds in sorted(spent.items())}
    return parts | {"framework, ranking, JSON": total * 1000 / count - sum(parts.values())}


def megabytes(at: Hub) -> float:
    """The memory of `up` and everything under it; what processes share is counted once."""
    parent = psutil.Process(at.pid)
    total = 0
    for process in (parent, *parent.children(recursive=True)):
        # Autovacuum workers and connections come and go.
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6


if __name__ == "__main__":
    main()
