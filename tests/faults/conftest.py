"""What the fault tests share: a server to break, and services that use it."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from itertools import cycle
from pathlib import Path
from uuid import uuid4

import pytest
from pytest_copier.plugin import CopierFixture
from sqlalchemy import make_url

from tests import servers
from tests.conftest import find
from tests.faults.report import Figures
from tests.faults.service import Service, add_app
from tests.found import Found
from tests.servers import MariaDBServer, PostgresServer, Server
from tests.variants import Variant

POOL_SIZE = 5
"""Small, so that load meets its limit."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for each driver: with a pool, the committing session, no Alembic."""
    for argument, backends in {
        "driver": ("postgresql", "mysql", "sqlite", "sqlite-memory"),
        # One for each backend, in one mode or the other.
        "sampled_driver": ("postgresql", "mysql", "sqlite", "sqlite-memory"),
        "lasting_sampled_driver": ("postgresql", "mysql", "sqlite"),
        "server_driver": ("postgresql", "mysql"),
        "file_driver": ("sqlite",),
    }.items():
        if argument in metafunc.fixturenames:
            variants = [
                variant
                for variant in find(metafunc.config).variants["variant"]
                if variant.backend in backends and is_usual(variant)
            ]
            if "sampled" in argument:
                variants = variants[::3]
            ids = [name(variant) for variant in variants]
            metafunc.parametrize(argument, variants, ids=ids)
    for argument, pools in {
        "pooled_driver": ("queue", "null"),
        "queue_driver": ("queue",),
    }.items():
        if argument in metafunc.fixturenames:
            drivers = with_policies(find(metafunc.config).variants["variant"], pools)
            metafunc.parametrize(argument, drivers.values(), ids=drivers.keys())


def with_policies(
    variants: Sequence[Variant], pools: Sequence[str]
) -> dict[str, Variant]:
    """Return each driver with each of the pools, the transaction policies in turn."""
    usual = {
        name(variant): variant
        for variant in variants
        if is_usual(variant) and variant.backend != "sqlite-memory"
    }
    policies = cycle(["request", "explicit", "explicit", "request"][: 2 * len(pools)])
    return {
        f"{driver}-{pool}-{policy}": replace(
            variant, answers={**variant.answers, "pool": pool, "transaction": policy}
        )
        for driver, variant in usual.items()
        for pool, policy in zip(pools, policies, strict=False)
    }


def is_usual(variant: Variant) -> bool:
    """Whether this is the one variant of its driver that the faults are tried on."""
    usual = {
        "pool": "queue",
        "transaction": "request",
        "alembic": False,
        "example": True,
    }
    return usual.items() <= (usual | dict(variant.answers)).items()


def name(variant: Variant) -> str:
    """The backend, the mode and the driver, as in "postgresql-async-asyncpg"."""
    return variant.id.partition("-request")[0].removesuffix("-queue")


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Takes the figures that the test measures; the run prints them at its end."""
    return Figures(request.node)


@pytest.fixture
def server(server_driver: Variant, found: Found) -> Iterator[Server]:
    """A server of the test's own, to break; it does not run yet."""
    if server_driver.backend in found.missing:
        pytest.skip(found.missing[server_driver.backend])
    own = (
        PostgresServer(servers.postgres_binaries())
        if server_driver.backend == "postgresql"
        else MariaDBServer(servers.mariadb_binary())
    )
    yield own
    own.close()


@dataclass
class Rendering:
    """A variant's project, the services that run it, and their database."""

    project: Path
    exits: ExitStack
    url: str
    """Of the database, which ``create_database`` creates; empty in memory."""

    def service(self, app: str = "faults:app", **settings: object) -> Service:
        """A service with these settings, which does not run yet.

        ``pool_size=2`` is the environment's ``DATABASE_POOL_SIZE=2``.
        """
        settings = {"pool_size": POOL_SIZE} | settings
        environment = {f"DATABASE_{k.upper()}": str(v) for k, v in settings.items()}
        if self.url:
            environment |= {"DATABASE_URL": self.url, "TEST_DATABASE_URL": self.url}
        service = Service(self.project, environment, app)
        self.exits.callback(service.kill)
        return service

    def serve(self, app: str = "faults:app", **settings: object) -> Service:
        """Create the database, and start a service that has made its tables there."""
        self.create_database()
        service = self.service(app, **settings)
        service.start()
        service.wait_for_tables()
        return service

    def create_database(self) -> None:
        """Create the database, which a file does not need."""
        url = make_url(self.url or "sqlite://")
        if url.get_backend_name() != "sqlite":
            outside = url.set(database=servers.maintenance_database(url.drivername))
            server = outside.render_as_string(hide_password=False)
            servers.create_database(server, str(url.database))

    def titles(self) -> set[str]:
        """The titles of the notes that are in the database now."""
        return set(self.rows("SELECT title FROM notes"))

    def rows(self, statement: str) -> list[str]:
        """The first column of what ``statement`` selects, past the service."""
        if not self.url.startswith("sqlite"):
            return servers.execute(self.url, statement)
        with closing(sqlite3.connect(self.project / "ledger.db")) as connection:
            return [str(row[0]) for row in connection.execute(statement)]


@pytest.fixture
def render(
    copier: CopierFixture,
    found: Found,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Iterator[Callable[[Variant], Rendering]]:
    """Renders a variant, with a few routes more; its services end with the test.

    The database is on the test's own server, if it has one, or on the run's.
    """

    def locate(variant: Variant, exits: ExitStack) -> str:
        if variant.backend == "sqlite-memory":
            return ""
        if variant.backend == "sqlite":
            return "sqlite:///ledger.db"
        name = f"ledger_{uuid4().hex[:8]}"
        if "server" in request.fixturenames:
            own: Server = request.getfixturevalue("server")
            return own.url(name)
        if variant.backend in found.missing:
            pytest.skip(found.missing[variant.backend])
        url = make_url(found.servers[variant.backend]).set(database=name)
        shared = url.render_as_string(hide_password=False)
        exits.callback(servers.drop_databases, shared)
        return shared

    with ExitStack() as exits:

        def render(variant: Variant) -> Rendering:
            project = tmp_path / "service"
            with redirect_stderr(StringIO()):
                copier.copy(project, package_name="service", **variant.answers)
            add_app(project, variant)
            return Rendering(project, exits, locate(variant, exits))

        yield render
