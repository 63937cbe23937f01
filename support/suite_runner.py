"""Runs the suite of a rendered service, or another program, in a child process."""

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import anyio.pytest_plugin
import mypy.api
import pytest
from slipcover import FileMatcher, ImportManager, Slipcover

# Only lines that cannot run are excluded; a rendered service contains no pragmas.
EXCLUDED_LINES = [r"^\s*if TYPE_CHECKING:", r"^\s*\.\.\.$"]


class Counts:
    """A pytest plugin that counts results."""

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

    Slipcover instruments the modules of the package when they are imported. Coverage's
    tracer would also slow down all libraries, and double the time.
    """
    source = Path("src", package).resolve()
    sys.path.insert(0, str(source.parent))
    sys.path.insert(0, str(Path.cwd()))  # as `python -m pytest` does
    measured = Slipcover(
        branch=True, source=[str(source)], exclude_lines=EXCLUDED_LINES
    )
    counts = Counts()
    options = ["-p", "no:cacheprovider", "--color=no", "--tb=short"]
    with ImportManager(measured, FileMatcher([source])):
        status = run_pytest(options, counts)
    return {
        "status": status,
        **vars(counts),
        "missing": missing_lines(measured.get_coverage()["files"]),
    }


def run_pytest(arguments: Sequence[str], *plugins: object) -> int:
    """Run pytest; of the installed plugins, a service depends only on anyio's."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return int(pytest.main([*arguments], plugins=[*plugins, anyio.pytest_plugin]))


def missing_lines(files: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the lines and branches that did not run, by file; empty at 100 %."""
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


def run_mypy(*options: str) -> dict[str, Any]:
    """Check the types of the project in the current directory with its settings."""
    findings, trouble, status = mypy.api.run([*options])
    print(findings, trouble)
    return {"status": status}


def run_program(name: str, *arguments: str) -> dict[str, Any]:
    """Run a console script, or the Python file that is the first argument."""
    sys.path[:0] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = [name, *arguments]
    try:
        if name == "python":
            sys.argv = [*arguments]
            sys.path.insert(0, str(Path(arguments[0]).parent))
            runpy.run_path(arguments[0], run_name="__main__")
        elif name == "pytest":
            sys.exit(run_pytest(arguments))
        else:
            (script,) = entry_points(group="console_scripts", name=name)
            sys.exit(script.load()())
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return {"status": 1}
        return {"status": int(end.code or 0)}
    return {"status": 0}
