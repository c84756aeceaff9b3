"""Nothing said is lost: conversations are read for facts while the model fails and the workers are killed.

    python -m benchmarks.extraction [--windows 1000] [--small]

A loopback server stands in for Claude and answers after 300 ms with what our patterns find, so that every run states
the same facts. Three parts, each over a hub of its own:

1. Throughput and reference: every window is read by two worker processes without faults.
2. Posting: requests that record turns for an agent that is extracted from and for one that is not, in turn.
3. Faults: the same conversations; 30 % of the calls fail in every way there is, and every few seconds a worker is
   killed while it reads, until each window is done or dead. Then the faults end, the dead letters are replayed over the
   API, and the facts are compared with those of the first part.

Promises: at least 30 windows a second; posting costs at most 10 % more; every window ends done or as a dead letter with
a cause; after the replay all are done, the facts are those of the first part, and nothing is there twice.
"""

import argparse
import contextlib
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from benchmarks.harness import Hub, finish, join, own_hub, owner_dsn, print_table
from benchmarks.loopback_claude import KEY, LoopbackClaude, Step, always, faults

WINDOWS, SMALL = 1_000, 60
SESSIONS_A_PERSON = 2
LATENCY = 0.3  # seconds
RATE = 0.3
KILL_EVERY = 3.0  # seconds
WORKERS, AT_ONCE = 2, 18
POSTS, SMALL_POSTS = 300, 60
LEAST_PER_SECOND, MOST_DEARER = 30.0, 1.10
SETTLES_WITHIN = 600.0
TIMEOUT, LEASE = 2.0, 300.0

FAULTS = (
    Step("rate_limited", retry_after=1),
    "overloaded",
    "server_error",
    "unavailable",
    "gateway_timeout",
    "bad_gateway",
    "broken_body",
    "html",
    "not_json",
    "schema_violating",
    "truncated",
    "refusal",
    "empty",
    Step("slow", seconds=TIMEOUT + 1),
    "reset",
    "hang_up",
    Step("refused", seconds=0.3),
)
CITIES = ("Ghent", "Lyon", "Turin", "Graz", "Porto", "Malmo", "Cork", "Bergen", "Leeds", "Basel")
DRINKS = ("green tea", "black coffee", "tap water", "oat milk", "orange juice")

FACTS = """
select s.external_id, f.type, f.entity_key, f.attribute, v.content, v.value, v.unit, v.status,
       array_agg(t.text order by t.text)
  from facts_factversion v
  join facts_fact f on f.id = v.fact_id
  join memory_sessions_subject s on s.id = f.subject_id
  left join facts_evidence e on e.version_id = v.id
  left join memory_sessions_turn t on t.id = e.turn_id
 group by v.id, f.id, s.id
"""


@dataclass(frozen=True)
class Conversation:
    """One session, which is one window. Each turn was said at a moment that is the same in every run."""

    user: str
    session: str
    turns: tuple[dict[str, str], ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="a reduced size, as CI runs it; the speed is told only")
    arguments = parser.parse_args()
    count = arguments.windows or (SMALL if arguments.small else WINDOWS)
    conversations = list(talk(count))
    chance = random.Random(arguments.seed)
    with LoopbackClaude(latency=LATENCY) as claude:
        with own(claude) as at:
            reference, speed = undisturbed(at, conversations)
            print(f"Without faults: {speed:.1f} windows a second.", flush=True)
            dearer, on_ms, off_ms = posting(at, SMALL_POSTS if arguments.small else POSTS)
            print(f"Posting: {on_ms:.1f} ms read from, {off_ms:.1f} ms not.", flush=True)
        with own(claude) as at:
            disturbed = disturb(at, claude, conversations, chance, seed=arguments.seed)
    same = disturbed.facts == reference
    if not same:
        show_difference(reference, disturbed.facts)
    print_table(("ended with", "windows"), sorted(disturbed.causes.items()))
    print_table(
        ("figure", "value"),
        [
            ("windows a second, two workers", f"{speed:.1f}"),
            ("posting, extracted from / not", f"{on_ms:.1f} / {off_ms:.1f} ms (median), ratio {dearer:.3f}"),
            ("calls, of which failed", f"{disturbed.calls}, {disturbed.failed}"),
            ("workers killed", disturbed.kills),
            ("dead letters before the replay", disturbed.dead),
            ("facts", sum(reference.values())),
        ],
    )
    holds = (
        (arguments.small or speed >= LEAST_PER_SECOND)
        and (arguments.small or dearer <= MOST_DEARER)
        and disturbed.unsettled == 0
        and disturbed.without_cause == 0
        and disturbed.left == 0
        and disturbed.doubled == 0
        and disturbed.kills >= (1 if arguments.small else 5)
        and same
    )
    finish(
        holds,
        f"{count} windows, {disturbed.failed} of {disturbed.calls} calls failed, {disturbed.kills} workers killed: "
        f"{disturbed.dead} dead letters, {disturbed.without_cause} without a cause, {disturbed.unsettled} unsettled; "
        f"after the replay {disturbed.left} not done, {disturbed.doubled} doubled, facts "
        f"{'equal' if same else 'DIFFER'}; {speed:.1f} windows/s; posting x {dearer:.3f}",
    )


