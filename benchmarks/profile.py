"""Profiles the CPU time of a read with py-spy."""

import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import uvloop

from benchmarks.measure import MAIN, MANY, Plan, Results, Stage, progress, window
from benchmarks.service import DRIVERS, Service

DURATION = 8
"""The seconds for which a service is profiled."""
STANDARD = "standard library"


def profile(name: str, route: str = "read") -> list[list[str]]:
    """Return the microseconds of a request by library, for each of the main layers."""
    driver = DRIVERS[name]
    found: dict[str, dict[str, float]] = {}
    with (
        tempfile.NamedTemporaryFile() as file,
        Stage.open(Plan([name]), driver.backend, Results()) as stage,
    ):
        for layer in MAIN:
            service = stage.service(driver, layer)
            service.start()
            progress(f"{name} {layer}: profile of a {route}")
            found[layer] = profile_service(service, route, Path(file.name))
            service.stop()
    libraries = sorted(
        {library for shares in found.values() for library in shares},
        key=lambda library: -found[MAIN[0]].get(library, 0),
    )
    table = [["library", *(f"{layer}, µs" for layer in MAIN)]]
    for library in libraries:
        figures = [found[layer].get(library, 0) for layer in MAIN]
        if max(figures) >= 1:
            table.append([library, *(f"{figure:.0f}" for figure in figures)])
    totals = [sum(found[layer].values()) for layer in MAIN]
    return [*table, ["all", *(f"{total:.0f}" for total in totals)]]


def profile_service(service: Service, route: str, file: Path) -> dict[str, float]:
    """Return the microseconds of CPU time of a request, by library."""
    uvloop.run(window(service, route, MANY, seconds=1, warm_up=0.5))
    profiler = subprocess.Popen(
        [
            *("py-spy", "record", f"--pid={service.pid}", f"--output={file}"),
            *("--format=raw", f"--duration={DURATION}", "--rate=250"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    uvloop.run(window(service, route, MANY, seconds=DURATION, warm_up=1))
    profiler.wait()
    # This runs without the profiler, which slows the service down.
    sample = uvloop.run(window(service, route, MANY, seconds=3, warm_up=0.5))
    if not sample.answers:  # It is deadlocked.
        return {}
    cpu = sample.used.cpu / sample.answers * 1e6
    counts: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        counts[library_of(stack.split(";")[-1])] += int(count)
    return {name: cpu * count / counts.total() for name, count in counts.items()}


def library_of(frame: str) -> str:
    """Return the library of a frame such as "flush (sqlalchemy/orm/session.py:4)"."""
    path = frame.rpartition("(")[2].lstrip("<")
    name = path.partition("/")[0].partition(".py")[0].partition(" ")[0]
    if name in {"service", "benchmarks"} or name.startswith("bench_"):
        return "the service"
    known = ("sqlalchemy", "fastapi", "starlette", "uvicorn", "pydantic", "anyio")
    drivers = ("asyncpg", "psycopg", "psycopg_binary", "psycopg_pool", "asyncmy")
    others = ("aiomysql", "pymysql", "aiosqlite", "typing_extensions")
    return name if name in {*known, *drivers, *others} else STANDARD
