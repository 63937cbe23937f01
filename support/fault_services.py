"""Rendered services with additional routes for faults, and their databases."""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import jinja2
from sqlalchemy import make_url

from support.databases import create_database, execute, maintenance_database
from support.services import Service
from support.variants import Variant

ROUTES = Path(__file__).with_name("fault_routes.py.jinja")
POOL_SIZE = 5
"""The size of the pool; it is small, so that the load reaches its limit."""

CONNECTIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT count(*) FROM information_schema.processlist "
    "WHERE db = database() AND id <> connection_id()",
    "sqlite": "SELECT 1",
}
"""The query for the number of a service's connections, for each backend."""

PORTS = {
    "postgresql": "SELECT inet_server_port()",
    "mysql": "SELECT @@port",
    "sqlite": "SELECT 0",
}
"""The query for the port of the server that a session uses."""


def add_routes(project: Path, variant: Variant) -> None:
    """Render the additional routes as the module ``faults`` of a variant's project."""
    is_async = variant.answers["mode"] == "async"
    source = jinja2.Template(ROUTES.read_text(), trim_blocks=True).render(
        async_="async " if is_async else "",
        await_="await " if is_async else "",
        save="commit" if variant.answers["transaction"] == "explicit" else "flush",
        port=PORTS[variant.backend],
    )
    (project / "faults.py").write_text(source)


@dataclass
class Rendering:
    """The rendered project of a variant, its running services, and their database."""

    project: Path
    exits: ExitStack
    url: str
    """The URL of the database, which ``create_database`` creates."""

    def service(self, app: str = "faults:app", **settings: object) -> Service:
        """Return a service with these settings, without starting it.

        ``pool_size=2`` stands for ``DATABASE_POOL_SIZE=2`` in its environment.
        """
        settings = {"pool_size": POOL_SIZE} | settings
        environment = {f"DATABASE_{k.upper()}": str(v) for k, v in settings.items()}
        if self.url:
            environment |= {"DATABASE_URL": self.url, "TEST_DATABASE_URL": self.url}
        service = Service(self.project, environment, app)
        self.exits.callback(service.kill)
        return service

    def serve(self, app: str = "faults:app", **settings: object) -> Service:
        """Create the database, start a service, and wait for its tables."""
        self.create_database()
        service = self.service(app, **settings)
        service.start()
        service.wait_for_tables()
        return service

    def create_database(self) -> None:
        """Create the database, unless it is a file."""
        url = make_url(self.url or "sqlite://")
        if url.get_backend_name() != "sqlite":
            outside = url.set(database=maintenance_database(url.drivername))
            server = outside.render_as_string(hide_password=False)
            create_database(server, str(url.database))

    def titles(self) -> set[str]:
        """Return the titles of the notes in the database."""
        return set(self.rows("SELECT title FROM notes"))

    def rows(self, statement: str) -> list[str]:
        """Execute ``statement`` directly; return the first column of its result."""
        if not self.url.startswith("sqlite"):
            return execute(self.url, statement)
        with closing(sqlite3.connect(self.project / "ledger.db")) as connection:
            return [str(row[0]) for row in connection.execute(statement)]


Render = Callable[[Variant], Rendering]
"""Renders a variant with the additional routes; see the fixture ``render``."""