def talk(count: int) -> Iterator[Conversation]:
    """Conversations in which something is stated; each person's later one changes what the earlier one said."""
    for number in range(count):
        person, session = divmod(number, SESSIONS_A_PERSON)
        day = f"2026-03-{1 + session:02d}T{number % 24:02d}:{number % 60:02d}"
        said = (
            f"I prefer {DRINKS[person % len(DRINKS)]}.",
            f"My budget is ${100 + person * 10 + session * 5}.",
            f"I live in {CITIES[(person + session) % len(CITIES)]}.",
        )
        turns = []
        for place, text in enumerate(said):
            turns.append({"role": "user", "content": text, "timestamp": f"{day}:{place * 2:02d}Z"})
            turns.append({"role": "assistant", "content": "Noted.", "timestamp": f"{day}:{place * 2 + 1:02d}Z"})
        yield Conversation(f"person-{person}", f"talk-{person}-{session}", tuple(turns))


@contextlib.contextmanager
def own(claude: LoopbackClaude) -> Iterator[Hub]:
    """A hub whose workers ask the loopback server, and this process as one of its own."""
    environment = {
        "EXTRACTOR": "claude",
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": claude.url,
        "EXTRACTOR_WORKERS": str(WORKERS),
        "EXTRACT_CONCURRENCY": str(AT_ONCE),
        "EXTRACT_TIMEOUT": str(TIMEOUT),
        "EXTRACT_LEASE_SECONDS": str(LEASE),
        "EXTRACT_AFTER_IDLE_SECONDS": "36000",
        "EXTRACT_MAX_ATTEMPTS": "4",
        "EXTRACT_BACKOFF_SECONDS": "0.2",
        "EXTRACT_BACKOFF_MAX_SECONDS": "2",
        "EXTRACT_BREAKER_SECONDS": "0.5",
        "EMBEDDER": "none",
        "LOG_LEVEL": "ERROR",
    }
    with tempfile.TemporaryDirectory(prefix="memoryhub-") as directory:
        Path(directory).chmod(0o755)  # noqa: S103 - the database server may run as another user
        with own_hub(Path(directory), environment) as at:
            point_at(at, environment)
            yield at


def point_at(at: Hub, environment: dict[str, str]) -> None:
    """Make this process one of the hub's own; of the second hub too."""
    from django.apps import apps

    if not apps.ready:
        join(at, **environment)
    from django.conf import settings
    from django.db import connections

    from memoryhub.core.postgres import connection_settings

    if at.data_dir is None:
        raise SystemExit("This benchmark starts its own hubs.")
    connections.close_all()
    for alias, role in (("default", "memoryhub"), ("owner", "memoryhub_owner")):
        connections.settings[alias].update(connection_settings(at.data_dir, role))
    settings.DATA_DIR = at.data_dir


def record(at: Hub, conversations: list[Conversation]) -> None:
    with httpx.Client(base_url=at.url, headers=at.headers, timeout=60) as client, ThreadPoolExecutor(4) as pool:

        def send(mine: list[Conversation]) -> None:
            for one in mine:
                answer = client.post(
                    f"/api/v1/sessions/{one.session}/turns", json={"user_id": one.user, "turns": list(one.turns)}
                )
                answer.raise_for_status()

        people: dict[str, list[Conversation]] = {}
        for one in conversations:
            people.setdefault(one.user, []).append(one)
        list(pool.map(send, people.values()))


