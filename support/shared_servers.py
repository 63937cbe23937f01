"""The database servers of a test run, which all of its processes share."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Self

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from support.databases import execute
from support.servers import ServerError, ServerMissingError, own_server
from support.variants import SERVER_BACKENDS

VARIABLES = {"postgresql": "TEST_POSTGRES_URL", "mysql": "TEST_MARIADB_URL"}
"""Variables whose URL is used instead of a private server."""


@dataclass(frozen=True)
class SharedServers:
    """The address of the server of each backend, or the reason why there is none."""

    urls: dict[str, str] = field(default_factory=dict)
    sockets: dict[str, str] = field(default_factory=dict)
    """The Unix sockets of private servers."""
    missing: dict[str, str] = field(default_factory=dict)
    """The reason why this machine has no server; its tests are skipped."""
    broken: dict[str, str] = field(default_factory=dict)
    """The reason why a required server is not available; its tests fail."""

    @classmethod
    def start(cls, exits: ExitStack) -> Self:
        """Start the servers; ``exits`` stops them."""
        servers = cls()
        with ThreadPoolExecutor() as threads:
            results = {
                backend: threads.submit(start_server, backend, exits)
                for backend in SERVER_BACKENDS
            }
        for backend, result in results.items():
            servers.add(backend, result.result)
        return servers

    def add(self, backend: str, start: Callable[[], tuple[str, str]]) -> None:
        """Add the URL and the socket from ``start``, or the reason why it fails."""
        try:
            self.urls[backend], self.sockets[backend] = start()
        except ServerMissingError as error:
            reasons = self.broken if "CI" in os.environ else self.missing
            reasons[backend] = str(error)
        except ServerError as error:
            self.broken[backend] = str(error)

    def require(self, backend: str) -> None:
        """Skip or fail the test if the backend has no server."""
        if backend in self.broken:
            pytest.fail(f"{backend}: {self.broken[backend]}", pytrace=False)
        if backend in self.missing:
            pytest.skip(self.missing[backend])

    def url(self, backend: str) -> str:
        """Return the URL of the backend's server; see ``require``."""
        self.require(backend)
        return self.urls[backend]


@contextmanager
def skip_where_missing() -> Iterator[None]:
    """Skip the test, or fail it in CI, if the program of a server is missing."""
    try:
        yield
    except ServerMissingError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))


SERVERS = pytest.StashKey[SharedServers]()
EXITS = pytest.StashKey[ExitStack]()


def servers_of(config: pytest.Config) -> SharedServers:
    """Return the servers, which are started once per run and stopped at its end."""
    if SERVERS not in config.stash:
        exits = config.stash.setdefault(EXITS, ExitStack())
        config.stash[SERVERS] = SharedServers.start(exits)
    return config.stash[SERVERS]


def start_server(backend: str, exits: ExitStack) -> tuple[str, str]:
    """Return the URL and the socket of a running server for "postgresql" or "mysql".

    It is the server that the environment names, whose socket is unknown, or a private
    one, which ``exits`` stops. Raises ServerError if it does not answer, and
    ServerMissingError if the machine has none.
    """
    if value := os.environ.get(VARIABLES[backend]):
        named = make_url(value).set(drivername=backend)
        url = named.render_as_string(hide_password=False)
        try:
            execute(url, "SELECT 1")
        except OperationalError as error:
            raise ServerError(f"{VARIABLES[backend]}: {error}") from error
        return url, ""
    server = own_server(backend)
    exits.callback(server.close)
    server.keep_fresh_data()
    server.start()
    return server.url(), str(server.socket)
