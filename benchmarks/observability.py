"""Measure the cost of the log and the telemetry: CPU time per request, as ratios.

    uv run python -m benchmarks.observability [rounds]

The services use PostgreSQL: release 0.4.0, and the working tree with each feature on
and off. They are measured in turn, and each ratio is the median over all rounds.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import make_url

from benchmarks.measure import window
from benchmarks.service import CORES, Service, environment_of, prepare
from support.databases import create_database
from support.otlp_receiver import Receiver
from support.servers import PostgresServer, postgres_binaries
from support.template import NOW, copy, make_releases

DRIVERS = {"asyncpg": "async", "psycopg": "sync"}
BEFORE = "0.4.0"
OFF = {"DATABASE_SLOW_STATEMENT": "0"}
CLIENTS = 16
SECONDS = 1.0


@dataclass(frozen=True)
class Case:
    """A service to measure."""

    about: str
    ref: str = NOW
    telemetry: str = "none"
    environment: Mapping[str, str] = field(default_factory=dict)
    access_log: str = "--no-access-log"
    exports: bool = False


CASES = [
    Case(f"release {BEFORE}", f"v{BEFORE}"),
    Case("slow statements off", environment=OFF),
    Case("default"),
    Case(
        "JSON lines, access log on",
        environment={"LOG_FORMAT": "json"},
        access_log="--access-log",
    ),
    Case("telemetry, no endpoint", telemetry="opentelemetry"),
    Case("telemetry, exporting", telemetry="opentelemetry", exports=True),
    Case(
        "telemetry, one trace of ten",
        telemetry="opentelemetry",
        environment={
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.1",
        },
        exports=True,
    ),
]
ROUTES = ("read", "write")


def main(rounds: int) -> None:
    """Measure, and print a table for each driver."""
    os.sched_setaffinity(0, CORES[:1])
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        make_releases(folder / "template")
        receiver = exits.enter_context(Receiver())
        server = exits.enter_context(PostgresServer(postgres_binaries()))
        for driver, mode in DRIVERS.items():
            database = make_url(create_database(server.url(), f"bench_{driver}"))
            url = database.set(drivername=f"postgresql+{driver}")
            services: list[Service] = []
            for number, case in enumerate(CASES):
                project = folder / f"{driver}-{number}"
                answers = {
                    "database_url": "postgresql://app@localhost/app",
                    "mode": mode,
                    "driver": driver,
                }
                if case.ref == NOW:
                    answers["telemetry"] = case.telemetry
                copy(folder / "template", project, case.ref, answers)
                if number == 0:
                    prepare(project, url)
                environment = {**environment_of(url), **case.environment}
                if case.exports:
                    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.url
                service = Service(
                    project, "service.main:app", environment, access_log=case.access_log
                )
                exits.callback(service.stop)
                service.start()
                services.append(service)
            figures = asyncio.run(measure(services, rounds))
            print(table(driver, figures), flush=True)
            for service in services:
                service.stop()
        print(json.dumps({"spans": len(receiver.spans()), "load": os.getloadavg()}))


async def measure(services: list[Service], rounds: int) -> dict[str, list[list[float]]]:
    """Return the microseconds of CPU time per request, by route, round and service."""
    figures: dict[str, list[list[float]]] = {route: [] for route in ROUTES}
    for number in range(rounds + 1):
        for route in ROUTES:
            row = [await cost(service, route) for service in services]
            if number:  # The first round is the warm-up.
                figures[route].append(row)
    return figures


async def cost(service: Service, route: str) -> float:
    """Return the microseconds of CPU time per request."""
    sample = await window(service, route, CLIENTS, seconds=SECONDS)
    assert not sample.errors, sample.errors
    return sample.used.cpu / sample.answers * 1e6


def table(driver: str, figures: dict[str, list[list[float]]]) -> str:
    """Return the table of the ratios to the first service."""
    head = f"| {driver} | " + " | ".join(figures) + " |"
    lines = [head, "|---" * (len(figures) + 1) + "|"]
    for number, case in enumerate(CASES):
        cells = []
        for rows in figures.values():
            ratios = [row[number] / row[0] for row in rows]
            cost = statistics.median(row[number] for row in rows)
            cells.append(f"{statistics.median(ratios):.2f} ({cost:.0f} µs)")
        lines.append(f"| {case.about} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
