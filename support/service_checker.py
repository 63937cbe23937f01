"""Checks all that we promise of a rendered service: files, style, types, suite."""

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
from support.processes import SCRIPTS, run
from support.pythons import is_newer
from support.shared_servers import SharedServers
from support.variants import SERVER_BACKENDS

# GitHub's workflows have `${{ }}` of their own.
JINJA = re.compile(r"(?<!\$)\{\{|\{%|\{#")


@dataclass
class ServiceChecker:
    """Renders a service and checks all of it: files, style, types, suite, coverage.

    ``check_all`` does it with the backend and the answers. The test fails with
    everything that was found wrong, or is skipped where the backend has no server.
    Tests that check less call the steps one by one, within ``database``.
    """

    copier: CopierFixture
    servers: SharedServers
    mypy_cache: Path
    folder: Path
    node: pytest.Item
    findings: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """What the summary of the run adds up."""

    def __post_init__(self) -> None:
        self.node.user_properties.append(("counts", self.counts))

    def check_all(self, backend: str, answers: Answers) -> None:
        """Check what is rendered from ``answers``."""
        with self.database(backend) as url:
            project = self.render(answers)
            self.check_style(project)
            self.check_types(project)
            self.run_suite(project, {"DATABASE_URL": url} if url else {})

    @contextmanager
    def database(self, backend: str) -> Iterator[str]:
        """A new database: its URL, or "" for a backend that has no server.

        Afterwards the database has to be as empty as before, and the only one whose
        name begins like its own; it is dropped. If that, or anything else, was found
        wrong, the test fails.
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
        messages = StringIO()  # which nobody wants to read in a report
        with redirect_stdout(messages), redirect_stderr(messages):
            project = self.copier.copy(self.folder / "service", **answers)
        self.counts["services"] = 1
        self.findings += check_files(project.path)
        return project

    def check_style(self, project: CopierProject) -> None:
        """Check the style."""
        self.findings += check_style(project.path)

    def check_types(self, project: CopierProject) -> None:
        """Check the types, for the oldest Python that the service is made for."""
        oldest = project.answers.get("python_min", "3.11")
        python = oldest if is_newer(oldest) else ""
        self.findings += fork_server.check_types(project.path, self.mypy_cache, python)

    def run_suite(self, project: CopierProject, environment: Mapping[str, str]) -> None:
        """Run the suite in ``environment``: it passes, covers all, leaves no file."""
        before = list_files(project.path)
        result = fork_server.check_suite(
            project.path, project.answers["package_name"], environment
        )
        self.counts["tests in their suites"] = result.tests
        self.findings += result.findings()
        left = sorted(list_files(project.path) - before)
        self.findings += [f"the suite left a file: {path}" for path in left]

    def fail(self) -> None:
        """Fail the test with its findings, and with how to look into them."""
        id_ = self.node.name.partition("[")[2].rstrip("]") or self.node.name
        folder = self.folder / "service"
        hints = ["", f"rendered: {folder}", f"again:    uv run pytest -k '{id_}'"]
        pytest.fail("\n".join(self.findings + hints), pytrace=False)


def check_files(project: Path) -> list[str]:
    """No Jinja is left over, what has a syntax parses, and no line is ragged.

    Whether the Python files parse is for ruff to say: they may be for a newer Python.
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
    """Parse ``text`` by the rules of its file type, if it has any."""
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
    """What ``ruff check`` and ``ruff format --check`` find, as the project has them."""
    results = [
        run([SCRIPTS / "ruff", *command, "--no-cache"], project)
        for command in (["check"], ["format", "--check"])
    ]
    return [result.stdout for result in results if result.returncode]


def list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
