"""Erasing people, sessions, periods and facts: what goes, what stays, and that it stays gone."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as SignIn
from django.db import connections
from django.utils import timezone
from django_q.models import OrmQ, Task
from django_q.tasks import async_task
from memory_samples import embed_all, fill_workspace, learn, say, viewpoint

from audit import registry
from audit.actors import Actor
from audit.erasure import ledger, services, verification
from audit.erasure.certificate import certificate, certificate_digest
from audit.erasure.models import Erasure, ErasureState, ErasureTrace, Tombstone
from audit.erasure.services import (
    AlreadyErasing,
    NothingThere,
    erasure_begin,
    erasure_plan,
    erasure_run,
    ledger_missing,
    ledger_replay,
)
from audit.erasure.tombstones import Erased
from audit.models import Entry
from audit.registry import Scope
from audit.stores import ModelStore
from facts.extraction.interface import Extracted, ExtractedFact
from facts.extraction.pipeline import write_facts
from facts.forgetting import sentences_stating
from facts.models import Extraction, Fact, FactType, FactVersion, Recall, Source
from facts.services import fact_correct
from facts.working_memory import MemoryRequest, working_memory
from memoryhub.access.models import Agent, Workspace
from memoryhub.core.search.models import Corpus, Posting, Vector
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject, Turn

CANARY = "zebra-lighthouse-4711"


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> Iterator[Path]:
    settings.DATA_DIR = tmp_path
    yield tmp_path


@pytest.fixture
def desk(hub_db: str, workspace: Workspace, agent: Agent, actor: Actor) -> Agent:
    """Two people with everything, of one of whom a canary stands everywhere."""
    for user, word in (("erin@example.org", CANARY), ("bob@example.org", "ordinary-barometer-12")):
        said = say(agent, f"I live in {word}.", f"My dog is called {word} too.", session=f"s-{user}", user=user)
        written = learn(agent, f"Lives in {word}", user=user, turn=said.turns[0], entity=f"home {word}")
        with in_workspace(workspace.id):
            fact = Fact.objects.get(pk=written.version.fact_id)
            fact_correct(
                fact=fact,
                content=f"Has moved to {word}",
                expected_version=1,
                actor=actor,
                source=Source.OPERATOR,
                note=f"Told us about {word}",
            )
        working_memory(view=viewpoint(agent), ask=MemoryRequest(user, f"Where is {word}?", f"next-{user}"))
    embed_all(workspace.id)
    return agent


def person(agent: Agent, user: str = "erin@example.org") -> Subject:
    with in_workspace(agent.workspace_id):
        return Subject.objects.get(external_id=user)


def begun(agent: Agent, scope: Scope) -> Erasure:
    with in_workspace(agent.workspace_id):
        return erasure_begin(
            workspace_id=agent.workspace_id, scope=scope, actor=Actor.command("tests"), reason="subject_request"
        )


def erased(agent: Agent, scope: Scope) -> Erasure:
    return erasure_run(begun(agent, scope).id, workspace_id=agent.workspace_id)


def dump(*, but: tuple[str, ...] = ()) -> str:
    """Every row of every table, as its owner sees them."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace")
        tables = [row[0] for row in cursor.fetchall() if row[0] not in but]
        texts = []
        for table in tables:
            cursor.execute(f"select coalesce(string_agg(t::text, chr(10)), '') from \"{table}\" t")  # noqa: S608 - of the catalogue
            texts.append(cursor.fetchone()[0])
    return "\n".join(texts)


def rows_of(subject: Subject) -> dict[str, list[str]]:
    """What is stored of a person, by table, as it stands."""
    found: dict[str, list[str]] = {}
    with in_workspace(subject.workspace_id):
        for store in registry.stores():
            for row in store.export(subject.id):
                found.setdefault(row["kind"], []).append(json.dumps(row["row"], sort_keys=True))
    return found


def test_everything_of_a_person_goes_and_the_certificate_says_so(desk: Agent) -> None:
    erin, bob = person(desk), person(desk, "bob@example.org")
    before = rows_of(bob)
    with in_workspace(desk.workspace_id):
        plan = erasure_plan(Scope(erin.id))
    done = erased(desk, Scope(erin.id))

    assert done.state == ErasureState.COMPLETED, done.residue
    assert done.erased == done.planned == plan.counts
    assert plan.rows > 20
    text = dump()
    assert CANARY not in text and "erin@example.org" not in text
    assert rows_of(bob) == before
    told = certificate(done)
    assert told["state"] == "completed" and told["verification"]["left"] == 0
    assert told["verification"]["tables"] > 30 and told["verification"]["texts"] > 3
    assert {one["outcome"] for one in told["stores"]} == {"erased"}
    assert [one["who"] for one in told["recipients"] if one["what"] == "surfaced"] == [f"agent:{desk.id}"]
    assert CANARY not in json.dumps(told)
    with in_workspace(desk.workspace_id):
        entry = Entry.objects.get(action="subject.erased")
        assert entry.data["certificate"] == certificate_digest(Erasure.objects.get())
        assert not ErasureTrace.objects.exists()


