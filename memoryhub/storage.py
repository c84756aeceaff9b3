"""The bytes of the database: rewriting what held erased rows, dumping all of it, putting a dump back."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connections
from psycopg import sql
from psycopg.conninfo import make_conninfo

from memoryhub.core.postgres import DATABASE, OWNER, RUNTIME, SUPERUSER, EmbeddedPostgres, installation

# Old segments of the write-ahead log are removed, not kept under another name with what is in them.
PURGING: Mapping[str, str] = {
    "wal_recycle": "off",
    "min_wal_size": "32MB",
    "wal_keep_size": "0",
    "autovacuum": "off",
}
SPARE = 16
CATALOGUE = ("pg_statistic", "pg_statistic_ext_data")
"""Where the server keeps samples of what stands in columns."""


class StorageError(Exception):
    """It cannot be done. The message is one line that says what to do."""


@dataclass
class Purged:
    """What was rewritten, and what could not be."""

    tables: int = 0
    checkpoint: bool = False
    log_switched: bool = False
    statistics: bool = False
    server_log: bool = False
    left: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.left


@contextlib.contextmanager
def own_server(options: Mapping[str, str] | None = None) -> Iterator[EmbeddedPostgres | None]:
    """The embedded server, running inside the block for this process alone; None where Postgres is somebody else's.

    Raises PostgresError while a hub uses it.
    """
    if not settings.EMBEDDED_DATABASE:
        yield None
        return
    connections.close_all()
    server = EmbeddedPostgres(settings.DATA_DIR, options=options)
    try:
        with server.running():
            yield server
            connections.close_all()
    finally:
        connections.close_all()


def purge(server: EmbeddedPostgres | None) -> Purged:
    """Rewrite every table without its dead rows, and let go of the log that still tells of them."""
    done = Purged()
    with psycopg.connect(_dsn(server, OWNER, "owner"), autocommit=True) as owner:
        tables = owner.execute(
            "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where c.relkind in ('r', 'm') and pg_has_role(c.relowner, 'MEMBER') "
            "and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%' order by 1, 2"
        ).fetchall()
        for schema, table in tables:
            owner.execute(sql.SQL("vacuum (full, analyze) {}.{}").format(sql.Identifier(schema), sql.Identifier(table)))
            done.tables += 1
    # On a Postgres of somebody else the owner may be allowed some of this, or none.
    role = SUPERUSER if server is not None else OWNER
    with psycopg.connect(_dsn(server, role, "owner"), autocommit=True) as chief:
        done.statistics = all(_may(chief, f"vacuum (full) pg_catalog.{table}") for table in CATALOGUE)
        done.log_switched = _may(chief, "select pg_switch_wal()")
        done.checkpoint = _may(chief, "checkpoint")
        if server is not None:
            _let_go_of_log(chief)
    if not done.statistics:
        done.left.append("the planner's statistics, which hold samples of columns, were not rewritten")
    if not (done.checkpoint and done.log_switched):
        done.left.append("the write-ahead log was not switched: its old segments go when the server lets go of them")
    if server is None:
        done.left.append("backups, replicas, snapshots and logs of this Postgres are its operator's")
    return done


def _let_go_of_log(chief: "psycopg.Connection[Any]") -> None:
    """Go on to new segments until none of those that are there now is left.

    Some of them lie ahead: they were old once, and were kept under the name of one to come with what was in them.
    """
    there = _segments(chief)
    for _ in range(len(there) + SPARE):
        if not there & _segments(chief):
            return
        chief.execute("select pg_logical_emit_message(false, 'purge', '')")
        chief.execute("select pg_switch_wal()")
        chief.execute("checkpoint")
    raise StorageError("the server keeps old segments of its log: a replication slot may need them")


def _segments(chief: "psycopg.Connection[Any]") -> set[str]:
    return {row[0] for row in chief.execute("select name from pg_ls_waldir()").fetchall()}


def remove_server_logs(server: EmbeddedPostgres) -> None:
    """Only while it is stopped."""
    for path in (server.log, server.log.with_name("postgres.log.1")):
        path.unlink(missing_ok=True)


def dump(server: EmbeddedPostgres | None, target: Path) -> None:
    """All of the database into a file that only this user can read. Raises StorageError."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        done = _run(
            "pg_dump", "--format=custom", "--no-comments", "--dbname", _dsn(server, OWNER, "owner"), stdout=file
        )
        os.fsync(file.fileno())
    if done.returncode != 0:
        unfinished.unlink()
        raise StorageError(f"pg_dump failed: {_last_line(done.stderr)}")
    unfinished.rename(target)


def put_back(server: EmbeddedPostgres | None, source: Path) -> None:
    """Replace all of the database by what a dump holds. Raises StorageError; then the database may be half there."""
    if server is not None:
        with psycopg.connect(server.dsn(SUPERUSER, "postgres"), autocommit=True) as chief:
            name, owner = sql.Identifier(DATABASE), sql.Identifier(OWNER)
            chief.execute(sql.SQL("drop database if exists {} with (force)").format(name))
            chief.execute(sql.SQL("create database {} owner {} template template1").format(name, owner))
            chief.execute(sql.SQL("revoke all on database {} from public").format(name))
            grant = sql.SQL("grant connect, temporary on database {} to {}")
            chief.execute(grant.format(name, sql.Identifier(RUNTIME)))
    else:
        with psycopg.connect(_dsn(None, OWNER, "owner"), autocommit=True) as owner_connection:
            there = owner_connection.execute("select to_regclass('public.access_workspace')").fetchone()
            if there and there[0] is not None:
                raise StorageError(
                    "the database is not empty: make an empty one with the vector extension, and name it"
                )
    dsn = _dsn(server, OWNER, "owner")
    done = _run("pg_restore", "--no-comments", "--no-owner", "--exit-on-error", "--dbname", dsn, str(source))
    if done.returncode != 0:
        raise StorageError(f"pg_restore failed: {_last_line(done.stderr)}")


def _may(connection: "psycopg.Connection[Any]", statement: str) -> bool:
    try:
        connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _dsn(server: EmbeddedPostgres | None, role: str, alias: str) -> str:
    if server is not None:
        return server.dsn(role)
    given = settings.DATABASES[alias]
    return make_conninfo(
        "",
        host=given["HOST"] or None,
        port=given["PORT"] or None,
        user=given["USER"] or None,
        password=given["PASSWORD"] or None,
        dbname=given["NAME"],
    )


def _run(program: str, *arguments: str, stdout: Any = subprocess.PIPE) -> "subprocess.CompletedProcess[bytes]":
    """A program of PostgreSQL: the one on the path where Postgres is somebody else's, else the one that comes along."""
    found = shutil.which(program) if not settings.EMBEDDED_DATABASE else None
    path = found or str(installation(None) / "bin" / program)
    try:
        return subprocess.run(  # noqa: S603 - our own programs and arguments
            [path, *arguments], stdout=stdout, stderr=subprocess.PIPE, check=False
        )
    except OSError as error:
        raise StorageError(f"{program} cannot be run: {error}") from error


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "no reason given"
