#!/usr/bin/env python3
"""Checks the audit log of a MemoryHub: `python verify.py BUNDLE.zip`. One file; needs Python 3.11 and nothing else.

It says whether every sealed entry is there, unaltered and in its place, and whether the checkpoints over them are
signed and chained. The formats are written down in docs/audit.md, so that you can write your own instead. Signatures
are checked by the short implementation of Ed25519 (RFC 8032) below; it handles public data alone, so that it need not
run in constant time.
"""

import argparse
import base64
import binascii
import hashlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

CHECKPOINT = "memoryhub.checkpoint/1"
PRUNE = "memoryhub.prune/1"
BUNDLE = "memoryhub.bundle/1"
FIELDS = ("form", "workspace", "number", "size", "root", "previous", "marks", "sum", "at", "key")
PRUNE_FIELDS = ("form", "workspace", "number", "size", "checkpoint", "entries", "at", "key")
FIRST = "0" * 64
LEAF, NODE, MARK = b"\x00", b"\x01", b"\x02"
HASH, MARK_BYTES = 32, 16
RECORD = HASH + MARK_BYTES
"""Bytes of one sealed entry in leaves.bin."""
SUM = 1 << 256
NOBODY = bytes(16)
ERASURES = (b'"action":"subject.erased"', b'"action":"session.erased"', b'"action":"memory.erased"')
ERASURE_OF_FACT = b'"action":"fact.erased"'
SHOWN = 20

EXIT = {
    "OK": 0,
    "OK_SUBSET": 0,
    "ERASED_OK": 0,
    "PRUNED_OK": 0,
    "ALTERED": 10,
    "MISSING": 11,
    "REORDERED": 12,
    "TRUNCATED": 13,
    "FORKED": 14,
    "BAD_SIGNATURE": 15,
    "RECEIPT_NOT_FOUND": 16,
}
UNREADABLE = 2
GRAVEST = ("BAD_SIGNATURE", "FORKED", "TRUNCATED", "MISSING", "REORDERED", "ALTERED", "RECEIPT_NOT_FOUND")
"""Of several findings the first of these is the verdict."""


class Unreadable(Exception):
    """Not a bundle, or a damaged one: nothing can be said about the log."""


# The Merkle tree of RFC 9162


def leaf_of(entry: bytes) -> bytes:
    """The leaf hash of an entry's canonical JSON."""
    return hashlib.sha256(LEAF + entry).digest()


