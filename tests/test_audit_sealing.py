"""Sealing: positions without gaps, checkpoints signed and chained, and a verifier that notices what was done."""

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from hypothesis import given
from hypothesis import strategies as st

from audit import verify
from audit.actors import Actor
from audit.models import Checkpoint, Entry, Pending, Sealed
from audit.sealing import anchors, keys, services
from audit.sealing.bundle import bundle_chunks
from audit.sealing.keys import Purpose
from audit.sealing.log import DatabaseLog
from audit.sealing.services import LogForked, seal, seal_all
from audit.selectors import NO_FILTERS, EntryFilters
from audit.services import receipt, record
from memoryhub.access.models import Workspace
from memoryhub.core.postgres import RUNTIME, SUPERUSER, EmbeddedPostgres
from memoryhub.core.tenancy import in_workspace

SUBJECT = UUID("5f0c7a52-8f5e-4b57-9a37-3f6f0d3e7d10")


def write(workspace: Workspace, actor: Actor, count: int, *, subject: UUID | None = None) -> list[Entry]:
    with in_workspace(workspace.id):
        return [record(actor, "request.noted", subject=subject, workspace_id=workspace.id) for _ in range(count)]


def verified(workspace_id: UUID, **options: Any) -> verify.Report:
    with in_workspace(workspace_id):
        return verify.check(DatabaseLog(workspace_id), **options)


def bundle(workspace: Workspace, path: Path, filters: EntryFilters = NO_FILTERS) -> Path:
    path.write_bytes(b"".join(bundle_chunks(workspace_id=workspace.id, filters=filters)))
    return path


# The tree, against RFC 9162 written a second time: by its recursive definition


def recursive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + recursive_root(leaves[:split]) + recursive_root(leaves[split:])).digest()


