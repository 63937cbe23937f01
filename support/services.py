"""Runs a rendered service: uvicorn in a separate process."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self

import httpx2

from support import fork_server
from support.processes import clean_environment, free_port

START_TIMEOUT = 30.0
"""The seconds within which a starting service must answer."""
WAIT_TIMEOUT = 20.0
"""The seconds within which a service must become ready, or have its tables."""


class Service:
    """Uvicorn, which serves ``app`` in the folder of a rendered project."""

    def __init__(
        self, project: Path, environment: Mapping[str, str], app: str = "faults:app"
    ) -> None:
        self.app = app
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = project / "service.log"
        self._project = project
        self.environment = {
            **clean_environment(),
            "SSL_CERT_FILE": os.devnull,  # as in suites
            **environment,
        }
        self._process: ForkServerProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *options: str) -> None:
        """Start the service and wait until it is live.

        Raises RuntimeError, with the log, if it ends or takes too long.
        """
        self._process = fork_server.start_service(
            self._project,
            self.environment,
            self.log,
            self.app,
            f"--port={self.port}",
            "--no-access-log",
            *options,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.is_alive():
            try:
                self.get("/health/live", timeout=5)
                return
            except httpx2.TransportError:
                time.sleep(0.02)
        raise RuntimeError(f"the service does not start:\n{self.read_log()}")

    def wait_until_ready(self) -> float:
        """Wait until the service is ready; return the seconds it took."""
        return self._wait_until_ok("/health/ready")

    def wait_for_tables(self) -> None:
        """Wait until the service has created its tables."""
        self._wait_until_ok("/users")

    def _wait_until_ok(self, path: str) -> float:
        """Wait until a GET request gets a 200; return the seconds it took."""
        begun = time.monotonic()
        while self.get(path).status_code != 200:
            assert time.monotonic() - begun < WAIT_TIMEOUT, self.read_log()
            time.sleep(0.05)
        return time.monotonic() - begun

    def terminate(self) -> None:
        """Send SIGTERM to the service, as a deployment does, and return at once."""
        assert self._process
        self._process.terminate()

    def wait(self) -> int | None:
        """Wait up to 30 s for the end of the service; return its exit code, or None."""
        assert self._process
        self._process.join(30)
        return self._process.exitcode

    def kill(self) -> None:
        """Kill the service and its workers, if they still run."""
        if self._process and self._process.is_alive():
            fork_server.end_child(self._process)

    def read_log(self) -> str:
        """Return the text of the log."""
        return self.log.read_text(errors="replace")

    def get(self, path: str, **options: Any) -> httpx2.Response:
        """Send a GET request with a client of its own."""
        return self._request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx2.Response:
        """Send a POST request with a client of its own."""
        return self._request("POST", path, **options)

    def _request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        # Loading the system's certificates takes 20 ms of CPU time.
        options = {"timeout": 60, "verify": False, **options}
        return httpx2.request(method, self.url + path, **options)


def is_ready(url: str) -> bool:
    """Return whether the service at ``url`` is ready."""
    with suppress(httpx2.TransportError):
        ready = httpx2.get(f"{url}/health/ready", timeout=5, verify=False)
        return ready.status_code == 200
    return False
