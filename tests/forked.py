"""Runs what needs the libraries in children forked from a process that has them.

To import FastAPI, SQLAlchemy and the rest takes longer than the suite of a rendered
service. This program does it once; each request is then served by a child of its own,
which inherits the imported libraries and nothing of the children before it.

It reads requests from its standard input and answers on its standard output, both one
JSON object a line; ``runner.py`` is the other end. It is no pytest-xdist worker, and
has no threads: forking a process with threads is unsafe.
"""

import ctypes
import faulthandler
import gc
import importlib
import io
import json
import os
import select
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import _pytest.config
import anyio.pytest_plugin
import mypy.api
import pytest
from slipcover import FileMatcher, ImportManager, Slipcover

# What rendered services import, directly or in the course of a run. A module that is
# missing here makes the run of a variant slower, not wrong.
PRELOADED = [
    "aiomysql",
    "aiosqlite",
    "alembic.autogenerate",
    "alembic.command",
    "alembic.config",
    "alembic.runtime.migration",
    "alembic.script",
    "anyio._backends._asyncio",
    "anyio.from_thread",
    "asyncmy",
    "asyncpg",
    "fastapi",
    "fastapi.middleware",
    "fastapi.testclient",
    "httpx2",
    "logging.config",
    "pdb",
    "psycopg",
    "psycopg_binary",
    "pydantic.v1",
    "pydantic_settings",
    "pymysql",
    "sqlalchemy.dialects.mysql.aiomysql",
    "sqlalchemy.dialects.mysql.asyncmy",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.ext.compiler",
    "sqlalchemy.orm",
    "uvicorn",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.server",
]

PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>

# Nothing is left out but what cannot run; a rendered service has no pragmas.
EXCLUDED_LINES = [r"^\s*if TYPE_CHECKING:", r"^\s*\.\.\.$"]


class Counts:
    """A pytest plugin that counts what happened."""

    def __init__(self) -> None:
        self.tests = 0
        self.skipped = 0
        self.xfailed = 0
        self.warnings: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests += report.when == "call"
        self.xfailed += hasattr(report, "wasxfail")
        self.skipped += report.skipped

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.skipped += report.skipped

    def pytest_warning_recorded(self, warning_message: Any, nodeid: str) -> None:
        self.warnings.append(f"{nodeid}: {warning_message.message}")


def run_suite(package: str) -> dict[str, Any]:
    """Run the suite in the current directory, measuring ``src/<package>``.

    Slipcover changes the modules of the package as they are imported. A tracer, as
    Coverage has it, would slow down all libraries as well, and double the time.
    """
    source = Path("src", package).resolve()
    sys.path.insert(0, str(source.parent))
    sys.path.insert(0, str(Path.cwd()))  # as `python -m pytest` does
    measured = Slipcover(
        branch=True, source=[str(source)], exclude_lines=EXCLUDED_LINES
    )
    counts = Counts()
    # Our plugins are not those of the service, which has anyio's (of FastAPI) alone.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with ImportManager(measured, FileMatcher([source])):
        status = pytest.main(
            ["-p", "no:cacheprovider", "--color=no", "--tb=short"],
            plugins=[counts, anyio.pytest_plugin],
        )
    return {
        "status": int(status),
        "tests": counts.tests,
        "skipped": counts.skipped,
        "xfailed": counts.xfailed,
        "warnings": counts.warnings,
        "missing": missing_lines(measured.get_coverage()["files"]),
    }


def missing_lines(files: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """The lines and branches that did not run, by file; empty at 100 %."""
    missing = {}
    for name, file in files.items():
        lines = [str(line) for line in file["missing_lines"]]
        branches = [
            f"{start}->{end or 'exit'}"
            for start, end in file["missing_branches"]
            if start not in file["missing_lines"]
        ]
        if lines or branches:
            missing[name] = lines + branches
    return missing


def run_mypy(options: list[str]) -> dict[str, Any]:
    """Check the types of the project in the current directory, as it configures."""
    findings, trouble, status = mypy.api.run(options)
    print(findings, trouble)
    return {"status": status}


def child(request: dict[str, Any], output: str, answer: int) -> None:
    """Serve ``request`` in a fresh child, and end it."""
    os.setsid()  # to be killed with its own children
    if sys.platform == "linux":  # and with its parent, whatever ends that one
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(output, os.O_WRONLY)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    sys.stdout = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    faulthandler.enable()  # SIGABRT, which ends a run that takes too long, shows where
    sys.argv = ["pytest"]
    os.environ.update(request["environment"])
    os.chdir(request["project"])
    sys.dont_write_bytecode = True  # the project is imported this once
    started = time.process_time()
    if request["run"] == "suite":
        result = run_suite(request["package"])
    else:
        result = run_mypy(request["options"])
    result["cpu"] = time.process_time() - started
    os.write(answer, json.dumps(result).encode() + b"\n")
    sys.stdout.flush()
    sys.stderr.flush()


def serve(request: dict[str, Any]) -> dict[str, Any]:
    """Fork a child for ``request``; what it answered, with its output."""
    started = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".log") as output:
        answer, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                child(request, output.name, write_end)
                status = 0
            except BaseException:  # noqa: BLE001  (the child must not return)
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        os.close(write_end)
        with io.FileIO(answer) as pipe:
            answered = wait_for_line(pipe, pid, started + request["limit"])
        _, status = os.waitpid(pid, 0)
        end_group(pid)  # what the child may have left running
        result: dict[str, Any] = {"status": os.waitstatus_to_exitcode(status)}
        if answered is None:
            result["timed_out"] = True
        elif answered:
            result |= json.loads(answered)
        result["seconds"] = time.monotonic() - started
        output.seek(0)
        result["output"] = output.read().decode(errors="replace")
    return result


def wait_for_line(pipe: io.FileIO, pid: int, deadline: float) -> bytes | None:
    """What the child wrote to ``pipe``; None if it had to be ended at ``deadline``."""
    line = b""
    while not line.endswith(b"\n"):
        left = max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([pipe, sys.stdin], [], [], left)
        if sys.stdin in ready:  # nobody asks before this answer: our owner is gone
            end_group(pid)
            sys.exit(1)
        if not ready:
            end_group(pid)
            return None
        chunk = pipe.read(65536)
        if not chunk:
            break
        line += chunk
    return line


def end_group(pid: int) -> None:
    """End the child's process group: first with a traceback, then for sure."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGABRT)
        time.sleep(0.2)
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    for module in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(module)
    for plugin in _pytest.config.default_plugins:
        importlib.import_module(f"_pytest.{plugin}")
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()  # keeps the children from copying memory that they do not change
    while line := sys.stdin.readline():
        print(json.dumps(serve(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
