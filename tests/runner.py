"""What is demanded of a rendered service: its files, its style, its types, its suite.

Each check returns its findings as text, one a line or a paragraph; no findings, no
problem. Types and suite run in children of a ``Forker``, with the libraries of this
repository's environment.
"""

import ast
import json
import os
import random
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType
from typing import Any, Self

import yaml

SUITE_LIMIT = 120.0  # seconds
SCRIPTS = Path(sys.executable).parent

# GitHub's workflows have `${{ }}` of their own.
JINJA = re.compile(r"(?<!\$)\{\{|\{%|\{#")


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
    ruff = SCRIPTS / "ruff"
    results = [
        run([ruff, *command, "--no-cache"], project)
        for command in (["check"], ["format", "--check"])
    ]
    return [result.stdout for result in results if result.returncode]


def run(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> CompletedProcess[str]:
    """Run a command in ``folder``; its output and its errors are in ``stdout``."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def start(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start a command in ``folder`` that appends to ``log``; ``kill`` ends it."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes] | None) -> None:
    """End what ``start`` has started, and its children, if it still runs."""
    if process and process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Result:
    """What became of a child: of a suite, or of a type check."""

    status: int
    """The exit code of pytest or mypy; negative, the signal that ended the child."""
    output: str
    seconds: float
    """Wall clock time."""
    cpu: float = 0.0
    """Seconds of processor time, the child's own."""
    timed_out: bool = False
    tests: int = 0
    skipped: int = 0
    xfailed: int = 0
    warnings: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    """The lines and branches of the package that did not run, by file."""

    def findings(self) -> list[str]:
        """What keeps a suite from being accepted."""
        findings = []
        if self.timed_out:
            findings.append(f"the suite was ended after {self.seconds:.0f} s")
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


class Forker:
    """The owner of a process (``forked.py``) whose children check rendered services.

    Used by one thread at a time; ``close`` ends it.
    """

    def __init__(self) -> None:
        # PyMySQL loads the machine's certificates with every connection: 30 ms of CPU,
        # for nothing here.
        environment = clean_environment() | {"SSL_CERT_FILE": os.devnull}
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forked.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and the child it may have."""
        self._process.communicate()

    def check_suite(
        self,
        project: Path,
        package: str,
        environment: Mapping[str, str],
        limit: float = SUITE_LIMIT,
    ) -> Result:
        """Run the suite of ``project``, and measure what of ``package`` it covers.

        ``environment`` is added to this process's, cleaned. After ``limit`` seconds the
        suite is ended.
        """
        return self._ask(
            run="suite",
            project=str(project),
            package=package,
            environment=dict(environment),
            limit=limit,
        )

    def check_types(self, project: Path, cache: Path, python: str = "") -> list[str]:
        """What mypy finds, as the project configures it; projects may share a cache.

        With ``python``, as in "3.14", for that version and not for the running one.
        """
        # Mypy takes a file of the same age and size for the one that it has seen.
        age = random.getrandbits(30)
        for path in project.rglob("*.py"):
            os.utime(path, (age, age))
        options = [f"--cache-dir={cache}", "--no-color-output"]
        if python:
            options.append(f"--python-version={python}")
        result = self._ask(
            run="types",
            project=str(project),
            options=options,
            environment={},
            limit=SUITE_LIMIT,
        )
        return [result.output] if result.status else []

    def _ask(self, **request: Any) -> Result:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the forking process has ended; its error is above")
        return Result(**json.loads(answer))


def clean_environment() -> dict[str, str]:
    """This process's environment without what would reach into a rendered service.

    That is: settings of the service, of pytest, of coverage, and of the virtual
    environment we run in.
    """
    ours = re.compile(
        "DATABASE_|TEST_|PYTEST_|COV_|COVERAGE_|VIRTUAL_ENV|UV_PROJECT|UV_RUN|PYTHON"
    )
    return {key: value for key, value in os.environ.items() if not ours.match(key)}
