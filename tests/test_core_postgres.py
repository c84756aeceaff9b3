"""The embedded PostgreSQL, with real servers in directories of their own."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from memoryhub.core import postgres
from memoryhub.core.postgres import (
    DataDirectoryInUse,
    EmbeddedPostgres,
    PostgresError,
    connection_settings,
    home_of,
    socket_dir_of,
)

SMALL = {"shared_buffers": "16MB", "fsync": "off"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the server's user can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="mh-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def test_a_new_directory_becomes_a_server_with_two_roles_and_pgvector(place: Path) -> None:
    with EmbeddedPostgres(place / "data", options=SMALL).running() as server:
        with psycopg.connect(server.dsn()) as connection:
            assert connection.execute("select '[1,2]'::halfvec(2)::text").fetchone() == ("[1,2]",)
            assert connection.execute("show data_checksums").fetchone() == ("on",)
            assert connection.execute("show server_encoding").fetchone() == ("UTF8",)
            [power] = connection.execute(
                "select bool_or(rolsuper or rolbypassrls or rolcreatedb or rolcreaterole) from pg_roles "
                "where rolname = current_user"
            ).fetchall()
            assert power == (False,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("create table mine (id int)")
        with psycopg.connect(server.dsn("memoryhub_owner")) as connection:
            connection.execute("create table theirs (id int)")


def test_nothing_listens_on_tcp_and_the_socket_is_behind_a_private_directory(place: Path) -> None:
    with EmbeddedPostgres(place / "data", options=SMALL).running() as server:
        assert server.process is not None
        assert psutil.Process(server.process.pid).net_connections("inet") == []
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.cluster.stat().st_mode) == 0o700


def test_the_settings_for_django_reach_the_server(place: Path) -> None:
    data_dir = place / "data"
    before = connection_settings(data_dir)
    assert not data_dir.exists()
    with EmbeddedPostgres(data_dir, options=SMALL).running():
        assert connection_settings(data_dir) == before
        psycopg.connect(host=before["HOST"], port=before["PORT"], user=before["USER"], dbname=before["NAME"]).close()


def test_what_was_committed_survives_a_kill_of_the_server(place: Path) -> None:
    server = EmbeddedPostgres(place / "data", options=SMALL)
    with server.running():
        with psycopg.connect(server.dsn("memoryhub_owner")) as connection:
            connection.execute("create table kept (id int)")
        client = psycopg.connect(server.dsn("memoryhub_owner"), autocommit=True)
        client.execute("insert into kept values (1)")
        assert server.process is not None
        kill(server.process)  # with a client connected: its backend has to notice by itself
        server.start()
        server.wait_ready()
        with psycopg.connect(server.dsn("memoryhub_owner")) as connection:
            assert connection.execute("select id from kept").fetchall() == [(1,)]


def test_a_second_hub_on_the_same_directory_is_told_so_and_harms_nothing(place: Path) -> None:
    first = EmbeddedPostgres(place / "data", options=SMALL)
    with first.running():
        second = EmbeddedPostgres(place / "data", options=SMALL)
        with pytest.raises(DataDirectoryInUse, match=f"process {os.getpid()}.*MEMORYHUB_DATA_DIR"):
            second.start(patience=0.2)
        second.stop()
        psycopg.connect(first.dsn()).close()


@pytest.mark.skipif(sys.platform != "linux", reason="leftovers are found in /proc")
def test_a_server_that_outlived_its_hub_makes_way(place: Path) -> None:
    """As after a kill of the hub on a system that sends no signal on a parent's death."""
    hub = (
        "import os, sys; from memoryhub.core import supervisor; supervisor.LIBC = None;"
        "from memoryhub.core.postgres import EmbeddedPostgres;"
        f"s = EmbeddedPostgres({str(place / 'data')!r}, options={SMALL!r}); s.start(); s.wait_ready();"
        "print(s.process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", hub], cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=60
    )
    leftover = int(done.stdout)
    assert psutil.Process(leftover).is_running()
    with EmbeddedPostgres(place / "data", options=SMALL).running() as server:
        psycopg.connect(server.dsn()).close()
        assert not psutil.pid_exists(leftover) or psutil.Process(leftover).status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_the_server_ends_with_a_hub_that_is_killed(place: Path) -> None:
    hub = (
        "import os; from memoryhub.core.postgres import EmbeddedPostgres;"
        f"s = EmbeddedPostgres({str(place / 'data')!r}, options={SMALL!r}); s.start(); s.wait_ready();"
        "print(s.process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", hub], cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=60
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_traces_of_a_dead_server_do_not_stop_the_next_one(place: Path) -> None:
    server = EmbeddedPostgres(place / "data", options=SMALL)
    with server.running():
        pass
    # A pid file that names a living process of the same user, and a socket's lock: PostgreSQL alone would refuse.
    with subprocess.Popen(["sleep", "60"], user=server.account.uid if server.account else None) as other:
        (server.cluster / "postmaster.pid").write_text(f"{other.pid}\n{server.cluster}\n0\n5432\n\n\n")
        (server.socket_dir / ".s.PGSQL.5432.lock").write_text(f"{other.pid}\n{server.cluster}\n0\n5432\n")
        try:
            with server.running():
                psycopg.connect(server.dsn()).close()
        finally:
            other.kill()