def let_all_be_due(at: Hub) -> None:
    with psycopg.connect(owner_dsn(at), autocommit=True) as connection:
        connection.execute("update memory_sessions_session set extract_due_at = now() where extract_due_at is not null")


def states(at: Hub) -> Counter[str]:
    with psycopg.connect(owner_dsn(at)) as connection:
        rows = connection.execute("select state, count(*) from facts_extraction group by state").fetchall()
    return Counter(dict(rows))


def wait_until_settled(at: Hub, count: int) -> bool:
    """Whether every window is done or dead within the time there is."""
    deadline = time.monotonic() + SETTLES_WITHIN
    while time.monotonic() < deadline:
        now = states(at)
        if now["done"] + now["dead"] == count:
            return True
        time.sleep(0.2)
    return False


def facts_of(at: Hub) -> Counter[Any]:
    """Every version there is, with its status and all its evidence.

    Its number and the date it holds from are those of the statement that was read first: they depend on the order.
    """
    with psycopg.connect(owner_dsn(at)) as connection:
        return Counter((*row[:-1], tuple(row[-1])) for row in connection.execute(FACTS).fetchall())


def undisturbed(at: Hub, conversations: list[Conversation]) -> tuple[Counter[Any], float]:
    """The facts, and windows a second from the first that was done to the last."""
    record(at, conversations)
    let_all_be_due(at)
    if not wait_until_settled(at, len(conversations)):
        raise SystemExit(f"Not settled without any fault: {dict(states(at))}")
    with psycopg.connect(owner_dsn(at)) as connection:
        row = connection.execute(
            "select count(*) filter (where state = 'done'), extract(epoch from max(finished_at) - min(finished_at))"
            " from facts_extraction"
        ).fetchone()
    if row is None or row[0] != len(conversations):
        raise SystemExit(f"Not all done without any fault: {dict(states(at))}")
    return facts_of(at), (row[0] - 1) / float(row[1])


def posting(at: Hub, posts: int) -> tuple[float, float, float]:
    """(ratio, ms, ms): the median request of an agent that is extracted from, against one that is not, in turn.

    Each of its conversations is read meanwhile, once it has grown by as many turns as is usual.
    """
    quiet = another_key(at)
    times: dict[str, list[float]] = {"on": [], "off": []}
    with httpx.Client(base_url=at.url, timeout=60) as client:
        for number in range(posts + 10):
            order = ("on", "off") if number % 2 else ("off", "on")
            for which in order:
                key = at.key if which == "on" else quiet
                turns = [
                    {"role": "user", "content": f"I prefer tea number {number}."},
                    {"role": "assistant", "content": "Noted."},
                ]
                began = time.perf_counter()
                answer = client.post(
                    f"/api/v1/sessions/post-{which}-{number // 10}/turns",
                    json={"user_id": f"{which}-{number // 10}", "turns": turns},
                    headers={"Authorization": f"Bearer {key}"},
                )
                answer.raise_for_status()
                if number >= 10:
                    times[which].append((time.perf_counter() - began) * 1000)
    on, off = statistics.median(times["on"]), statistics.median(times["off"])
    return on / off, on, off


def another_key(at: Hub) -> str:
    """A key of an agent whose turns are kept and not read for facts."""
    from audit.actors import Actor
    from memoryhub.access.models import MemoryMode, Workspace
    from memoryhub.access.services import agent_get_or_create, key_create
    from memoryhub.core.tenancy import in_workspace

    workspace = Workspace.objects.get(slug="default")
    actor = Actor.command("benchmark")
    with in_workspace(workspace.id):
        agent = agent_get_or_create(workspace_id=workspace.id, name="quiet", actor=actor, mode=MemoryMode.EPISODIC)
        return key_create(agent=agent, actor=actor).secret


@dataclass
class Disturbed:
    """What the third part came to."""

    facts: Counter[Any]
    causes: Counter[str]
    calls: int
    failed: int
    kills: int
    dead: int
    unsettled: int
    without_cause: int
    left: int
    doubled: int


