"""Ending what a log keeps no longer: whole checkpoints, by the owner, with a signed record that a verifier follows."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.utils import timezone
from test_audit_sealing import bundle, contents, verdict_of, verified, verifier, write

from audit import verify
from audit.actors import Actor
from audit.models import Checkpoint, Commitment, Entry, Hold, Prune, Sealed
from audit.sealing import pruning
from audit.sealing.keys import Purpose, signer
from audit.sealing.pruning import NotTheOwner, prune, prune_plan
from audit.sealing.services import as_told, seal_all
from audit.selectors import EntryFilters
from audit.services import receipt
from memoryhub.access.models import Workspace
from memoryhub.core.postgres import OWNER, RUNTIME, EmbeddedPostgres
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.usefixtures("hub_db")


@pytest.fixture
def log(workspace: Workspace, actor: Actor) -> list[Entry]:
    """Twelve entries and what making the workspace wrote, under four checkpoints."""
    written = []
    for _ in range(4):
        written += write(workspace, actor, 3, subject=uuid4())
        seal_all(workspace.id)
    return written


def checkpoints(workspace: Workspace) -> list[Checkpoint]:
    with in_workspace(workspace.id):
        return list(Checkpoint.objects.filter(workspace_id=workspace.id).order_by("number"))


def pruned_to(workspace: Workspace, actor: Actor, number: int, **more: Any) -> int:
    """Remove up to and with the checkpoint of that number."""
    [after] = [one for one in checkpoints(workspace) if one.number == number + 1]
    return prune(workspace_id=workspace.id, before=after.at, actor=actor, **more)


def test_a_pruned_log_is_whole_but_for_what_a_signed_record_names(
    workspace: Workspace, actor: Actor, log: list[Entry], tmp_path: Path
) -> None:
    kept = [as_told(one) for one in checkpoints(workspace)]
    with in_workspace(workspace.id):
        receipts = [receipt(log[0]), receipt(log[-1])]
    removed = pruned_to(workspace, actor, 2)
    assert removed == kept[1]["size"]
    with in_workspace(workspace.id):
        gone = Sealed.objects.filter(position__lt=removed).values("entry_id")
        assert not Entry.objects.filter(pk__in=gone).exists()
        assert not Commitment.objects.filter(entry_id__in=gone).exists()
        assert Entry.objects.filter(pk__in=[one.id for one in log[6:]]).count() == 6

    report = verified(workspace.id, expect=kept, receipts=receipts, all_signatures=True)
    assert (report.verdict, report.pruned, report.exit_code, report.findings) == ("PRUNED_OK", removed, 0, [])
    seal_all(workspace.id)
    path = bundle(workspace, tmp_path / "whole.zip")
    done = verifier(path, "--receipt", receipts[0], "--expect", f"{kept[0]['size']}:{kept[0]['root']}")
    assert done.returncode == 0 and done.stdout.startswith("PRUNED_OK:"), done.stdout + done.stderr
    assert f"{removed} of the first entries were pruned" in done.stdout
    with in_workspace(workspace.id):
        [told] = Entry.objects.filter(action="audit.pruned")
    assert told.data == {"number": 2, "size": removed, "removed": removed}


def test_a_part_about_somebody_is_whole_though_what_was_pruned_is_gone(
    workspace: Workspace, actor: Actor, tmp_path: Path
) -> None:
    maria = uuid4()
    for _ in range(3):
        write(workspace, actor, 2, subject=maria)
        seal_all(workspace.id)
    pruned_to(workspace, actor, 1)
    part = contents(bundle(workspace, tmp_path / "part.zip", EntryFilters(subject_id=maria)))
    assert verdict_of(part) == "OK_SUBSET"
    part["entries.jsonl"] = b"".join(part["entries.jsonl"].splitlines(keepends=True)[1:])
    assert verdict_of(part) == "MISSING"


def test_without_yes_nothing_goes(workspace: Workspace, log: list[Entry]) -> None:
    out = StringIO()
    tomorrow = (timezone.now() + timedelta(days=1)).date().isoformat()
    call_command("prune_audit", "--before", tomorrow, workspace=workspace.slug, stdout=out, stderr=StringIO())
    assert f"{checkpoints(workspace)[-1].size} entries can go" in out.getvalue()
    assert verified(workspace.id).verdict == "OK"
    call_command("prune_audit", workspace=workspace.slug, stdout=out, stderr=StringIO())
    assert "nothing to remove of before" in out.getvalue()
    call_command("prune_audit", "--before", tomorrow, "--yes", workspace=workspace.slug, stdout=out)
    assert verified(workspace.id).verdict == "PRUNED_OK"


@pytest.mark.parametrize("given", [["--before", "yesterday"], ["--batch", "0"], ["--workspace", "nowhere"]])
def test_what_cannot_be_read_is_refused(workspace: Workspace, given: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("prune_audit", "--yes", *given)


def test_twice_and_in_steps_comes_to_the_same(workspace: Workspace, actor: Actor, log: list[Entry]) -> None:
    size = checkpoints(workspace)[2].size
    assert pruned_to(workspace, actor, 3, batch=1) == size
    with in_workspace(workspace.id):
        assert list(Prune.objects.order_by("size").values_list("number", flat=True)) == [1, 2, 3]
        assert Entry.objects.filter(action="audit.pruned").count() == 3
    assert pruned_to(workspace, actor, 3) == 0
    assert verified(workspace.id).verdict == "PRUNED_OK"


def test_the_log_goes_on_and_is_pruned_again(workspace: Workspace, actor: Actor, log: list[Entry]) -> None:
    pruned_to(workspace, actor, 3)
    for _ in range(2):
        write(workspace, actor, 2)
        seal_all(workspace.id)
    # What told of the first pruning goes with the second.
    pruned_to(workspace, actor, checkpoints(workspace)[-2].number)
    pruned_to(workspace, actor, checkpoints(workspace)[-2].number)
    with in_workspace(workspace.id):
        assert Entry.objects.filter(action="audit.pruned").count() == 1
    assert verified(workspace.id, all_signatures=True).verdict == "PRUNED_OK"


def test_what_is_about_somebody_under_a_hold_stays(workspace: Workspace, actor: Actor, log: list[Entry]) -> None:
    with in_workspace(workspace.id):
        hold = Hold.objects.create(
            workspace_id=workspace.id, subject_id=str(log[4].subject_id), reason="litigation", placed_by="user:x"
        )
    before = checkpoints(workspace)[3].at
    with in_workspace(workspace.id):
        plan = prune_plan(workspace_id=workspace.id, before=before)
    assert plan.number == 1 and plan.held > 0
    assert prune(workspace_id=workspace.id, before=before, actor=actor) == plan.entries
    with in_workspace(workspace.id):
        assert Entry.objects.filter(pk=log[4].id).exists() and not Entry.objects.filter(pk=log[0].id).exists()
        hold.released_at = timezone.now()
        hold.save()
    assert prune(workspace_id=workspace.id, before=before, actor=actor) == plan.held


def test_only_the_owner_can(workspace: Workspace, actor: Actor, log: list[Entry], monkeypatch: Any) -> None:
    monkeypatch.setattr(pruning, "OWNER", "default")
    with pytest.raises(NotTheOwner):
        pruned_to(workspace, actor, 2)
    assert verified(workspace.id).verdict == "OK"


def test_entries_stay_append_only_afterwards(
    workspace: Workspace, actor: Actor, log: list[Entry], database_server: EmbeddedPostgres, hub_db: str
) -> None:
    pruned_to(workspace, actor, 2)
    with psycopg.connect(database_server.dsn(OWNER, hub_db)) as owner:
        for statement in ("delete from audit_entry", "delete from audit_prune"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"), owner.transaction():
                owner.execute(statement)
    with (
        psycopg.connect(database_server.dsn(RUNTIME, hub_db)) as runtime,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        runtime.execute("insert into audit_prune select * from audit_prune")


# What is done to a bundle of a pruned log


Change = Callable[[dict[str, Any]], None]


def _of_record(change: Change) -> Callable[[dict[str, bytes]], None]:
    def harm(files: dict[str, bytes]) -> None:
        told = json.loads(files["prunes.jsonl"])
        change(told)
        files["prunes.jsonl"] = json.dumps(told).encode() + b"\n"

    return harm


def _signed_by_another(told: dict[str, Any]) -> None:
    key = Ed25519PrivateKey.generate()
    told["key"] = verify.key_id_of(key.public_key().public_bytes_raw())
    told["signature"] = key.sign(verify.body_of(told, verify.PRUNE_FIELDS)).hex()


def _over_another_checkpoint(told: dict[str, Any]) -> None:
    """Signed by the hub's own key."""
    told["checkpoint"] = "1" * 64
    told["signature"] = signer(Purpose.CHECKPOINTS).sign(verify.body_of(told, verify.PRUNE_FIELDS)).hex()