def test_an_initialisation_that_was_cut_off_is_begun_anew(place: Path) -> None:
    server = EmbeddedPostgres(place / "data", options=SMALL)
    (place / "data" / "postgres.new" / "base").mkdir(parents=True)
    with server.running():
        psycopg.connect(server.dsn()).close()
    assert not (place / "data" / "postgres.new").exists()


def test_a_long_path_gets_a_short_socket_directory(place: Path) -> None:
    data_dir = place / ("long-" * 20) / "data"
    with EmbeddedPostgres(data_dir, options=SMALL).running() as server:
        assert len(str(server.socket_dir)) < 40
        assert connection_settings(data_dir)["HOST"] == str(server.socket_dir)
        psycopg.connect(server.dsn()).close()
    server.socket_dir.rmdir()


def test_a_short_socket_directory_that_somebody_else_put_there_is_refused(place: Path) -> None:
    data_dir = place / ("long-" * 20) / "data"
    squatted = socket_dir_of(home_of(data_dir))
    (place / "elsewhere").mkdir()
    squatted.symlink_to(place / "elsewhere")
    try:
        with pytest.raises(PostgresError, match=str(squatted)):
            EmbeddedPostgres(data_dir, options=SMALL).start()
        assert list((place / "elsewhere").iterdir()) == []
    finally:
        squatted.unlink()


def test_the_log_holds_no_content_of_rows_or_statements(place: Path) -> None:
    with EmbeddedPostgres(place / "data", options=SMALL).running() as server:
        with psycopg.connect(server.dsn("memoryhub_owner"), autocommit=True) as connection:
            connection.execute("create table note (body text primary key)")
            connection.execute("insert into note values ('allergic to walnuts')")
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("insert into note values ('allergic to walnuts')")
            with pytest.raises(psycopg.errors.InvalidTextRepresentation):
                connection.execute("select %s::text::int", ["allergic to walnuts"])
            with pytest.raises(psycopg.errors.SyntaxError):
                connection.execute("select 'allergic to walnuts' from from")
        # A backend that crashes is logged by its parent, which knows the statement.
        victim = psycopg.connect(server.dsn("memoryhub_owner"), autocommit=True)
        victim.pgconn.send_query(b"select 'allergic to walnuts', pg_sleep(600)")
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as witness:
            activity = "select query like '%%walnuts%%' from pg_stat_activity where pid = %s"
            while witness.execute(activity, [victim.info.backend_pid]).fetchone() != (True,):
                time.sleep(0.01)
        os.kill(victim.info.backend_pid, signal.SIGABRT)
        with pytest.raises(psycopg.OperationalError):
            while victim.pgconn.is_busy():
                victim.pgconn.consume_input()
        server.wait_ready()
    log = server.log.read_text()
    assert "terminated by signal 6" in log
    assert "walnuts" not in log


def test_a_cluster_of_another_version_is_left_alone_with_a_clear_error(place: Path) -> None:
    server = EmbeddedPostgres(place / "data", options=SMALL)
    with server.running():
        pass
    (server.cluster / "PG_VERSION").write_text("16\n")
    with pytest.raises(PostgresError, match="made by PostgreSQL 16"):
        server.start()


@as_root
def test_under_a_private_home_the_cluster_lives_where_its_user_can_reach_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SYSTEM_DIR", place / "system")
    home = place / "home"
    home.mkdir(mode=0o700)
    data_dir = home / "hub" / ".memoryhub"
    before = connection_settings(data_dir)
    server = EmbeddedPostgres(data_dir, options=SMALL)
    with server.running(), psycopg.connect(server.dsn("memoryhub_owner")) as connection:
        connection.execute("create table kept (id int)")
    assert server.home.parent == place / "system"
    assert (data_dir / "postgres.location").read_text() == f"{server.home}\n"
    assert connection_settings(data_dir) == before
    assert stat.S_IMODE(home.stat().st_mode) == 0o700

    shutil.rmtree(data_dir)  # whoever removes the data directory starts with nothing
    server = EmbeddedPostgres(data_dir, options=SMALL)
    with server.running(), psycopg.connect(server.dsn("memoryhub_owner")) as connection:
        assert connection.execute("select to_regclass('kept')").fetchone() == (None,)


@as_root
def test_programs_that_the_servers_user_cannot_reach_are_copied_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SYSTEM_DIR", place / "system")
    package = postgres.installation(None).parent
    (place / "home").mkdir(mode=0o700)
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, place / "home" / part.name, ignore=shutil.ignore_patterns("pginstall", "include"))
    monkeypatch.syspath_prepend(str(place / "home"))
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    account = postgres.server_account()
    copy = postgres.installation(account)
    assert copy.is_relative_to(place / "system")
    assert postgres.installation(account) == copy
    with EmbeddedPostgres(place / "data", options=SMALL).running() as server:
        assert server.process is not None
        assert Path(psutil.Process(server.process.pid).exe()).is_relative_to(place / "system")
        psycopg.connect(server.dsn()).close()


@as_root
def test_an_unknown_user_for_the_server_is_named(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("MEMORYHUB_PG_USER", "nobody-of-that-name")
    with pytest.raises(PostgresError, match="nobody-of-that-name"):
        EmbeddedPostgres(place)
