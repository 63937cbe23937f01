"""Many clients at once, and a ledger of what the service told them."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
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
    history: list[tuple[float, str]] = field(default_factory=list)
    """When each answer came, by the monotonic clock, and its status."""
    stale: int = 0
    """How many reads lacked a note of the client's own that had been acknowledged."""
    without_retry_after: int = 0
    """How many answers of 503 did not say when to try again."""

    def lost(self, found: set[str]) -> set[str]:
        """What was acknowledged and is not among the rows ``found``."""
        return self.acknowledged - found

    def phantoms(self, found: set[str]) -> set[str]:
        """What was refused and is among the rows ``found`` all the same."""
        return self.refused & found

    def failed(self) -> int:
        """How many requests were answered with a 5xx, or not at all."""
        return sum(
            count for status, count in self.answers.items() if is_failure(status)
        )

    def recovered_after(self, moment: float) -> float:
        """Seconds from ``moment`` to the last failure, and the first read and write."""
        later = [(when, status) for when, status in self.history if when > moment]
        firsts = (min(w for w, s in later if s == each) for each in ("200", "201"))
        failures = [when for when, status in later if is_failure(status)]
        return max(*firsts, *failures) - moment


def is_failure(status: str) -> bool:
    """Whether the status is a 5xx, or the connection broke."""
    return status == "none" or status >= "500"


class Clients:
    """Clients of a service at ``url`` that share a ledger, and their cookies."""

    _numbers = itertools.count()

    def __init__(
        self, url: str, ledger: Ledger | None = None, *, cookies: bool = True
    ) -> None:
        self.ledger = ledger or Ledger()
        self._own: set[str] = set()
        # A jar that takes cookies from no domain.
        jar = CookieJar(None if cookies else DefaultCookiePolicy(allowed_domains=[]))
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx2.AsyncClient(
            base_url=url, timeout=120, limits=limits, cookies=jar, verify=False
        )

    async def __aenter__(self) -> "Clients":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def request(self, method: str, path: str, **options: object) -> str:
        """The status of the answer, or "none"; the ledger has it."""
        status, _ = await self._request(method, path, **options)
        return status

    async def _request(
        self, method: str, path: str, **options: object
    ) -> tuple[str, str]:
        """The status of the answer, or "none", and its body."""
        body = ""
        started = time.monotonic()
        try:
            response = await self._client.request(method, path, **options)  # type: ignore[arg-type]
            status, body = str(response.status_code), response.text
            if response.is_error:
                self.ledger.bodies.add(body)
            if status == "503" and "Retry-After" not in response.headers:
                self.ledger.without_retry_after += 1
        except httpx2.TransportError:
            status = "none"
        ledger = self.ledger
        ledger.longest = max(ledger.longest, time.monotonic() - started)
        ledger.answers[status] += 1
        ledger.history.append((time.monotonic(), status))
        return status, body

    async def write(self, path: str = "/notes", **data: object) -> str:
        """Write a note with a new title: as JSON to ``/notes``, else as a parameter."""
        title = f"note {next(self._numbers)}"
        part = "json" if path == "/notes" else "params"
        data = {"title": title, **data}
        status = await self.request("POST", path, **{part: data})
        if status == "201":
            self.ledger.acknowledged.add(title)
            self._own.add(title)
        elif status != "none":
            self.ledger.refused.add(title)
        return status

    async def read_own(self, path: str = "/notes") -> str:
        """Read all notes, and look whether those of our own are among them."""
        own = set(self._own)
        status, body = await self._request("GET", path)
        if status == "200":
            found = body.splitlines() if path.endswith("/stream") else json.loads(body)
            self.ledger.stale += not own <= set(found)
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