def node_of(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(NODE + left + right).digest()


def mark_of(leaf: bytes, subject: bytes) -> bytes:
    """Tells who knows a subject's id which entries are about them, and nobody else anything.

    `subject` is the 16 bytes of the UUID, zeros where an entry is about nobody.
    """
    return hashlib.sha256(MARK + leaf + subject).digest()[:MARK_BYTES]


class Tree:
    """A tree that grows at its right end, as the roots of its complete subtrees, the largest first."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)

    def append(self, leaf: bytes) -> None:
        carry, at = leaf, self.size
        while at & 1:
            carry = hashlib.sha256(NODE + self.peaks.pop() + carry).digest()
            at >>= 1
        self.peaks.append(carry)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_of(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion_path(leaves: Sequence[bytes], position: int) -> list[bytes]:
    """RFC 9162, 2.1.3.1: what proves that `leaves[position]` is in the tree of all of them, from below."""
    path: list[bytes] = []
    level, at = list(leaves), position
    while len(level) > 1:
        beside = at ^ 1
        if beside < len(level):
            path.append(level[beside])
        pairs = [node_of(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
        at >>= 1
    return path


def included(leaf: bytes, position: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, 2.1.3.2: whether the path leads from the leaf at `position` to the root of a tree of that size."""
    if not 0 <= position < size:
        return False
    at, last, found = position, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_of(step, found)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found = node_of(found, step)
        at >>= 1
        last >>= 1
    return last == 0 and found == root


# Ed25519 (RFC 8032), checking alone

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def _add(a: Point, b: Point) -> Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    i, j, k, m = f - e, h - g, h + g, f + e
    return i * j % P, k * m % P, j * k % P, i * m % P


def _times(scalar: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _x_of(y: int, sign: int) -> int | None:
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _point(text: bytes) -> Point | None:
    number = int.from_bytes(text, "little")
    y = number & ((1 << 255) - 1)
    x = _x_of(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = _point(BASE_Y.to_bytes(32, "little"))


def signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the Ed25519 signature of the message is one of this public key."""
    if len(public) != 32 or len(signature) != 64 or BASE is None:
        return False
    key, commitment = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    left = _times(scalar, BASE)
    right = _add(commitment, _times(int.from_bytes(digest, "little") % ORDER, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def key_id_of(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]


# Checkpoints


def body_of(statement: Mapping[str, Any], fields: Sequence[str] = FIELDS) -> bytes:
    """The bytes that are signed, of a checkpoint or a prune record: sorted, compact JSON of exactly these fields."""
    told = {name: statement[name] for name in fields}
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def hash_of(checkpoint: Mapping[str, Any]) -> str:
    """What the next checkpoint names as `previous`: it holds the signature too."""
    return hashlib.sha256(body_of(checkpoint) + bytes.fromhex(checkpoint["signature"])).hexdigest()


# What is checked


class Log(Protocol):
    """A log to check: a bundle, or the database."""

    workspace: str
    subset: bool
    subject: str
    size: int

    @property
    def keys(self) -> Mapping[str, bytes]: ...

    @property
    def wrong(self) -> Sequence[tuple[str, str]]:
        """Verdict and place of what the log noticed itself while it was read."""
        ...

    def checkpoints(self) -> Iterator[Mapping[str, Any]]: ...

    def prunes(self) -> Iterator[Mapping[str, Any]]:
        """Signed records of entries that were removed because their time was over."""
        ...

    def leaves(self) -> Iterator[bytes]:
        """Whole records of 48 bytes, in pieces of any number. Those of pruned entries are among them."""
        ...

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Position and canonical JSON, in the order in which the log holds them."""
        ...


@dataclass(frozen=True)
class Finding:
    verdict: str
    where: str


@dataclass
class Report:
    verdict: str = "OK"
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    entries: int = 0
    size: int = 0
    checkpoints: int = 0
    signatures: int = 0
    erasures: int = 0
    pruned: int = 0
    root: str = ""
    last: str = ""
    keys: list[str] = field(default_factory=list)

    def add(self, verdict: str, where: str) -> None:
        self.found += 1
        # The gravest of each kind must be among those that are kept.
        if len(self.findings) < SHOWN or all(one.verdict != verdict for one in self.findings):
            self.findings.append(Finding(verdict, where))

    @property
    def exit_code(self) -> int:
        return EXIT[self.verdict]


def check(
    log: Log,
    *,
    all_signatures: bool = False,
    expect: Sequence[Mapping[str, Any]] = (),
    receipts: Sequence[str] = (),
    trust: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Read the log once and say what is wrong with it.

    Without `all_signatures` the newest signature of each key is checked; the chain of hashes ties the others to them.
    `expect` are checkpoints that you kept; `receipts` what callers were given; `trust` the ids of the only keys that
    may have signed.
    """
    report = Report()
    chain = _checkpoints(log, report, all_signatures=all_signatures, trust=trust)
    pruned = _prunes(log, report, chain, trust)
    leaves = _leaves(log, report, chain, expect)
    _entries(log, report, leaves, pruned, progress)
    for verdict, where in log.wrong:
        report.add(verdict, where)
    for receipt in receipts:
        _receipt(receipt, leaves, log.keys, report)
    told = {one.verdict for one in report.findings}
    report.verdict = next(
        (one for one in GRAVEST if one in told),
        "OK_SUBSET" if log.subset else "PRUNED_OK" if report.pruned else "ERASED_OK" if report.erasures else "OK",
    )
    return report


def _checkpoints(log: Log, report: Report, *, all_signatures: bool, trust: Sequence[str]) -> list[Mapping[str, Any]]:
    chain: list[Mapping[str, Any]] = []
    for found in log.checkpoints():
        if _sound(found) and found["workspace"] == log.workspace:
            chain.append(found)
        else:
            report.add("BAD_SIGNATURE", f"a checkpoint is not of its form, or of another workspace, after {len(chain)}")
    numbers = [one["number"] for one in chain]
    if numbers != sorted(numbers):
        report.add("REORDERED", "checkpoints stand in another order than their numbers")
        chain = sorted(chain, key=lambda one: one["number"])
    good: dict[str, bool] = {}

    def is_signed(one: Mapping[str, Any]) -> bool:
        name = hash_of(one)
        if name not in good:
            public = log.keys.get(one["key"], b"")
            report.signatures += 1
            good[name] = (
                key_id_of(public) == one["key"]
                and (not trust or one["key"] in trust)
                and signed(public, body_of(one), bytes.fromhex(one["signature"]))
            )
            if not good[name]:
                report.add("BAD_SIGNATURE", f"checkpoint {one['number']}")
        return good[name]

    number, previous, before = 0, FIRST, None
    for one in chain:
        if all_signatures:
            is_signed(one)
        if one["number"] == number:
            if before is not None and hash_of(one) != previous:
                sound = [is_signed(before), is_signed(one)]
                if all(sound):
                    report.add("FORKED", f"two checkpoints are number {number}")
            else:
                report.add("ALTERED", f"checkpoint {number} stands there twice")
            continue
        if one["number"] > number + 1:
            # Whether the ones between were taken away, or a number was changed, the signature tells.
            if is_signed(one):
                report.add("MISSING", f"checkpoints {number + 1} to {one['number'] - 1}")
        elif one["previous"] != previous:
            sound = [is_signed(other) for other in (before, one) if other is not None]
            if all(sound):
                report.add("FORKED", f"checkpoint {one['number']} does not follow the one before it")
        if before is not None and one["size"] < before["size"] and is_signed(one) and is_signed(before):
            report.add("FORKED", f"checkpoint {one['number']} is smaller than the one before it")
        number, previous, before = one["number"], hash_of(one), one
    newest = {one["key"]: one for one in chain}
    for one in newest.values():
        is_signed(one)
    report.checkpoints = len(chain)
    report.keys = list(newest)
    if chain:
        report.last = hash_of(chain[-1])
    return chain


def _sound(one: Any) -> bool:
    try:
        numbers = one["number"], one["size"]
        right = all(type(number) is int and number >= 0 for number in numbers) and one["number"] > 0
        for name in ("root", "previous", "marks", "sum"):
            right = right and len(bytes.fromhex(one[name])) == HASH and one[name] == one[name].lower()
        right = right and len(bytes.fromhex(one["signature"])) == 64
        return bool(right and one["form"] == CHECKPOINT and {type(one[name]) for name in ("at", "key")} == {str})
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _prunes(log: Log, report: Report, chain: Sequence[Mapping[str, Any]], trust: Sequence[str]) -> int:
    """How many entries, from the first on, may be gone: as many as a signed record says, at a checkpoint of the log."""
    by_number = {one["number"]: one for one in chain}
    allowed = 0
    for found in log.prunes():
        if not _sound_prune(found) or found["workspace"] != log.workspace:
            report.add("BAD_SIGNATURE", "a prune record is not of its form, or of another workspace")
            continue
        public = log.keys.get(found["key"], b"")
        where = f"the record that the first {found['size']} entries were pruned"
        report.signatures += 1
        if (
            key_id_of(public) != found["key"]
            or (trust and found["key"] not in trust)
            or not signed(public, body_of(found, PRUNE_FIELDS), bytes.fromhex(found["signature"]))
        ):
            report.add("BAD_SIGNATURE", where)
            continue
        at = by_number.get(found["number"])
        if at is None:
            report.add("MISSING", f"checkpoint {found['number']}, which {where} names")
        elif hash_of(at) != found["checkpoint"] or at["size"] != found["size"]:
            report.add("FORKED", f"{where} names another checkpoint {found['number']}")
        else:
            allowed = max(allowed, found["size"])
    return allowed


def _sound_prune(one: Any) -> bool:
    try:
        numbers = [one[name] for name in ("number", "size", "entries")]
        right = all(type(number) is int and number > 0 for number in numbers)
        right = (
            right and len(bytes.fromhex(one["checkpoint"])) == HASH and one["checkpoint"] == one["checkpoint"].lower()
        )
        right = right and len(bytes.fromhex(one["signature"])) == 64
        return bool(
            right and one["form"] == PRUNE and {type(one[name]) for name in ("workspace", "at", "key")} == {str}
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _leaves(
    log: Log, report: Report, chain: Sequence[Mapping[str, Any]], expect: Sequence[Mapping[str, Any]]
) -> bytearray:
    """All records, after every checkpoint was compared with the tree of the entries it covers."""
    records = bytearray()
    for piece in log.leaves():
        records += piece
    whole, rest = divmod(len(records), RECORD)
    if rest:
        report.add("ALTERED", "the leaves end within one of them")
        del records[whole * RECORD :]
    last = chain[-1]["size"] if chain else 0
    report.size = last
    if whole < last:
        report.add("MISSING", f"{last - whole} of {last} leaves")
    elif whole > last:
        kind = "MISSING" if log.size > last else "ALTERED"
        report.add(kind, f"no checkpoint covers the leaves after {last}")
    elif log.size != last:
        report.add("ALTERED", f"the log is said to have {log.size} entries; its checkpoints cover {last}")
    tree, total = Tree(), 0
    stops = {one["size"] for one in expect}
    roots: dict[int, str] = {}
    broken = whole < last
    append = tree.append
    for one in [*chain, None]:
        until = min(one["size"] if one else whole, whole)
        begin = tree.size
        for at in range(begin, until):
            if at in stops:
                roots[at] = tree.root().hex()
            leaf = bytes(records[at * RECORD : at * RECORD + HASH])
            append(leaf)
            total += int.from_bytes(leaf, "big")
        if one is None or broken:
            continue
        total %= SUM
        marks = hashlib.sha256()
        for at in range(begin, until):
            marks.update(records[at * RECORD + HASH : (at + 1) * RECORD])
        right = tree.root().hex() == one["root"]
        if not right or f"{total:064x}" != one["sum"]:
            # The same leaves in another order have the same sum, at the latest at the end.
            every = sum(int.from_bytes(records[at * RECORD : at * RECORD + HASH], "big") for at in range(last)) % SUM
            kind = "REORDERED" if f"{every:064x}" == chain[-1]["sum"] else "ALTERED"
            report.add(kind, f"checkpoint {one['number']} is over other entries than the first {one['size']}")
            broken = True
        if right and marks.hexdigest() != one["marks"]:
            report.add("ALTERED", f"the marks of the entries that checkpoint {one['number']} added")
        if one["size"] in stops:
            roots.setdefault(one["size"], tree.root().hex())
        report.root = tree.root().hex()
    _expected(report, chain, expect, roots, last)
    return records


def _expected(
    report: Report,
    chain: Sequence[Mapping[str, Any]],
    expect: Sequence[Mapping[str, Any]],
    roots: Mapping[int, str],
    last: int,
) -> None:
    by_number = {one["number"]: one for one in chain}
    held = {hash_of(one) for one in chain} | {f"{one['size']}:{one['root']}" for one in chain}
    newest = max(by_number, default=0)
    for one in expect:
        if (hash_of(one) if "signature" in one else f"{one['size']}:{one['root']}") in held:
            # The log still has it: what of its entries does not fit is no other history, and was told.
            continue
        if one["size"] > last or one.get("number", 0) > newest:
            report.add("TRUNCATED", f"you hold a checkpoint of {one['size']} entries; this log ends at {last}")
        elif roots.get(one["size"], Tree().root().hex() if not one["size"] else "") != one["root"]:
            report.add("FORKED", f"the first {one['size']} entries are not those of the checkpoint that you hold")
        elif "signature" in one and one["number"] in by_number and hash_of(by_number[one["number"]]) != hash_of(one):
            report.add("FORKED", f"checkpoint {one['number']} is another one than you hold")


def _entries(log: Log, report: Report, leaves: bytearray, pruned: int, progress: Callable[[int], None] | None) -> None:
    size = len(leaves) // RECORD
    seen = bytearray(size)
    latest = -1
    end = b',"workspace_id":"' + log.workspace.encode() + b'"}'
    subject = _uuid_bytes(log.subject) if log.subject else b""
    for position, text in log.entries():
        report.entries += 1
        if progress is not None and report.entries % 10_000 == 0:
            progress(report.entries)
        if not 0 <= position < size:
            report.add("ALTERED", f"an entry has the position {position}, of {size}")
            continue
        if seen[position]:
            report.add("ALTERED", f"two entries have the position {position}")
            continue
        seen[position] = 1
        if position < latest:
            report.add("REORDERED", f"entry {position} stands after {latest}")
        latest = max(latest, position)
        leaf, at = leaf_of(text), position * RECORD
        if leaf != leaves[at : at + HASH]:
            elsewhere = _find(leaves, leaf)
            kind = "ALTERED" if elsewhere is None else "REORDERED"
            report.add(kind, f"entry {position}" + ("" if elsewhere is None else f" was sealed as {elsewhere}"))
            continue
        if not text.endswith(end):
            report.add("ALTERED", f"entry {position} is of another workspace")
        if mark_of(leaf, _subject_in(text)) != leaves[at + HASH : at + RECORD]:
            report.add("ALTERED", f"the mark of entry {position}")
        if ERASURE_OF_FACT in text or any(one in text for one in ERASURES):
            report.erasures += 1
    pruned = min(pruned, size)
    report.pruned = pruned - sum(seen[:pruned])
    if not log.subset:
        gone = size - sum(seen) - report.pruned
        if gone:
            report.add("MISSING", f"{gone} entries, the first of them {seen.index(0, pruned)}")
    elif subject:
        # Which of the pruned were about the subject, the marks still tell.
        for position in range(pruned, size):
            at = position * RECORD
            if (
                not seen[position]
                and mark_of(bytes(leaves[at : at + HASH]), subject) == leaves[at + HASH : at + RECORD]
            ):
                report.add("MISSING", f"entry {position}, which is about the subject")


def _subject_in(text: bytes) -> bytes:
    # Keys are sorted, so that only the workspace comes after it.
    _, _, told = text.rpartition(b'"subject_id":')
    return NOBODY if told.startswith(b"null") else _uuid_bytes(told[1:37].decode("ascii", "replace"))


def _uuid_bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return b""


def _find(leaves: bytearray, leaf: bytes) -> int | None:
    at = leaves.find(leaf)
    while at >= 0 and at % RECORD:
        at = leaves.find(leaf, at + 1)
    return at // RECORD if at >= 0 else None


def receipt_parts(receipt: str) -> tuple[str, bytes, str, bytes] | None:
    """Entry id, leaf, key id and signature of a receipt; None when it is none. The first form has no signature."""
    parts = receipt.strip().split(":")
    try:
        if parts[0] == "mh1" and len(parts) == 3:
            return parts[1], bytes.fromhex(parts[2]), "", b""
        if parts[0] == "mh2" and len(parts) == 5:
            return parts[1], bytes.fromhex(parts[2]), parts[3], base64.urlsafe_b64decode(parts[4] + "==")
    except (ValueError, binascii.Error):
        pass
    return None


def receipt_body(receipt: str) -> bytes:
    """What a receipt's signature is over: all before it."""
    return receipt.strip().rpartition(":")[0].encode()


def _receipt(receipt: str, leaves: bytearray, keys: Mapping[str, bytes], report: Report) -> None:
    parts = receipt_parts(receipt)
    if parts is None:
        report.add("RECEIPT_NOT_FOUND", "not a receipt")
        return
    entry, leaf, key, signature = parts
    if key and not (key_id_of(keys.get(key, b"")) == key and signed(keys[key], receipt_body(receipt), signature)):
        report.add("BAD_SIGNATURE", f"the receipt of entry {entry}")
    elif _find(leaves, leaf) is None:
        report.add("RECEIPT_NOT_FOUND", f"entry {entry} is not in the log, or has another content there")


# A bundle


class Bundle:
    """A ZIP file as the hub gives it out, read entry by entry."""

    wrong: Sequence[tuple[str, str]] = ()

    def __init__(self, path: str | Path) -> None:
        try:
            self.zip = zipfile.ZipFile(path)
            manifest = json.loads(self.zip.read("manifest.json"))
            if manifest["form"] != BUNDLE:
                raise Unreadable("another form of bundle than this program knows")
            self.workspace = str(manifest["workspace"])
            self.subject = str(manifest["subject"])
            self.subset = manifest["scope"] != "all"
            self.size = int(manifest["size"])
            self.keys = {str(name): bytes.fromhex(key) for name, key in json.loads(self.zip.read("keys.json")).items()}
        except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError) as error:
            raise Unreadable(f"this is no bundle of a MemoryHub: {error}") from error

    def checkpoints(self) -> Iterator[Mapping[str, Any]]:
        yield from self._statements("checkpoints.jsonl")

    def prunes(self) -> Iterator[Mapping[str, Any]]:
        # Bundles of before there was pruning lack the file; where entries are gone without it, that is told.
        if "prunes.jsonl" in self.zip.namelist():
            yield from self._statements("prunes.jsonl")

    def leaves(self) -> Iterator[bytes]:
        with self._open("leaves.bin") as file:
            while piece := file.read(RECORD * 10_000):
                yield piece

    def entries(self) -> Iterator[tuple[int, bytes]]:
        for line in self._lines("entries.jsonl"):
            position, _, text = line.rstrip(b"\n").partition(b"\t")
            yield int(position) if position.isdigit() and len(position) < 19 else -1, text

    def _statements(self, name: str) -> Iterator[Mapping[str, Any]]:
        for line in self._lines(name):
            try:
                told = json.loads(line)
            except ValueError:
                told = None
            yield told if isinstance(told, dict) else {}

    def _lines(self, name: str) -> Iterator[bytes]:
        with self._open(name) as file:
            yield from file

    def _open(self, name: str) -> Any:
        try:
            return self.zip.open(name)
        except KeyError as error:
            raise Unreadable(f"{name} is not in the bundle") from error


def kept_checkpoint(path: str) -> Mapping[str, Any]:
    """A checkpoint in a file, its last line, or SIZE:ROOT. Raises OSError and ValueError."""
    size, _, root = path.partition(":")
    if size.isdigit() and len(root) == 64:
        return {"size": int(size), "root": root.lower()}
    told = json.loads(Path(path).read_text().strip().splitlines()[-1])
    if not _sound(told):
        raise ValueError(f"{path} holds no checkpoint")
    return dict(told)


def in_words(report: Report) -> str:
    lines = [
        f"{report.verdict}: {report.entries} entries read, {report.size} sealed under {report.checkpoints} checkpoints,"
        f" {report.signatures} signatures checked",
        f"  root {report.root or '-'}",
        f"  last checkpoint {report.last or '-'}",
        f"  signed by {', '.join(report.keys) or '-'}: compare it with what you were told by another way",
    ]
    if report.verdict == "OK_SUBSET":
        lines.append("  Each entry here is in the log, unaltered. That no other one is, a part of the log cannot show.")
    if report.pruned:
        lines.append(
            f"  {report.pruned} of the first entries were pruned, as a signed record says: their leaves stand."
        )
    if report.erasures:
        lines.append(f"  {report.erasures} entries tell of erasures: content went, the entries about it stand.")
    lines += [f"  {one.verdict}: {one.where}" for one in report.findings[:SHOWN]]
    if report.found > len(report.findings):
        lines.append(f"  and {report.found - len(report.findings)} more")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="the ZIP file")
    parser.add_argument("--all-signatures", action="store_true", help="check every signature, not the newest of a key")
    parser.add_argument("--expect", action="append", default=[], help="a checkpoint you kept: a file, or SIZE:ROOT")
    parser.add_argument("--receipt", action="append", default=[], help="a receipt whose entry must be there")
    parser.add_argument("--trust", action="append", default=[], help="the id of a key; no other may have signed")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    told = parser.parse_args(arguments)
    try:
        report = check(
            Bundle(told.bundle),
            all_signatures=told.all_signatures,
            expect=[kept_checkpoint(one) for one in told.expect],
            receipts=told.receipt,
            trust=told.trust,
        )
    except (Unreadable, OSError, ValueError, zipfile.BadZipFile) as error:
        print(f"UNREADABLE: {error}", file=sys.stderr)  # noqa: T201 - a program
        return UNREADABLE
    if told.json:
        findings = [{"verdict": one.verdict, "where": one.where} for one in report.findings]
        print(json.dumps({**vars(report), "findings": findings}))  # noqa: T201
    else:
        print(in_words(report))  # noqa: T201
    return report.exit_code


def _run() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _run()
