"""Checking the log by itself: asked for, queued, its verdict kept; and checkpoints handed to places outside."""

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django_q.models import OrmQ, Schedule
from test_audit_sealing import verified, write

from audit import verify
from audit.actors import Actor
from audit.models import INSTALLATION, Checkpoint, Entry, Handover, Verdict, Verification
from audit.sealing import handover
from audit.sealing.handover import hand_over, handovers
from audit.sealing.services import as_told, seal_all
from audit.sealing.verifying import ATTEMPTS, last_verdict, verification_ask, verification_run
from memoryhub import verifying
from memoryhub.access.models import Workspace
from memoryhub.core.postgres import SUPERUSER, EmbeddedPostgres
from memoryhub.core.tenancy import in_workspace


def run(workspace: Workspace, actor: Actor) -> Verdict | None:
    with in_workspace(workspace.id):
        asked, _ = verification_ask(workspace_id=workspace.id, actor=actor)
    return verification_run(asked.id, workspace_id=workspace.id)


def as_superuser(server: EmbeddedPostgres, name: str, statement: str) -> None:
    with psycopg.connect(host=str(server.socket_dir), user=SUPERUSER, dbname=name, autocommit=True) as chief:
        chief.execute("alter table audit_entry disable trigger audit_entry_append_only")
        chief.execute(statement)
        chief.execute("alter table audit_entry enable always trigger audit_entry_append_only")


def test_a_verdict_is_kept_and_told_in_the_log(hub_db: str, workspace: Workspace, actor: Actor) -> None:
    write(workspace, actor, 3)
    seal_all(workspace.id)
    verdict = run(workspace, actor)
    assert verdict is not None and verdict.ok and verdict.verdict == "OK" and verdict.root
    with in_workspace(workspace.id):
        told = Entry.objects.get(action="audit.verified")
        ended = Verification.objects.get()
    assert told.data["verdict"] == "OK" and told.data["size"] == verdict.size
    assert (ended.done, ended.total, ended.attempts) == (verdict.entries, verdict.entries, 1)
    assert ended.ended_at == verdict.at and verification_run(ended.id, workspace_id=workspace.id) is None


def test_what_was_altered_is_the_verdict_and_a_line_in_the_log(
    hub_db: str, workspace: Workspace, actor: Actor, database_server: EmbeddedPostgres, caplog: Any
) -> None:
    write(workspace, actor, 3)
    seal_all(workspace.id)
    as_superuser(database_server, hub_db, "update audit_entry set outcome = 'denied' where action = 'request.noted'")
    verdict = run(workspace, actor)
    assert verdict is not None and verdict.verdict == "ALTERED" and not verdict.ok
    assert verdict.found == 3 and verdict.findings[0][0] == "ALTERED"
    with in_workspace(workspace.id):
        assert Entry.objects.get(action="audit.verified").outcome == "failed"
    assert "audit.verification_failed" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"verdict": "OK"}, None], ids=["an update", "a deletion"])
def test_nobody_makes_a_verdict_green(workspace: Workspace, actor: Actor, change: dict[str, str] | None) -> None:
    run(workspace, actor)
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic(), in_workspace(workspace.id):
        if change:
            Verdict.objects.update(**change)
        else:
            Verdict.objects.all()._raw_delete("default")


@pytest.mark.django_db
def test_while_a_log_is_checked_nobody_asks_for_it_again(workspace: Workspace, actor: Actor) -> None:
    with in_workspace(workspace.id):
        first = verifying.verification_start(workspace_id=workspace.id, actor=actor)
        assert verifying.verification_start(workspace_id=workspace.id, actor=actor).id == first.id
    assert OrmQ.objects.count() == 1


@pytest.mark.django_db
def test_a_run_that_takes_its_process_down_is_given_up(workspace: Workspace, actor: Actor) -> None:
    with in_workspace(workspace.id):
        asked, _ = verification_ask(workspace_id=workspace.id, actor=actor)
        Verification.objects.update(attempts=ATTEMPTS)
    assert verification_run(asked.id, workspace_id=workspace.id) is None
    with in_workspace(workspace.id):
        assert Verification.objects.get().ended_at and last_verdict(workspace.id) is None


@pytest.mark.django_db
def test_every_log_is_checked_as_often_as_was_said(workspace: Workspace, settings: Any) -> None:
    settings.AUDIT_VERIFY_HOURS = 12
    verifying.schedule_sweep()
    verifying.schedule_sweep()
    assert Schedule.objects.get(name=verifying.SWEEP).minutes == 720
    assert verifying.sweep() == Workspace.objects.count() + 1 == OrmQ.objects.count()
    with in_workspace(INSTALLATION):
        assert Verification.objects.filter(actor_id="verifier").exists()
    settings.AUDIT_VERIFY_HOURS = 0
    verifying.schedule_sweep()
    assert not Schedule.objects.filter(name=verifying.SWEEP)


# The command


