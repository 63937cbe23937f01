"""A rendered service in a process of its own: uvicorn, started and stopped at will."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx2

from support.processes import clean_environment, free_port, kill, start

START_TIMEOUT = 30.0
"""Seconds until a service that starts has to answer."""


def uvicorn(
    project: Path, environment: Mapping[str, str], log: Path, *options: str
) -> subprocess.Popen[bytes]:
    """Start uvicorn in ``project``, as the leader of its process group."""
    command = [sys.executable, "-m", "uvicorn", "--no-access-log", *options]
    return start(command, project, environment, log)


class Service:
    """Uvicorn in the folder of a rendered project, which serves ``app``."""

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
            "PYTHONPATH": "src",
            "SSL_CERT_FILE": os.devnull,  # as in suites
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *options: str) -> None:
        """Start the service and wait until it lives.

        RuntimeError, with what it logged, where it ends or takes too long.
        """
        self._process = uvicorn(
            self._project,
            self.environment,
            self.log,
            self.app,
            f"--port={self.port}",
            *options,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.get("/health/live", timeout=5)
                return
            except httpx2.TransportError:
                time.sleep(0.02)
        raise RuntimeError(f"the service does not start:\n{self.log.read_text()}")

    def wait_until_ready(self, timeout: float = 20) -> float:
        """Wait until the service answers that it is ready; the seconds it took."""
        begun = time.monotonic()
        while self.get("/health/ready").status_code != 200:
            assert time.monotonic() - begun < timeout, self.log.read_text()
            time.sleep(0.05)
        return time.monotonic() - begun

    def wait_for_tables(self) -> None:
        """Wait until the service, which creates them, answers for its tables."""
        deadline = time.monotonic() + 20
        while self.get("/users").status_code != 200:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def terminate(self) -> None:
        """Ask the service to end (SIGTERM), as a deployment does; returns at once."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 30) -> int:
        """Wait until the service has ended; its exit code."""
        assert self._process
        return self._process.wait(timeout)

    def kill(self) -> None:
        """End the service and its workers, if they still run."""
        kill(self._process)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        """One request with a client of its own."""
        return self._request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx2.Response:
        """One request with a client of its own."""
        return self._request("POST", path, **options)

    def _request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        # To load the machine's certificates takes 20 ms of CPU.
        options = {"timeout": 60, "verify": False, **options}
        return httpx2.request(method, self.url + path, **options)
