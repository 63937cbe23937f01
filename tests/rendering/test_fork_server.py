"""Tests of the fork server: its children share no state, and none outlives the run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from support.fork_server import check_suite, check_types
from support.processes import is_alive, wait_for
from support.template import ROOT

# Conditions that are true in a new process, and code that makes them false.
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


def test_state_of_one_suite_does_not_reach_the_next(tmp_path: Path) -> None:
    suite = "import os, signal, sys, threading, time\nimport service, sqlalchemy\n"
    for name, (clean, leak) in LEAKS.items():
        suite += f"\ndef test_{name}():\n    assert {clean}\n    {leak}\n"
    for name in ("one", "other"):
        project = make_suite(tmp_path / name, suite)
        result = check_suite(project, "service", {})
        assert result.status == 0, result.output
    # In the same process, each test fails the second time.
    again = "".join(f"test_{name}_again = test_{name}\n" for name in LEAKS)
    project = make_suite(tmp_path / "both", f"{suite}\n{again}")
    counts = f"{len(LEAKS)} failed, {len(LEAKS)} passed"
    assert counts in check_suite(project, "service", {}).output


def test_processes_of_a_suite_end_with_it(tmp_path: Path) -> None:
    suite = """\
import subprocess

def test_it():
    sleeper = subprocess.Popen(["sleep", "600"])
    open("pid", "w").write(str(sleeper.pid))
"""
    project = make_suite(tmp_path, suite)
    check_suite(project, "service", {})
    sleeper = int((project / "pid").read_text())
    wait_for(
        lambda: not (psutil.pid_exists(sleeper) and is_alive(psutil.Process(sleeper)))
    )


def test_types_of_one_project_do_not_hide_those_of_the_next(
    mypy_cache: Path, tmp_path: Path
) -> None:
    """Not even files with the same names, sizes and times are confused."""
    found = []
    for name, value in (("one", "12"), ("other", '""')):
        project = tmp_path / name
        project.mkdir()
        (project / "it.py").write_text(f"number: int = {value}\n")
        (project / "pyproject.toml").write_text('[tool.mypy]\nfiles = ["it.py"]\n')
        os.utime(project / "it.py", (0, 0))
        found.append(check_types(project, mypy_cache))
    assert found[0] == []
    assert "it.py:1: error: Incompatible types" in found[1][0]


def test_suite_that_hangs_is_ended(tmp_path: Path) -> None:
    project = make_suite(tmp_path, "def test_it():\n    while True:\n        pass\n")
    result = check_suite(project, "service", {}, limit=3)
    assert "the suite was ended after 3 s" in result.findings()
    assert 'test_it.py", line ' in result.output


def test_suite_sees_only_its_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    result = check_suite(project, "service", {"DATABASE_ECHO": "theirs"})
    assert result.status == 0, result.output


@pytest.mark.parametrize("killed", ["owner", "fork server"])
def test_child_ends_with_the_process_that_asked(killed: str, tmp_path: Path) -> None:
    suite = """\
import os
from pathlib import Path

def test_it():
    Path("fork_server").write_text(str(os.getppid()))
    while True:
        pass
"""
    project = make_suite(tmp_path, suite)
    fork_server = project / "fork_server"
    code = f"""\
from pathlib import Path
from support.fork_server import check_suite
check_suite(Path({str(project)!r}), "service", {{}})
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as owner:
        wait_for(lambda: fork_server.exists() and fork_server.read_text())
        processes = psutil.Process(owner.pid).children(recursive=True)
        if killed == "owner":
            owner.kill()
        else:
            os.kill(int(fork_server.read_text()), signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, processes)))


def make_suite(folder: Path, suite: str) -> Path:
    """Create a project with an empty package and a suite."""
    (folder / "src" / "service").mkdir(parents=True)
    (folder / "src" / "service" / "__init__.py").touch()
    (folder / "test_it.py").write_text(suite)
    return folder
