"""What ends by time: what a preview counts is what a sweep removes, holds keep it, and a killed sweep goes on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from django_q.models import Schedule
from hypothesis import given
from hypothesis import strategies as st
from memory_samples import learn, say, viewpoint

from audit.actors import Actor
from audit.models import Entry
from audit.requests.holds import hold_place
from audit.requests.models import Hold
from audit.retention.models import RetentionSweep
from facts.models import Evidence, Fact, FactVersion, Recall, RemovedEvidence
from facts.services import fact_mark_stale
from facts.working_memory import MemoryRequest, working_memory
from memoryhub import retaining
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.retention import KINDS, LONGEST, SETTINGS, RetentionRules, shortened
from memoryhub.access.services import workspace_change
from memoryhub.core.postgres import OWNER, RUNTIME, EmbeddedPostgres
from memoryhub.core.search.models import Posting, Vector
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject, Turn

ROOT = Path(__file__).parents[1]
ACTOR = Actor.command("tests")
OLD = timedelta(days=3_000)


@pytest.fixture
def remembered(agent: Agent) -> Agent:
    """Alice said something eight years ago and something today; Bob something eight years ago."""
    said = say(agent, "We run on AWS.", session="old", user="alice")
    learn(agent, "Runs on AWS", user="alice", turn=said.turns[0])
    say(agent, "We still do.", session="new", user="alice")
    say(agent, "I like tea.", session="bobs", user="bob")
    working_memory(view=viewpoint(agent), ask=MemoryRequest("alice", "Where do we run?", "new"))
    with in_workspace(agent.workspace_id):
        Turn.objects.filter(session__external_id__in=("old", "bobs")).update(recorded_at=timezone.now() - OLD)
    return agent


def due(workspace: Workspace, kind: str) -> retaining.Due:
    with in_workspace(workspace.id):
        [found] = retaining.preview(workspace_id=workspace.id, rules=WorkspacePolicy(), kinds=(kind,))
    return found


def sweep(workspace: Workspace) -> dict[str, RetentionSweep]:
    return {one.kind: one for one in retaining.workspace_sweep(workspace_id=workspace.id, actor=ACTOR)}


def test_turns_go_with_what_hangs_on_them_and_the_fact_says_that_its_source_went(
    remembered: Agent, workspace: Workspace
) -> None:
    expected = due(workspace, "turns")
    assert (expected.items, expected.held) == (2, 0) and expected.oldest is not None
    with in_workspace(workspace.id):
        gone = list(Turn.objects.filter(session__external_id__in=("old", "bobs")).values_list("id", flat=True))
    swept = sweep(workspace)
    assert swept["turns"].items == expected.items
    with in_workspace(workspace.id):
        assert [turn.text for turn in Turn.objects.all()] == ["We still do."]
        assert list(Session.objects.values_list("external_id", flat=True)) == ["new"]
        assert not Posting.objects.filter(item__in=gone).exists() and not Vector.objects.filter(item__in=gone).exists()
        assert not Evidence.objects.exists()
        kept = RemovedEvidence.objects.get()
        assert kept.version.content == "Runs on AWS" and len(bytes(kept.digest)) == 32
        told = Recall.objects.get()
        assert not any(str(one) in str(told.candidates) for one in gone) and told.block == ""
        entry = Entry.objects.get(action="retention.swept")
        assert (entry.data["kind"], entry.data["items"], entry.reason) == ("turns", 2, "retention")
    assert due(workspace, "turns").items == 0 and sweep(workspace) == {}


def test_what_a_legal_hold_keeps_is_counted_and_stays(remembered: Agent, workspace: Workspace) -> None:
    with in_workspace(workspace.id):
        bob = Subject.objects.get(external_id="bob")
        held = Session.objects.get(external_id="old")
        for subject_id, session_id in ((bob.id, None), (held.subject_id, held.id)):
            hold_place(
                workspace_id=workspace.id, subject_id=subject_id, session_id=session_id, reason="litigation", note="",
                actor=ACTOR,
            )  # fmt: skip
    expected = due(workspace, "turns")
    assert (expected.items, expected.held, expected.oldest) == (0, 2, None)
    assert sweep(workspace)["turns"].held == 2
    with in_workspace(workspace.id):
        assert Turn.objects.count() == 3 and Evidence.objects.count() == 1


def test_a_fact_goes_with_its_history_when_nobody_stated_it_since(remembered: Agent, workspace: Workspace) -> None:
    assert due(workspace, "constraint").items == 0
    learn(remembered, "Runs on GCP", user="alice")
    with in_workspace(workspace.id):
        Evidence.objects.update(created_at=timezone.now() - OLD)
    assert due(workspace, "constraint").items == 0
    assert due(workspace, "superseded").items == 0
    with in_workspace(workspace.id):
        fact = Fact.objects.get()
        numbers = set(FactVersion.objects.values_list("number", flat=True))
    assert numbers == {1, 2}
    rules = WorkspacePolicy(keep_constraint_days=1)
    with in_workspace(workspace.id):
        later = timezone.now() + timedelta(days=2)
        ended = retaining._ended("constraint", workspace.id, later)
        assert [one.pk for one in retaining._free("constraint", ended)] == [fact.pk]
        removed = retaining._remove("constraint", workspace.id, fact.subject_id, frozenset({fact.pk}))
        assert removed >= 3 and rules.days("constraint") == 1
        assert not Fact.objects.exists() and not FactVersion.objects.exists()


def test_a_pinned_fact_stays(remembered: Agent, workspace: Workspace) -> None:
    with in_workspace(workspace.id):
        Fact.objects.update(pinned=True)
        assert not retaining._ended("constraint", workspace.id, timezone.now() + timedelta(days=2)).exists()


@pytest.mark.parametrize("kind", ["superseded", "stale"])
def test_versions_that_do_not_hold_go_and_leave_nothing(remembered: Agent, workspace: Workspace, kind: str) -> None:
    written = learn(remembered, "Runs on GCP", user="alice")
    with in_workspace(workspace.id):
        if kind == "stale":
            fact = Fact.objects.get(pk=written.version.fact_id)
            fact_mark_stale(fact=fact, reason="outdated", actor=ACTOR)
        ended = retaining._ended(kind, workspace.id, timezone.now() + timedelta(days=1))
        ids = frozenset(retaining._free(kind, ended).values_list("pk", flat=True))
        assert len(ids) == 1
        retaining._remove(kind, workspace.id, Subject.objects.get(external_id="alice").id, ids)
        left = list(FactVersion.objects.values_list("status", flat=True))
        assert left == ([] if kind == "stale" else ["current"]) and Fact.objects.count() == len(left)


@contextmanager
def stopped_at(person: UUID, server: EmbeddedPostgres, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A sweep in a process of its own that waits for `person`; they are let go when this ends."""
    url = f"postgres://{RUNTIME}@/{name}?host={server.socket_dir}&port=5432"
    environment = {**os.environ, "DATABASE_URL": url, "DATABASE_OWNER_URL": url.replace(RUNTIME, OWNER, 1)}
    environment |= {"EMBEDDER": "none", "LOG_LEVEL": "ERROR"}
    with psycopg.connect(server.dsn("postgres", name)) as locking, psycopg.connect(locking.info.dsn) as watching:
        watching.autocommit = True
        locking.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [str(person)])
        with subprocess.Popen(
            [sys.executable, "manage.py", "retention", "--workspace", "acme", "--apply"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                patience = time.monotonic() + 60
                while not watching.execute(
                    "select 1 from pg_locks where locktype = 'advisory' and not granted"
                ).fetchall():
                    assert process.poll() is None and time.monotonic() < patience
                    time.sleep(0.05)
                yield process
                locking.rollback()
            except BaseException:
                process.kill()
                raise


def last_in_line(workspace: Workspace) -> Subject:
    with in_workspace(workspace.id):
        return max(Subject.objects.all(), key=lambda one: one.id)


def test_a_sweep_that_was_killed_goes_on_and_is_in_the_log_once(
    hub_db: str, database_server: EmbeddedPostgres, remembered: Agent, workspace: Workspace
) -> None:
    with stopped_at(last_in_line(workspace).id, database_server, hub_db) as process:
        process.kill()
        process.wait()
    with in_workspace(workspace.id):
        assert Turn.objects.count() == 2 and RetentionSweep.objects.get().items == 1
        assert not Entry.objects.filter(action="retention.swept").exists()
    assert sweep(workspace)["turns"].items == 2
    with in_workspace(workspace.id):
        assert Entry.objects.get(action="retention.swept").data["items"] == 2


def test_a_hold_that_is_placed_while_a_sweep_runs_keeps_what_is_still_there(
    hub_db: str, database_server: EmbeddedPostgres, remembered: Agent, workspace: Workspace
) -> None:
    last = last_in_line(workspace)
    # Written as hold_place writes it; that one would wait for the same lock as the sweep.
    with stopped_at(last.id, database_server, hub_db) as process, in_workspace(workspace.id):
        Hold.objects.create(workspace_id=workspace.id, subject_id=last.id, reason="litigation", placed_by="user:1")
    assert process.returncode == 0
    with in_workspace(workspace.id):
        assert Turn.objects.filter(session__subject=last, recorded_at__lt=timezone.now() - OLD / 2).count() == 1
        swept = RetentionSweep.objects.get()
        assert (swept.items, swept.held) == (1, 1)


def test_another_workspace_keeps_its_own(remembered: Agent, other_workspace: Workspace, workspace: Workspace) -> None:
    assert sweep(other_workspace) == {}
    with in_workspace(workspace.id):
        assert Turn.objects.count() == 3


def test_the_command_counts_and_removes_only_when_told_to(remembered: Agent, workspace: Workspace) -> None:
    out = StringIO()
    call_command("retention", "--workspace", "acme", stdout=out, stderr=StringIO())
    assert "Turns" in out.getvalue()
    with in_workspace(workspace.id):
        assert Turn.objects.count() == 3
    call_command("retention", "--workspace", "acme", "--apply", stdout=out)
    assert "removed 2 things" in out.getvalue()
    with in_workspace(workspace.id):
        assert Turn.objects.count() == 1
    with pytest.raises(CommandError, match="no workspace"):
        call_command("retention", "--workspace", "nowhere")


def test_it_is_swept_once_a_day(db: None) -> None:
    retaining.schedule_sweep()
    retaining.schedule_sweep()
    assert Schedule.objects.get(name=retaining.SWEEP).schedule_type == Schedule.DAILY


PAGE = "/w/acme/retention/"


def sent(**changed: str) -> dict[str, str]:
    rules = RetentionRules()
    return {"seen": "{}"} | {f"keep_{kind}_days": str(rules.days(kind) or "") for kind in KINDS} | changed


def test_what_is_shortened_is_shown_before_it_is_saved(
    remembered: Agent, client: Client, privacy_officer: User, workspace: Workspace
) -> None:
    client.force_login(privacy_officer)
    assert client.get(PAGE).status_code == 200
    asked = client.post(f"{PAGE}save/", sent(keep_turns_days="30"))
    assert asked.status_code == 200 and "Keep for less long?" in asked.content.decode()
    assert Workspace.objects.get(pk=workspace.pk).policy == {}
    assert client.post(f"{PAGE}save/", sent(keep_turns_days="30", confirm="yes")).status_code == 303
    assert Workspace.objects.get(pk=workspace.pk).policy == {"keep_turns_days": 30}
    longer = sent(keep_turns_days="", seen='{"keep_turns_days": 30}')
    assert client.post(f"{PAGE}save/", longer).status_code == 303
    assert Workspace.objects.get(pk=workspace.pk).policy == {"keep_turns_days": None}


def test_a_change_of_something_that_moved_is_refused(client: Client, admin: User, workspace: Workspace) -> None:
    workspace_change(workspace=workspace, policy=WorkspacePolicy(keep_goal_days=None), actor=ACTOR)
    client.force_login(admin)
    assert client.post(f"{PAGE}save/", sent(keep_turns_days="")).status_code == 409
    assert client.post(f"{PAGE}save/", sent(keep_turns_days="0")).status_code == 422


def test_an_auditor_sees_it_and_changes_nothing(client: Client, auditor: User, workspace: Workspace) -> None:
    client.force_login(auditor)
    assert "Save" not in client.get(PAGE).content.decode()
    assert client.post(f"{PAGE}save/", sent(keep_turns_days="30", confirm="yes")).status_code == 403


DAYS = st.none() | st.integers(1, LONGEST)


@given(st.fixed_dictionaries(dict.fromkeys(SETTINGS, DAYS)), st.fixed_dictionaries(dict.fromkeys(SETTINGS, DAYS)))
def test_only_what_is_kept_for_less_long_is_shortened(before: dict[str, int], after: dict[str, int]) -> None:
    told = shortened(RetentionRules(**before), RetentionRules(**after))
    endless = float("inf")
    expected = [name for name in SETTINGS if (after[name] or endless) < (before[name] or endless)]
    assert [f"keep_{kind}_days" for kind in told] == expected


def test_oldest_is_when_it_was_recorded(remembered: Agent, workspace: Workspace) -> None:
    oldest = due(workspace, "turns").oldest
    assert isinstance(oldest, datetime) and oldest < timezone.now() - OLD + timedelta(hours=1)
