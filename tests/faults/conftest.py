"""What the fault tests share: a server to break, and services that use it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
from pytest_copier.plugin import CopierFixture

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
        "sampled_driver": ("postgresql", "mysql", "sqlite", "sqlite-memory"),
        "lasting_driver": ("postgresql", "mysql", "sqlite"),
        "server_driver": ("postgresql", "mysql"),
        "file_driver": ("sqlite",),
    }.items():
        if argument in metafunc.fixturenames:
            variants = [
                variant
                for variant in find(metafunc.config).variants["variant"]
                if variant.backend in backends and is_usual(variant)
            ]
            if argument == "sampled_driver":
                variants = variants[:: len(variants) // 4]
            ids = [name(variant) for variant in variants]
            metafunc.parametrize(argument, variants, ids=ids)


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
def server(request: pytest.FixtureRequest, found: Found) -> Iterator[Server | None]:
    """A server of the test's own, which does not run yet; none for SQLite."""
    variant = next(
        request.getfixturevalue(argument)
        for argument in request.fixturenames
        if argument.endswith("driver")
        if argument in request.fixturenames
    )
    if variant.backend not in servers.BACKENDS:
        yield None
        return
    if variant.backend in found.missing:
        pytest.skip(found.missing[variant.backend])
    own = (
        PostgresServer(servers.postgres_binaries())
        if variant.backend == "postgresql"
        else MariaDBServer(servers.mariadb_binary())
    )
    yield own
    own.close()


@dataclass
class Rendering:
    """A variant's project, and the services that run it."""

    variant: Variant
    project: Path
    server: Server | None
    exits: ExitStack

    def service(self, app: str = "faults:app", **settings: object) -> Service:
        """A service with these settings, which does not run yet.

        ``pool_size=2`` is the environment's ``DATABASE_POOL_SIZE=2``.
        """
        settings = {"pool_size": POOL_SIZE} | settings
        environment = {f"DATABASE_{k.upper()}": str(v) for k, v in settings.items()}
        url = self.url()
        if url:
            environment |= {"DATABASE_URL": url, "TEST_DATABASE_URL": url}
        service = Service(self.project, environment, app)
        self.exits.callback(service.kill)
        return service

    def url(self) -> str:
        """Where the database is: on the server, in the project, or nowhere."""
        if self.server:
            return self.server.url("ledger")
        return "" if self.variant.backend == "sqlite-memory" else "sqlite:///ledger.db"

    def start_server(self) -> None:
        """Start the server, if there is one, with the database."""
        if self.server:
            self.server.start()
            servers.create_database(self.server.url(), "ledger")

    def titles(self) -> set[str]:
        """The titles of the notes that are in the database now."""
        return set(self.rows("SELECT title FROM notes"))

    def rows(self, statement: str) -> list[str]:
        """The first column of what ``statement`` selects, past the service."""
        if self.server:
            return servers.execute(self.url(), statement)
        with closing(sqlite3.connect(self.project / "ledger.db")) as connection:
            return [str(row[0]) for row in connection.execute(statement)]


@pytest.fixture
def render(
    copier: CopierFixture, server: Server | None, tmp_path: Path
) -> Iterator[Callable[[Variant], Rendering]]:
    """Renders a variant, with a few routes more; its services end with the test."""
    with ExitStack() as exits:

        def render(variant: Variant) -> Rendering:
            project = tmp_path / "service"
            with redirect_stderr(StringIO()):
                copier.copy(project, package_name="service", **variant.answers)
            add_app(project, variant)
            return Rendering(variant, project, server, exits)

        yield render
