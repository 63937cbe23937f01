"""The measured services: rendered, with additional routes, and run by uvicorn."""

import http.client
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import copier
import jinja2
import psutil
from sqlalchemy import URL, Connection, create_engine, text

from benchmarks.load import POSTS, USERS
from support.processes import clean_environment, free_port, kill, start
from support.template import ROOT, copy_template

APP = Path(__file__).with_name("apps") / "app.py.jinja"
CORES = sorted(os.sched_getaffinity(0))
"""The cores: clients and database run on the first ones, the service on the last."""
START_TIMEOUT = 30.0
"""The seconds within which a starting service must respond."""


@dataclass(frozen=True)
class Driver:
    """A driver in a mode, with its name on the command line."""

    name: str
    backend: str
    mode: str
    module: str
    """The name of the driver in a SQLAlchemy URL."""


DRIVERS = {
    driver.name: driver
    for driver in [
        Driver("asyncpg", "postgresql", "async", "asyncpg"),
        Driver("psycopg", "postgresql", "async", "psycopg"),
        Driver("psycopg-sync", "postgresql", "sync", "psycopg"),
        Driver("asyncmy", "mysql", "async", "asyncmy"),
        Driver("aiomysql", "mysql", "async", "aiomysql"),
        Driver("pymysql", "mysql", "sync", "pymysql"),
        Driver("aiosqlite", "sqlite", "async", "aiosqlite"),
        Driver("pysqlite", "sqlite", "sync", "pysqlite"),
    ]
}


@dataclass(frozen=True)
class Layer:
    """A database layer that the measured routes use."""

    about: str
    rendered: bool = True
    """Whether it is the rendered layer, perhaps with a change."""
    explicit: bool = False
    limited: bool = True
    default_gc: bool = False
    reader: str = "ReadSessionDep"
    environment: Mapping[str, str] = field(default_factory=dict)


BASELINE = "baseline"
MAIN = ("rendered", BASELINE, "tutorial")
"""The layers that are measured with all drivers."""
LAYERS = {
    "rendered": Layer("what the template renders"),
    BASELINE: Layer("the driver's own pool, no ORM", rendered=False),
    "tutorial": Layer(
        "commit after the response, pool 5+10", rendered=False, reader="SessionDep"
    ),
    "explicit": Layer(
        "tutorial, commit and refresh in the endpoint",
        rendered=False,
        explicit=True,
        reader="SessionDep",
    ),
    "one-session": Layer("rendered, reading through SessionDep", reader="SessionDep"),
    "overflow": Layer(
        "rendered, pool 5+10",
        environment={"DATABASE_POOL_SIZE": "5", "DATABASE_MAX_OVERFLOW": "10"},
    ),
    "pre-ping": Layer(
        "rendered, a ping at every checkout",
        environment={"DATABASE_POOL_PRE_PING": "always"},
    ),
    "default-gc": Layer(
        "rendered, with the default threshold of the garbage collector", default_gc=True
    ),
    "no-limit": Layer("rendered, without the limiter", limited=False),
}
OTHERS = [name for name in LAYERS if name not in MAIN]


def render(driver: Driver, folder: Path) -> Path:
    """Render a service for a driver, with the measured routes on each layer."""
    template = folder / "template"
    if not template.exists():
        template.mkdir()
        copy_template(template)
    project = folder / driver.name
    rest = "/./service.db" if driver.backend == "sqlite" else "app@localhost/app"
    copier.run_copy(
        str(template),
        project,
        data={
            "project_name": "service",
            "database_url": f"{driver.backend}://{rest}",
            "mode": driver.mode,
            "driver": driver.module,
        },
        defaults=True,
        quiet=True,
    )
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = environment.from_string(APP.read_text())
    is_async = driver.mode == "async"
    for name, layer in LAYERS.items():
        app = source.render(
            rendered=layer.rendered,
            explicit=layer.explicit,
            limited=layer.limited,
            default_gc=layer.default_gc,
            reader=layer.reader,
            async_="async " if is_async else "",
            await_="await " if is_async else "",
        )
        (project / module_of(name)).with_suffix(".py").write_text(app)
    return project


