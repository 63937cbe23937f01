"""Time a fresh checkout to passing tests, beside the services of other generators.

The others need Python 3.12 or later. All services are installed and tested in turn,
with uv's cache warm. A last run of each, not timed, counts the tests and the coverage.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Table, progress
from support.processes import COPIER, environment_with_uv, run, uv
from support.servers import PASSWORD, USER, PostgresServer, postgres_binaries
from support.template import copy_template

IGNORED = shutil.ignore_patterns(".venv", "__pycache__")
ROUNDS = 5
STEPS = (["sync"], ["run", "pytest"])  # of uv
COVERAGE = "[run]\nbranch = true\nconcurrency = greenlet, thread\nsource = {}\n"
S3RIUS = (
    "fastapi_template --quiet --name service --api-type rest --orm sqlalchemy "
    "--ci none --migrations --dummy --routers --db"
)
FASTKIT = (
    "fastkit startdemo fastapi-sqlmodel --project-name service --package-manager uv "
    "--no-venv --author a --author-email a@example.com --description d"
)
GEN = "fastapi-gen service --template advanced --no-git"
POSTGRESQL = "--data database_url=postgresql+asyncpg://app@db/app"


@dataclass
class Project:
    """A service that ``command`` of a package, or of Copier, renders."""

    package: str
    database: str
    command: str
    source: str = "src"
    times: list[tuple[float, float]] = field(default_factory=list)
    """The wall time and the CPU time of each round."""

    def render(self, template: Path, folder: Path, environment: dict[str, str]) -> Path:
        """Render it into ``folder``; answer yes where the generator asks."""
        folder.mkdir()
        ours = [*COPIER, "copy", "--defaults", template, "service"]
        tool = [uv(), "tool", "run", "--from", self.package]
        command = [*(tool if self.package else ours), *self.command.split()]
        subprocess.run(
            command,
            cwd=folder,
            env=environment,
            input=b"y\n" * 9,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return folder / "service"

    @property
    def name(self) -> str:
        return self.package.replace("==", " ") or "this template"

    def measure(
        self, rendered: Path, environment: Mapping[str, str]
    ) -> tuple[float, float]:
        """Return the wall and CPU time from a checkout of it to passing tests."""
        with tempfile.TemporaryDirectory() as folder:
            checkout = Path(folder) / "service"
            shutil.copytree(rendered, checkout, ignore=IGNORED)
            begun, used = time.perf_counter(), os.times()
            for step in STEPS:
                done = run([uv(), *step], checkout, environment)
                assert done.returncode == 0, done.stdout
            wall, now = time.perf_counter() - begun, os.times()
        user, system = now.children_user, now.children_system
        cpu = user + system - used.children_user - used.children_system
        return wall, cpu

    def coverage(self, folder: Path, environment: Mapping[str, str]) -> list[str]:
        """Return the number of tests, and the coverage of lines and branches."""
        (folder / "coverage.ini").write_text(COVERAGE.format(self.source))
        program = [uv(), "run", "--with", "coverage", "coverage"]
        options = ["--rcfile=coverage.ini"]
        tests = run([*program, "run", *options, "-m", "pytest"], folder, environment)
        total = [*program, "report", *options, "--format=total"]
        percent = subprocess.check_output(total, cwd=folder, env=environment, text=True)
        return [re.findall(r"(\d+) passed", tests.stdout)[-1], f"{percent.strip()} %"]


PROJECTS = (
    Project("", "SQLite", "--quiet"),
    Project("fastapi-template==6.1.2", "SQLite", f"{S3RIUS} sqlite", "service"),
    Project("fastapi-fastkit==1.5.1", "SQLite", FASTKIT),
    Project("fastapi-gen==0.13.1", "SQLite", GEN),
    Project("", "PostgreSQL", POSTGRESQL),
    Project("fastapi-template==6.1.2", "PostgreSQL", f"{S3RIUS} postgresql", "service"),
)


def checkout() -> Table:
    """Measure; a ratio compares ours and theirs round by round."""
    # Some of the generators call uv.
    common = environment_with_uv() | {"UV_PYTHON": sys.executable}
    with ExitStack() as exits:
        server = exits.enter_context(PostgresServer(postgres_binaries()))
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        place = {"HOST": "127.0.0.1", "PORT": server.port}
        place |= {"USER": USER, "PASS": PASSWORD}
        environments = {
            "SQLite": common,
            "PostgreSQL": common
            | {"DATABASE_URL": server.url("service")}
            | {f"SERVICE_DB_{key}": str(value) for key, value in place.items()},
        }
        (folder / "template").mkdir()
        copy_template(folder / "template")
        rendered = [
            project.render(folder / "template", folder / str(number), common)
            for number, project in enumerate(PROJECTS)
        ]
        for number in range(ROUNDS + 1):  # the first one warms uv's cache
            for project, service in zip(PROJECTS, rendered, strict=True):
                wall, cpu = project.measure(service, environments[project.database])
                progress(f"{number}/{ROUNDS} {project.name}: {wall:.1f} s, {cpu:.1f} s")
                if number:
                    project.times.append((wall, cpu))
        table = [
            [
                "generator",
                "database",
                "tests",
                "coverage",
                "wall",
                "CPU",
                "ratio of CPU",
            ]
        ]
        for project, service in zip(PROJECTS, rendered, strict=True):
            if not project.package:
                ours = project  # those that follow have the same database
            walls, cpus = zip(*project.times, strict=True)
            ratios = [
                a[1] / b[1] for a, b in zip(ours.times, project.times, strict=True)
            ]
            table.append(
                [
                    *(project.name, project.database),
                    *project.coverage(service, environments[project.database]),
                    f"{statistics.median(walls):.1f} s",
                    f"{statistics.median(cpus):.1f} s",
                    f"{statistics.median(ratios):.2f}",
                ]
            )
    return table