def _entry_gone(files: dict[str, bytes]) -> None:
    files["entries.jsonl"] = b"".join(files["entries.jsonl"].splitlines(keepends=True)[1:])


def _no_file(files: dict[str, bytes]) -> None:
    del files["prunes.jsonl"]


def _becomes(text: bytes) -> Callable[[dict[str, bytes]], None]:
    def harm(files: dict[str, bytes]) -> None:
        files["prunes.jsonl"] = text

    return harm


HARMS: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "no record": (_becomes(b""), "MISSING"),
    "no file of records": (_no_file, "MISSING"),
    "more is gone than it says": (_entry_gone, "MISSING"),
    "not JSON": (_becomes(b"{\n"), "BAD_SIGNATURE"),
    "another signer": (_of_record(_signed_by_another), "BAD_SIGNATURE"),
    "of another history": (_of_record(_over_another_checkpoint), "FORKED"),
}
FALSE = {
    "size": 10_000,
    "number": 3,
    "entries": 1,
    "checkpoint": "0" * 64,
    "at": "2026-01-01T00:00:00.000000Z",
    "workspace": str(uuid4()),
    "signature": "0" * 128,
    "form": "memoryhub.checkpoint/1",
    "key": "0" * 16,
}
HARMS |= {
    f"another {name}": (_of_record(lambda told, put={name: value}: told.update(put)), "BAD_SIGNATURE")  # type: ignore[misc]
    for name, value in FALSE.items()
}