def module_of(layer: str) -> str:
    return "bench_" + layer.replace("-", "_")


def prepare(project: Path, url: URL) -> None:
    """Create the tables at ``url`` with the project's migrations, and fill them."""
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=project,
        env=environment_of(url),
        check=True,
        capture_output=True,
    )
    backend = url.get_backend_name()
    sync = {"postgresql": "psycopg", "mysql": "pymysql", "sqlite": "pysqlite"}
    engine = create_engine(url.set(drivername=f"{backend}+{sync[backend]}"))
    with engine.begin() as connection:
        seed(connection)
    engine.dispose()


def seed(connection: Connection) -> None:
    """Insert the rows that are read."""
    users = [
        {"email": f"{number}@example.com", "name": f"User {number}"}
        for number in range(USERS)
    ]
    connection.execute(
        text("INSERT INTO users (email, name) VALUES (:email, :name)"), users
    )
    posts = [
        {
            "public_id": uuid.UUID(int=number).hex,
            "title": f"Post {number}",
            "body": "Words. " * 20,
            "slug": f"post-{number}",
            "author_id": number % USERS + 1,
        }
        for number in range(POSTS)
    ]
    connection.execute(
        text(
            "INSERT INTO posts (public_id, title, body, slug, author_id)"
            " VALUES (:public_id, :title, :body, :slug, :author_id)"
        ),
        posts,
    )


def environment_of(url: URL) -> dict[str, str]:
    """Return the environment for the processes of the project."""
    return {
        **clean_environment(),
        "PYTHONPATH": os.pathsep.join(["src", str(ROOT)]),
        "DATABASE_URL": url.render_as_string(hide_password=False),
    }


class Service:
    """Uvicorn with an application of a project."""

    def __init__(
        self,
        project: Path,
        app: str,
        environment: Mapping[str, str],
        prefix: str = "",
        access_log: str = "--no-access-log",
    ) -> None:
        self.port = free_port()
        self.prefix = prefix
        """The path of the measured routes."""
        self._project = project
        self._environment = environment
        self._log = project / f"{self.port}.log"
        self._command = [
            *(sys.executable, "-m", "uvicorn", app, access_log),
            *(f"--port={self.port}", "--http=httptools", "--loop=asyncio"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start; return the seconds until the first response from the database.

        Raises RuntimeError, with the log, if it ends or takes too long.
        """
        started = time.perf_counter()
        self._process = start(
            self._command, self._project, self._environment, self._log
        )
        os.sched_setaffinity(self._process.pid, CORES[-1:])
        while self._process.poll() is None:
            seconds = time.perf_counter() - started
            if self._answers():
                return seconds
            if seconds > START_TIMEOUT:
                break
            time.sleep(0.005)
        self.stop()
        raise RuntimeError(f"the service does not start:\n{self._log.read_text()}")

    def _answers(self) -> bool:
        try:
            status, _ = self.get(f"{self.prefix}/users/1")
        except OSError:
            return False
        return status == 200

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def cpu(self) -> float:
        """Return the seconds of CPU time that it has used so far."""
        # The clock's id is computed from that of the process: clock_getcpuclockid(3).
        return time.clock_gettime(~self.pid << 3 | 2)

    def memory(self) -> float:
        """Return its memory (RSS) in megabytes."""
        rss: int = psutil.Process(self.pid).memory_info().rss
        return rss / 2**20

    def stop(self) -> None:
        """Kill the service, if it runs."""
        kill(self._process)


def place_of(url: URL) -> dict[str, str | int | None]:
    """Return ``url`` as keyword arguments for the drivers."""
    if url.get_backend_name() == "sqlite":
        return {"database": url.database}
    return {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "database": url.database,
    }


def url_for(driver: Driver, url: URL) -> URL:
    """Return ``url`` for a driver."""
    return url.set(drivername=f"{driver.backend}+{driver.module}")
