"""A benchmark run: all services of a backend run, and are measured in turn."""

import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import uvloop
from sqlalchemy import make_url

from benchmarks.load import ROUTES, Load, Reading, Sample, requests
from benchmarks.service import (
    BASELINE,
    CORES,
    DRIVERS,
    LAYERS,
    MAIN,
    Driver,
    Service,
    environment_of,
    module_of,
    place_of,
    prepare,
    render,
    url_for,
)
from support.databases import create_database
from support.processes import git
from support.proxy import Proxy
from support.servers import (
    MariaDBServer,
    PostgresServer,
    Server,
    mariadb_binary,
    postgres_binaries,
    roomy_dir,
)
from support.template import ROOT

MANY = 64
"""The number of clients that keeps a service busy."""
CROWD = 300
"""A number of clients that overloads a service."""
SOME = 32
VARIED = ("read", "write")
"""The routes that are measured with various numbers of clients."""
MAX_CONNECTIONS = "--max_connections=800"
"""An option of both servers, needed because all services keep their pools open."""
WARM_UP = 0.2
"""Seconds of load before each window."""
STARTED = time.monotonic()

Table = list[list[str]]
"""Rows, of which the first is the header."""


@dataclass(frozen=True)
class Plan:
    """What to measure on a backend, and for how long."""

    drivers: Sequence[str]
    layers: Sequence[str] = MAIN
    others: Sequence[str] = ()
    """Further layers, for reads and writes with asyncpg and psycopg."""
    routes: Sequence[str] = ROUTES
    clients: Sequence[int] = (MANY,)
    """The numbers of clients for reads and writes; the other routes use ``many``."""
    rounds: int = 2
    """The number of rounds of reads and writes by ``many`` clients."""
    other_rounds: int = 4
    """The maximum number of rounds of everything else."""
    crowd_rounds: int = 2
    """The maximum number of rounds with ``CROWD`` clients."""
    seconds: float = 0.5
    """The length of a window."""
    crowd_seconds: float = 5.0
    """The length with ``CROWD`` clients, some of which may wait for a long time."""

    @property
    def many(self) -> int:
        """The number of clients that all services are measured with."""
        return MANY if MANY in self.clients else self.clients[0]

    def windows(self, number: int) -> Iterator[tuple[str, int, Sequence[str]]]:
        """Yield the routes, numbers of clients and layers in round ``number``."""
        for route in self.routes:
            varies = route in VARIED
            for clients in self.clients if varies else (self.many,):
                layers = self.layers
                rounds = self.crowd_rounds if clients >= CROWD else self.other_rounds
                if varies and clients == self.many:
                    layers = [*layers, *self.others] if number <= rounds else layers
                    rounds = self.rounds
                if number <= rounds:
                    yield route, clients, layers

    def length(self, clients: int) -> float:
        """Return the length of a window in seconds."""
        return self.crowd_seconds if clients >= CROWD else self.seconds

    def layers_of(self, driver: Driver) -> list[str]:
        """Return all layers that are measured with a driver."""
        others = self.others if driver.name in {"asyncpg", "psycopg"} else ()
        return [*self.layers, *others]


@dataclass
class Series:
    """The measurements of one service and route, in all rounds."""

    driver: str
    layer: str
    route: str
    clients: int
    throughput: list[float] = field(default_factory=list)
    """Requests per second."""
    cpu: list[float] = field(default_factory=list)
    """Microseconds of the service's CPU time for a request."""
    p99: list[float] = field(default_factory=list)
    """The 99th percentile in milliseconds."""
    answers: int = 0
    errors: int = 0

    def add(self, sample: Sample) -> None:
        """Add the results of a window."""
        self.throughput.append(round(sample.answers / sample.seconds, 1))
        self.cpu.append(round(sample.used.cpu / max(sample.answers, 1) * 1e6, 1))
        self.p99.append(round(sample.latency(0.99) * 1e3, 2))
        self.answers += sample.answers
        self.errors += sample.errors.total()

    @property
    def fails(self) -> bool:
        """Whether hardly any request was answered."""
        return self.answers <= 10 * len(self.cpu)

    def latest(self) -> str:
        """Return a line about the last window."""
        return (
            f"{self.driver} {self.layer}, {self.route}, {self.clients}:"
            f" {self.throughput[-1]:.0f}/s, {self.cpu[-1]:.0f} µs CPU,"
            f" p99 {self.p99[-1]:.0f} ms, {self.errors} errors"
        )


