"""Erased means erased: out of every answer, page, table and file, for good, and nothing else is touched.

    python -m benchmarks.erasure [--people 500] [--erase 100] [--small]

People get texts of their own (canaries) in turns, tool results, names, metadata, facts, notes, messages that were asked
with, queued tasks and the messages of failed ones. Some of them are erased over the API while the hub runs. Then:

- no answer of the API, no page and no row of any table holds a canary of theirs;
- every row of everybody else is byte for byte what it was;
- after `purge_storage` no file of the data directory holds one, write-ahead log and server log included;
- an erasure killed (SIGKILL) at each of its steps is finished by the next run, with the same counts;
- a backup made before, put back afterwards, serves nothing of theirs;
- a fact that was erased is not brought back by `reextract`;
- of a person with 10,000 facts and 20,000 turns the counting takes at most 2 s, erasing and verifying 60 s.
"""

import argparse
import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import httpx
import psycopg

from benchmarks.harness import ROOT, Hub, finish, join, own_hub, print_table, wait_until_indexed
from memoryhub.core.postgres import OWNER, EmbeddedPostgres

PLAN_SECONDS, ERASE_SECONDS = 2.0, 60.0
MOST_PAGES = 250
ENVIRONMENT = {
    "EXTRACTOR": "patterns",
    "EXTRACT_AFTER_IDLE_SECONDS": "86400",
    "LOG_LEVEL": "INFO",
    # The daily check of a log would be a change that nobody made.
    "AUDIT_VERIFY_HOURS": "0",
}
UNRELATED = {
    "audit_pending",
    "access_keyusage",
    "access_cache",
    "django_session",
    "django_q_task",
    "django_q_ormq",
    "django_q_schedule",
    "access_user",
    "usersessions_usersession",
}
"""Tables that change because somebody calls, signs in or works, whoever is erased."""
NEW = (
    "audit_entry",
    "audit_sealed",
    "audit_checkpoint",
    "audit_erasure",
    "audit_tombstone",
    "facts_recall",
    "facts_recalleditem",
)


@dataclass
class Planted:
    user_id: str
    canary: str
    subject_id: UUID
    ids: set[str] = field(default_factory=set)


