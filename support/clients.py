"""Many clients at once, and a ledger of what the service told them."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2


@dataclass
class Ledger:
    """What was asked for, and what was answered."""

    acknowledged: set[str] = field(default_factory=set)
    """Titles of the notes that were answered 201."""
    refused: set[str] = field(default_factory=set)
    """Titles of the notes that were answered with an error."""
    answers: Counter[str] = field(default_factory=Counter)
    """How many answers of each status, "none" for a connection that broke."""
    longest: float = 0.0
    """Seconds that the slowest answer took."""
    bodies: set[str] = field(default_factory=set)
    """The bodies of all errors."""

    def lost(self, found: set[str]) -> set[str]:
        """What was acknowledged and is not among the rows ``found``."""
        return self.acknowledged - found

    def phantoms(self, found: set[str]) -> set[str]:
        """What was refused and is among the rows ``found`` all the same."""
        return self.refused & found

    def failed(self) -> int:
        """How many requests were answered with a 5xx, or not at all."""
        return sum(
            count
            for status, count in self.answers.items()
            if status == "none" or status >= "500"
        )


class Clients:
    """Clients of a service at ``url`` that share a ledger."""

    def __init__(self, url: str) -> None:
        self.ledger = Ledger()
        self._titles = (f"note {number}" for number in itertools.count())
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx2.AsyncClient(
            base_url=url, timeout=120, limits=limits, verify=False
        )

    async def __aenter__(self) -> "Clients":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def request(self, method: str, path: str, **options: object) -> str:
        """The status of the answer, or "none"; the ledger has it."""
        started = time.monotonic()
        try:
            response = await self._client.request(method, path, **options)  # type: ignore[arg-type]
            status = str(response.status_code)
            if response.is_error:
                self.ledger.bodies.add(response.text)
        except httpx2.TransportError:
            status = "none"
        ledger = self.ledger
        ledger.longest = max(ledger.longest, time.monotonic() - started)
        ledger.answers[status] += 1
        return status

    async def write(self, path: str = "/notes", **data: object) -> str:
        """Write a note with a new title: as JSON to ``/notes``, else as a parameter."""
        title = next(self._titles)
        part = "json" if path == "/notes" else "params"
        data = {"title": title, **data}
        status = await self.request("POST", path, **{part: data})
        if status == "201":
            self.ledger.acknowledged.add(title)
        elif status != "none":
            self.ledger.refused.add(title)
        return status


async def repeat_until(
    done: asyncio.Event, work: Callable[[], Awaitable[object]], clients: int
) -> None:
    """Have ``clients`` do ``work`` again and again, until ``done``."""

    async def client() -> None:
        while not done.is_set():
            await work()

    await asyncio.gather(*(client() for _ in range(clients)))


def secrets_in(text: str, *secrets: str) -> list[str]:
    """Those of ``secrets`` that occur in ``text``."""
    return [secret for secret in secrets if secret in text]


def read_log(path: Path) -> str:
    """What a service logged."""
    return path.read_text(errors="replace")
