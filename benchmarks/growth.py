"""Measures how costs grow: of renders, variants and updates, and memory over time.

Tables are lists of rows, of which the first is the header.
"""

import http.client
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import copier
import uvloop
import yaml

from benchmarks.measure import MANY, Plan, Results, Stage, progress, window
from benchmarks.service import DRIVERS
from support.copier_internals import Questionnaire
from support.processes import commit, git
from support.template import copy_template
from support.variants import all_variants

Table = list[list[str]]
ROUTES = ("read", "write", "auth")
CHUNK = 10.0
"""The seconds of load between two measurements of the memory."""


def seconds(work: Callable[[], object], repeat: int = 3) -> float:
    """Return the median time of ``work`` in seconds."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


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
    for questions, files in [(0, 0), (20, 0), (40, 0), (80, 0), (0, 50), (0, 100)]:
        with tempfile.TemporaryDirectory() as folder:
            template = larger_template(Path(folder) / "t", questions, files)
            numbers = iter(range(99))

            def render(template: Path = template, folder: str = folder) -> None:
                place = Path(folder) / str(next(numbers))  # noqa: B023
                copier.run_copy(str(template), place, defaults=True, quiet=True)

            table.append([str(questions), str(files), f"{seconds(render):.2f}"])
        progress("render " + ", ".join(table[-1]))
    return table


def matrix() -> Table:
    """Measure the number of variants, and the time to list them, by added questions."""
    table = [["more yes-or-no questions", "variants", "seconds to list them"]]
    for questions in (0, 1, 2):
        with tempfile.TemporaryDirectory() as folder:
            template = larger_template(Path(folder) / "t", questions)
            started = time.perf_counter()
            count = len(list(all_variants(Questionnaire(template))))
            took = time.perf_counter() - started
            table.append([str(questions), str(count), f"{took:.1f}"])
        progress("matrix " + ", ".join(table[-1]))
    return table


def updates() -> Table:
    """Measure the time of an update by the files and commits of a project."""
    table = [["own files", "commits", "releases behind", "seconds"]]
    for files, commits, releases in [
        *[(0, 1, 1), (300, 1, 1), (1000, 1, 1), (3000, 1, 1)],
        *[(0, 100, 1), (0, 1000, 1), (0, 1, 10)],
    ]:
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

            def update(project: Path = project) -> None:
                copier.run_update(
                    project, defaults=True, overwrite=True, quiet=True, unsafe=False
                )

            took = seconds(update, repeat=1)
            assert f"Release {releases}." in (project / "README.md").read_text()
            row = [str(files), str(commits), str(releases), f"{took:.2f}"]
            table.append(row)
        progress("update " + ", ".join(table[-1]))
    return table


def soak(drivers: list[str], requests: int) -> Iterator[list[str]]:
    """Measure the memory of a worker before and after ``requests``, for each driver."""
    yield ["driver", "requests", "errors", "memory MB", "objects"]
    for name in drivers:
        driver = DRIVERS[name]
        with Stage.open(Plan([name]), driver.backend, Results()) as stage:
            service = stage.service(driver, "rendered", app="benchmarks.apps.soak")
            service.start()
            done = errors = 0
            marks = [requests * tenth // 5 for tenth in range(6)]
            marks[0] = min(requests // 20, 20_000)  # Warm up.
            for mark in marks:
                while done < mark:
                    for route in ROUTES:
                        load = window(service, route, MANY, seconds=CHUNK, warm_up=0)
                        sample = uvloop.run(load)
                        done += sample.answers
                        errors += sample.errors.total()
                    progress(f"{name}: {done} of {requests}")
                objects = get(service.port, "/objects")
                memory = f"{service.memory():.1f}"
                row = [name, str(done), str(errors), memory, objects]
                progress("soak " + ", ".join(row))
                yield row


def get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    body = connection.getresponse().read().decode()
    connection.close()
    return body


def growth() -> dict[str, Table]:
    """Return the tables of renders, variants and updates."""
    return {
        "A render": renders(),
        "The matrix": matrix(),
        "An update": updates(),
    }