def test_a_plan_changes_nothing(desk: Agent) -> None:
    before = dump()
    with in_workspace(desk.workspace_id):
        erasure_plan(Scope(person(desk).id))
    assert dump() == before


def test_unknown_people_and_a_second_erasure_are_refused(desk: Agent) -> None:
    erin = person(desk)
    with in_workspace(desk.workspace_id), pytest.raises(NothingThere):
        erasure_plan(Scope(UUID(int=7)))
    with pytest.raises(NothingThere):
        begun(desk, Scope(erin.id, session_id=UUID(int=7)))
    begun(desk, Scope(erin.id))
    with pytest.raises(AlreadyErasing):
        begun(desk, Scope(erin.id))


def test_from_the_beginning_nothing_is_served_and_late_writes_are_refused(desk: Agent) -> None:
    erin = person(desk)
    begun(desk, Scope(erin.id))
    memory = working_memory(view=viewpoint(desk), ask=MemoryRequest(erin.external_id, "Where do I live?", "later"))
    assert not memory.facts and not memory.turns
    with pytest.raises(Erased):
        say(desk, "One more thing.", session="other", user=erin.external_id)
    with pytest.raises(Erased):
        learn(desk, "Likes tea", user=erin.external_id)


def test_afterwards_late_writes_are_refused_and_whoever_returns_is_somebody_new(desk: Agent) -> None:
    erin = person(desk)
    before = timezone.now()
    erased(desk, Scope(erin.id))
    with pytest.raises(Erased):
        say(desk, "I live there.", session=f"s-{erin.external_id}", user=erin.external_id)
    with pytest.raises(Erased):
        say(desk, "I live there.", session="new", user=erin.external_id, occurred_at=before)
    say(desk, "Hello again.", session="new", user=erin.external_id)
    assert person(desk).id != erin.id
    with in_workspace(desk.workspace_id):
        digests = b"".join(bytes(stone.digest) for stone in Tombstone.objects.all())
    assert erin.external_id.encode() not in digests