@pytest.mark.parametrize("kind", HARMS)
def test_a_false_record_is_no_excuse(
    workspace: Workspace, actor: Actor, log: list[Entry], tmp_path: Path, kind: str
) -> None:
    pruned_to(workspace, actor, 2)
    seal_all(workspace.id)
    files = contents(bundle(workspace, tmp_path / "whole.zip"))
    assert verdict_of(files) == "PRUNED_OK"
    harm, right = HARMS[kind]
    harm(files)
    assert verdict_of(files) == right


def test_a_killed_run_leaves_all_of_a_step_or_nothing(
    hub_db: str, database_server: EmbeddedPostgres, workspace: Workspace, actor: Actor, settings: Any
) -> None:
    for _ in range(60):
        write(workspace, actor, 2)
        seal_all(workspace.id)
    url = f"postgres://{RUNTIME}@/{hub_db}?host={database_server.socket_dir}&port=5432"
    command = [sys.executable, "manage.py", "prune_audit", "--yes", "--batch", "1", "--workspace", workspace.slug]
    command += ["--before", (timezone.now() + timedelta(days=1)).date().isoformat()]
    environment = os.environ | {
        "DATABASE_URL": url,
        "DATABASE_OWNER_URL": url.replace(RUNTIME, OWNER, 1),
        "MEMORYHUB_DATA_DIR": str(settings.DATA_DIR),
        "EMBEDDER": "none",
        "SECRET_KEY": "long enough to be a secret of the tests",
    }
    seen = 0
    for _ in range(3):
        running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while _records(workspace) <= seen:
            assert running.poll() is None
        running.kill()
        running.wait()
        seen = _records(workspace)
        assert verified(workspace.id).verdict == "PRUNED_OK"
    assert seen < 60
    subprocess.run(command, env=environment, check=True, capture_output=True)
    report = verified(workspace.id, all_signatures=True)
    assert (report.verdict, report.pruned) == ("PRUNED_OK", checkpoints(workspace)[-1].size)
    with in_workspace(workspace.id):
        told = Entry.objects.filter(action="audit.pruned").values_list("object_id", flat=True)
        assert len(set(told)) == len(told) == _records(workspace)


def _records(workspace: Workspace) -> int:
    with in_workspace(workspace.id):
        return Prune.objects.count()
