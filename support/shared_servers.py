"""The database servers of a run: started once, and shared by all its processes."""

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
"""Each names a server to use in place of one of our own."""


@dataclass(frozen=True)
class SharedServers:
    """Where the server of each backend is, or why there is none."""

    urls: dict[str, str] = field(default_factory=dict)
    sockets: dict[str, str] = field(default_factory=dict)
    """Its Unix socket, if it is a server of our own."""
    missing: dict[str, str] = field(default_factory=dict)
    """Why this machine has none, which is all right."""
    broken: dict[str, str] = field(default_factory=dict)
    """Why there is none, where it has to be there."""

    @classmethod
    def start(cls, exits: ExitStack) -> Self:
        """Start the servers, which end with ``exits``."""
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
        """Add the URL and the socket that ``start`` returns, or why it does not."""
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
        """The URL of the backend's server; see ``require``."""
        self.require(backend)
        return self.urls[backend]


@contextmanager
def skip_where_missing() -> Iterator[None]:
    """Skip the test if the machine lacks the program of a server; in CI, fail."""
    try:
        yield
    except ServerMissingError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))


SERVERS = pytest.StashKey[SharedServers]()
EXITS = pytest.StashKey[ExitStack]()


def servers_of(config: pytest.Config) -> SharedServers:
    """The servers, started once in a run; they end with it."""
    if SERVERS not in config.stash:
        exits = config.stash.setdefault(EXITS, ExitStack())
        config.stash[SERVERS] = SharedServers.start(exits)
    return config.stash[SERVERS]


def start_server(backend: str, exits: ExitStack) -> tuple[str, str]:
    """A running server for ``backend``, "postgresql" or "mysql": its URL, its socket.

    That is the one the environment names, whose socket is unknown, or one of our own,
    which ends with ``exits``. ServerError where it does not answer, ServerMissingError
    where the machine has none.
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
    server.start()
    return server.url(), str(server.socket)
