"""Measures how costs grow: of renders, variants and updates, and memory over time."""

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import copier
import uvloop
import yaml

from benchmarks.measure import MANY, Plan, Stage, Table, progress, window
from benchmarks.service import DRIVERS
from support.copier_internals import Questionnaire
from support.processes import commit, git
from support.template import copy_template
from support.variants import all_variants

WARM = 20_000
"""The requests before the first measurement of the memory."""


def larger_template(folder: Path, questions: int = 0, files: int = 0) -> Path:
    """Create a copy of the template with more yes-or-no questions and files."""
    folder.mkdir()
    copy_template(folder)
    more = {
        f"more_{number}": {"type": "bool", "help": "More?", "default": False}
        for number in range(questions)
    }
    config = folder / "copier.yml"
    config.write_text((yaml.dump(more) if more else "") + config.read_text())
    model = folder / "template" / "README.md.jinja"
    for number in range(files):
        shutil.copy(model, folder / "template" / f"more_{number}.md.jinja")
    return folder


def renders() -> Table:
    """Measure the time of a render by the number of questions and files."""
    table = [["more questions", "more files", "seconds"]]
    for questions, files in [(0, 0), (80, 0), (0, 100)]:
        times = []
        with tempfile.TemporaryDirectory() as folder:
            template = larger_template(Path(folder) / "t", questions, files)
            for number in range(5):
                started = time.perf_counter()
                place = Path(folder) / str(number)
                copier.run_copy(str(template), place, defaults=True, quiet=True)
                times.append(time.perf_counter() - started)
        table.append([str(questions), str(files), f"{statistics.median(times):.2f}"])
        progress("render " + ", ".join(table[-1]))
    return table


def variants() -> Table:
    """Measure the number of variants, and the time to list them, by added questions."""
    table = [["more yes-or-no questions", "variants", "seconds to list them"]]
    for questions in (0, 1, 2):
        with tempfile.TemporaryDirectory() as folder:
            template = larger_template(Path(folder) / "t", questions)
            started = time.perf_counter()
            count = len(list(all_variants(Questionnaire(template))))
            took = time.perf_counter() - started
        table.append([str(questions), str(count), f"{took:.1f}"])
        progress("variants " + ", ".join(table[-1]))
    return table


def updates() -> Table:
    """Measure the time of an update by the files and commits of a project."""
    table = [["own files", "commits", "releases behind", "seconds"]]
    for files, commits, releases in [(0, 1, 1), (3000, 1, 1), (0, 1000, 1), (0, 1, 10)]:
        with tempfile.TemporaryDirectory() as folder:
            template = larger_template(Path(folder) / "t")
            for number in range(releases + 1):
                readme = template / "template" / "README.md.jinja"
                readme.write_text(readme.read_text() + f"\nRelease {number}.\n")
                commit(template)
                git(template, "tag", f"v1.{number}.0")
            project = Path(folder) / "project"
            copier.run_copy(
                *(str(template), project), vcs_ref="v1.0.0", defaults=True, quiet=True
            )
            for number in range(files):
                own = project / "own" / str(number % 30) / f"{number}.py"
                own.parent.mkdir(parents=True, exist_ok=True)
                own.write_text(f"number = {number}\n" * 50)
            for _ in range(commits):
                commit(project)
            started = time.perf_counter()
            copier.run_update(project, defaults=True, overwrite=True, quiet=True)
            took = time.perf_counter() - started
            assert f"Release {releases}." in (project / "README.md").read_text()
        table.append([str(files), str(commits), str(releases), f"{took:.2f}"])
        progress("update " + ", ".join(table[-1]))
    return table


def memory(requests: int) -> Table:
    """Measure the memory of a service during ``requests``, after a warm-up."""
    table = [["driver", "requests", "errors", "memory MB", "objects"]]
    for driver in (DRIVERS["asyncpg"], DRIVERS["psycopg-sync"]):
        with Stage.open(Plan([driver.name])) as stage:
            service = stage.service(driver, "rendered", app="benchmarks.apps.objects")
            service.start()
            done = errors = 0
            for quarter in range(5):
                while done < WARM + requests * quarter // 4:
                    for route in ("read", "write", "auth"):
                        load = window(service, route, MANY, seconds=3)
                        sample = uvloop.run(load)
                        done += sample.answers
                        errors += sample.errors.total()
                figures = (f"{service.memory():.1f}", service.get("/objects")[1])
                table.append([driver.name, str(done), str(errors), *figures])
                progress("memory " + ", ".join(table[-1]))
    return table


def growth() -> dict[str, Table]:
    """Return the tables of renders, variants and updates."""
    return {"Renders": renders(), "Variants": variants(), "Updates": updates()}
