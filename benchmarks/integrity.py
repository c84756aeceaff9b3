"""Does the verifier notice every harm to a bundle, give no false alarm, and manage a million entries?

Works without a hub: the logs are made here, by the functions that the sealer uses, and checked by `audit/verify.py`.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import verify
from benchmarks.harness import finish, print_table

WORKSPACE = UUID(int=1)
WITHIN, MEGABYTES = 90.0, 200.0
SCOPE = {"form": verify.BUNDLE, "workspace": str(WORKSPACE), "scope": "all", "subject": "", "filters": []}
Files = dict[str, bytes]
# The peak of the process itself: what the kernel counts for a child begins with the size of its parent.
MEASURED = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak, file=sys.stderr)
"""


class Maker:
    """A log of made-up entries, checkpoint by checkpoint."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - made-up entries
        self.key = Ed25519PrivateKey.from_private_bytes(self.chance.randbytes(32))
        self.public = self.key.public_key().public_bytes_raw()
        self.tree, self.sum, self.previous, self.number = verify.Tree(), 0, verify.FIRST, 0

    def checkpoint(self, count: int) -> tuple[list[bytes], bytes, bytes]:
        """Lines of entries, leaves with marks, and the line of a checkpoint."""
        lines, records, marks = [], bytearray(), hashlib.sha256()
        for _ in range(count):
            subject = UUID(int=self.chance.getrandbits(128))
            text = (
                b'{"action":"memory.surfaced","actor_id":"%b","actor_kind":"agent","at":"2026-03-01T09:30:00.000250Z",'
                b'"credential":"mh_1a2b3c4d","data":{"items":[{"kind":"fact","rank":1,"score":0.8125}],"top_k":5},'
                b'"id":"%b","object_id":"","object_kind":"","outcome":"ok","reason":"","request_id":"","schema":1,'
                b'"session_id":null,"subject_id":"%b","workspace_id":"%b"}'
            ) % tuple(
                str(one).encode() for one in (WORKSPACE, UUID(int=self.chance.getrandbits(128)), subject, WORKSPACE)
            )
            leaf = verify.leaf_of(text)
            mark = verify.mark_of(leaf, subject.bytes)
            lines.append(b"%d\t%b\n" % (self.tree.size, text))
            records += leaf + mark
            marks.update(mark)
            self.tree.append(leaf)
            self.sum = (self.sum + int.from_bytes(leaf, "big")) % verify.SUM
        self.number += 1
        told: dict[str, object] = {
            "form": verify.CHECKPOINT,
            "workspace": str(WORKSPACE),
            "number": self.number,
            "size": self.tree.size,
            "root": self.tree.root().hex(),
            "previous": self.previous,
            "marks": marks.hexdigest(),
            "sum": f"{self.sum:064x}",
            "at": "2026-03-01T09:30:01.000000Z",
            "key": verify.key_id_of(self.public),
        }
        told["signature"] = self.key.sign(verify.body_of(told)).hex()
        self.previous = verify.hash_of(told)
        return lines, bytes(records), json.dumps(told, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    def around(self) -> Files:
        return {
            "manifest.json": json.dumps(SCOPE | {"size": self.tree.size}).encode(),
            "keys.json": json.dumps({verify.key_id_of(self.public): self.public.hex()}).encode(),
        }


def small_log(seed: int) -> Files:
    maker = Maker(seed)
    parts = [maker.checkpoint(maker.chance.randrange(1, 12)) for _ in range(maker.chance.randrange(3, 8))]
    return maker.around() | {
        "entries.jsonl": b"".join(line for lines, _, _ in parts for line in lines),
        "leaves.bin": b"".join(records for _, records, _ in parts),
        "checkpoints.jsonl": b"".join(line for _, _, line in parts),
    }


def verdict_of(files: Mapping[str, bytes]) -> str:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return verify.check(verify.Bundle(out)).verdict  # type: ignore[arg-type]


def harm(files: Files, chance: random.Random) -> tuple[str, Files, set[str]]:
    """What was done, the files afterwards, and the verdicts that are right."""
    harmed = dict(files)
    kind = chance.choice(
        ["entry altered", "entry gone", "entries swapped", "contents swapped", "leaf altered", "leaf gone"]
        + ["leaves swapped", "checkpoint altered", "checkpoint gone", "checkpoints swapped", "key altered"]
    )
    name = {"entry": "entries.jsonl", "entries": "entries.jsonl", "contents": "entries.jsonl"}.get(kind.split()[0], "")
    name = name or ("checkpoints.jsonl" if kind.startswith("checkpoint") else "leaves.bin")
    if name == "leaves.bin":
        text = files[name]
        parts = [text[at : at + verify.RECORD] for at in range(0, len(text), verify.RECORD)]
    else:
        parts = files[name].splitlines(keepends=True)
    one, other = chance.sample(range(len(parts)), 2)
    if kind == "key altered":
        [key] = json.loads(files["keys.json"])
        return kind, harmed | {"keys.json": json.dumps({key: chance.randbytes(32).hex()}).encode()}, {"BAD_SIGNATURE"}
    if kind.endswith("gone"):
        del parts[one]
        right = {"MISSING"}
    elif kind == "contents swapped":
        (a, first), (b, second) = parts[one].split(b"\t"), parts[other].split(b"\t")
        parts[one], parts[other] = a + b"\t" + second, b + b"\t" + first
        right = {"REORDERED"}
    elif kind.endswith("swapped"):
        parts[one], parts[other] = parts[other], parts[one]
        right = {"REORDERED"}
    elif kind == "checkpoint altered":
        told = json.loads(parts[one])
        field = chance.choice([*verify.FIELDS, "signature"])
        value = told[field]
        told[field] = value + chance.randrange(1, 9) if isinstance(value, int) else _other(value, chance)
        parts[one] = json.dumps(told).encode() + b"\n"
        right = {"BAD_SIGNATURE"}
    else:
        harmed_part = bytearray(parts[one])
        begin = harmed_part.index(b"\t") + 1 if name == "entries.jsonl" else 0
        at = chance.randrange(begin, len(harmed_part) - (name == "entries.jsonl"))
        harmed_part[at] ^= 1 << chance.randrange(7)
        parts[one] = bytes(harmed_part)
        # A byte that became a line feed makes two lines of one.
        right = {"ALTERED", "MISSING"} if name == "entries.jsonl" else {"ALTERED"}
    harmed[name] = b"".join(parts)
    return kind, harmed, right


def _other(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice([one for one in "0123456789abcdef" if one != text[at]]) + text[at + 1 :]


def mutations(count: int) -> tuple[Counter[str], list[str]]:
    chance = random.Random(1)  # noqa: S311
    logs = [small_log(seed) for seed in range(20)]
    done: Counter[str] = Counter()
    wrong = []
    for _ in range(count):
        kind, files, right = harm(chance.choice(logs), chance)
        verdict = verdict_of(files)
        done[kind] += 1
        if verdict not in right:
            wrong.append(f"{kind}: {verdict}")
    return done, wrong


def large(path: Path, entries: int, checkpoints: int) -> tuple[float, float, str]:
    """Seconds, megabytes and verdict of the verifier, alone in a process, on a bundle of that many."""
    maker = Maker(9)
    kept: list[tuple[bytes, bytes]] = []

    def lines() -> Iterator[bytes]:
        for _ in range(checkpoints):
            texts, records, told = maker.checkpoint(entries // checkpoints)
            kept.append((records, told))
            yield b"".join(texts)

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("entries.jsonl", "w", force_zip64=True) as file:
            for piece in lines():
                file.write(piece)
        archive.writestr("leaves.bin", b"".join(records for records, _ in kept))
        archive.writestr("checkpoints.jsonl", b"".join(told for _, told in kept))
        for name, content in maker.around().items():
            archive.writestr(name, content)
    begun = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-I", "-c", MEASURED, verify.__file__, str(path)], capture_output=True, text=True, check=False
    )
    took = time.monotonic() - begun
    return took, int(done.stderr.split()[-1]) / 1024, done.stdout.partition(":")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a reduced size, as CI runs it")
    small = parser.parse_args().small
    harms, clean, entries, checkpoints = (500, 50, 20_000, 200) if small else (10_000, 1_000, 1_000_000, 10_000)
    with tempfile.TemporaryDirectory(prefix="memoryhub-") as directory:
        seconds, megabytes, verdict = large(Path(directory) / "large.zip", entries, checkpoints)
    done, wrong = mutations(harms)
    alarms = sum(verdict_of(small_log(seed)) != "OK" for seed in range(1_000, 1_000 + clean))
    print_table(["harm", "times"], sorted(done.items()))
    for one in wrong[:10]:
        print(f"wrong verdict: {one}")
    finish(
        not wrong and not alarms and verdict == "OK" and seconds <= WITHIN and megabytes <= MEGABYTES,
        f"{harms - len(wrong)} of {harms} harms to bundles with the right verdict, {alarms} false alarms in "
        f"{clean} clean logs; {entries} entries in {checkpoints} checkpoints {verdict} in {seconds:.1f} s "
        f"and {megabytes:.0f} MB",
    )


if __name__ == "__main__":
    main()
