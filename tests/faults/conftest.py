"""Fixtures for the fault tests: private servers, and services that use them."""

from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from support.copier_internals import CopierFixture
from support.databases import drop_databases
from support.fault_figures import Figures, figures_of
from support.fault_services import Render, Rendering, add_routes
from support.servers import (
    PostgresServer,
    Server,
    mariadb_binary,
    own_server,
    postgres_binaries,
)
from support.shared_servers import SharedServers, skip_where_missing
from support.topologies import (
    GaleraCluster,
    MariaDBPrimary,
    MariaDBReplica,
    PgBouncer,
    PostgresStandby,
    Replica,
)
from support.variants import Variant


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Record the figures that the test measures; the run prints them at its end."""
    return figures_of(request.node)


@pytest.fixture
def server(server_driver: Variant, servers: SharedServers) -> Iterator[Server]:
    """Provide a private server that the test may break, and has to start."""
    servers.require(server_driver.backend)
    own = own_server(server_driver.backend)
    yield own
    own.close()


@pytest.fixture
def pooler() -> Iterator[PgBouncer]:
    """Provide a pooler with three connections to a private server."""
    with (
        skip_where_missing(),
        PostgresServer(postgres_binaries()) as server,
        PgBouncer(server, pool_size=3) as pooler,
    ):
        yield pooler


@pytest.fixture
def standby() -> Iterator[PostgresStandby]:
    """Provide a standby of a private server."""
    with (
        skip_where_missing(),
        PostgresServer(postgres_binaries()) as primary,
        PostgresStandby(primary) as standby,
    ):
        yield standby


@pytest.fixture
def mariadb_replica() -> Iterator[MariaDBReplica]:
    """Provide a replica of a private server."""
    with (
        skip_where_missing(),
        MariaDBPrimary(mariadb_binary()) as primary,
        MariaDBReplica(primary) as replica,
    ):
        yield replica


@pytest.fixture
def replica(request: pytest.FixtureRequest) -> Replica:
    """Provide a replica for the backend of the test's variant."""
    [variant] = (
        request.getfixturevalue(name)
        for name in request.fixturenames
        if name.endswith("replica_driver")
    )
    name = "standby" if variant.backend == "postgresql" else "mariadb_replica"
    replica: Replica = request.getfixturevalue(name)
    return replica


@pytest.fixture(scope="module")
def cluster() -> Iterator[GaleraCluster]:
    """Provide a cluster; each test of the module must restore its state."""
    with skip_where_missing(), GaleraCluster() as cluster:
        yield cluster


@pytest.fixture
def render(
    copier: CopierFixture,
    servers: SharedServers,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Iterator[Render]:
    """Provide a function that renders a variant with additional routes.

    The database is on the test's private server, if it has one, or on the shared one.
    The services are stopped after the test.
    """
    with ExitStack() as exits:

        def locate(variant: Variant) -> str:
            if variant.backend == "sqlite":
                return "sqlite:///ledger.db"
            name = f"ledger_{uuid4().hex[:8]}"
            if "server" in request.fixturenames:
                own: Server = request.getfixturevalue("server")
                return own.url(name)
            url = make_url(servers.url(variant.backend)).set(database=name)
            shared = url.render_as_string(hide_password=False)
            exits.callback(drop_databases, shared)
            return shared

        def render(variant: Variant) -> Rendering:
            project = tmp_path / "service"
            with redirect_stderr(StringIO()):
                copier.copy(project, package_name="service", **variant.answers)
            add_routes(project, variant)
            return Rendering(project, exits, locate(variant))

        yield render