@dataclass
class Footprint:
    """What a service costs apart from speed."""

    driver: str
    layer: str
    start: float
    """The seconds from the start to the first response from the database."""
    memory: float = 0.0
    """Megabytes (RSS) after load."""
    trips: dict[str, float] = field(default_factory=dict)
    """Round trips to the database per request, by route; a file has none."""
    connections: dict[str, float] = field(default_factory=dict)
    """New connections per thousand reads and writes of ``MANY`` clients, once warm."""


@dataclass
class Results:
    """The results of the parts of a run."""

    facts: dict[str, dict[str, object]] = field(default_factory=dict)
    """The versions and the machine, by part."""
    series: list[Series] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    tables: dict[str, dict[str, Table]] = field(default_factory=dict)
    """The results of the other parts than backends, by part and title."""

    def merge(self, other: "Results") -> None:
        """Replace the results of the parts in ``other`` with those of ``other``.

        Ratios are only valid between measurements of the same part.
        """

        def is_kept(one: Series | Footprint) -> bool:
            return DRIVERS[one.driver].backend not in other.facts

        def place(one: Series | Footprint) -> int:
            return [*DRIVERS].index(one.driver)

        self.facts |= other.facts
        self.series = [*filter(is_kept, self.series), *other.series]
        self.series.sort(key=place)
        self.footprints = [*filter(is_kept, self.footprints), *other.footprints]
        self.footprints.sort(key=place)
        self.tables |= other.tables

    def save(self, file: Path) -> None:
        """Write the results as JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, file: Path) -> "Results":
        """Read saved results; there are none if the file does not exist."""
        if not file.exists():
            return cls()
        data: dict[str, Any] = json.loads(file.read_text())
        return cls(
            data["facts"],
            [Series(**one) for one in data["series"]],
            [Footprint(**one) for one in data["footprints"]],
            data["tables"],
        )


def progress(line: str) -> None:
    """Print a line with the minutes since the start of the run."""
    minutes = (time.monotonic() - STARTED) / 60
    print(f"{minutes:4.1f} min: {line}", file=sys.stderr, flush=True)


class Postgres(PostgresServer):
    def _command(self) -> Sequence[str | Path]:
        return [*super()._command(), MAX_CONNECTIONS]


class MariaDB(MariaDBServer):
    def _command(self) -> Sequence[str | Path]:
        return [*super()._command(), MAX_CONNECTIONS]


class Stage:
    """The services and the database of a plan, in ``folder``; ``exits`` ends them."""

    def __init__(self, plan: Plan, folder: Path, exits: ExitStack) -> None:
        self._plan = plan
        self._exits = exits
        self._drivers = [DRIVERS[name] for name in plan.drivers]
        self._projects = {
            driver.name: render(driver, folder) for driver in self._drivers
        }
        first = self._drivers[0]
        self._is_file = first.backend == "sqlite"
        self._url = make_url(self._database(first.backend, folder))
        prepare(self._projects[first.name], url_for(first, self._url))

    @classmethod
    @contextmanager
    def open(cls, plan: Plan) -> Iterator[Self]:
        """Open the stage in a temporary folder, with the servers on the first core."""
        os.sched_setaffinity(0, CORES[:1])  # Processes inherit it.
        with ExitStack() as exits:
            exits.callback(os.sched_setaffinity, 0, CORES)
            directory = tempfile.TemporaryDirectory(prefix="bench-", dir=roomy_dir())
            yield cls(plan, Path(exits.enter_context(directory)), exits)

    def _database(self, backend: str, folder: Path) -> str:
        """Create an empty database and return its URL."""
        if self._is_file:
            return f"sqlite:///{folder / 'bench.db'}"
        server: Server
        if backend == "postgresql":
            server = Postgres(postgres_binaries())
        else:
            server = MariaDB(mariadb_binary())
        self._exits.enter_context(server)
        return create_database(server.url(), "bench")

    def service(
        self, driver: Driver, layer: str, *, port: int | None = None, app: str = ""
    ) -> Service:
        """Return a service without starting it; ``port`` is that of a proxy."""
        url = url_for(driver, self._url)
        if port:
            url = url.set(port=port)
        if self._is_file:  # The journal mode is stored in the file.
            file = f"{url.database}-{driver.name}-{layer}"
            shutil.copy(str(url.database), file)
            url = url.set(database=file)
        module = "benchmarks.apps.baseline" if layer == BASELINE else module_of(layer)
        environment = {
            **environment_of(url),
            **LAYERS[layer].environment,
            "BASELINE": driver.name,
            "BASELINE_DATABASE": json.dumps(place_of(url)),
        }
        project = self._projects[driver.name]
        service = Service(project, f"{app or module}:app", environment, "/bench")
        self._exits.callback(service.stop)
        return service

    async def footprints(self) -> list[Footprint]:
        """Measure the footprint of each service."""
        found = []
        for driver in self._drivers:
            for layer in self._plan.layers_of(driver):
                progress(f"{driver.name} {layer}: footprint")
                if self._is_file:
                    found.append(await self._footprint(driver, layer, None))
                    continue
                assert self._url.port
                async with Proxy([self._url.port]) as proxy:
                    found.append(await self._footprint(driver, layer, proxy))
        return found

    async def _footprint(
        self, driver: Driver, layer: str, proxy: Proxy | None
    ) -> Footprint:
        service = self.service(driver, layer, port=proxy.port if proxy else None)
        # The proxy must run in the meantime.
        start = await asyncio.to_thread(service.start)
        footprint = Footprint(driver.name, layer, round(start, 2))
        await self._prime(service)
        if proxy:
            for route in self._plan.routes:
                sample = await window(service, route, 1, seconds=0.3, proxy=proxy)
                if sample.answers:
                    trips = sample.used.trips / sample.answers
                    footprint.trips[route] = round(trips, 1)
            for route in [one for one in self._plan.routes if one in VARIED]:
                sample = await window(service, route, MANY, seconds=0.3, proxy=proxy)
                if sample.answers:
                    new = sample.used.connections / sample.answers * 1000
                    footprint.connections[route] = round(new, 1)
        footprint.memory = round(service.memory(), 1)
        service.stop()
        return footprint

    async def rounds(self) -> list[Series]:
        """Measure the speed of every service in every window, round after round."""
        plan = self._plan
        services = {
            (driver.name, layer): self.service(driver, layer)
            for driver in self._drivers
            for layer in plan.layers_of(driver)
        }
        for service in services.values():
            service.start()
            await self._prime(service)
        found: dict[tuple[str, str, str, int], Series] = {}
        for number in range(1, plan.rounds + 1):
            windows = list(plan.windows(number))
            needed = {layer for *_, layers in windows for layer in layers}
            for key in [key for key in services if key[1] not in needed]:
                services.pop(key).stop()
            for route, clients, layers in windows:
                for (driver, layer), service in services.items():
                    names = (driver, layer, route, clients)
                    series = found.get(names)
                    if layer not in layers or (series and series.fails):
                        continue
                    seconds = plan.length(clients)
                    sample = await window(service, route, clients, seconds=seconds)
                    series = found.setdefault(names, Series(*names))
                    series.add(sample)
                    progress(f"{number}/{plan.rounds} {series.latest()}")
                    if sample.errors["none"]:  # It may be stuck for a long time.
                        service.stop()
                        service.start()
                        await self._prime(service)
        return [*found.values()]

    async def _prime(self, service: Service) -> None:
        """Warm a service up: it opens connections and fills its caches."""
        for route in self._plan.routes:
            await window(service, route, SOME, seconds=0.1)


async def window(
    service: Service,
    route: str,
    clients: int,
    *,
    seconds: float,
    proxy: Proxy | None = None,
) -> Sample:
    """Measure a service in a window of load."""

    def read() -> Reading:
        counts = (proxy.trips, proxy.connections) if proxy else ()
        return Reading(service.cpu(), *counts)

    load = Load(requests(route, service.prefix))
    return await load.run(
        service.port, clients, warm_up=WARM_UP, seconds=seconds, read=read
    )


def measure(plan: Plan) -> Results:
    """Execute a plan."""
    with Stage.open(plan) as stage:
        footprints = uvloop.run(stage.footprints())
        series = uvloop.run(stage.rounds())
    return Results(series=series, footprints=footprints)


def facts() -> dict[str, object]:
    """Return the versions and the hardware that the figures depend on."""
    project = (ROOT / "pyproject.toml").read_text()
    packages = ("copier", "fastapi", "starlette", "sqlalchemy", "uvicorn", "httptools")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "template": tomllib.loads(project)["project"]["version"],
        "commit": git(ROOT, "rev-parse", "--short", "HEAD").strip(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
