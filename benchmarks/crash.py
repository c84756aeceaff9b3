"""Nothing accepted is lost: turns are written while parts of the hub are killed, again and again.

    python -m benchmarks.crash [--kills 60] [--small]

Writers record turns over HTTP, each turn with an id of its own, and repeat a request that got no answer until it gets
one. Meanwhile web server, web worker, queue worker, indexer, database and database backends are killed with SIGKILL,
one at a time, each after the hub has recovered from the last. At the end the turns are read from the database by SQL.

Promise: every turn that was answered with 2xx is there, once, with the content that was sent; and what waited for its
vectors got them.
"""

import argparse
import hashlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import psutil
import psycopg

from benchmarks.harness import Hub, add_hub_arguments, finish, hub, owner_dsn, print_table, wait_until_indexed

WRITERS, SMALL_KILLS, KILLS = 3, 7, 60
RECOVERS_WITHIN = 60.0  # seconds
TARGETS = ("web", "web worker", "queue", "indexer", "database", "backend", "database")


@dataclass
class Ledger:
    """What the writers were told: (session, turn id) → digest of the content of each acknowledged turn."""

    acknowledged: dict[tuple[str, str], str] = field(default_factory=dict)
    repeats: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=1)
    add_hub_arguments(parser)
    arguments = parser.parse_args()
    if arguments.url:
        parser.error("this benchmark kills the hub it measures: it starts its own")
    kills = SMALL_KILLS if arguments.small else arguments.kills
    chance = random.Random(arguments.seed)
    killed: Counter[str] = Counter()
    ledger = Ledger()
    stop = threading.Event()
    with hub(arguments) as at:
        writers = [threading.Thread(target=write, args=(at, number, ledger, stop)) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        slowest = 0.0
        for number in range(kills):
            written = len(ledger.acknowledged)
            target = TARGETS[number % len(TARGETS)]
            kill(at, target, chance)
            killed[target] += 1
            slowest = max(slowest, recovered(at, ledger, written))
        stop.set()
        for writer in writers:
            writer.join()
        wait_until_indexed(at)
        lost, doubled, changed, unknown = examine(at, ledger)
    print_table(("killed", "times"), sorted(killed.items()))
    print_table(("refused with", "times"), sorted(ledger.refused.items()))
    finish(
        not (lost or doubled or changed or unknown) and sum(killed.values()) == kills and not ledger.refused,
        f"{kills} kills, {len(ledger.acknowledged)} turns acknowledged, {ledger.repeats} requests repeated; "
        f"lost {lost}, doubled {doubled}, changed {changed}, out of order {unknown}; slowest recovery {slowest:.1f} s",
    )


def write(at: Hub, number: int, ledger: Ledger, stop: threading.Event) -> None:
    """Record turns of one person, session after session, until told to stop."""
    count = 0
    with httpx.Client(base_url=at.url, headers=at.headers, timeout=20) as client:
        while not stop.is_set():
            session_id = f"crash-{number}-{count // 40}"
            turns = []
            for _ in range(1 + count % 3):
                content = f"Turn {count} of writer {number}: {random.getrandbits(64):x}"  # noqa: S311 - not a secret
                turns.append({"role": "user", "id": f"{number}-{count}", "content": content})
                count += 1
            send(client, f"crash-{number}", session_id, turns, ledger)


def send(client: httpx.Client, user_id: str, session_id: str, turns: list[dict[str, str]], ledger: Ledger) -> None:
    """Send until there is an answer. A turn that was sent once is sent until it is acknowledged."""
    while True:
        try:
            answer = client.post(f"/api/v1/sessions/{session_id}/turns", json={"user_id": user_id, "turns": turns})
        except httpx.TransportError:
            pass
        else:
            if answer.is_success:
                with ledger.lock:
                    for turn in turns:
                        digest = hashlib.sha256(turn["content"].encode()).hexdigest()
                        ledger.acknowledged[session_id, turn["id"]] = digest
                return
            if answer.status_code < 500:
                with ledger.lock:
                    ledger.refused[f"{answer.status_code} {answer.text[:120]}"] += 1
                return
        with ledger.lock:
            ledger.repeats += 1
        time.sleep(0.05)


def kill(at: Hub, target: str, chance: random.Random) -> None:
    """SIGKILL one process of the kind, waiting until there is one."""
    deadline = time.monotonic() + RECOVERS_WITHIN
    while time.monotonic() < deadline:
        if victims := processes(at, target):
            chance.choice(victims).kill()
            return
        time.sleep(0.05)
    raise SystemExit(f"There is no {target} to kill.")


def processes(at: Hub, target: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(at.pid).children(recursive=True):
        try:
            command, parent = " ".join(process.cmdline()), " ".join(process.parent().cmdline())
        except (psutil.Error, AttributeError):
            continue
        kind = {
            "web": "gunicorn" in command and "gunicorn" not in parent,
            "web worker": "gunicorn" in command and "gunicorn" in parent,
            "queue": "qcluster" in command and "qcluster" not in parent,
            "indexer": "manage.py indexer" in command,
            "database": "postgres -D" in command or "/postgres" in command.split(" ")[0],
            "backend": command.startswith("postgres: memoryhub "),
        }[target]
        if kind:
            found.append(process)
    return found


def recovered(at: Hub, ledger: Ledger, written: int) -> float:
    """Seconds until the hub has taken ten more turns than `written`."""
    began = time.monotonic()
    while time.monotonic() - began < RECOVERS_WITHIN:
        if len(ledger.acknowledged) >= written + 10:
            return time.monotonic() - began
        time.sleep(0.02)
    raise SystemExit(f"The hub has taken no turn for {RECOVERS_WITHIN:.0f} s after a kill.")


def examine(at: Hub, ledger: Ledger) -> tuple[int, int, int, int]:
    """What the database holds against what was acknowledged: (lost, doubled, changed, sessions with gaps)."""
    if at.data_dir is None:
        raise SystemExit("The data directory is not known.")
    with psycopg.connect(owner_dsn(at)) as connection:
        rows = connection.execute(
            "select s.external_id, t.client_id, t.text from memory_sessions_turn t "
            "join memory_sessions_session s on s.id = t.session_id"
        ).fetchall()
        gaps = connection.execute(
            "select count(*) from (select session_id from memory_sessions_turn group by session_id "
            "having max(index) + 1 <> count(*)) g"
        ).fetchone()
    there = Counter((session, turn) for session, turn, _ in rows)
    digests = {(session, turn): hashlib.sha256(text.encode()).hexdigest() for session, turn, text in rows}
    lost = sum(key not in there for key in ledger.acknowledged)
    doubled = sum(count > 1 for count in there.values())
    changed = sum(digests.get(key, digest) != digest for key, digest in ledger.acknowledged.items())
    return lost, doubled, changed, gaps[0] if gaps else 0


if __name__ == "__main__":
    main()