def test_a_killed_run_goes_on_and_comes_to_the_same_end(desk: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each store is a step of its own: ended after any of them, the next run finishes, with the same counts."""
    stores = list(reversed(registry.stores()))

    class Killed(BaseException):
        pass

    erin = person(desk)
    erasure = begun(desk, Scope(erin.id))
    for dies_at in range(len(stores)):
        real = type(stores[dies_at]).erase

        def dying(self: Any, *args: Any, at: Any = stores[dies_at], real: Any = real) -> Any:
            done = real(self, *args)
            if self is at:
                raise Killed
            return done

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(type(stores[dies_at]), "erase", dying)
            erasure_run(erasure.id, workspace_id=desk.workspace_id, take_over=True)
    done = erasure_run(erasure.id, workspace_id=desk.workspace_id, take_over=True)
    assert done.state == ErasureState.COMPLETED, done.residue
    assert done.erased == done.planned
    assert done.attempts == len(stores) + 1
    assert CANARY not in dump()


def test_one_process_at_a_time_carries_an_erasure_out(desk: Agent) -> None:
    erasure = begun(desk, Scope(person(desk).id))
    services._claimed(erasure.id, desk.workspace_id, take_over=False)
    assert erasure_run(erasure.id, workspace_id=desk.workspace_id).state == ErasureState.RUNNING
    assert services.erasures_due(desk.workspace_id) == []
    assert erasure_run(erasure.id, workspace_id=desk.workspace_id, take_over=True).state == ErasureState.COMPLETED


def test_what_a_store_forgot_is_found_by_the_verification(desk: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    erin = person(desk)
    monkeypatch.setattr(type(registry._stores["queue"]), "erase", lambda self, *_: {})
    async_task("nowhere.at_all", {"note": f"I live in {CANARY}."})
    paths = cast(dict[Any, str], cast(ModelStore, registry._stores["search"])._paths)
    monkeypatch.setitem(paths, Posting, "item")
    done = erased(desk, Scope(erin.id))
    assert done.state == ErasureState.PARTIAL
    assert {"search_posting", "django_q_ormq"} <= {one["where"] for one in done.residue}
    assert certificate(done)["in_words"].startswith("Not completed")
    monkeypatch.undo()
    again = erasure_run(done.id, workspace_id=desk.workspace_id, take_over=True)
    assert again.state == ErasureState.COMPLETED, again.residue


def test_queued_tasks_failures_and_sign_ins_lose_what_is_about_the_person(desk: Agent) -> None:
    erin, bob = person(desk), person(desk, "bob@example.org")
    async_task("nowhere.at_all", erin.id)
    async_task("nowhere.at_all", str(erin.id))
    async_task("nowhere.at_all", bob.id)
    Task.objects.create(
        id="1" * 32, name="x", func="y", args=(), success=False, result=f"KeyError: I live in {CANARY}.",
        started=timezone.now(), stopped=timezone.now(),
    )  # fmt: skip
    store = SessionStore()
    store["revealed"] = {str(erin.id): "2026-01-01", str(bob.id): "2026-01-01"}
    store["_messages"] = json.dumps([["__json_message", 0, 25, f"Corrected: Lives in {CANARY}", ""]])
    store["kept"] = "yes"
    store.save()
    done = erased(desk, Scope(erin.id))
    assert done.state == ErasureState.COMPLETED, done.residue
    assert done.erased["queue"] == {"task_waiting": 2, "task_done": 1}
    assert done.erased["sign_ins"] == {"sign_in": 1}
    assert OrmQ.objects.count() == 1 and not Task.objects.exists()
    held = SignIn.objects.get().get_decoded()
    assert held["kept"] == "yes" and list(held["revealed"]) == [str(bob.id)]
    assert CANARY not in json.dumps(held)


def test_the_same_words_in_anothers_memory_are_named_and_left(desk: Agent) -> None:
    say(desk, f"I live in {CANARY}.", session="bobs", user="bob@example.org")
    done = erased(desk, Scope(person(desk).id))
    assert done.state == ErasureState.COMPLETED
    assert done.verification["said_by_others"]["memory_sessions_turn"] == 1


def test_a_session_goes_with_what_was_learned_from_it_alone(desk: Agent) -> None:
    erin = person(desk)
    said = say(desk, "My budget is 300 EUR a month.", session="money", user=erin.external_id)
    only = learn(desk, "Budget is 300 EUR", user=erin.external_id, turn=said.turns[0], attribute="budget")
    also = say(desk, "I drive a red Volvo.", session="money", user=erin.external_id)
    both = learn(desk, "Drives a red Volvo", user=erin.external_id, turn=also.turns[0], attribute="car")
    again = say(desk, "I still drive it.", session="cars", user=erin.external_id)
    learn(desk, "Drives a red Volvo", user=erin.external_id, turn=again.turns[0], attribute="car")
    working_memory(view=viewpoint(desk), ask=MemoryRequest(erin.external_id, "What is my budget?", "asked"))
    with in_workspace(desk.workspace_id):
        session = Session.objects.get(external_id="money")
        kept = Session.objects.exclude(pk=session.pk).count()
    done = erased(desk, Scope(erin.id, session_id=session.id))
    assert done.state == ErasureState.COMPLETED, done.residue
    with in_workspace(desk.workspace_id):
        assert Session.objects.count() == kept
        assert not Fact.objects.filter(pk=only.version.fact_id).exists()
        assert FactVersion.objects.get(pk=both.version.id).evidence.count() == 1
        assert Subject.objects.get(pk=erin.pk).restricted_at is None
        for corpus in Corpus.objects.all():
            counted = Posting.objects.filter(subject_id=corpus.subject_id, kind=corpus.kind)
            assert counted.values("item").distinct().count() == corpus.items
    assert "300 EUR" not in dump()
    with pytest.raises(Erased):
        say(desk, "My budget is 300 EUR a month.", session="money", user=erin.external_id)
    say(desk, "Something else.", session="more", user=erin.external_id)


def test_a_period_goes_and_what_was_said_outside_of_it_stays(desk: Agent) -> None:
    erin = person(desk)
    then = timezone.now() - timedelta(days=30)
    say(desk, "Back then I worked for the circus.", session="old", user=erin.external_id, occurred_at=then)
    say(desk, "Now I work for the harbour.", session="old", user=erin.external_id)
    scope = Scope(erin.id, since=then - timedelta(days=1), until=then + timedelta(days=1))
    done = erased(desk, scope)
    assert done.state == ErasureState.COMPLETED, done.residue
    with in_workspace(desk.workspace_id):
        left = list(Turn.objects.filter(session__external_id="old").values_list("text", flat=True))
        words = set(Posting.objects.filter(subject_id=erin.id).values_list("lexeme", flat=True))
    assert left == ["Now I work for the harbour."]
    assert "circus" not in words and "harbour" in words
    with pytest.raises(Erased):
        say(desk, "The circus again.", session="fresh", user=erin.external_id, occurred_at=then)
    say(desk, "Since then I sail.", session="old", user=erin.external_id)


@pytest.mark.parametrize("statement", ["span", "turn"])
def test_a_fact_goes_with_its_statement_and_is_not_derived_again(desk: Agent, statement: str) -> None:
    erin = person(desk)
    said = say(
        desk, "The weather is fine today. My allergy is peanuts. See you tomorrow.", "And now about the invoices.",
        session="talk", user=erin.external_id,
    )  # fmt: skip
    about = {"user": erin.external_id, "entity": "health", "attribute": "allergy"}
    known = learn(desk, "Has an allergy: peanuts", turn=said.turns[0], **about)
    say(desk, "I repeat: my allergy is peanuts. Fine?", session="later", user=erin.external_id)
    embed_all(desk.workspace_id)
    done = erased(desk, Scope(erin.id, fact_id=known.version.fact_id, statement=statement))
    assert done.state == ErasureState.COMPLETED, done.residue
    with in_workspace(desk.workspace_id):
        texts = list(Turn.objects.filter(session__external_id="talk").order_by("index").values_list("text", flat=True))
        words = set(Posting.objects.filter(subject_id=erin.id).values_list("lexeme", flat=True))
    assert texts[1] == "And now about the invoices."
    assert texts[0] == ("The weather is fine today. [erased] See you tomorrow." if statement == "span" else "")
    assert "peanut" not in words and "invoic" in words
    assert "peanuts" not in dump()
    # Sent again by a client that was late; read again by an extractor that words it otherwise.
    with pytest.raises(Erased):
        say(
            desk, "The weather is fine today. My allergy is peanuts. See you tomorrow.",
            session="talk", user=erin.external_id, index=0,
        )  # fmt: skip
    with in_workspace(desk.workspace_id):
        other = Turn.objects.get(session__external_id="talk", index=1)
        row = Extraction(
            workspace_id=desk.workspace_id,
            subject=erin,
            session=other.session,
            first_index=1,
            last_index=1,
            indexes=[1],
        )
        answer = Extracted(
            (ExtractedFact(FactType.CONSTRAINT, "Health", "Cannot eat peanuts", 1, attribute="allergy"),), "m", "p"
        )
        assert write_facts(row, erin, answer) == []
    # What is said anew is known anew.
    fresh = say(desk, "By the way: no peanuts for me.", session="fresh", user=erin.external_id)
    assert learn(desk, "Eats no peanuts", turn=fresh.turns[0], **about).outcome == "added"


def test_the_sentences_that_state_a_fact() -> None:
    text = "Good morning. We ship from Rotterdam since 2020. Rotterdam is nice! Bye."
    assert sentences_stating(text, "Ships from Rotterdam since 2020") == ["We ship from Rotterdam since 2020."]
    assert sentences_stating("Nothing of it.", "Ships from Rotterdam") == []


def test_a_backup_that_is_put_back_brings_nothing_back(desk: Agent, data_dir: Path) -> None:
    erin = person(desk)
    erased(desk, Scope(erin.id))
    assert ledger_missing() == []
    assert CANARY not in ledger.path().read_text() and erin.external_id not in ledger.path().read_text()
    # The state of before, as a restored backup has it: the person under the same id, and no word of an erasure.
    with in_workspace(desk.workspace_id):
        Erasure.objects.all().delete()
        Tombstone.objects.all().delete()
        Subject.objects.create(id=erin.id, workspace_id=desk.workspace_id, external_id=erin.external_id)
    say(desk, f"I live in {CANARY}.", session="restored", user=erin.external_id)
    assert [line.subject_id for line in ledger_missing()] == [erin.id]
    (done,) = ledger_replay()
    assert done.state == ErasureState.COMPLETED
    assert ledger_missing() == []
    assert CANARY not in dump()
    with pytest.raises(Erased):
        say(desk, "Again.", session=f"s-{erin.external_id}", user=erin.external_id)


def test_the_ledger_passes_over_a_line_that_was_cut_off_and_refuses_a_damaged_one(desk: Agent) -> None:
    erased(desk, Scope(person(desk).id))
    whole = ledger.path().read_bytes()
    ledger.path().write_bytes(whole + whole[: len(whole) // 2])
    assert len(list(ledger.lines())) == 1
    erased(desk, Scope(person(desk, "bob@example.org").id))
    assert len(list(ledger.lines())) == 2
    ledger.path().write_bytes(whole.replace(b'"subject"', b'"sUbject"', 1))
    with pytest.raises(ledger.LedgerUnreadable):
        list(ledger.lines())


def test_nothing_is_destroyed_while_the_ledger_cannot_be_written(desk: Agent, data_dir: Path) -> None:
    erin = person(desk)
    erasure = begun(desk, Scope(erin.id))
    ledger.path().mkdir()
    with pytest.raises(OSError):
        erasure_run(erasure.id, workspace_id=desk.workspace_id)
    assert CANARY in dump(but=("audit_erasuretrace",))
    ledger.path().rmdir()
    assert erasure_run(erasure.id, workspace_id=desk.workspace_id, take_over=True).state == ErasureState.COMPLETED


def test_every_table_is_looked_into(desk: Agent, actor: Actor) -> None:
    """Whatever the stores know: a row planted anywhere is found."""
    with in_workspace(desk.workspace_id):
        names = {table.name for table in verification.tables()}
        assert {"memory_sessions_turn", "django_q_task", "access_apikey", "search_vector"} <= names
        _, found, _ = verification.look(subject_id=person(desk).id, whole=True, ids=[], texts=[CANARY])
    tables = {one.table for one in found}
    assert {
        "memory_sessions_subject", "memory_sessions_session", "memory_sessions_turn", "facts_fact", "facts_factversion",
        "facts_facttransition", "facts_recall", "search_posting", "search_vector", "audit_commitment",
    } <= tables  # fmt: skip


def test_another_workspace_is_not_touched(desk: Agent, other_workspace: Workspace, actor: Actor) -> None:
    fill_workspace(other_workspace, actor)
    with in_workspace(other_workspace.id):
        there = Subject.objects.get()
    with pytest.raises(NothingThere):
        begun(desk, Scope(there.id))
    before = rows_of(there)
    erased(desk, Scope(person(desk).id))
    assert rows_of(there) == before


def test_recalls_that_stay_lose_the_block_that_told_it(desk: Agent) -> None:
    erin = person(desk)
    said = say(desk, "I collect stamps from Ruritania.", session="hobby", user=erin.external_id)
    learn(desk, "Collects stamps from Ruritania", user=erin.external_id, turn=said.turns[0], attribute="hobby")
    ask = MemoryRequest(erin.external_id, "Which stamps?", "held", refresh="session", score_threshold=0.0)
    working_memory(view=viewpoint(desk), ask=ask)
    with in_workspace(desk.workspace_id):
        session = Session.objects.get(external_id="hobby")
        assert Recall.objects.filter(block__contains="Ruritania").exists()
    done = erased(desk, Scope(erin.id, session_id=session.id))
    assert done.state == ErasureState.COMPLETED, done.residue
    assert "Ruritania" not in dump()
    with in_workspace(desk.workspace_id):
        assert Recall.objects.filter(session_external_id="held").exists()
        assert Vector.objects.filter(subject_id=erin.id).exists()


def test_somebody_who_writes_while_a_person_is_erased_leaves_nothing_behind(desk: Agent) -> None:
    """Writers and the erasure at the same time: whatever got in goes, the rest is refused."""
    erin = person(desk)
    stop = threading.Event()
    refused: list[Erased] = []
    accepted: list[int] = []

    def write(number: int) -> None:
        try:
            while not stop.is_set():
                try:
                    say(
                        desk,
                        f"I still live in {CANARY}.",
                        session=f"late-{number}-{len(accepted)}",
                        user=erin.external_id,
                    )
                    learn(desk, f"Lives in {CANARY}", user=erin.external_id, attribute=f"home_{number}")
                    accepted.append(number)
                except Erased as error:
                    refused.append(error)
                    return
        finally:
            connections.close_all()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + 30
    while len(accepted) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    done = erased(desk, Scope(erin.id))
    stop.set()
    for writer in writers:
        writer.join()
    assert done.state == ErasureState.COMPLETED, (done.residue, done.failed)
    assert accepted
    with in_workspace(desk.workspace_id):
        assert not Subject.objects.filter(pk=erin.pk).exists()
        assert not Posting.objects.filter(subject_id=erin.id).exists()
