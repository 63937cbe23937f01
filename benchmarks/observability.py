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
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import URL, make_url

from benchmarks.load import Load, Reading, add_user, get
from benchmarks.service import CORES, environment_of, prepare
from support.databases import create_database
from support.otlp_receiver import Receiver
from support.processes import free_port, kill, start
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
    environment: Mapping[str, str] | None = None
    exports: bool = False


CASES = [
    Case(f"release {BEFORE}", f"v{BEFORE}"),
    Case("slow statements off", environment=OFF),
    Case("default"),
    Case("JSON lines, access log on", environment={"LOG_FORMAT": "json"}),
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


class Running:
    """A running service, on the last core."""

    def __init__(self, project: Path, case: Case, url: URL, endpoint: str) -> None:
        self.port = free_port()
        environment = {**environment_of(url), **(case.environment or {})}
        if case.exports:
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        access_log = (
            "--access-log" if "LOG_FORMAT" in environment else "--no-access-log"
        )
        command = [
            *(sys.executable, "-m", "uvicorn", "service.main:app"),
            *(f"--port={self.port}", "--http=httptools", access_log),
        ]
        log = project / f"{case.about.replace(' ', '-')}.log"
        self._process = start(command, project, environment, log)
        process = psutil.Process(self._process.pid)
        process.cpu_affinity(CORES[-1:])
        self._processes = [process]

    def cpu(self) -> float:
        """Return the seconds of CPU time used so far."""
        times = self._processes[0].cpu_times()
        return times.user + times.system

    async def measure(self, route: str) -> float:
        """Return the microseconds of CPU time per request."""
        paths = {
            "read": iter(lambda: get("/users/1"), None),
            "write": iter(lambda: add_user("/users"), None),
        }
        sample = await Load(paths[route]).run(
            self.port,
            CLIENTS,
            warm_up=0.2,
            seconds=SECONDS,
            answer_timeout=5.0,
            read=lambda: Reading(self.cpu()),
        )
        assert not sample.errors, sample.errors
        return sample.used.cpu / sample.answers * 1e6

    def stop(self) -> None:
        """Stop the service."""
        kill(self._process)


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
            services = []
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
                services.append(Running(project, case, url, receiver.url))
                exits.callback(services[-1].stop)
            figures = asyncio.run(measure(services, rounds))
            print(table(driver, figures), flush=True)
            for service in services:
                service.stop()
        print(json.dumps({"spans": len(receiver.spans()), "load": os.getloadavg()}))


async def measure(services: list[Running], rounds: int) -> dict[str, list[list[float]]]:
    """Return the microseconds per request, by route, round and service."""
    await asyncio.sleep(5)  # while they start
    figures: dict[str, list[list[float]]] = {route: [] for route in ROUTES}
    for number in range(rounds + 1):
        for route in ROUTES:
            row = [await service.measure(route) for service in services]
            if number:  # The first round is the warm-up.
                figures[route].append(row)
    return figures


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