def test_the_command_compares_with_a_checkpoint_that_was_kept(
    hub_db: str, workspace: Workspace, other_workspace: Workspace, actor: Actor, tmp_path: Path
) -> None:
    write(workspace, actor, 2)
    seal_all(workspace.id)
    with in_workspace(workspace.id):
        told = as_told(Checkpoint.objects.get())
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(handover.note([told]))
    call_command("verify_audit", "--expect", str(kept), stdout=StringIO())
    for given, code in (
        (["--workspace", "acme", "--expect", f"{told['size']}:{'0' * 64}"], 14),
        (["--workspace", "acme", "--expect", f"{told['size'] + 1}:{told['root']}"], 13),
        (["--workspace", "acme", "--receipt", f"mh1:{workspace.id}:{'0' * 64}"], 16),
        (["--workspace", "acme", "--trust", "0" * 16], 15),
    ):
        with pytest.raises(SystemExit) as ended:
            call_command("verify_audit", *given, stdout=StringIO())
        assert ended.value.code == code
    for unreadable in (
        ["--workspace", other_workspace.slug, "--expect", str(kept)],
        ["--expect", str(tmp_path / "nothing")],
        ["--expect", f"1:{'0' * 64}"],
        ["--record", "--workspace", "acme", "--expect", str(kept)],
        ["--workspace", "nowhere"],
    ):
        with pytest.raises(CommandError) as refused:
            call_command("verify_audit", *unreadable)
        assert refused.value.returncode == verify.UNREADABLE


def test_the_command_keeps_a_verdict_when_told_to(hub_db: str, workspace: Workspace, actor: Actor) -> None:
    out = StringIO()
    call_command("verify_audit", "--workspace", "acme", "--record", "--json", stdout=out)
    assert json.loads(out.getvalue())["verdict"] == "OK"
    with in_workspace(workspace.id):
        assert Verdict.objects.get().actor_id == "verify_audit"


# Places outside


@pytest.fixture
def at_once(settings: Any) -> None:
    settings.AUDIT_ANCHOR_SECONDS = 0.0


def test_a_folder_gets_every_checkpoint_once_and_in_order(
    hub_db: str, workspace: Workspace, actor: Actor, tmp_path: Path, settings: Any, at_once: None
) -> None:
    settings.AUDIT_ANCHOR_DIR = str(tmp_path / "outside")
    for _ in range(2):
        write(workspace, actor, 1)
        seal_all(workspace.id)
    # The folder is not there yet: what it did not take waits, and sealing goes on.
    assert hand_over(workspace.id) == 0
    with in_workspace(workspace.id):
        [(_, failing, behind)] = handovers(workspace.id)
    assert (failing.error, failing.failures, behind) == ("FileNotFoundError", 1, 2)
    (tmp_path / "outside").mkdir()
    assert hand_over(workspace.id) == 2
    write(workspace, actor, 1)
    seal_all(workspace.id)
    assert hand_over(workspace.id) == 1 and hand_over(workspace.id) == 0
    files = sorted((tmp_path / "outside").iterdir())
    told = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert [one["number"] for one in told] == [1, 2, 3]
    assert verified(workspace.id, expect=told).verdict == "OK"


def test_a_command_gets_the_note_and_none_of_the_hub_s_secrets(
    hub_db: str,
    workspace: Workspace,
    actor: Actor,
    tmp_path: Path,
    settings: Any,
    at_once: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUDIT_SIGNING_KEY", "secret")
    taken = tmp_path / "taken.json"
    program = tmp_path / "take.py"
    program.write_text(
        "import hashlib, json, os, sys\n"
        "text = sys.stdin.buffer.read()\n"
        "assert hashlib.sha256(text).hexdigest() == os.environ['MEMORYHUB_SHA256']\n"
        f"open({str(taken)!r}, 'w').write(json.dumps([text.decode(), dict(os.environ)]))\n"
    )
    settings.AUDIT_ANCHOR_COMMAND = f"{sys.executable} {program}"
    write(workspace, actor, 1)
    seal_all(workspace.id)
    assert hand_over(workspace.id) == 1
    text, environment = json.loads(taken.read_text())
    assert json.loads(text)["root"] == environment["MEMORYHUB_ROOT"]
    assert "secret" not in json.dumps(environment)


@pytest.mark.parametrize(
    ("command", "error"),
    [("sleep 60", "timeout"), ("false", "exit_1"), ("/nowhere/at/all", "FileNotFoundError"), ("'", "ValueError")],
)
def test_a_command_that_fails_is_asked_again_later(
    hub_db: str, workspace: Workspace, actor: Actor, settings: Any, command: str, error: str
) -> None:
    settings.AUDIT_ANCHOR_SECONDS = 60.0
    settings.AUDIT_ANCHOR_TIMEOUT = 0.2
    settings.AUDIT_ANCHOR_COMMAND = command
    write(workspace, actor, 1)
    seal_all(workspace.id)
    assert hand_over(workspace.id) == 0
    # Not before the pause is over.
    assert hand_over(workspace.id) == 0
    with in_workspace(workspace.id):
        state = Handover.objects.get()
    assert (state.error, state.failures, state.number) == (error, 1, 0)