def recursive_path(at: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if at < split:
        return [*recursive_path(at, leaves[:split]), recursive_root(leaves[split:])]
    return [*recursive_path(at - split, leaves[split:]), recursive_root(leaves[:split])]


# The inputs and roots that the implementations of certificate transparency share.
VECTORS = [
    (b"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    (b"\x00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    (b"\x10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    (b"\x20\x21", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    (b"\x30\x31", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    (b"\x40\x41\x42\x43", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    (b"\x50\x51\x52\x53\x54\x55\x56\x57", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    (
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ),
]


def test_the_roots_are_the_published_ones() -> None:
    tree = verify.Tree()
    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for text, root in VECTORS:
        tree.append(verify.leaf_of(text))
        assert tree.root().hex() == root


@given(st.integers(0, 300), st.integers(0, 2**32))
def test_roots_and_paths_are_those_of_the_definition(size: int, seed: int) -> None:
    chance = random.Random(seed)
    leaves = [chance.randbytes(32) for _ in range(size)]
    root = verify.root_of(leaves)
    assert root == recursive_root(leaves)
    if not size:
        return
    at = chance.randrange(size)
    path = verify.inclusion_path(leaves, at)
    assert path == recursive_path(at, leaves)
    assert verify.included(leaves[at], at, size, path, root)
    assert not verify.included(chance.randbytes(32), at, size, path, root)
    assert not verify.included(leaves[at], at, size, [*path, leaves[0]], root)
    assert size == 1 or not verify.included(leaves[at], (at + 1) % size, size, path, root)
    if path:
        assert not verify.included(leaves[at], at, size, path[1:], root)


# Signatures


# RFC 8032, 7.1, tests 1 to 3.
SIGNED = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2"
        "4655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302ae"
        "eb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28"
        "dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), SIGNED)
def test_the_signatures_of_the_rfc_hold(public: str, message: str, signature: str) -> None:
    assert verify.signed(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    assert not verify.signed(bytes.fromhex(public), bytes.fromhex(message) + b"!", bytes.fromhex(signature))


@given(st.binary(max_size=200), st.integers(0, 96 * 8 - 1))
def test_a_signature_holds_for_both_implementations_or_for_none(message: bytes, bit: int) -> None:
    private = Ed25519PrivateKey.generate()
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert verify.signed(public, message, signature)
    both = bytearray(public + signature)
    both[bit // 8] ^= 1 << bit % 8
    public, signature = bytes(both[:32]), bytes(both[32:])
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        other = True
    except (InvalidSignature, ValueError):
        other = False
    assert verify.signed(public, message, signature) == other


# Sealing


def test_what_is_written_waits_and_gets_its_place(workspace: Workspace, actor: Actor) -> None:
    written = write(workspace, actor, 3, subject=SUBJECT)
    with in_workspace(workspace.id):
        waits = {one.entry_id: one for one in Pending.objects.all()}
        for entry in written:
            assert bytes(waits[entry.id].leaf) == bytes(entry.leaf)
            assert bytes(waits[entry.id].mark) == verify.mark_of(bytes(entry.leaf), SUBJECT.bytes)
    assert seal_all(workspace.id) == len(waits)
    with in_workspace(workspace.id):
        assert not Pending.objects.exists()
        places = list(Sealed.objects.order_by("position").values_list("position", flat=True))
        assert places == list(range(len(waits)))
        [checkpoint] = Checkpoint.objects.all()
    assert checkpoint.size == len(waits)
    assert verified(workspace.id).verdict == "OK"


def test_a_full_queue_is_sealed_in_several_checkpoints(
    workspace: Workspace, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MOST", 4)
    write(workspace, actor, 10)
    sealed = seal_all(workspace.id)
    report = verified(workspace.id, all_signatures=True)
    assert (report.verdict, report.size) == ("OK", sealed)
    assert report.checkpoints == report.signatures == -(-sealed // 4)


def test_what_just_came_waits_for_more_unless_it_is_urgent(workspace: Workspace, actor: Actor) -> None:
    seal_all(workspace.id)
    write(workspace, actor, 1)
    assert not seal(workspace.id).closed
    with in_workspace(workspace.id):
        record(actor, "hold.placed", subject=SUBJECT, workspace_id=workspace.id)
    assert seal(workspace.id).sealed == 2


def test_nothing_is_sealed_twice_and_an_hour_without_entries_is_signed(
    workspace: Workspace, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace, actor, 1)
    seal_all(workspace.id)
    assert seal_all(workspace.id) == 0 and not seal(workspace.id).closed
    monkeypatch.setattr(services, "IDLE", services.timedelta(0))
    assert workspace.id in services.waiting(idle=True)
    done = seal(workspace.id)
    assert done.closed and done.sealed == 0
    assert verified(workspace.id).verdict == "OK"


def test_an_entry_that_is_rolled_back_is_in_no_queue(workspace: Workspace, actor: Actor) -> None:
    seal_all(workspace.id)
    with pytest.raises(RuntimeError), in_workspace(workspace.id):
        record(actor, "request.noted", workspace_id=workspace.id)
        raise RuntimeError
    assert workspace.id not in services.waiting()


@pytest.mark.parametrize("table", ["audit_sealed", "audit_checkpoint", "audit_signingkey"])
@pytest.mark.parametrize("statement", ["delete from {}", "truncate {}", "update {} set {} = {}"])
def test_nobody_changes_what_was_sealed(workspace: Workspace, actor: Actor, table: str, statement: str) -> None:
    write(workspace, actor, 1)
    seal_all(workspace.id)
    column = "public" if table == "audit_signingkey" else "workspace_id"
    with (
        in_workspace(workspace.id),
        pytest.raises(DatabaseError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(table, column, column))


def test_one_workspace_sees_nothing_of_the_log_of_another(
    workspace: Workspace, other_workspace: Workspace, actor: Actor
) -> None:
    write(workspace, actor, 2)
    seal_all(workspace.id)
    with in_workspace(other_workspace.id):
        assert not Sealed.objects.exists() and not Checkpoint.objects.exists()


def test_a_new_key_signs_on_and_the_old_one_is_still_known(workspace: Workspace, actor: Actor) -> None:
    write(workspace, actor, 2)
    seal_all(workspace.id)
    before = keys.signer(Purpose.CHECKPOINTS)
    after = keys.rotate(Purpose.CHECKPOINTS)
    write(workspace, actor, 2)
    seal_all(workspace.id)
    report = verified(workspace.id)
    assert (report.verdict, report.keys, report.signatures) == ("OK", [before.id, after.id], 2)
    assert verified(workspace.id, trust=[after.id]).verdict == "BAD_SIGNATURE"


def test_the_key_is_a_private_file(workspace: Workspace, actor: Actor, settings: Any) -> None:
    write(workspace, actor, 1)
    seal_all(workspace.id)
    assert (Path(settings.DATA_DIR) / "audit_signing_key").stat().st_mode & 0o777 == 0o600


def test_a_key_of_the_environment_is_used(settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = base64.b64encode(bytes(range(32))).decode()
    public = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
    assert keys.signer(Purpose.CHECKPOINTS).public == public
    with pytest.raises(keys.KeyUnusable):
        keys.rotate(Purpose.CHECKPOINTS)
    settings.AUDIT_SIGNING_KEY = "short"
    with pytest.raises(keys.KeyUnusable):
        keys.signer(Purpose.CHECKPOINTS)


# Receipts


def test_a_receipt_is_signed_and_found(workspace: Workspace, actor: Actor, tmp_path: Path) -> None:
    [entry] = write(workspace, actor, 1)
    told = receipt(entry)
    seal_all(workspace.id)
    assert verified(workspace.id, receipts=[told]).verdict == "OK"
    forged = told.replace(bytes(entry.leaf).hex(), "ab" * 32)
    assert verified(workspace.id, receipts=[forged]).verdict == "BAD_SIGNATURE"
    unsigned = f"mh1:{uuid4()}:{'ab' * 32}"
    assert verified(workspace.id, receipts=[unsigned]).verdict == "RECEIPT_NOT_FOUND"
    done = verifier(bundle(workspace, tmp_path / "a.zip"), "--receipt", told)
    assert done.returncode == 0, done.stdout
    done = verifier(tmp_path / "a.zip", "--receipt", unsigned)
    assert done.returncode == 16, done.stdout


def test_a_proof_leads_to_the_root(workspace: Workspace, actor: Actor) -> None:
    entries = write(workspace, actor, 7)
    with in_workspace(workspace.id):
        waits = services.proof_of(workspace.id, bytes(entries[3].leaf))
        assert waits is not None and waits["state"] == "pending"
        assert services.proof_of(workspace.id, bytes(32)) is None
    seal_all(workspace.id)
    with in_workspace(workspace.id):
        proof = services.proof_of(workspace.id, bytes(entries[3].leaf))
    assert proof is not None and proof["state"] == "sealed"
    root, size = bytes.fromhex(proof["checkpoint"]["root"]), proof["checkpoint"]["size"]
    path = [bytes.fromhex(step) for step in proof["path"]]
    assert verify.included(bytes(entries[3].leaf), proof["position"], size, path, root)


# Bundles


def verifier(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The verifier of the bundle itself, run alone."""
    alone = path.with_suffix(".py")
    alone.write_bytes(zipfile.ZipFile(path).read("verify.py"))
    return subprocess.run(
        [sys.executable, "-I", str(alone), str(path), *arguments], capture_output=True, text=True, check=False
    )


def test_the_verifier_runs_alone_on_a_bundle(workspace: Workspace, actor: Actor, tmp_path: Path) -> None:
    write(workspace, actor, 5)
    seal_all(workspace.id)
    done = verifier(bundle(workspace, tmp_path / "all.zip"))
    assert done.returncode == 0 and done.stdout.startswith("OK:"), done.stdout + done.stderr
    (tmp_path / "none.zip").write_bytes(b"no")
    assert verify.main([str(tmp_path / "none.zip")]) == 2


def test_a_part_proves_that_it_is_in_the_log(workspace: Workspace, actor: Actor, tmp_path: Path) -> None:
    write(workspace, actor, 3, subject=SUBJECT)
    write(workspace, actor, 3, subject=uuid4())
    seal_all(workspace.id)
    for filters in (EntryFilters(subject_id=SUBJECT), EntryFilters(action="request.")):
        path = bundle(workspace, tmp_path / "part.zip", filters)
        report = verify.check(verify.Bundle(path))
        assert report.verdict == "OK_SUBSET" and report.entries == (3 if filters.subject_id else 6)


def test_a_subject_s_part_shows_what_was_left_out(workspace: Workspace, actor: Actor, tmp_path: Path) -> None:
    write(workspace, actor, 3, subject=SUBJECT)
    seal_all(workspace.id)
    path = bundle(workspace, tmp_path / "part.zip", EntryFilters(subject_id=SUBJECT))
    files = contents(path)
    files["entries.jsonl"] = b"".join(files["entries.jsonl"].splitlines(keepends=True)[1:])
    assert verify.check(verify.Bundle(zipped(files))).verdict == "MISSING"


def test_an_erasure_is_told_and_nothing_else_is_wrong(workspace: Workspace, actor: Actor) -> None:
    write(workspace, actor, 2, subject=SUBJECT)
    with in_workspace(workspace.id):
        record(actor, "subject.erased", subject=SUBJECT, workspace_id=workspace.id, data={"rows": 3})
    seal_all(workspace.id)
    report = verified(workspace.id)
    assert (report.verdict, report.erasures, report.exit_code) == ("ERASED_OK", 1, 0)


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: Mapping[str, bytes]) -> Any:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    out.seek(0)
    return out


@pytest.fixture
def sample(workspace: Workspace, actor: Actor, tmp_path: Path) -> dict[str, bytes]:
    """A bundle of some checkpoints."""
    for count in (3, 1, 4, 2):
        write(workspace, actor, count, subject=SUBJECT)
        seal_all(workspace.id)
    return contents(bundle(workspace, tmp_path / "whole.zip"))


def mutate_line(files: dict[str, bytes], name: str, change: Callable[[list[bytes]], None]) -> None:
    lines = files[name].splitlines(keepends=True)
    change(lines)
    files[name] = b"".join(lines)


def verdict_of(files: Mapping[str, bytes], **options: Any) -> str:
    return verify.check(verify.Bundle(zipped(files)), **options).verdict


def test_each_harm_has_its_verdict(sample: dict[str, bytes]) -> None:
    assert verdict_of(sample) == "OK"

    def harmed(name: str, change: Callable[[list[bytes]], None]) -> str:
        files = dict(sample)
        mutate_line(files, name, change)
        return verdict_of(files)

    def altered(lines: list[bytes]) -> None:
        lines[2] = lines[2].replace(b'"outcome":"ok"', b'"outcome":"no"')

    def swapped(lines: list[bytes]) -> None:
        lines[1], lines[4] = lines[4], lines[1]

    def exchanged(lines: list[bytes]) -> None:
        (one, first), (other, second) = (lines[at].split(b"\t") for at in (1, 4))
        lines[1], lines[4] = one + b"\t" + second, other + b"\t" + first

    def dropped(lines: list[bytes]) -> None:
        del lines[1]

    def resized(lines: list[bytes]) -> None:
        told = json.loads(lines[1])
        lines[1] = json.dumps(told | {"size": told["size"] + 1}).encode() + b"\n"

    assert harmed("entries.jsonl", altered) == "ALTERED"
    assert harmed("entries.jsonl", swapped) == "REORDERED"
    assert harmed("entries.jsonl", exchanged) == "REORDERED"
    assert harmed("entries.jsonl", dropped) == "MISSING"
    assert harmed("checkpoints.jsonl", dropped) == "MISSING"
    assert harmed("checkpoints.jsonl", resized) == "BAD_SIGNATURE"
    leaves = sample["leaves.bin"]
    assert verdict_of(sample | {"leaves.bin": leaves[48:96] + leaves[:48] + leaves[96:]}) == "REORDERED"
    assert verdict_of(sample | {"leaves.bin": leaves[48:]}) == "MISSING"
    assert verdict_of(sample | {"leaves.bin": leaves[:40] + b"\xff" * 8 + leaves[48:]}) == "ALTERED"
    assert verdict_of(sample | {"keys.json": b"{}"}) == "BAD_SIGNATURE"


def test_a_log_that_lost_its_end_is_told_by_a_checkpoint_that_was_kept(sample: dict[str, bytes]) -> None:
    kept = json.loads(sample["checkpoints.jsonl"].splitlines()[-1])
    before = json.loads(sample["checkpoints.jsonl"].splitlines()[-2])
    files = dict(sample)
    mutate_line(files, "checkpoints.jsonl", lambda lines: lines.__delitem__(-1))
    mutate_line(files, "entries.jsonl", lambda lines: lines.__delitem__(slice(before["size"], None)))
    files["leaves.bin"] = files["leaves.bin"][: before["size"] * 48]
    files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | {"size": before["size"]}).encode()
    assert verdict_of(files) == "OK"
    assert verdict_of(files, expect=[before]) == "OK"
    assert verdict_of(files, expect=[kept]) == "TRUNCATED"
    assert verdict_of(files, expect=[before | {"root": "ab" * 32}]) == "FORKED"
    assert verdict_of(sample, expect=[kept, before, {"size": 2, "root": root_at(sample, 2)}]) == "OK"


def root_at(files: Mapping[str, bytes], size: int) -> str:
    leaves = files["leaves.bin"]
    return recursive_root([leaves[at * 48 : at * 48 + 32] for at in range(size)]).hex()


def test_two_histories_under_one_key_are_a_fork(sample: dict[str, bytes]) -> None:
    lines = [json.loads(line) for line in sample["checkpoints.jsonl"].splitlines()]
    other = lines[-1] | {"at": "2030-01-01T00:00:00.000000Z"}
    other["signature"] = keys.signer(Purpose.CHECKPOINTS).sign(verify.body_of(other)).hex()
    files = dict(sample)
    files["checkpoints.jsonl"] += json.dumps(other).encode() + b"\n"
    assert verdict_of(files) == "FORKED"
    assert verdict_of(sample, expect=[other]) == "FORKED"


def test_no_change_of_a_bundle_goes_unnoticed(sample: dict[str, bytes]) -> None:
    chance = random.Random(9162)
    names = ["entries.jsonl", "checkpoints.jsonl", "leaves.bin", "keys.json"]
    for _ in range(400):
        files = dict(sample)
        name = chance.choice(names)
        if name == "keys.json":
            told = json.loads(files[name])
            used = json.loads(files["checkpoints.jsonl"].splitlines()[0])["key"]
            told[used] = chance.randbytes(32).hex()
            files[name] = json.dumps(told).encode()
        elif name == "leaves.bin" or chance.random() < 0.5:
            text = bytearray(files[name])
            at = chance.randrange(len(text))
            text[at] ^= 1 << chance.randrange(8)
            files[name] = bytes(text)
            if _same_content(name, files[name], sample[name]):
                continue
        else:
            lines = files[name].splitlines(keepends=True)
            one, other = chance.sample(range(len(lines)), 2)
            if chance.random() < 0.5:
                lines[one], lines[other] = lines[other], lines[one]
            else:
                del lines[one]
            files[name] = b"".join(lines)
        report = verify.check(verify.Bundle(zipped(files)))
        assert report.exit_code, (name, report)


def _same_content(name: str, one: bytes, other: bytes) -> bool:
    """JSON may be written in more ways than one, and what no signature covers in a line is not read."""
    if name != "checkpoints.jsonl":
        return False
    try:
        return [verify.hash_of(json.loads(line)) for line in one.splitlines()] == [
            verify.hash_of(json.loads(line)) for line in other.splitlines()
        ]
    except (ValueError, KeyError, TypeError):
        return False


# As somebody who may do anything to the database


@pytest.fixture
def chief(database_server: EmbeddedPostgres, hub_db: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(database_server.dsn(SUPERUSER, hub_db), autocommit=True) as connected:
        for table in ("audit_entry", "audit_sealed", "audit_checkpoint"):
            connected.execute(f"alter table {table} disable trigger {table}_append_only")
        yield connected


HARM = {
    "update audit_entry set outcome = 'failed' where id = (select entry_id from audit_sealed where position = 2 "
    "and workspace_id = %(w)s)": "ALTERED",
    "update audit_entry set leaf = sha256('x') where id = (select entry_id from audit_sealed where position = 2 "
    "and workspace_id = %(w)s)": "ALTERED",
    "delete from audit_entry where id = (select entry_id from audit_sealed where position = 2 "
    "and workspace_id = %(w)s)": "MISSING",
    "update audit_sealed set leaf = sha256('x') where position = 3 and workspace_id = %(w)s": "ALTERED",
    "update audit_sealed set mark = substring(mark for 15) where position = 3 and workspace_id = %(w)s": "ALTERED",
    "update audit_sealed set position = 1000 where position = 1 and workspace_id = %(w)s": "REORDERED",
    "delete from audit_sealed where position = 1 and workspace_id = %(w)s": "MISSING",
    "delete from audit_checkpoint where number = 2 and workspace_id = %(w)s": "MISSING",
    "delete from audit_checkpoint where number = (select max(number) from audit_checkpoint where workspace_id = %(w)s) "
    "and workspace_id = %(w)s": "MISSING",
    "update audit_checkpoint set at = now() where number = 1 and workspace_id = %(w)s": "BAD_SIGNATURE",
    "update audit_checkpoint set size = size + 1 where number = 2 and workspace_id = %(w)s": "BAD_SIGNATURE",
    "update audit_checkpoint set peaks = sha256('x') where number = 2 and workspace_id = %(w)s": "ALTERED",
    "delete from audit_pending where workspace_id = %(w)s": "MISSING",
}


@pytest.mark.parametrize("statement", HARM)
def test_what_a_superuser_does_is_noticed(
    chief: "psycopg.Connection[Any]", workspace: Workspace, actor: Actor, statement: str
) -> None:
    for count in (3, 2, 4):
        write(workspace, actor, count)
        seal_all(workspace.id)
    write(workspace, actor, 1)
    assert verified(workspace.id).verdict == "OK"
    chief.execute(statement, {"w": workspace.id})
    assert verified(workspace.id).verdict == HARM[statement]


def test_nothing_is_sealed_on_top_of_a_checkpoint_that_was_put_back(
    chief: "psycopg.Connection[Any]", workspace: Workspace, actor: Actor
) -> None:
    for _ in range(2):
        write(workspace, actor, 2)
        seal_all(workspace.id)
    write(workspace, actor, 2)
    chief.execute("delete from audit_checkpoint where number = 2 and workspace_id = %s", [workspace.id])
    with pytest.raises(LogForked):
        seal_all(workspace.id)


def test_writers_and_sealers_at_once_leave_no_gap(hub_db: str, workspace: Workspace, actor: Actor) -> None:
    told: list[str] = []
    stop = threading.Event()

    def writer() -> None:
        for _ in range(25):
            told.extend(receipt(one) for one in write(workspace, actor, 2))
        connections.close_all()

    def sealer() -> None:
        while not stop.is_set():
            seal(workspace.id, wait=False)
        connections.close_all()

    writers = [threading.Thread(target=writer) for _ in range(4)]
    sealers = [threading.Thread(target=sealer) for _ in range(2)]
    for one in (*writers, *sealers):
        one.start()
    for one in writers:
        one.join()
    stop.set()
    for one in sealers:
        one.join()
    seal_all(workspace.id)
    report = verified(workspace.id, receipts=told, all_signatures=True)
    assert report.verdict == "OK" and len(told) == 200 and report.size >= 200


def test_a_killed_sealer_loses_and_forks_nothing(
    hub_db: str, database_server: EmbeddedPostgres, workspace: Workspace, actor: Actor, settings: Any
) -> None:
    told: list[bytes] = []
    chance = random.Random(7)
    for _ in range(3):
        running = subprocess.Popen(
            [sys.executable, "manage.py", "sealer"],
            env=os.environ
            | {
                "DATABASE_URL": f"postgres://{RUNTIME}@/{hub_db}?host={database_server.socket_dir}&port=5432",
                "DATABASE_OWNER_URL": "",
                "MEMORYHUB_DATA_DIR": str(settings.DATA_DIR),
                "EMBEDDER": "none",
                "SECRET_KEY": "long enough to be a secret of the tests",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = _sealed(workspace)
        while _sealed(workspace) == before:
            assert running.poll() is None
            told.extend(bytes(one.leaf) for one in write(workspace, actor, chance.randrange(1, 40)))
        running.kill()
        running.wait()
    seal_all(workspace.id)
    assert verified(workspace.id, all_signatures=True).verdict == "OK"
    with in_workspace(workspace.id):
        kept = {bytes(leaf) for leaf in Sealed.objects.values_list("leaf", flat=True)}
    assert kept >= set(told)


def _sealed(workspace: Workspace) -> int:
    with in_workspace(workspace.id):
        return Sealed.objects.count()


def test_a_database_that_was_put_back_is_not_sealed_on_silently(
    chief: "psycopg.Connection[Any]", workspace: Workspace, actor: Actor
) -> None:
    write(workspace, actor, 2)
    seal_all(workspace.id)
    with in_workspace(workspace.id):
        kept = Checkpoint.objects.get().number
    write(workspace, actor, 2)
    seal_all(workspace.id)
    anchor = anchors.last(workspace.id)
    assert anchor is not None and anchor["number"] == kept + 1
    # As a backup of before would leave it.
    for statement in (
        "delete from audit_entry where id in (select entry_id from audit_sealed where workspace_id = %(w)s "
        "and position >= (select size from audit_checkpoint where number = 1 and workspace_id = %(w)s))",
        "delete from audit_sealed where workspace_id = %(w)s "
        "and position >= (select size from audit_checkpoint where number = 1 and workspace_id = %(w)s)",
        "delete from audit_checkpoint where number = 2 and workspace_id = %(w)s",
    ):
        chief.execute(statement, {"w": workspace.id})
    write(workspace, actor, 1)
    assert verified(workspace.id).verdict == "OK"
    assert verified(workspace.id, expect=[anchor]).verdict == "TRUNCATED"
    with pytest.raises(LogForked, match="accept_restored_log"):
        seal_all(workspace.id)
    call_command("accept_restored_log", stdout=StringIO())
    assert verified(workspace.id).verdict == "OK"
    assert verified(workspace.id, expect=[anchor]).verdict in ("FORKED", "TRUNCATED")
    with in_workspace(workspace.id):
        told = Entry.objects.get(action="audit.restored")
        assert Sealed.objects.filter(entry_id=told.id).exists()
    assert told.data["digest"] == verify.hash_of(anchor)


def test_the_command_tells_each_workspace_its_verdict(hub_db: str, workspace: Workspace, actor: Actor) -> None:
    write(workspace, actor, 2)
    seal_all(workspace.id)
    out = StringIO()
    call_command("verify_audit", "--workspace", workspace.slug, stdout=out)
    assert out.getvalue().startswith("acme\nOK:")
