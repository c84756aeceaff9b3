"""Does the check of the database notice whatever is done to a sealed log, as a superuser with the triggers off?

    python -m benchmarks.tampering [--small]

The log's first entries were pruned. Rows of entries, places, checkpoints, keys and prune records are altered, removed
and swapped at random, one harm at a time, each rolled back after the whole log was checked. Every tenth time nothing is
done: then there must be no alarm.
"""

# ruff: noqa: S608 - statements made of constants

import argparse
import random
import signal
from collections import Counter
from uuid import UUID

from benchmarks.harness import Hub, add_hub_arguments, finish, hub, join, print_table
from benchmarks.sealing import new_workspace, sealers, wait_until_sealed

TEXTS = ("actor_id", "credential", "action", "object_kind", "object_id", "request_id", "reason")
ENTRY = (*TEXTS, "at", "outcome", "subject_id", "session_id", "leaf")
TABLES = ("audit_entry", "audit_sealed", "audit_checkpoint", "audit_signingkey", "audit_prune")
KINDS = (
    "entry altered", "entry gone", "leaf altered", "mark altered", "place gone", "places swapped",
    "checkpoint altered", "subtrees altered", "checkpoint gone", "last checkpoint gone", "key altered",
    "prune altered", "prune gone",
)  # fmt: skip
VALUES = {
    "at": "at + interval '1 microsecond'",
    "outcome": "'denied'",
    "subject_id": "gen_random_uuid()",
    "session_id": "gen_random_uuid()",
    "action": "'request.viewed'",
    "number": "number + 1",
    "entries": "entries + 1",
    "size": "size + 1",
    "key": "reverse(key)",
    "signature": "%(b)s || %(b)s",
} | {name: f"{name} || 'x'" for name in TEXTS if name != "action"}
"""What a column is set to; else to 32 bytes of chance."""
AN_ENTRY = "(select id from audit_entry where workspace_id = %(w)s order by random() limit 1)"
A_PLACE = "(select entry_id from audit_sealed where workspace_id = %(w)s order by random() limit 1)"
LAST = "(select max(number) from audit_checkpoint where workspace_id = %(w)s)"
BEFORE = (
    f"(select number from audit_checkpoint where workspace_id = %(w)s and number < {LAST} order by random() limit 1)"
)
OF_CHECKPOINT = "where workspace_id = %(w)s and number ="
SIGNED = {
    "checkpoint altered": (
        "audit_checkpoint",
        ("size", "root", "previous", "marks", "sum", "at", "key", "signature"),
        f"{OF_CHECKPOINT} {BEFORE}",
    ),
    "prune altered": (
        "audit_prune",
        ("number", "size", "checkpoint", "entries", "at", "key", "signature"),
        "where workspace_id = %(w)s",
    ),
}
"""Signed rows: the table, what is altered of it, and which row."""
SWAP = """
update audit_sealed s set leaf = other.leaf, mark = other.mark from (
    with two as materialized (
        select entry_id, leaf, mark from audit_sealed where workspace_id = %(w)s order by random() limit 2)
    select a.entry_id, b.leaf, b.mark from two a join two b on a.entry_id <> b.entry_id) other
where s.entry_id = other.entry_id
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_hub_arguments(parser)
    arguments = parser.parse_args()
    if arguments.url:
        parser.error("this benchmark harms the log of the hub it measures: it starts its own")
    count = 300 if arguments.small else 12_000
    with hub(arguments, environment={"EMBEDDER": "none", "AUDIT_VERIFY_HOURS": "0"}) as at:
        join(at, EMBEDDER="none")
        done, wrong = mutations(at, count)
    print_table(("harm", "times"), sorted(done.items()))
    for one, times in Counter(wrong).most_common(10):
        print(f"wrong verdict: {one}, {times} times")
    alarms = sum(one.startswith("none") for one in wrong)
    harms = count - done["none"]
    finish(
        not wrong,
        f"{harms - len(wrong) + alarms} of {harms} harms to the database with the right verdict, {alarms} false "
        f"alarms in {done['none']} checks without harm",
    )


def mutations(at: Hub, count: int) -> tuple[Counter[str], list[str]]:
    """What was done how often, and what had another verdict than it has to have."""
    from django.db import connection, connections, transaction
    from django.db.backends.signals import connection_created

    from audit.sealing.log import DatabaseLog
    from audit.sealing.verifying import expected
    from audit.verify import check
    from memoryhub.core.postgres import SUPERUSER

    chance = random.Random(2)  # noqa: S311 - which harm
    workspace_id = _sealed_log(at, chance)
    # What stops is sealing and the queue of it: a harm must not be sealed while it is looked at.
    for one in sealers(at):
        one.send_signal(signal.SIGSTOP)
    connections.close_all()
    # The hub's processes refuse to work as such a role; what is checked here is what they say afterwards.
    connection_created.disconnect(dispatch_uid="memoryhub.unbound_role")
    connections["default"].settings_dict["USER"] = SUPERUSER
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"alter table {table} disable trigger user")
    done: Counter[str] = Counter()
    wrong = []
    for turn in range(count):
        kind, statement, right = harm(chance) if turn % 10 else ("none", "select 1", "PRUNED_OK")
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(statement, {"w": workspace_id, "b": chance.randbytes(32)})
                if statement != "select 1" and not cursor.rowcount:
                    raise SystemExit(f"Nothing was harmed: {kind}")
            verdict = check(DatabaseLog(workspace_id), expect=expected(workspace_id)).verdict
            transaction.set_rollback(True)
        done[kind] += 1
        if verdict != right:
            wrong.append(f"{kind}: {verdict} instead of {right}")
    connections.close_all()
    return done, wrong


def harm(chance: random.Random) -> tuple[str, str, str]:
    """What is done, as a statement, and the verdict that is right."""
    kind = chance.choice(KINDS)
    if kind == "entry altered":
        column = chance.choice(ENTRY)
        return f"{kind}: {column}", f"update audit_entry set {_changed(column)} where id = {AN_ENTRY}", "ALTERED"
    if kind in SIGNED:
        table, columns, which = SIGNED[kind]
        column = chance.choice(columns)
        return f"{kind}: {column}", f"update {table} set {_changed(column)} {which}", "BAD_SIGNATURE"
    statement, right = {
        "prune gone": ("delete from audit_prune where workspace_id = %(w)s", "MISSING"),
        "entry gone": (f"delete from audit_entry where id = {AN_ENTRY}", "MISSING"),
        "leaf altered": (f"update audit_sealed set leaf = %(b)s where entry_id = {A_PLACE}", "ALTERED"),
        "mark altered": (
            f"update audit_sealed set mark = substring(%(b)s for 16) where entry_id = {A_PLACE}",
            "ALTERED",
        ),
        "place gone": (f"delete from audit_sealed where entry_id = {A_PLACE}", "MISSING"),
        "places swapped": (SWAP, "REORDERED"),
        "subtrees altered": (
            "update audit_checkpoint set peaks = set_byte(peaks, 0, (get_byte(peaks, 0) + 1) %% 256) "
            f"{OF_CHECKPOINT} {BEFORE}",
            "ALTERED",
        ),
        "checkpoint gone": (f"delete from audit_checkpoint {OF_CHECKPOINT} {BEFORE}", "MISSING"),
        "last checkpoint gone": (f"delete from audit_checkpoint {OF_CHECKPOINT} {LAST}", "TRUNCATED"),
        "key altered": ("update audit_signingkey set public = %(b)s where purpose = 'checkpoints'", "BAD_SIGNATURE"),
    }[kind]
    return kind, statement, right


def _changed(column: str) -> str:
    return f"{column} = {VALUES.get(column, '%(b)s')}"


def _sealed_log(at: Hub, chance: random.Random) -> UUID:
    """A log of a handful of checkpoints over a few dozen entries."""
    from audit.actors import Actor
    from audit.sealing.models import Checkpoint
    from audit.sealing.pruning import prune
    from audit.sealing.services import seal_all
    from audit.services import record
    from memoryhub.core.ids import uuid7
    from memoryhub.core.tenancy import in_workspace

    workspace_id = new_workspace("harmed")
    for _ in range(6):
        with in_workspace(workspace_id):
            for _ in range(chance.randrange(2, 9)):
                record(Actor.command("benchmark"), "request.noted", subject=uuid7(), workspace_id=workspace_id)
        seal_all(workspace_id)
    wait_until_sealed(at, workspace_id)
    # The first entries are gone by the owner's own doing: that excuses nothing else.
    with in_workspace(workspace_id):
        third = Checkpoint.objects.get(workspace_id=workspace_id, number=3)
    if not prune(workspace_id=workspace_id, before=third.at, actor=Actor.command("benchmark")):
        raise SystemExit("Nothing was pruned.")
    wait_until_sealed(at, workspace_id)
    return workspace_id


if __name__ == "__main__":
    main()
