"""The acceptance of a rendered service: all that we promise of one, demanded."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pytest_copier.plugin import CopierFixture, CopierProject

from tests import servers
from tests.found import Found
from tests.runner import Forker, check_files, check_style
from tests.variants import Answers


@dataclass
class Accept:
    """Renders a service and demands all of it: files, style, types, suite, coverage.

    Call it with the backend and the answers. The test fails with everything that was
    found wrong, or is skipped where the backend has no server. The steps are there to
    be called one by one as well, within ``database``.
    """

    copier: CopierFixture
    forker: Forker
    found: Found
    mypy_cache: Path
    folder: Path
    node: pytest.Item
    findings: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    """What the summary of the run counts."""

    def __post_init__(self) -> None:
        self.node.user_properties.append(("service", self.record))

    def __call__(self, backend: str, answers: Answers) -> None:
        """Accept what is rendered from ``answers``."""
        with self.database(backend) as url:
            project = self.render(answers)
            self.check(project)
            self.run_suite(project, {"DATABASE_URL": url} if url else {})

    @contextmanager
    def database(self, backend: str) -> Iterator[str]:
        """A new database: its URL, or "" for a backend that has no server.

        Afterwards the database has to be as empty as before, and the only one whose
        name begins like its own; it is dropped. If that, or anything else, was found
        wrong, the test fails.
        """
        if backend in servers.BACKENDS:
            url = servers.create_database(
                self.server(backend), f"service-{uuid4().hex[:8]}"
            )
            try:
                yield url
            finally:
                self.findings += servers.drop_databases(url)
        else:
            yield ""
        if self.findings:
            self.fail()

    def server(self, backend: str) -> str:
        """The URL of the backend's server; where it is missing, the test ends."""
        if backend in self.found.broken:
            pytest.fail(f"{backend}: {self.found.broken[backend]}", pytrace=False)
        if backend in self.found.missing:
            pytest.skip(self.found.missing[backend])
        return self.found.servers[backend]

    def render(self, answers: Answers) -> CopierProject:
        """Render a service, and look at its files."""
        messages = StringIO()  # which nobody wants to read in a report
        with (
            self.timed("render"),
            redirect_stdout(messages),
            redirect_stderr(messages),
        ):
            project = self.copier.copy(self.folder / "service", **answers)
        self.findings += check_files(project.path)
        return project

    def check(self, project: CopierProject) -> None:
        """Check the style and the types."""
        self.check_style(project)
        oldest = project.answers.get("python_min", "3.11")
        python = oldest if is_newer(oldest) else ""
        with self.timed("types"):
            self.findings += self.forker.check_types(
                project.path, self.mypy_cache, python
            )

    def check_style(self, project: CopierProject) -> None:
        """Check the style alone."""
        with self.timed("style"):
            self.findings += check_style(project.path)

    def run_suite(self, project: CopierProject, environment: Mapping[str, str]) -> None:
        """Run the suite in ``environment``: it passes, covers all, leaves no file."""
        before = list_files(project.path)
        with self.timed("suite"):
            result = self.forker.check_suite(
                project.path, project.answers["package_name"], environment
            )
        self.record["tests"] = result.tests
        self.findings += result.findings()
        left = sorted(list_files(project.path) - before)
        self.findings += [f"the suite left a file: {path}" for path in left]

    def fail(self) -> None:
        """Fail the test with its findings, and with how to look into them."""
        id_ = self.node.name.partition("[")[2].rstrip("]") or self.node.name
        folder = self.folder / "service"
        hints = ["", f"rendered: {folder}", f"again:    uv run pytest -k '{id_}'"]
        pytest.fail("\n".join(self.findings + hints), pytrace=False)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Record how many seconds the block took."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.record[phase] = time.monotonic() - started


def is_newer(python: str) -> bool:
    """Whether a version, as in "3.14", is newer than the Python that runs the tests."""
    return tuple(map(int, python.split("."))) > sys.version_info[:2]


def list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