def disturb(
    at: Hub, claude: LoopbackClaude, conversations: list[Conversation], chance: random.Random, *, seed: int
) -> Disturbed:
    count = len(conversations)
    record(at, conversations)
    drawn = faults(seed=seed, rate=RATE, steps=FAULTS)
    calls: Counter[str] = Counter()

    def behave(received: Any, time_asked: int) -> Step:
        step = drawn(received, time_asked)
        calls[step.kind] += 1
        return step

    claude.behave = behave
    stop = threading.Event()
    kills: list[int] = []
    killer = threading.Thread(target=keep_killing, args=(at, stop, chance, kills))
    let_all_be_due(at)
    killer.start()
    settled = wait_until_settled(at, count)
    stop.set()
    killer.join()
    with psycopg.connect(owner_dsn(at)) as connection:
        ended = connection.execute("select state, error, count(*) from facts_extraction group by 1, 2").fetchall()
    causes = Counter({f"{state} {error}".strip(): number for state, error, number in ended})
    dead = sum(number for state, _, number in ended if state == "dead")
    claude.behave = always("good")
    replay_all(at)
    wait_until_settled(at, count)
    after = states(at)
    return Disturbed(
        facts=facts_of(at),
        causes=causes,
        calls=calls.total(),
        failed=calls.total() - calls["good"],
        kills=len(kills),
        dead=dead,
        unsettled=0 if settled else count - after["done"] - after["dead"],
        without_cause=sum(number for state, error, number in ended if state == "dead" and not error),
        left=count - after["done"],
        doubled=doubled(at),
    )


def keep_killing(at: Hub, stop: threading.Event, chance: random.Random, kills: list[int]) -> None:
    """SIGKILL a worker every few seconds, at some moment of its work.

    Not before it has begun: a worker that is killed each time it starts would show nothing but that.
    """
    while not stop.wait(KILL_EVERY):
        while not (victims := reading(at)):
            if stop.wait(0.05):
                return
        victim = chance.choice(victims)
        stop.wait(chance.uniform(0, 2 * KILL_EVERY))
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
            kills.append(victim.pid)


def reading(at: Hub) -> list[psutil.Process]:
    """The workers that hold windows now, and not only because one of their name died with them."""
    with psycopg.connect(owner_dsn(at)) as connection:
        rows = connection.execute(
            "select leased_by, extract(epoch from max(leased_until)) from facts_extraction"
            " where state = 'running' and leased_until > now() group by 1"
        ).fetchall()
    claimed_at = {name.rpartition(":")[2]: float(until) - LEASE for name, until in rows}
    found = []
    for process in psutil.Process(at.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            names = claimed_at.keys() & set(process.cmdline())
            if any(process.create_time() < claimed_at[name] for name in names):
                found.append(process)
    return found


def replay_all(at: Hub) -> None:
    """Over the API, as an operator would."""
    answer = httpx.post(
        f"{at.url}/api/v1/dead-letters/replay", json={"all": True}, headers={"Authorization": f"Bearer {manager(at)}"}
    )
    answer.raise_for_status()


def manager(at: Hub) -> str:
    """A key that may replay."""
    from audit.actors import Actor
    from memoryhub.access.models import Scope, Workspace
    from memoryhub.access.services import agent_get_or_create, key_create
    from memoryhub.core.tenancy import in_workspace

    workspace = Workspace.objects.get(slug="default")
    actor = Actor.command("benchmark")
    with in_workspace(workspace.id):
        agent = agent_get_or_create(workspace_id=workspace.id, name="manager", actor=actor)
        return key_create(agent=agent, actor=actor, scopes=[Scope.EXTRACTIONS_MANAGE]).secret


def doubled(at: Hub) -> int:
    """Equal versions of one fact, equal facts of one person, windows that share a turn, and windows done twice."""
    with psycopg.connect(owner_dsn(at)) as connection:
        return sum(
            int((connection.execute(f"select count(*) from ({query}) doubled").fetchone() or [0])[0])  # noqa: S608
            for query in (
                "select 1 from facts_factversion group by fact_id, content having count(*) > 1",
                "select 1 from facts_factversion v join facts_fact f on f.id = v.fact_id"
                " group by f.subject_id, f.type, f.entity_key, f.attribute, v.content having count(*) > 1",
                "select 1 from facts_extraction, unnest(indexes) turn group by session_id, turn having count(*) > 1",
                "select 1 from audit_entry where action = 'extraction.done' group by object_id having count(*) > 1",
            )
        )


def show_difference(reference: Counter[Any], found: Counter[Any]) -> None:
    for title, rows in (("missing", reference - found), ("unexpected", found - reference)):
        for row in list(rows)[:10]:
            print(f"{title}: {row}")


if __name__ == "__main__":
    main()
