"""Sealing under load: is anything lost or forked by kills, what does it cost the writers, how late is it?

    python -m benchmarks.sealing [--small]

1. 16 writers append entries while sealer, database and database backends are killed (SIGKILL) at random. At the end the
   whole log is verified, and every leaf that a writer was told after its commit is looked for among the sealed.
2. One busy workspace: rows inserted into the log by 4 connections, in turns with sealing (queue and sealer) and without
   any (trigger off, sealer stopped).
3. 500 entries a second: the time from each entry to the checkpoint over it.
"""

import argparse
import bisect
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psutil
import psycopg

from benchmarks import crash
from benchmarks.harness import Hub, add_hub_arguments, finish, hub, join, owner_dsn, print_table

WRITERS, RECEIPTS = 16, 200
RATIO, RATE, LAG = 0.7, 500, 2.0
KILLED = ("sealer", "database", "sealer", "backend")
SEALS_WITHIN = 120.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_hub_arguments(parser)
    arguments = parser.parse_args()
    if arguments.url:
        parser.error("this benchmark kills the hub it measures: it starts its own")
    appends, rounds, each, seconds = (4_000, 2, 3.0, 10)
    if not arguments.small:
        appends, rounds, each, seconds = (100_000, 5, 10.0, 120)
    with hub(arguments, environment={"EMBEDDER": "none", "AUDIT_VERIFY_HOURS": "0"}) as at:
        join(at, EMBEDDER="none")
        killed, told, lost, verdict, took = append_and_kill(at, appends)
        late, rate = lateness(at, seconds)
        on, off = cost(at, rounds, each)
    print_table(("killed", "times"), sorted(killed.items()))
    p50, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
    print_table(("one busy workspace", "inserts/s"), [("with sealing", f"{on:.0f}"), ("without any", f"{off:.0f}")])
    finish(
        not lost and verdict == "OK" and told >= appends and on >= RATIO * off and p99 <= LAG and rate >= 0.95 * RATE,
        f"{told} appends by {WRITERS} writers, {sum(killed.values())} kills: {lost} receipts lost, {verdict}, "
        f"checked in {took:.1f} s; inserts with sealing {on / off:.2f} of without (at least {RATIO}); "
        f"sealed after {p50:.2f} s (p50), {p99:.2f} s (p99, at most {LAG:.0f}) at {rate:.0f} entries/s",
    )


def append_and_kill(at: Hub, appends: int) -> tuple[Counter[str], int, int, str, float]:
    """What was killed, how many leaves the writers were told, how many of them are lost, verdict, seconds to it."""
    from django.db import Error, connections

    from audit.actors import Actor
    from audit.sealing.log import DatabaseLog
    from audit.sealing.models import Sealed
    from audit.sealing.verifying import expected
    from audit.services import receipt, record
    from audit.verify import check
    from memoryhub.core.tenancy import in_workspace

    workspace_id = new_workspace("kills")
    leaves: set[bytes] = set()
    receipts: list[str] = []
    lock, stop = threading.Lock(), threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - how many entries
        while not stop.is_set():
            count = chance.randrange(1, 12)
            try:
                with in_workspace(workspace_id):
                    actor = Actor.command("benchmark")
                    made = [record(actor, "request.noted", workspace_id=workspace_id) for _ in range(count)]
            except Error:
                # Not acknowledged: it may be there or not.
                connections.close_all()
                time.sleep(0.05)
                continue
            with lock:
                leaves.update(bytes(one.leaf) for one in made)
                if len(receipts) < RECEIPTS:
                    receipts.append(receipt(made[0]))
                if len(leaves) >= appends:
                    stop.set()
        connections.close_all()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for one in writers:
        one.start()
    killed: Counter[str] = Counter()
    chance = random.Random(1)  # noqa: S311 - when what is killed
    while not stop.wait(chance.uniform(0.2, 3.0)):
        target = KILLED[sum(killed.values()) % len(KILLED)]
        killed[target] += kill(at, target, chance)
    for one in writers:
        one.join()
    wait_until_sealed(at, workspace_id)
    connections.close_all()  # of before the last kill
    with in_workspace(workspace_id):
        kept = {bytes(leaf) for leaf in Sealed.objects.values_list("leaf", flat=True).iterator(chunk_size=10_000)}
    with in_workspace(workspace_id):
        report = check(DatabaseLog(workspace_id), all_signatures=True, expect=expected(workspace_id), receipts=receipts)
    for finding in report.findings:
        print(f"{finding.verdict}: {finding.where}")
    began = time.monotonic()
    with in_workspace(workspace_id):
        check(DatabaseLog(workspace_id))
    return killed, len(leaves), len(leaves - kept), report.verdict, time.monotonic() - began


