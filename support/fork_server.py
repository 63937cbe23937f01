"""Runs suites, programs and services in child processes with imported libraries.

Importing FastAPI, SQLAlchemy and the other libraries takes longer than the suite of a
rendered service. multiprocessing's fork server imports them once (``preloaded.py``) and
forks a child for each suite, program and service. A child inherits the imported
libraries, and nothing from earlier children. The tests themselves do not fork: under
pytest-xdist they have threads, and forking a process with threads is unsafe.
"""

import ctypes
import faulthandler
import multiprocessing
import os
import random
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import uvicorn

from support import suite_runner
from support.processes import clean_environment
from support.template import ROOT

SUITE_LIMIT = 120.0  # seconds
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["support.preloaded"])


@dataclass(frozen=True)
class Result:
    """The result of a suite or a program in a child process."""

    status: int
    """The exit code; if negative, the signal that ended the child."""
    output: str
    ended_after: float = 0.0
    """The seconds after which the child was killed; 0 if it ended by itself."""
    tests: int = 0
    skipped: int = 0
    xfailed: int = 0
    warnings: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    """The lines and branches of the package that did not run, by file."""

    def findings(self) -> list[str]:
        """Return what is wrong with the suite."""
        findings = []
        if self.ended_after:
            findings.append(f"the suite was ended after {self.ended_after:.0f} s")
        elif self.status:
            findings.append(f"the suite failed with exit code {self.status}")
        if not self.tests:
            findings.append("no test ran")
        if self.skipped or self.xfailed:
            findings.append(f"{self.skipped} skipped, {self.xfailed} expected to fail")
        findings += [f"warning: {warning}" for warning in self.warnings]
        findings += [
            f"not covered: {file}: {', '.join(lines)}"
            for file, lines in self.missing.items()
        ]
        return [*findings, self.output] if findings else []


def preload() -> None:
    """Start the fork server, which imports the libraries in the background."""
    here = Path.cwd()
    os.chdir(ROOT)  # where it finds the module to preload
    try:
        forkserver.ensure_running()
    finally:
        os.chdir(here)


def check_suite(
    project: Path,
    package: str,
    environment: Mapping[str, str],
    limit: float = SUITE_LIMIT,
) -> Result:
    """Run the suite of ``project``, and measure its coverage of ``package``.

    ``environment`` is added to ``clean_environment()``. After ``limit`` seconds, the
    suite is killed.
    """
    return run_in_child("run_suite", [package], project, environment, limit)


def check_types(project: Path, cache: Path, python: str = "") -> list[str]:
    """Return what mypy reports with the project's configuration.

    Projects may share a cache. ``python`` is the version to check for, as in "3.14", if
    it is not the running one.
    """
    # Mypy regards a file with the same time and size as unchanged.
    age = random.getrandbits(30)
    for path in project.rglob("*.py"):
        os.utime(path, (age, age))
    options = [f"--cache-dir={cache}", "--no-color-output"]
    if python:
        options.append(f"--python-version={python}")
    result = run_in_child("run_mypy", options, project, {}, SUITE_LIMIT)
    return [result.output] if result.status else []


def run_program(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Result:
    """Run a console script, such as ``["alembic", "check"]``, or ``python`` a file."""
    return run_in_child("run_program", command, folder, environment, SUITE_LIMIT)


def start_service(
    project: Path, environment: Mapping[str, str], log: Path, *options: str
) -> ForkServerProcess:
    """Start uvicorn in ``project``, as the leader of its process group.

    It has the given ``environment`` and appends its output to ``log``.
    """
    preload()
    child = _context.Process(
        target=service_main, args=(options, project, environment, log)
    )
    child.start()
    return child


def run_in_child(
    function: str,
    arguments: Sequence[str],
    project: Path,
    environment: Mapping[str, str],
    limit: float,
) -> Result:
    """Call a function of ``suite_runner`` in the folder ``project``."""
    preload()
    # PyMySQL would load the system's certificates for every connection, which takes
    # 30 ms, although the tests do not use TLS.
    environment = {
        **clean_environment(),
        "SSL_CERT_FILE": os.devnull,
        **environment,
    }
    with tempfile.NamedTemporaryFile(suffix=".log") as output:
        answer, to_answer = _context.Pipe(duplex=False)
        child = _context.Process(
            target=child_main,
            args=(function, arguments, project, environment, output.name, to_answer),
        )
        child.start()
        to_answer.close()
        assert child.pid
        ended = wait([answer, child.sentinel], timeout=limit)
        if not ended:
            end_group(child.pid, signal.SIGABRT)  # It writes a traceback.
            child.join(0.5)
        facts: dict[str, Any] = {"ended_after": 0.0 if ended else limit}
        with suppress(EOFError):
            if answer.poll():
                facts |= answer.recv()
                child.join()
        end_child(child)
        facts.setdefault("status", child.exitcode)
        text = output.read().decode(errors="replace")
    return Result(output=text, **facts)


def end_child(child: ForkServerProcess) -> None:
    """Kill a child and its descendants, and wait until it has ended."""
    assert child.pid
    end_group(child.pid, signal.SIGKILL)
    child.kill()  # It may not be the leader of a group yet.
    child.join()


def end_group(pid: int, signum: signal.Signals) -> None:
    """Send a signal to the process group of the child ``pid``."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signum)


def child_main(
    function: str,
    arguments: Sequence[str],
    project: Path,
    environment: Mapping[str, str],
    output: str,
    answer: Connection,
) -> None:
    """Call a function of ``suite_runner``, and end without waiting for threads."""
    start_anew(project, environment, output, answer.fileno())
    faulthandler.enable()
    sys.argv = ["pytest"]
    sys.dont_write_bytecode = True  # The project is imported only once.
    status = 1
    try:
        answer.send(getattr(suite_runner, function)(*arguments))
        status = 0
    except BaseException:  # noqa: BLE001  (the child must end here)
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def service_main(
    options: Sequence[str], project: Path, environment: Mapping[str, str], log: Path
) -> None:
    """Run `uvicorn` with these options."""
    tracker = resource_tracker.getfd()  # Uvicorn needs it to start its workers.
    assert tracker
    start_anew(project, environment, log, tracker)
    sys.path.insert(0, str(project / "src"))
    uvicorn.main([*options, f"--app-dir={project}"])


def start_anew(
    project: Path, environment: Mapping[str, str], output: str | Path, kept: int
) -> None:
    """Reset the state of this process, except for the open file ``kept``."""
    # Other open files would hide the end of the tests from the fork server.
    os.closerange(3, kept)
    os.closerange(kept + 1, 256)
    os.setsid()  # A process group of its own can be killed as a whole.
    if sys.platform == "linux":  # The child ends with its parent.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for source, flags, targets in (
        (os.devnull, os.O_RDONLY, (0,)),
        (output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, (1, 2)),
    ):
        opened = os.open(source, flags)
        for target in targets:
            os.dup2(opened, target)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(project)
    sys.path[:] = [each for each in sys.path if Path(each or ".").resolve() != ROOT]
