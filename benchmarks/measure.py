"""A benchmark run: all services of a backend run, and are measured in turn."""

import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import uvloop
from sqlalchemy import make_url

from benchmarks.load import Load, Reading, Sample, requests
from benchmarks.service import (
    BASELINE,
    CORES,
    DRIVERS,
    Driver,
    Service,
    prepare,
    render,
    url_for,
)
from support.databases import create_database
from support.proxy import Proxy
from support.servers import (
    MariaDBServer,
    PostgresServer,
    Server,
    mariadb_binary,
    postgres_binaries,
    roomy_dir,
)

MAIN = ("rendered", BASELINE, "tutorial")
"""The layers that are measured with all drivers and numbers of clients."""
ANSWER_TIMEOUT = 5.0
"""The seconds to wait for responses after a window."""
MANY = 64
"""The number of clients that keeps a service busy."""
CROWD = 300
"""A number of clients that overloads a service."""
SOME = 32
MAX_CONNECTIONS = "--max_connections=800"
"""An option of both servers, needed because all services keep their pools open."""


@dataclass(frozen=True)
class Plan:
    """The services and routes to measure, and the lengths of the measurements."""

    drivers: Sequence[str]
    layers: Sequence[str] = MAIN
    """The layers that are measured with every driver."""
    idioms: Sequence[str] = ()
    """Further layers, measured with async drivers and ``MANY`` clients."""
    changes: Sequence[str] = ()
    """Changes to the rendered layer, measured in the same way with PostgreSQL."""
    routes: Sequence[str] = ("read", "write", "page", "auth")
    clients: Sequence[int] = (MANY,)
    """The numbers of clients for reads and writes; other routes use only one number."""
    two_workers: bool = False
    rounds: int = 2
    seconds: float = 1.0
    """The length of a window."""
    crowd_seconds: float = 3.0
    """The length with ``CROWD`` clients, some of which may wait for a long time."""
    crowd_rounds: int = 2
    """The maximum number of rounds with ``CROWD`` clients."""
    warm_up: float = 0.3
    """Seconds of load before each window."""

    def windows(self, number: int) -> Iterator[tuple[str, int]]:
        """Yield the routes and their numbers of clients in round ``number``."""
        middle = MANY if MANY in self.clients else self.clients[0]
        for route in self.routes:
            for clients in self.clients if route in {"read", "write"} else (middle,):
                if clients < CROWD or number <= self.crowd_rounds:
                    yield route, clients

    def length(self, clients: int) -> float:
        """Return the length of a window in seconds."""
        return self.crowd_seconds if clients >= CROWD else self.seconds

    def wants(self, service: Service, route: str, clients: int) -> bool:
        """Return whether a service is measured in this window."""
        simple = route in {"read", "write"} and clients == MANY
        return simple or (service.workers == 1 and service.layer in self.layers)


@dataclass
class Series:
    """The measurements of one service and route, in all rounds."""

    driver: str
    layer: str
    workers: int
    route: str
    clients: int
    throughput: list[float] = field(default_factory=list)
    """Requests per second."""
    cpu: list[float] = field(default_factory=list)
    """Microseconds of the service's CPU time for a request."""
    busy: list[float] = field(default_factory=list)
    """Seconds of CPU time per second and worker."""
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    """The 99th percentile in milliseconds."""
    answers: int = 0
    errors: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """The names that identify the series."""
        return self.driver, self.layer, self.route, self.clients, self.workers

    def add(self, sample: Sample) -> None:
        """Add the results of a window."""
        cpu = sample.used.cpu
        self.throughput.append(round(sample.answers / sample.seconds, 1))
        self.cpu.append(round(cpu / max(sample.answers, 1) * 1e6, 1))
        self.busy.append(round(cpu / sample.seconds / self.workers, 2))
        self.p50.append(round(sample.latency(0.5) * 1e3, 2))
        self.p99.append(round(sample.latency(0.99) * 1e3, 2))
        self.answers += sample.answers
        self.errors += sample.errors.total()

    def latest(self) -> str:
        """Return a line about the last window."""
        workers = " on two workers" if self.workers > 1 else ""
        return (
            f"{self.driver} {self.layer}{workers}, {self.route}, {self.clients}:"
            f" {self.throughput[-1]:.0f}/s, {self.cpu[-1]:.0f} µs CPU,"
            f" p99 {self.p99[-1]:.0f} ms, {self.errors} errors"
        )


@dataclass
class Footprint:
    """What a service costs apart from speed."""

    driver: str
    layer: str
    start: list[float] = field(default_factory=list)
    """The seconds from the start to the first response from the database."""
    memory: list[float] = field(default_factory=list)
    """Megabytes (RSS) of a worker after load."""
    trips: dict[str, float] = field(default_factory=dict)
    """Round trips to the database per request, by route; a file has none."""
    connections: dict[str, list[float]] = field(default_factory=dict)
    """New connections per thousand requests of ``MANY`` clients, after the warm-up."""