@dataclass
class Verdict:
    rows: list[tuple[str, str, bool]] = field(default_factory=list)

    def add(self, what: str, found: str, holds: bool) -> None:
        print(f"  {'ok  ' if holds else 'FAIL'} {what}: {found}", flush=True)
        self.rows.append((what, found, holds))

    @property
    def holds(self) -> bool:
        return all(holds for _, _, holds in self.rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--erase", type=int, default=100)
    parser.add_argument("--facts", type=int, default=10_000, help="of the one large person")
    parser.add_argument("--turns", type=int, default=20_000)
    parser.add_argument("--small", action="store_true", help="a reduced size, as CI runs it")
    parser.add_argument("--die", nargs=3, metavar=("WORKSPACE", "ERASURE", "STEP"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.die:
        die_at(*arguments.die)
        return
    if arguments.small:
        arguments.people, arguments.erase, arguments.facts, arguments.turns = 30, 6, 500, 1_000
    verdict = Verdict()
    with tempfile.TemporaryDirectory(prefix="memoryhub-") as directory:
        Path(directory).chmod(0o755)  # noqa: S103 - the database server may run as another user
        run(Path(directory), arguments, verdict)
    print_table(("what", "found", "holds"), [(w, f, "yes" if h else "NO") for w, f, h in verdict.rows])
    broken = [what for what, _, holds in verdict.rows if not holds]
    finish(verdict.holds, "; ".join(broken) or "; ".join(f"{what} {found}" for what, found, _ in verdict.rows[:5]))


def run(base: Path, arguments: argparse.Namespace, verdict: Verdict) -> None:
    data_dir, copy = base / "data", base / "backup"
    data_dir.mkdir(mode=0o755)
    with own_hub(data_dir, ENVIRONMENT) as at:
        password = (data_dir / "up.log").read_text().split("password")[1].split()[0]
        join(at, **ENVIRONMENT)
        people = plant(arguments.people)
        gone, kept = people[: arguments.erase], people[arguments.erase :]
        learned = plant_statement(at)
        big = plant_large(at, arguments.facts, arguments.turns)
        wait_until_indexed(at)
        verdict.add("planted", f"{hits(dump(at), people)} of {len(people)} people in the tables", True)
        manage(data_dir, "backup", str(copy))

        before = rows(at)
        began = time.perf_counter()
        erased = erase_over_api(at, gone)
        seconds = time.perf_counter() - began
        states = Counter(one["state"] for one in erased)
        verdict.add("erased over the API", f"{dict(states)} in {seconds:.0f} s", states == {"completed": len(gone)})
        certain = all(
            one["certificate"]["verification"]["left"] == 0 and one["planned"] == one["erased"] for one in erased
        )
        verdict.add("certificates", f"{len(erased)} with what was planned, erased and verified", certain)
        untouched(before, rows(at), gone, verdict)
        text = dump(at)
        verdict.add("rows with a canary of the erased", str(hits(text, gone)), hits(text, gone) == 0)
        verdict.add("people kept who are in the tables", str(hits(text, kept)), hits(text, kept) == len(kept))
        answers = api_answers(at, gone, kept)
        verdict.add("answers with one", f"{hits(answers, gone)} in {len(answers)} bytes", hits(answers, gone) == 0)
        pages, looked = crawl(at, password)
        verdict.add("pages with one", f"{hits(pages, gone)} in {looked} pages", hits(pages, gone) == 0 and looked > 20)
        killed(at, kept[:1], verdict)
        forgotten(at, data_dir, learned, verdict)
        large(at, big, verdict)
    everybody = [*gone, kept[0]]
    found = in_files(data_dir, everybody)
    verdict.add("people in files before purging", str(len(found)), True)
    manage(data_dir, "purge_storage")
    found = in_files(data_dir, everybody)
    verdict.add("people in files after purging", f"{len(found)} {sorted(set(found.values()))[:3]}", not found)
    control = in_files(data_dir, kept[1:])
    verdict.add("people kept who are in files", str(len(control)), len(control) == len(kept) - 1)

    manage(data_dir, "restore", str(copy))
    with again(data_dir) as url:
        back = Hub(url, at.key, data_dir)
        text = dump(back)
        verdict.add("rows after a backup was put back", str(hits(text, gone)), hits(text, gone) == 0)
        verdict.add("people kept in that backup", str(hits(text, kept)), hits(text, kept[1:]) == len(kept) - 1)
        answers = api_answers(back, gone, kept)
        verdict.add("answers after that", str(hits(answers, gone)), hits(answers, gone) == 0)


def plant(people: int) -> list[Planted]:
    """Everybody's canary in every place, by the hub's own services."""
    from django.utils import timezone
    from django_q.models import Task
    from django_q.tasks import async_task

    from audit import registry
    from audit.actors import Actor
    from facts.models import Fact, FactType, Source
    from facts.services import FactInput, fact_correct, facts_record
    from facts.working_memory import MemoryRequest, Viewpoint, working_memory
    from memoryhub.access.models import Agent, MemoryMode, Workspace
    from memoryhub.access.policy import WorkspacePolicy
    from memoryhub.core.tenancy import in_workspace
    from sessions.content import read_content
    from sessions.models import Subject, TurnRole
    from sessions.services import TurnInput, turns_record

    workspace = Workspace.objects.get(slug="default")
    with in_workspace(workspace.id):
        agent = Agent.objects.get(workspace=workspace, name="assistant")
    actor = Actor.agent(agent.id)
    view = Viewpoint(workspace.id, "english", actor, agent.id, MemoryMode.FULL, policy=WorkspacePolicy())
    planted = []
    for _ in range(people):
        word = f"canary{secrets.token_hex(8)}"
        user = f"{word}@example.org"
        with in_workspace(workspace.id):
            recorded = turns_record(
                workspace_id=workspace.id,
                agent_id=agent.id,
                session_id=f"chat-{word}",
                user_id=user,
                metadata={"channel": f"phone of {word}"},
                turns=[
                    TurnInput(TurnRole.USER, read_content(f"My boat is called {word}."), name=f"Skipper {word}"),
                    TurnInput(TurnRole.TOOL, read_content("Found."), tool_result={"rows": [f"berth of {word}"]}),
                    TurnInput(TurnRole.ASSISTANT, read_content(f"A fine name, {word}."), metadata={"about": word}),
                ],
                actor=actor,
            )
            subject = Subject.objects.get(external_id=user)
            [written] = facts_record(
                subject=subject,
                facts=[
                    FactInput(
                        FactType.ENTITY, f"boat {word}", f"The boat is called {word}", attribute="name",
                        mentions=(f"boat {word}",), turn=recorded.turns[0],
                    )
                ],
                actor=actor,
                agent_id=agent.id,
            )  # fmt: skip
            fact_correct(
                fact=Fact.objects.get(pk=written.version.fact_id), expected_version=1, source=Source.OPERATOR,
                content=f"The yacht is called {word}", note=f"They wrote to us about {word}",
                actor=Actor.command("plant"),
            )  # fmt: skip
            async_task("nowhere.at_all", {"user": user, "note": f"about {word}"}, q_options={"cluster": "nobody"})
            Task.objects.create(
                id=secrets.token_hex(16), name=f"task of {user}", func="nowhere.at_all", args=(str(subject.id),),
                success=False, result=f"ValueError: {user}: My boat is called {word}.", started=timezone.now(),
                stopped=timezone.now(),
            )  # fmt: skip
        working_memory(
            view=view,
            ask=MemoryRequest(
                user, f"What was the name, {word}?", f"later-{word}", refresh="session", score_threshold=0
            ),
        )
        with in_workspace(workspace.id):
            ids = {str(subject.id)}
            for store in registry.stores():
                if store.models:
                    for row in store.export(subject.id):
                        ids.add(str(row["row"].get("id", subject.id)))
        planted.append(Planted(user, word, subject.id, ids))
    return planted


def erase_over_api(at: Hub, people: list[Planted]) -> list[dict[str, Any]]:
    with httpx.Client(base_url=f"{at.url}/api/v1", headers=at.headers, timeout=60) as client:
        begun = []
        for one in people:
            plan = client.post(f"/subjects/{one.subject_id}/erasures/plan", json={}).raise_for_status().json()
            body = {"confirm": plan["confirm"], "reason": "subject_request"}
            answer = client.post(f"/subjects/{one.subject_id}/erasures", json=body).raise_for_status()
            begun.append(answer.json()["erasure_id"])
        return [ended(client, one) for one in begun]


def ended(client: httpx.Client, erasure_id: str, within: float = 900.0) -> dict[str, Any]:
    deadline = time.monotonic() + within
    while True:
        told: dict[str, Any] = client.get(f"/erasures/{erasure_id}").raise_for_status().json()
        if told["state"] in ("completed", "partial"):
            if told["state"] == "partial":
                print("  left:", told["certificate"]["verification"]["where"][:5])
            return told
        if time.monotonic() > deadline:
            sys.exit("An erasure does not end; giving up.")
        time.sleep(0.3)


def rows(at: Hub) -> dict[str, Counter[str]]:
    """Every row of every table, as text, as its owner sees it."""
    found: dict[str, Counter[str]] = {}
    with psycopg.connect(EmbeddedPostgres(at.data_dir or "").dsn(OWNER)) as connection:
        tables = connection.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1"
        ).fetchall()
        for (table,) in tables:
            found[table] = Counter(row[0] for row in connection.execute(f'select t::text from "{table}" t'))  # noqa: S608
    return found


def dump(at: Hub) -> str:
    return "\n".join(row for of_table in rows(at).values() for row in of_table)


def hits(text: str, people: Iterable[Planted]) -> int:
    """How many of the people's canaries stand in the text."""
    words = set(re.findall(r"canary[0-9a-f]{16}", text))
    return sum(one.canary in words for one in people)


def untouched(
    before: dict[str, Counter[str]], after: dict[str, Counter[str]], gone: list[Planted], verdict: Verdict
) -> None:
    """What went names somebody who was erased; what came is of the log and the erasures."""
    theirs = {one for person in gone for one in person.ids}
    uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
    changed = [
        (table, row)
        for table, held in before.items()
        if table not in UNRELATED
        for row in (held - after[table])
        if not theirs & set(uuid.findall(row))
    ]
    came = [table for table, held in after.items() if table not in (*UNRELATED, *NEW) for _ in (held - before[table])]
    same = sum(sum((held & after[table]).values()) for table, held in before.items())
    where = dict(Counter([*(table for table, _ in changed), *came]))
    verdict.add(
        "rows of others", f"{same} the same, {len(changed) + len(came)} not {where or ''}", not (changed or came)
    )


def api_answers(at: Hub, gone: list[Planted], kept: list[Planted]) -> str:
    """What every reading call of the API tells, asked for those who were erased and for everything."""
    told = []
    with httpx.Client(base_url=f"{at.url}/api/v1", headers=at.headers, timeout=60) as client:
        for path in ("subjects", "audit", "audit/export", "extractions", "dead-letters", "review", "erasures"):
            told.append(client.get(f"/{path}").text)
        for one in gone:
            ask = {"user_id": one.user_id}
            answers = [
                client.post(
                    "/working-memory", json=ask | {"message": "The name?", "session_id": f"later-{one.canary}"}
                ),
                client.post("/search", json=ask | {"query": "What is the name of the boat?"}),
                client.get("/facts", params=ask),
                client.post("/subjects/lookup", json=ask),
                client.get(f"/subjects/{one.subject_id}"),
                client.get("/audit", params={"subject_id": str(one.subject_id)}),
            ]
            told += [answer.text for answer in answers]
        control = client.post("/search", json={"user_id": kept[-1].user_id, "query": "the boat"})
        if kept[-1].canary not in control.text:
            sys.exit("Somebody who was kept is not found either: the answers prove nothing.")
    return "\n".join(told)


def crawl(at: Hub, password: str) -> tuple[str, int]:
    """Every page that links lead to from the overview, as the administrator sees it."""
    told: list[str] = []
    with httpx.Client(base_url=at.url, timeout=60, follow_redirects=True) as client:
        form = client.get("/sign-in/").text
        token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)[0]
        client.post(
            "/sign-in/",
            data={"login": "admin", "password": password, "csrfmiddlewaretoken": token},
            headers={"Referer": f"{at.url}/sign-in/"},
        )
        waiting, seen = ["/w/default/"], {"/w/default/"}
        while waiting and len(told) < MOST_PAGES:
            address = waiting.pop(0)
            page = client.get(address)
            if not page.headers.get("content-type", "").startswith("text/html"):
                told.append(page.text)
                continue
            told.append(page.text)
            for link in re.findall(r'href="([^"#]+)', page.text):
                target = urljoin(address, link.replace("&amp;", "&"))
                if target.startswith("/w/default/") and target not in seen:
                    seen.add(target)
                    waiting.append(target)
    return "\n".join(told), len(told)


def killed(at: Hub, people: list[Planted], verdict: Verdict) -> None:
    """Kill a run at every step, one after the other, of one erasure; the last run finishes it."""
    from django.utils import timezone

    from audit.actors import Actor
    from audit.erasure.models import ErasureState
    from audit.erasure.services import erasure_begin, erasure_run
    from audit.registry import Scope, stores
    from memoryhub.access.models import Workspace
    from memoryhub.core.tenancy import in_workspace

    workspace = Workspace.objects.get(slug="default")
    with in_workspace(workspace.id):
        erasure = erasure_begin(
            workspace_id=workspace.id,
            scope=Scope(people[0].subject_id),
            actor=Actor.command("benchmark"),
            reason="subject_request",
        )
        # The hub's own sweep leaves alone what somebody holds: here it is to be killed, and taken up, by us.
        erasure.leased_until = timezone.now() + timedelta(minutes=10)
        erasure.save(update_fields=["leased_until"])
    steps = 2 * len(stores()) + 4
    kills = 0
    for step in range(steps):
        command = [sys.executable, "-m", "benchmarks.erasure", "--die", str(workspace.id), str(erasure.id), str(step)]
        environment = os.environ | {"MEMORYHUB_DATA_DIR": str(at.data_dir)}
        kills += subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == -signal.SIGKILL
    done = erasure_run(erasure.id, workspace_id=workspace.id, take_over=True)
    right = done.state == ErasureState.COMPLETED and done.erased == done.planned
    verdict.add(
        "killed at every step",
        f"{kills} kills of {steps}, then {done.state}, counts {'right' if right else 'wrong'}",
        right and kills == steps and hits(dump(at), people) == 0,
    )


def die_at(workspace: str, erasure: str, step: str) -> None:
    """A run that kills itself at one of its steps: around the ledger, before and inside each store, at the end."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.settings")
    os.environ["LOG_LEVEL"] = "ERROR"
    import django

    django.setup()
    from audit import registry
    from audit.erasure import ledger, services, verification

    left = int(step)

    def point() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def around(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def dying(*args: Any, **kwargs: Any) -> Any:
            point()
            answer = real(*args, **kwargs)
            point()
            return answer

        setattr(owner, name, dying)

    around(ledger, "append")
    for store in registry.stores():
        around(store, "erase")
    around(verification, "look")
    services.erasure_run(UUID(erasure), workspace_id=UUID(workspace), take_over=True)


def plant_statement(at: Hub) -> str:
    """Somebody who states one thing that the extractor reads, in a session that is over; returns who."""
    user = f"stater-{secrets.token_hex(4)}"
    with httpx.Client(base_url=f"{at.url}/api/v1", headers=at.headers, timeout=60) as client:
        turns = [{"role": "user", "content": "My budget is 300 EUR a month. What do you think?"}]
        client.post(f"/sessions/{user}/turns", json={"user_id": user, "turns": turns}).raise_for_status()
        client.post(f"/sessions/{user}/close", json={}).raise_for_status()
        deadline = time.monotonic() + 60
        while not client.get("/facts", params={"user_id": user}).json()["facts"]:
            if time.monotonic() > deadline:
                sys.exit("The statement was not read.")
            time.sleep(0.3)
    return user


def forgotten(at: Hub, data_dir: Path, user: str, verdict: Verdict) -> None:
    """Erase the fact, read the turns again, and look."""
    with httpx.Client(base_url=f"{at.url}/api/v1", headers=at.headers, timeout=60) as client:
        (known,) = client.get("/facts", params={"user_id": user}).json()["facts"]
        begun = client.post(f"/facts/{known['fact_id']}/erase", json={}).raise_for_status().json()
        state = ended(client, begun["erasure_id"])["state"]
        manage(data_dir, "reextract", "--apply")
        back = client.get("/facts", params={"user_id": user, "status": "any"}).json()["facts"]
    verdict.add("a fact after reextract", f"{state}, {len(back)} facts", state == "completed" and not back)


def plant_large(at: Hub, facts: int, turns: int) -> UUID:
    """One person with many turns and facts, straight into the tables, as many words and vectors as real ones have."""
    subject = UUID(bytes=secrets.token_bytes(16), version=4)
    with psycopg.connect(
        EmbeddedPostgres(at.data_dir or "").dsn(OWNER), autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as connection:
        row = connection.execute(
            "select w.id, a.id from access_workspace w join access_agent a on a.workspace_id = w.id "
            "where w.slug = 'default' and a.name = 'assistant'"
        ).fetchone()
        if row is None:
            sys.exit("There is no agent.")
        values = {"workspace": row[0], "agent": row[1], "subject": subject, "facts": facts, "turns": turns}
        for statement in LARGE:
            connection.execute(statement, values)
        connection.execute("vacuum analyze")
    return subject


LARGE = (
    """insert into memory_sessions_subject (id, workspace_id, external_id, created_at, last_handle)
       values (%(subject)s, %(workspace)s, 'the-large-person', now(), %(facts)s)""",
    """create temp table talk as select gen_random_uuid() as id, n
       from generate_series(0, greatest(1, %(turns)s / 200) - 1) n""",
    """insert into memory_sessions_session (id, workspace_id, subject_id, agent_id, external_id, metadata, started_at,
         last_turn_at, turn_count, turns_planned)
       select id, %(workspace)s, %(subject)s, %(agent)s, 'large-session-' || n, '{}', now(), now(), 200, 200
       from talk""",
    """create temp table said as select gen_random_uuid() as id, talk.id as session, talk.n * 200 + i as n, i
       from talk, generate_series(0, 199) i""",
    """insert into memory_sessions_turn (id, workspace_id, session_id, index, role, name, content, text, tool_name,
         orphan, metadata, occurred_at, recorded_at, digest, written_with, holds_results, findings, withheld_reason)
       select id, %(workspace)s, session, i, 'user', '', to_jsonb('The large person said sentence number ' || n ||
         ' about shipping goods from the northern harbour'), 'The large person said sentence number ' || n ||
         ' about shipping goods from the northern harbour', '', false, '{}', now(), now(),
         decode(repeat('00', 32), 'hex'), '', false, '[]', '' from said""",
    """create temp table known as select gen_random_uuid() as fact, gen_random_uuid() as version, n
       from generate_series(1, %(facts)s) n""",
    """insert into facts_fact (id, workspace_id, subject_id, type, entity, entity_key, attribute, handle, pinned,
         created_at)
       select fact, %(workspace)s, %(subject)s, 'constraint', 'large topic', 'large topic', 'detail_' || n, n, false,
         now() from known""",
    """insert into facts_factversion (id, workspace_id, fact_id, number, content, unit, mentions, confidence, source,
         extracted_by, written_with, special_category, findings, valid_from, created_at, status, status_at)
       select version, %(workspace)s, fact, 1, 'The large person knows thing number ' || n, '', '{}', 1, 'agent', '',
         '', '', '[]', now(), now(), 'current', now() from known""",
    """insert into facts_facttransition (id, workspace_id, version_id, from_status, to_status, actor_kind, actor_id,
         reason, note, written_with, at)
       select gen_random_uuid(), %(workspace)s, version, '', 'current', 'agent', 'x', 'new', '', '', now()
       from known""",
    """insert into facts_evidence (id, workspace_id, version_id, turn_id, kind, created_at)
       select gen_random_uuid(), %(workspace)s, version, said.id, 'states', now() from known join said using (n)""",
    """create temp table item as
       select id as item, 'turn' as kind from said union all select version, 'fact' from known""",
    """insert into search_posting (workspace_id, subject_id, kind, item, lexeme, frequency, length)
       select %(workspace)s, %(subject)s, kind, item, 'largeword' || n * 37, 1, 10
       from item, generate_series(1, 10) n""",
    """insert into search_corpus (workspace_id, subject_id, kind, items, length)
       select %(workspace)s, %(subject)s, kind, count(*), count(*) * 10 from item group by kind""",
    """insert into search_vector (workspace_id, subject_id, kind, item, model, embedding)
       select %(workspace)s, %(subject)s, kind, item, 'minilm:all-MiniLM-L6-v2',
         array_fill(0.05::real, array[384])::halfvec from item""",
)


def large(at: Hub, subject: UUID, verdict: Verdict) -> None:
    with httpx.Client(base_url=f"{at.url}/api/v1", headers=at.headers, timeout=120) as client:
        began = time.perf_counter()
        plan = client.post(f"/subjects/{subject}/erasures/plan", json={}).raise_for_status().json()
        counted = time.perf_counter() - began
        began = time.perf_counter()
        body = {"confirm": plan["confirm"]}
        begun = client.post(f"/subjects/{subject}/erasures", json=body).raise_for_status().json()
        told = ended(client, begun["erasure_id"])
        took = time.perf_counter() - began
    verdict.add("a large person counted", f"{plan['rows']} rows in {counted:.2f} s", counted <= PLAN_SECONDS)
    right = told["state"] == "completed" and told["erased"] == plan["stores"]
    verdict.add("erased and verified", f"{told['state']} in {took:.1f} s", right and took <= ERASE_SECONDS)


def in_files(data_dir: Path, people: list[Planted]) -> dict[str, str]:
    """Whose canary stands in which file of the data directory, and of the cluster where that lives elsewhere."""
    home = EmbeddedPostgres(data_dir).home
    words = {one.canary.encode() for one in people}
    found: dict[str, str] = {}
    for path in {*data_dir.rglob("*"), *home.rglob("*")}:
        if path.is_file() and not path.is_symlink():
            for word in words & set(re.findall(rb"canary[0-9a-f]{16}", path.read_bytes())):
                found[word.decode()] = str(path.relative_to(home if home in path.parents else data_dir))
    return found


def manage(data_dir: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT | {"MEMORYHUB_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return done.stdout


@contextlib.contextmanager
def again(data_dir: Path) -> Iterator[str]:
    """The hub on a data directory that was used before; its address."""
    from django.db import connections

    connections.close_all()
    log = data_dir / "again.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", "0", "--no-demo"],
            cwd=ROOT,
            env=os.environ | ENVIRONMENT | {"MEMORYHUB_DATA_DIR": str(data_dir)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 120
            while "MemoryHub is ready at " not in log.read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"The hub did not start again:\n{log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield log.read_text().split("MemoryHub is ready at ")[1].split()[0].rstrip("/")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


if __name__ == "__main__":
    main()
