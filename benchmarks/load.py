"""Cheap clients of a service: HTTP/1.1 with keep-alive on bare sockets."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, cast

CONTENT_LENGTH = b"content-length: "
ANSWER_TIMEOUT = 5.0
"""The seconds to wait for the last responses after a window."""


class Reading(NamedTuple):
    """Resources used so far; the difference of two readings is the cost of a window."""

    cpu: float
    """Seconds of CPU time, user and system, of the service."""
    trips: int = 0
    """Round trips to the database."""
    connections: int = 0
    """Connections opened to the database."""

    def since(self, before: "Reading") -> "Reading":
        return Reading(
            self.cpu - before.cpu,
            self.trips - before.trips,
            self.connections - before.connections,
        )


@dataclass
class Sample:
    """The results of a window of time."""

    seconds: float = 0.0
    answers: int = 0
    """The number of requests that succeeded."""
    errors: Counter[str] = field(default_factory=Counter)
    """The number of other requests by status; "none" stands for no response."""
    latencies: list[float] = field(default_factory=list)
    """The latencies in seconds of requests that were answered in or after the window.

    For a request without a response, it is the time until the client gave up.
    """
    used: Reading = field(default_factory=lambda: Reading(0.0))

    def latency(self, share: float) -> float:
        """Return the seconds within which ``share`` of the requests were answered."""
        ordered = sorted(self.latencies)
        return ordered[int(share * (len(ordered) - 1))] if ordered else 0.0


class Client(asyncio.Protocol):
    """A client that sends its next request when the previous one is answered."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer = b""
        self._missing = 0
        self.sent = 0.0
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.send()

    def send(self) -> None:
        self.waiting = True
        self.sent = time.perf_counter()
        self._transport.write(next(self._load.requests))

    def data_received(self, data: bytes) -> None:
        if self._missing:  # the rest of a body
            self._missing -= len(data)
        else:
            self._buffer += data
            head_end = self._buffer.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = self._buffer[:head_end]
            self._status = head[9:12]
            start = head.lower().find(CONTENT_LENGTH) + len(CONTENT_LENGTH)
            length = int(head[start:].split(b"\r\n", 1)[0])
            self._missing = length - (len(self._buffer) - head_end - 4)
        if self._missing <= 0:
            self._buffer = b""
            self._missing = 0
            self.waiting = False
            self._load.answered(self, self._status.decode())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self.waiting:
            self.waiting = False
            self._load.answered(self, "none")

    def close(self) -> None:
        self.waiting = False
        self._transport.close()


class Load:
    """Clients that send ``requests``, with measurements during a window."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.requests = requests
        self.sample = Sample()
        self._clients: list[Client] = []
        self._begin = self._end = float("inf")
        self._drained = asyncio.Event()

    def answered(self, client: Client, status: str) -> None:
        now = time.perf_counter()
        if now >= self._begin:
            self.sample.latencies.append(now - client.sent)
        if self._begin <= now < self._end or not status.startswith("2"):
            self._count(status)
        if now < self._end and status != "none":
            client.send()
        elif not any(client.waiting for client in self._clients):
            self._drained.set()

    def _count(self, status: str) -> None:
        if status.startswith("2"):
            self.sample.answers += 1
        else:
            self.sample.errors[status] += 1

    async def run(
        self,
        port: int,
        clients: int,
        *,
        warm_up: float,
        seconds: float,
        read: Callable[[], Reading],
    ) -> Sample:
        """Load the service at ``port`` for ``warm_up`` and then ``seconds``."""
        loop = asyncio.get_running_loop()
        for _ in range(clients):
            _, client = await loop.create_connection(
                lambda: Client(self), "127.0.0.1", port
            )
            self._clients.append(client)
        await asyncio.sleep(warm_up)
        before = read()
        self._begin = time.perf_counter()
        await asyncio.sleep(seconds)
        self._end = time.perf_counter()
        after = read()
        self.sample.seconds = self._end - self._begin
        self.sample.used = after.since(before)
        if any(client.waiting for client in self._clients):
            # A service that has not answered at all gets only one second.
            timeout = ANSWER_TIMEOUT if self.sample.answers else 1
            try:
                async with asyncio.timeout(timeout):
                    await self._drained.wait()
            except TimeoutError:
                self._give_up()
        for client in self._clients:
            client.close()
        return self.sample

    def _give_up(self) -> None:
        now = time.perf_counter()
        for client in self._clients:
            if client.waiting:
                self.sample.errors["none"] += 1
                self.sample.latencies.append(now - client.sent)


USERS = 1000
POSTS = 2000
"""The number of rows to read, with ids from 1."""

_numbers = itertools.count(time.time_ns() // 1_000_000_000 * 1_000_000)


ROUTES = ("read", "write", "page", "auth")


def requests(route: str, prefix: str = "/bench") -> Iterator[bytes]:
    """Yield requests to one of ``ROUTES``, below ``prefix``, endlessly."""
    for number in itertools.count():
        user = number * 7 % USERS + 1
        post = number * 7 % (POSTS - 20) + 1
        match route:
            case "read":
                yield get(f"{prefix}/users/{user}")
            case "write":
                yield add_user(f"{prefix}/users")
            case "page":
                yield get(f"{prefix}/posts?after={post}")
            case "auth" if number % 5 == 0:
                yield add_user(f"{prefix}/auth/users", f"X-User: {user}\r\n")
            case "auth":
                yield get(f"{prefix}/auth/posts/{post}", f"X-User: {user}\r\n")
            case _:
                raise ValueError(route)


def get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode()


def add_user(path: str, headers: str = "") -> bytes:
    body = json.dumps({"email": f"{next(_numbers)}@example.com", "name": "Someone"})
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\n{headers}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()