@dataclass
class Results:
    """All results of a run."""

    machine: dict[str, dict[str, object]] = field(default_factory=dict)
    """The machine and its load, by backend."""
    series: list[Series] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)

    def merge(self, other: "Results") -> None:
        """Replace the results of the backends in ``other`` with those of ``other``.

        Ratios are only valid between measurements of the same run.
        """

        def is_kept(one: Series | Footprint) -> bool:
            return DRIVERS[one.driver].backend not in other.machine

        def place(one: Series | Footprint) -> int:
            return [*DRIVERS].index(one.driver)

        self.machine |= other.machine
        self.series = [*filter(is_kept, self.series), *other.series]
        self.series.sort(key=place)
        self.footprints = [*filter(is_kept, self.footprints), *other.footprints]
        self.footprints.sort(key=place)

    def save(self, file: Path) -> None:
        """Write the results as JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, file: Path) -> "Results":
        """Read saved results."""
        data: dict[str, Any] = json.loads(file.read_text())
        return cls(
            data["machine"],
            [Series(**one) for one in data["series"]],
            [Footprint(**one) for one in data["footprints"]],
        )

    def find(
        self, driver: str, layer: str, route: str, clients: int, workers: int = 1
    ) -> Series | None:
        """Return the series with these names, or None."""
        key = (driver, layer, route, clients, workers)
        return next((one for one in self.series if one.key == key), None)

    def footprint(self, driver: str, layer: str) -> Footprint | None:
        """Return the footprint of a service, or None."""
        for one in self.footprints:
            if (one.driver, one.layer) == (driver, layer):
                return one
        return None


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Postgres(PostgresServer):
    def _command(self) -> Sequence[str | Path]:
        return [*super()._command(), MAX_CONNECTIONS]


class MariaDB(MariaDBServer):
    def _command(self) -> Sequence[str | Path]:
        return [*super()._command(), MAX_CONNECTIONS]


class Stage:
    """The part of a run on one backend, in ``folder``; ``exits`` ends it."""

    def __init__(
        self,
        plan: Plan,
        backend: str,
        folder: Path,
        results: Results,
        exits: ExitStack,
    ) -> None:
        self._plan = plan
        self._backend = backend
        self._results = results
        self._exits = exits
        self._drivers = [
            DRIVERS[name] for name in plan.drivers if DRIVERS[name].backend == backend
        ]
        self._projects = {
            driver.name: render(driver, folder) for driver in self._drivers
        }
        self._url = make_url(self._database(folder))
        first = self._drivers[0]
        prepare(self._projects[first.name], url_for(first, self._url))

    @classmethod
    @contextmanager
    def open(cls, plan: Plan, backend: str, results: Results) -> Iterator[Self]:
        """Open the stage in a temporary folder."""
        with ExitStack() as exits:
            directory = tempfile.TemporaryDirectory(prefix="bench-", dir=roomy_dir())
            folder = Path(exits.enter_context(directory))
            yield cls(plan, backend, folder, results, exits)

    def _database(self, folder: Path) -> str:
        """Create an empty database and return its URL."""
        if self._backend == "sqlite":
            return f"sqlite:///{folder / 'bench.db'}"
        server: Server
        if self._backend == "postgresql":
            server = Postgres(postgres_binaries())
        else:
            server = MariaDB(mariadb_binary())
        self._exits.enter_context(server)
        return create_database(server.url(), "bench")

    def service(
        self,
        driver: Driver,
        layer: str,
        *,
        workers: int = 1,
        port: int | None = None,
        app: str = "",
    ) -> Service:
        """Return a service without starting it; ``port`` is that of a proxy."""
        url = url_for(driver, self._url)
        if port:
            url = url.set(port=port)
        if self._backend == "sqlite":  # The journal mode is stored in the file.
            file = f"{url.database}-{driver.name}-{layer}-{workers}"
            shutil.copy(str(url.database), file)
            url = url.set(database=file)
        project = self._projects[driver.name]
        service = Service(project, driver, layer, url, workers=workers, app=app)
        self._exits.callback(service.stop)
        return service

    def _layers(self, driver: Driver) -> list[str]:
        """Return all layers that are measured with a driver."""
        plan = self._plan
        layers = [*plan.layers]
        if driver.mode == "async":
            # A file needs no ping.
            layers += [
                layer
                for layer in plan.idioms
                if (layer, self._backend) != ("pre-ping", "sqlite")
            ]
        if driver.name in {"asyncpg", "psycopg"}:
            layers += plan.changes
        return layers

    def _services(self) -> Iterator[Service]:
        plan = self._plan
        for driver in self._drivers:
            for layer in self._layers(driver):
                yield self.service(driver, layer)
            if plan.two_workers and MANY in plan.clients:
                for layer in plan.layers:
                    yield self.service(driver, layer, workers=2)

    async def footprints(self) -> None:
        """Measure the footprints; each service is restarted in each round."""
        found = {
            (driver.name, layer): Footprint(driver.name, layer)
            for driver in self._drivers
            for layer in self._layers(driver)
        }
        self._results.footprints += found.values()
        server_port = self._url.port
        for number in range(1, min(self._plan.rounds, 2) + 1):
            for driver in self._drivers:
                # Round trips never differ, so one round suffices.
                for layer in self._layers(driver) if number == 1 else self._plan.layers:
                    progress(f"{driver.name} {layer}: footprint, round {number}")
                    footprint = found[driver.name, layer]
                    if server_port is None:
                        await self._footprint(footprint, driver, None)
                        continue
                    async with Proxy([server_port]) as proxy:
                        await self._footprint(footprint, driver, proxy)

    async def _footprint(
        self, footprint: Footprint, driver: Driver, proxy: Proxy | None
    ) -> None:
        service = self.service(
            driver, footprint.layer, port=proxy.port if proxy else None
        )
        # The proxy must run in the meantime.
        footprint.start.append(round(await asyncio.to_thread(service.start), 2))
        await self._prime(service)
        for route in self._plan.routes if proxy else ():
            for clients in (1, MANY):
                sample = await window(
                    service, route, clients, seconds=0.4, warm_up=0.3, proxy=proxy
                )
                if clients == 1:
                    trips = sample.used.trips / max(sample.answers, 1)
                    footprint.trips[route] = round(trips, 1)
                else:
                    new = sample.used.connections / max(sample.answers, 1) * 1000
                    footprint.connections.setdefault(route, []).append(round(new, 1))
        footprint.memory.append(round(service.memory(), 1))
        service.stop()

    async def rounds(self) -> None:
        """Measure the speed of every service in every window, round after round."""
        plan = self._plan
        services = list(self._services())
        for service in services:
            service.start()
            await self._prime(service)
        found: dict[tuple[object, ...], Series] = {}
        for number in range(1, plan.rounds + 1):
            for route, clients in plan.windows(number):
                for service in services:
                    if not plan.wants(service, route, clients):
                        continue
                    sample = await window(
                        service,
                        route,
                        clients,
                        seconds=plan.length(clients),
                        warm_up=plan.warm_up,
                    )
                    key = (service, route, clients)
                    if key not in found:
                        found[key] = Series(
                            service.driver.name,
                            service.layer,
                            service.workers,
                            route,
                            clients,
                        )
                        self._results.series.append(found[key])
                    series = found[key]
                    series.add(sample)
                    progress(f"{number}/{plan.rounds} {series.latest()}")
                    if sample.errors["none"]:  # It may be stuck for a long time.
                        service.stop()
                        service.start()
                        await self._prime(service)

    async def _prime(self, service: Service) -> None:
        """Warm a service up: it opens connections and fills its caches."""
        for route in self._plan.routes:
            await window(service, route, SOME, seconds=0.1, warm_up=0.1)


async def window(
    service: Service,
    route: str,
    clients: int,
    *,
    seconds: float,
    warm_up: float,
    proxy: Proxy | None = None,
) -> Sample:
    """Measure a service in a window of load."""

    def read() -> Reading:
        counts = (proxy.trips, proxy.connections) if proxy else ()
        return Reading(service.cpu(), *counts)

    return await Load(requests(route)).run(
        service.port,
        clients,
        warm_up=warm_up,
        seconds=seconds,
        answer_timeout=ANSWER_TIMEOUT,
        read=read,
    )


def measure(plan: Plan, save: Callable[[Results], None]) -> None:
    """Execute a plan; ``save`` gets the results so far after each backend."""
    results = Results()
    os.sched_setaffinity(0, CORES[:1])  # The database servers inherit the core.
    for backend in dict.fromkeys(DRIVERS[name].backend for name in plan.drivers):
        started = time.monotonic()
        load = os.getloadavg()[0]
        with Stage.open(plan, backend, results) as stage:
            uvloop.run(stage.footprints())
            uvloop.run(stage.rounds())
        results.machine[backend] = {
            **machine(),
            "rounds": plan.rounds,
            "minutes": round((time.monotonic() - started) / 60),
            "load before and after": f"{load:.1f}, {os.getloadavg()[0]:.1f}",
        }
        save(results)
    os.sched_setaffinity(0, CORES)


def machine() -> dict[str, object]:
    """Return the versions and the hardware that the figures depend on."""
    packages = ("fastapi", "starlette", "sqlalchemy", "uvicorn", "httptools")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
