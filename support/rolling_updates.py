"""A reader of a page that deploys new versions of a service while clients use it."""

import itertools
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2

from support.pages import Reader
from support.processes import free_port, kill, start, wait_for
from support.services import is_ready

CLIENTS = 2
DRAIN = 0.5
"""The seconds between the last request to an instance and its SIGTERM."""
PAUSE = 0.05
"""The seconds between the requests of a client for two users."""


class RollingReader(Reader):
    """A reader whose `uv run fastapi run` replaces the instance without downtime.

    From ``begin_load`` to ``end_load``, clients create, read and change users.
    """

    def __init__(self, reader: Reader) -> None:
        vars(self).update(vars(reader))
        self.failures: list[str] = []
        self.successes = 0
        self._url = ""
        self._instance: subprocess.Popen[bytes] | None = None
        self._clients = ThreadPoolExecutor(CLIENTS)
        self._ended = threading.Event()
        self._numbers = itertools.count()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._clients.shutdown()
        kill(self._instance)
        super().__exit__()

    def start(self, command: str) -> None:
        """Start an instance, direct the clients to it, and stop the previous one."""
        old, port = self._instance, free_port()
        url = f"http://127.0.0.1:{port}"
        in_shell = ["bash", "-c", f"exec env {command} --port {port}"]
        log = self.folder / f"instance-{port}.log"
        self._instance = start(in_shell, self.folder, self.environment, log)
        wait_for(lambda: is_ready(url))
        self._url = url
        if old:
            time.sleep(DRAIN)
            old.terminate()
            old.wait(timeout=30)

    def begin_load(self) -> None:
        """Let the clients send requests, one after the other."""
        for _ in range(CLIENTS):
            self._clients.submit(self._use_service)

    def end_load(self) -> None:
        """Wait until the clients have received their last responses."""
        self._ended.set()
        self._clients.shutdown()

    def _use_service(self) -> None:
        while not self._ended.is_set():
            with httpx2.Client(base_url=self._url, timeout=60) as client:
                while not self._ended.is_set() and str(client.base_url) == self._url:
                    self._create_and_change(client, f"{next(self._numbers)}@load.test")
                    time.sleep(PAUSE)

    def _create_and_change(self, client: httpx2.Client, email: str) -> None:
        try:
            user = client.post("/users", json={"email": email, "name": "New"})
            path = f"/users/{user.json()['id']}"
            read = client.get(path)
            changed = client.patch(path, json={"email": f"x{email}"})
            # This is an old row, which the backfill may have locked.
            old = client.patch("/users/1", json={"name": email})
        except (httpx2.HTTPError, KeyError, ValueError) as error:
            self.failures.append(repr(error))
            return
        for response, status in ((user, 201), (read, 200), (changed, 200), (old, 200)):
            if response.status_code == status:
                self.successes += 1
            else:
                self.failures.append(f"{response.status_code} {response.text}")
