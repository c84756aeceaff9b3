"""What a model gets of other people through tools and MCP: another's handle, id or session through a bound token.

    python -m benchmarks.tools [--tries 10000] [--small]

One workspace with two people and another workspace with a third hold facts with canaries. The first person's facts are
F1 to F3, the others' go on to F9, so that a handle beyond F3 is another's alone. Tokens of the first person then name
the others in every parameter of every tool, in resources, cursors, request bodies and headers, by every id there is:
handles, ids of facts, versions, recalls, sessions and people, callers' ids, codes that confirm forgetting. What is
sent is drawn at random from these; the draw is the same every time.

Promise: no canary and no id of another in any answer, no error of the server, nothing of the others changed; whatever
names a thing of another is answered as if it were not there.
"""

import argparse
import json
import random
import re
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from benchmarks.harness import Hub, add_hub_arguments, finish, hub, join, print_table, wait_until_indexed

THREADS = 4
SMALL = 1_000
OWN, OTHERS = 3, 9
"""How many facts the first person has, and each of the others."""


@dataclass
class Person:
    """Somebody remembered, with every id that leads to something of theirs."""

    user_id: str
    canary: str
    workspace_id: UUID
    subject_id: UUID
    ids: list[str] = field(default_factory=list)


@dataclass
class Tally:
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=10_000)
    add_hub_arguments(parser)
    arguments = parser.parse_args()
    if arguments.url:
        parser.error("this benchmark needs people of a known content: it starts its own hub")
    tries = SMALL if arguments.small else arguments.tries
    quiet = {"THROTTLE_PER_MINUTE": "10000000", "EXTRACTOR": "none"}
    with hub(arguments, environment=quiet) as at:
        join(at, **quiet)
        mine, others, key = fill()
        wait_until_indexed(at)
        header = {"Authorization": f"Bearer {token(at, key, mine.user_id)}"}
        codes = forgetting_codes(at, key, others[0])
        before = [held(one) for one in others]
        tally = Tally()
        began = time.perf_counter()
        attack(at, header, others, codes, tries, tally)
        took = time.perf_counter() - began
        changed = sum(held(one) != was for one, was in zip(others, before, strict=True))
    print_table(("door and answer", "tries"), sorted(tally.answers.items()))
    for line in sorted(set(tally.wrong))[:20]:
        print(f"wrong: {line}")
    finish(
        not tally.wrong and not changed and tally.done >= tries,
        f"{tally.done} tries in {took:.0f} s with another's handle, id or session: {len(tally.wrong)} leaks, finds or "
        f"errors, {changed} of {len(others)} others changed",
    )


def fill() -> tuple[Person, list[Person], str]:
    """The person whose token it is, the others (of the same workspace, of another), and the agent's key."""
    from audit.actors import Actor
    from memoryhub.access.models import MemoryMode, Scope
    from memoryhub.access.services import agent_get_or_create, key_create, workspace_create

    actor = Actor.command("benchmark")
    made = []
    keys = []
    for slug, people in (("here", (OWN, OTHERS)), ("elsewhere", (OTHERS,))):
        workspace = workspace_create(slug=slug, name=slug, actor=actor)
        agent = agent_get_or_create(workspace_id=workspace.id, name="agent", mode=MemoryMode.MANAGED, actor=actor)
        keys.append(key_create(agent=agent, actor=actor, scopes=list(Scope)).secret)
        made += [_person(workspace.id, agent.id, actor, facts) for facts in people]
    return made[0], made[1:], keys[0]


def _person(workspace_id: UUID, agent_id: UUID, actor: Any, facts: int) -> Person:
    from facts.models import FactType
    from facts.services import FactInput, facts_record
    from facts.working_memory import MemoryRequest, Viewpoint, working_memory
    from memoryhub.access.policy import WorkspacePolicy
    from memoryhub.core.tenancy import in_workspace
    from sessions.content import read_content
    from sessions.models import TurnRole
    from sessions.services import TurnInput, subject_get_or_create, turns_record

    canary, user_id, session = (f"{what}{secrets.token_hex(8)}" for what in ("canary", "user", "session"))
    with in_workspace(workspace_id):
        said = turns_record(
            workspace_id=workspace_id,
            agent_id=agent_id,
            session_id=session,
            user_id=user_id,
            turns=[TurnInput(TurnRole.USER, read_content(f"We run {canary} on our servers."))],
            actor=actor,
        )
        subject = subject_get_or_create(workspace_id=workspace_id, external_id=user_id, actor=actor)
        written = facts_record(
            subject=subject,
            facts=[
                FactInput(FactType.CONSTRAINT, f"entity {canary}", f"Runs {canary} {n}", attribute=f"part {n}")
                for n in range(facts)
            ],
            actor=actor,
            agent_id=agent_id,
        )
        view = Viewpoint(workspace_id, "english", actor, agent_id, policy=WorkspacePolicy())
        memory = working_memory(view=view, ask=MemoryRequest(user_id, f"Do we run {canary}?", "later"))
    if memory.recall is None:
        raise SystemExit("Nothing was surfaced to begin with.")
    ids = [session, user_id, str(subject.id), str(said.turns[0].id), str(memory.recall.recall_id)]
    for one in written:
        ids += [str(one.version.id), str(one.version.fact_id), one.version.id.hex]
    return Person(user_id, canary, workspace_id, subject.id, ids)


