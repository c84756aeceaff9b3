"""What it would cost to encrypt what search needs, against what search costs now.

    python -m benchmarks.encryption [--turns 2000 50000] [--small]

Encrypting the text of turns and facts alone would leave their words beside it, in the keyword index, and their meaning,
in the vectors, from which text can largely be won back (Morris et al., Text Embeddings Reveal (Almost) As Much As
Text, 2023). An honest field encryption seals the vectors too. Then the database can no longer compare them: every
vector of the person has to be sent to the hub, opened and compared there. Words could be kept as keyed digests, which
cost little.

Both ways find the nearest 50 of one person's vectors, exactly, in a database of this script's own: `plain` is the
covering index and the query of the hub, `sealed` are AES-256-GCM rows under a key of the workspace, opened and compared
with numpy. The words of a query are hashed with HMAC-SHA-256 as they would be.

PASS means that the reason given in docs/security.md holds: sealed takes at least three times as long.
"""

import argparse
import hashlib
import hmac
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.harness import finish, print_table
from memoryhub.core.postgres import OWNER, EmbeddedPostgres

DIMENSIONS, NEAREST, ROUNDS = 384, 50, 30
LEAST_RATIO = 3.0
NONCE = 12
WORDS = ("which", "cloud", "provider", "invoice", "budget", "team", "moved", "week")


@dataclass(frozen=True)
class Measured:
    turns: int
    plain_ms: float
    sealed_ms: float
    opening_ms: float
    plain_bytes: int
    sealed_bytes: int

    @property
    def ratio(self) -> float:
        return self.sealed_ms / self.plain_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, nargs="+", default=[2_000, 50_000])
    parser.add_argument("--small", action="store_true", help="a reduced size, as CI runs it")
    arguments = parser.parse_args()
    sizes = [2_000] if arguments.small else arguments.turns
    with tempfile.TemporaryDirectory(prefix="memoryhub-") as directory:
        Path(directory).chmod(0o755)  # noqa: S103 - the database server may run as another user
        with (
            EmbeddedPostgres(Path(directory)).running() as server,
            psycopg.connect(server.dsn(OWNER), autocommit=True) as connection,
        ):
            measured = [measure(connection, turns) for turns in sizes]
    print_table(
        ("turns", "plain ms", "sealed ms", "of it opening", "ratio", "plain MB", "sealed MB"),
        [
            (
                one.turns,
                f"{one.plain_ms:.2f}",
                f"{one.sealed_ms:.2f}",
                f"{one.opening_ms:.2f}",
                f"{one.ratio:.1f}",
                f"{one.plain_bytes / 1e6:.1f}",
                f"{one.sealed_bytes / 1e6:.1f}",
            )
            for one in measured
        ],
    )
    words_us = hashing_us()
    print(f"Hashing the {len(WORDS)} words of a query: {words_us:.0f} µs")
    finish(
        all(one.ratio >= LEAST_RATIO for one in measured),
        "; ".join(
            f"{one.turns} turns: {one.plain_ms:.1f} ms plain, {one.sealed_ms:.1f} ms sealed ({one.ratio:.1f} times)"
            for one in measured
        ),
    )


def measure(connection: "psycopg.Connection[tuple[object, ...]]", turns: int) -> Measured:
    chance = np.random.default_rng(7)
    vectors = chance.standard_normal((turns, DIMENSIONS), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    halves = vectors.astype(np.float16)
    subject, key = uuid4(), AESGCM.generate_key(256)
    box = AESGCM(key)
    connection.execute("drop table if exists plain, sealed")
    connection.execute(f"create table plain (subject uuid, item uuid, embedding halfvec({DIMENSIONS}))")
    connection.execute("create table sealed (subject uuid, item uuid, nonce_and_vector bytea)")
    with connection.cursor() as cursor:
        with cursor.copy("copy plain from stdin") as copy:
            for half in halves:
                copy.write_row((subject, uuid4(), "[" + ",".join(f"{value:.5f}" for value in half) + "]"))
        with cursor.copy("copy sealed (subject, item, nonce_and_vector) from stdin") as copy:
            for half in halves:
                item, nonce = uuid4(), os.urandom(NONCE)
                copy.write_row((subject, item, nonce + box.encrypt(nonce, half.tobytes(), item.bytes)))
    connection.execute("create index plain_scan on plain (subject) include (item, embedding)")
    connection.execute("create index sealed_scan on sealed (subject)")
    connection.execute("vacuum analyze plain")
    connection.execute("vacuum analyze sealed")
    opening: list[float] = []
    queries = chance.standard_normal((ROUNDS + 3, DIMENSIONS), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)

    def plain(query: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> None:
        text = "[" + ",".join(f"{value:.5f}" for value in query) + "]"
        connection.execute(
            "select item from plain where subject = %s order by embedding <=> %s::halfvec limit %s",
            [subject, text, NEAREST],
        ).fetchall()

    def sealed(query: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> None:
        rows = connection.execute(
            "select item, nonce_and_vector from sealed where subject = %s", [subject], binary=True
        ).fetchall()
        began = time.perf_counter()
        opened = b"".join(box.decrypt(row[:NONCE], row[NONCE:], _bytes(item)) for item, row in rows)  # type: ignore[index]
        opening.append(time.perf_counter() - began)
        found = np.frombuffer(opened, np.float16).reshape(-1, DIMENSIONS).astype(np.float32) @ query
        np.argpartition(-found, min(NEAREST, len(found) - 1))[:NEAREST]

    return Measured(
        turns,
        _median_ms(plain, queries),
        _median_ms(sealed, queries),
        statistics.median(opening) * 1000,
        _bytes_of(connection, "plain"),
        _bytes_of(connection, "sealed"),
    )


def hashing_us() -> float:
    """Microseconds to turn a query's words into keyed digests."""
    key = os.urandom(32)
    began = time.perf_counter()
    for _ in range(1000):
        for word in WORDS:
            hmac.new(key, word.encode(), hashlib.sha256).digest()
    return (time.perf_counter() - began) * 1000


def _median_ms(
    search: Callable[["np.ndarray[tuple[int], np.dtype[np.float32]]"], None],
    queries: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
) -> float:
    times = []
    for query in queries:
        began = time.perf_counter()
        search(query)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[3:])


def _bytes(item: object) -> bytes:
    return item.bytes if isinstance(item, UUID) else b""


def _bytes_of(connection: "psycopg.Connection[tuple[object, ...]]", table: str) -> int:
    row = connection.execute("select pg_total_relation_size(%s::regclass)", [table]).fetchone()
    return int(str(row[0])) if row else 0


if __name__ == "__main__":
    main()
