"""Checks a rendered service: its files, style, types, suite and coverage."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from support import fork_server
from support.copier_internals import Answers, CopierFixture, CopierProject
from support.databases import create_database, drop_databases
from support.processes import SCRIPTS, locked, run
from support.pythons import is_newer
from support.shared_servers import SharedServers
from support.variants import SERVER_BACKENDS

# GitHub's workflows contain `${{ }}`.
JINJA = re.compile(r"(?<!\$)\{\{|\{%|\{#")


@dataclass
class ServiceChecker:
    """Renders a service and checks its files, style, types, suite and coverage.

    ``check_all`` does so for a backend and answers. The test fails with all findings,
    or is skipped if the backend has no server. Tests that check less call the steps one
    by one, inside ``database``.
    """

    copier: CopierFixture
    servers: SharedServers
    mypy_cache: Path
    folder: Path
    node: pytest.Item
    findings: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """The counts for the summary of the run."""

    def __post_init__(self) -> None:
        self.node.user_properties.append(("counts", self.counts))

    def check_all(self, backend: str, answers: Answers) -> None:
        """Check the service that is rendered from ``answers``."""
        with self.database(backend) as url:
            project = self.render(answers)
            self.check_style(project)
            self.check_types(project)
            self.run_suite(project, {"DATABASE_URL": url} if url else {})

    @contextmanager
    def database(self, backend: str) -> Iterator[str]:
        """Create a database; yield its URL, or "" for a backend without a server.

        At the end, the database must be empty, and no other one may have a name that
        begins with its name. The test fails if that, or anything else, was wrong. The
        database is dropped.
        """
        if backend in SERVER_BACKENDS:
            url = create_database(
                self.servers.url(backend), f"service-{uuid4().hex[:8]}"
            )
            try:
                yield url
            finally:
                self.findings += drop_databases(url)
        else:
            yield ""
        if self.findings:
            self.fail()

    def render(self, answers: Answers) -> CopierProject:
        """Render a service, and check its files."""
        messages = StringIO()  # They would clutter the report.
        with redirect_stdout(messages), redirect_stderr(messages):
            project = self.copier.copy(self.folder / "service", **answers)
        self.counts["services"] = 1
        self.findings += check_files(project.path)
        return project

    def check_style(self, project: CopierProject) -> None:
        """Check the style."""
        self.findings += check_style(project.path)

    def check_types(self, project: CopierProject) -> None:
        """Check the types for this Python, or for 3.12 if it needs a newer one.

        From 3.12 on, the code is the same. For each version, mypy has to read the types
        of all libraries, which takes ten seconds. All workers share those for 3.12.
        """
        cache = self.mypy_cache
        if is_newer(project.answers.get("python_min", "3.11")):
            cache = cache.with_name("mypy-3.12")
            with locked(cache.with_name("mypy-3.12.lock")):
                found = fork_server.check_types(project.path, cache, "3.12")
        else:
            found = fork_server.check_types(project.path, cache)
        self.findings += found

    def run_suite(self, project: CopierProject, environment: Mapping[str, str]) -> None:
        """Run the suite: it must pass, cover all code, and leave no file behind."""
        before = list_files(project.path)
        result = fork_server.check_suite(
            project.path, project.answers["package_name"], environment
        )
        self.counts["tests in their suites"] = result.tests
        self.findings += result.findings()
        left = sorted(list_files(project.path) - before)
        self.findings += [f"the suite left a file: {path}" for path in left]

    def fail(self) -> None:
        """Fail the test with its findings, and with the way to reproduce them."""
        id_ = self.node.name.partition("[")[2].rstrip("]") or self.node.name
        folder = self.folder / "service"
        hints = ["", f"rendered: {folder}", f"again:    uv run pytest -k '{id_}'"]
        pytest.fail("\n".join(self.findings + hints), pytrace=False)


def check_files(project: Path) -> list[str]:
    """Return findings in the files: leftover Jinja, invalid syntax, stray white space.

    Ruff checks the syntax of the Python files, which may be that of a newer Python.
    """
    findings = []
    for path in sorted(project.rglob("*")):
        name = str(path.relative_to(project))
        if JINJA.search(name) or name.endswith(".jinja"):
            findings.append(f"{name}: Jinja in the name")
        if not path.is_file():
            continue
        text = path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            if JINJA.search(line):
                findings.append(f"{name}:{number}: Jinja is left over: {line}")
            if line != line.rstrip():
                findings.append(f"{name}:{number}: trailing white space")
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            findings.append(f"{name}: does not end with one newline")
        if text.startswith("\n") or "\n\n\n\n" in text:
            findings.append(f"{name}: empty lines where something was left out")
        try:
            if path.suffix != ".py":
                parse(path.suffix, text)
        except (SyntaxError, ValueError, yaml.YAMLError) as error:
            findings.append(f"{name}: does not parse: {error}")
    return findings


def parse(suffix: str, text: str) -> None:
    """Parse ``text`` if files with this suffix have a syntax to check."""
    match suffix:
        case ".py":
            ast.parse(text)
        case ".toml":
            tomllib.loads(text)
        case ".yml" | ".yaml":
            yaml.safe_load(text)
        case ".json":
            json.loads(text)


def check_style(project: Path) -> list[str]:
    """Return what ``ruff check`` and ``ruff format --check`` report for the project."""
    results = [
        run([SCRIPTS / "ruff", *command, "--no-cache"], project)
        for command in (["check"], ["format", "--check"])
    ]
    return [result.stdout for result in results if result.returncode]


def list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