def token(at: Hub, key: str, user_id: str) -> str:
    made = httpx.post(
        f"{at.url}/api/v1/subject-tokens",
        json={"user_id": user_id, "ttl": 86_400},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    return str(made.raise_for_status().json()["token"])


def forgetting_codes(at: Hub, key: str, other: Person) -> list[str]:
    """Codes by which the other person could have their facts forgotten."""
    header = {"Authorization": f"Bearer {token(at, key, other.user_id)}"}
    codes = []
    for number in range(1, OTHERS + 1):
        answer = httpx.post(
            f"{at.url}/api/v1/tools/forget", json={"input": {"fact": f"F{number}"}}, headers=header, timeout=30
        )
        codes += re.findall(r'confirm="(\w+)"', answer.json()["content"][0]["text"])
    if len(codes) != OTHERS:
        raise SystemExit("The other person's facts could not be forgotten to begin with.")
    return codes


def held(person: Person) -> list[str]:
    """Everything that is stored of a person, but for the log."""
    from audit.registry import stores
    from memoryhub.core.tenancy import in_workspace

    with in_workspace(person.workspace_id):
        return sorted(
            f"{store.name} {row}"
            for store in stores()
            if store.name != "audit"
            for row in store.export(person.subject_id)
        )


@dataclass(frozen=True)
class Try:
    """One request. `absent`: it names another's thing where a thing has to be named, and so has to fail."""

    door: str
    method: str
    path: str
    body: Any
    absent: bool
    headers: tuple[tuple[str, str], ...] = ()


def drawn(chance: random.Random, others: list[Person], codes: list[str]) -> Try:
    """A try that names something of another."""
    other = chance.choice(others)
    id = chance.choice(other.ids)
    handle = chance.choice([f"F{chance.randint(OWN + 1, OTHERS)}", f"[F{chance.randint(OWN + 1, OTHERS)}]", id])
    said = {"type": "goal", "entity": "shop", "content": "Opens soon"}
    name, given, absent = chance.choice(
        [
            ("mark_fact_stale", {"fact": handle, "reason": "wrong"}, True),
            ("forget", {"fact": handle}, True),
            ("forget", {"fact": handle, "confirm": chance.choice(codes)}, True),
            ("forget", {"fact": f"F{chance.randint(1, OWN)}", "confirm": chance.choice(codes)}, True),
            ("remember", said | {"replaces": handle}, True),
            ("search_memory", {"query": f"{id} {other.canary}"}, False),
            ("search_memory", {"query": "What do we run?", "limit": 20}, False),
            ("list_facts", {"more": id}, False),
            ("list_facts", {"entity": f"entity {other.canary}"}, False),
            *(
                (tool, {name: other.user_id if name == "user_id" else id}, True)
                for tool in ("list_facts", "search_memory", "mark_fact_stale", "remember", "forget")
                for name in ("user_id", "subject_id", "session_id", "fact_id", "recall_id")
            ),
        ]
    )
    if chance.random() < 0.5:
        return Try("api", "POST", f"/api/v1/tools/{name}", {"input": given, "tool_use_id": id}, absent)
    uri = chance.choice([f"memory://facts/{handle}", f"memory://facts/{id}", f"memory://subjects/{other.subject_id}"])
    method, params, absent = chance.choice(
        [
            ("tools/call", {"name": name, "arguments": given}, absent),
            ("tools/call", {"name": name, "arguments": given, "_meta": {"user_id": other.user_id}}, absent),
            ("resources/read", {"uri": uri}, True),
            ("resources/list", {"cursor": id}, False),
        ]
    )
    sessions = (("Mcp-Session-Id", id),) if chance.random() < 0.3 else ()
    return Try("mcp", "POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, absent, sessions)


def attack(at: Hub, header: dict[str, str], others: list[Person], codes: list[str], tries: int, tally: Tally) -> None:
    chance = random.Random(17)  # noqa: S311 - the same draw every time
    waiting = iter([drawn(chance, others, codes) for _ in range(tries)])
    lock = threading.Lock()

    def work() -> None:
        with httpx.Client(base_url=at.url, headers=header, timeout=60) as client:
            while True:
                with lock:
                    one = next(waiting, None)
                if one is None:
                    return
                judge(
                    one, client.request(one.method, one.path, json=one.body, headers=dict(one.headers)), others, tally
                )

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def judge(one: Try, answer: httpx.Response, others: list[Person], tally: Tally) -> None:
    """Whether an answer gives anything away."""
    shown = answer.text + str(answer.headers)
    sent = json.dumps(one.body) + str(one.headers)
    leaked = [id for other in others for id in (other.canary, *other.ids) if id in shown and id not in sent]
    body = answer.json() if answer.content else {}
    result = body.get("result", body) if isinstance(body, dict) else {}
    failed = "error" in body or bool(result.get("is_error") or result.get("isError"))
    named = json.dumps(one.body)[:160]
    with tally.lock:
        tally.done += 1
        tally.answers[f"{one.door} {answer.status_code} {'no such' if failed else 'of one’s own'}"] += 1
        if leaked:
            tally.wrong.append(f"{answer.status_code} tells {len(leaked)} of another: {named}")
        if answer.status_code >= 500:
            tally.wrong.append(f"{answer.status_code}: {named}")
        if one.absent and not failed:
            tally.wrong.append(f"found what is another's: {named}")


if __name__ == "__main__":
    main()