def kill(at: Hub, target: str, chance: random.Random) -> int:
    """SIGKILL a process of the kind; 0 when there is none just now."""
    victims = sealers(at) if target == "sealer" else crash.processes(at, target)
    if not victims:
        return 0
    chance.choice(victims).kill()
    return 1


def sealers(at: Hub) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(at.pid).children(recursive=True):
        try:
            if "manage.py sealer" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until_sealed(at: Hub, workspace_id: UUID) -> None:
    deadline = time.monotonic() + SEALS_WITHIN
    while time.monotonic() < deadline:
        try:
            with psycopg.connect(owner_dsn(at), autocommit=True) as owner:
                query = "select count(*) from audit_pending where workspace_id = %s"
                if not owner.execute(query, [workspace_id]).fetchone()[0]:  # type: ignore[index]
                    return
        except psycopg.OperationalError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"Entries still wait to be sealed after {SEALS_WITHIN:.0f} s.")


def cost(at: Hub, rounds: int, seconds: float) -> tuple[float, float]:
    """Inserts a second with sealing and without any, in turns, so that both have the same machine."""
    workspace_id = new_workspace("busy")
    done: Counter[bool] = Counter()
    for turn in range(2 * rounds):
        sealing = turn % 2 == (turn // 2) % 2
        if sealing:
            done[True] += _insert(at, workspace_id, seconds, pause=lambda: None)
        else:
            with no_sealing(at):
                done[False] += _insert(at, workspace_id, seconds, pause=lambda: None)
        wait_until_sealed(at, workspace_id)
    return done[True] / (rounds * seconds), done[False] / (rounds * seconds)


@contextmanager
def no_sealing(at: Hub) -> Iterator[None]:
    """No trigger that queues entries, and no sealer. What is written meanwhile is never sealed."""
    stopped = sealers(at)
    with psycopg.connect(owner_dsn(at), autocommit=True) as owner:
        owner.execute("alter table audit_entry disable trigger audit_entry_queued")
        for one in stopped:
            one.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            owner.execute("alter table audit_entry enable trigger audit_entry_queued")
            for one in stopped:
                one.send_signal(signal.SIGCONT)


def lateness(at: Hub, seconds: float) -> tuple[list[float], float]:
    """For each entry the seconds until a checkpoint covered it, sorted; and the entries a second that were written."""
    workspace_id = new_workspace("steady")
    gap = 4 / RATE
    due = threading.local()

    def pause() -> None:
        due.at = max(getattr(due, "at", time.monotonic()) + gap, time.monotonic() - 1.0)
        time.sleep(max(due.at - time.monotonic(), 0.0))

    written = _insert(at, workspace_id, seconds, pause=pause)
    wait_until_sealed(at, workspace_id)
    with psycopg.connect(owner_dsn(at)) as owner:
        checkpoints = owner.execute(
            "select size, extract(epoch from at)::float8 from audit_checkpoint where workspace_id = %s order by number",
            [workspace_id],
        ).fetchall()
        entries = owner.execute(
            "select s.position, extract(epoch from e.at)::float8 from audit_sealed s join audit_entry e on e.id = "
            "s.entry_id where s.workspace_id = %s",
            [workspace_id],
        ).fetchall()
    sizes = [size for size, _ in checkpoints]
    late = sorted(checkpoints[bisect.bisect_right(sizes, position)][1] - begun for position, begun in entries)
    return late, written / seconds


def _insert(at: Hub, workspace_id: UUID, seconds: float, *, pause: Callable[[], None]) -> int:
    """Rows that 4 connections insert, one a transaction, as the role the hub runs as."""
    from django.db import connections

    from memoryhub.core.ids import uuid7

    options = connections["default"].settings_dict
    until, counts = time.monotonic() + seconds, []

    def write() -> None:
        made = 0
        with psycopg.connect(
            host=options["HOST"], port=options["PORT"] or None, user=options["USER"], dbname=options["NAME"],
            autocommit=True,
        ) as one:  # fmt: skip
            one.execute("select set_config('mh.workspace', %s, false)", [str(workspace_id)])
            while time.monotonic() < until:
                one.execute(INSERT, [uuid7(), workspace_id, os.urandom(32)])
                made += 1
                pause()
        counts.append(made)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


INSERT = """
insert into audit_entry (id, workspace_id, at, actor_kind, actor_id, credential, action, object_kind, object_id,
    request_id, outcome, reason, data, schema, leaf)
values (%s, %s, clock_timestamp(), 'command', 'benchmark', '', 'request.noted', '', '', '', 'ok', '',
    '{"request_id": "0199f6a1-3bff-7000-8000-0000000000cc"}', 1, %s)
"""


def new_workspace(slug: str) -> UUID:
    from audit.actors import Actor
    from memoryhub.access.services import workspace_create

    made: Any = workspace_create(slug=slug, name=slug, actor=Actor.command("benchmark"))
    return UUID(str(made.pk))


if __name__ == "__main__":
    main()
