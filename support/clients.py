"""Concurrent clients, and a ledger of their requests and responses."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2


@dataclass
class Ledger:
    """A record of requests and of the service's responses to them."""

    acknowledged: set[str] = field(default_factory=set)
    """The titles of the notes whose requests got a 201."""
    refused: set[str] = field(default_factory=set)
    """The titles of the notes whose requests got an error."""
    statuses: Counter[str] = field(default_factory=Counter)
    """The number of responses by status; "none" stands for a lost connection."""
    longest: float = 0.0
    """The seconds that the slowest response took."""
    bodies: set[str] = field(default_factory=set)
    """The bodies of all error responses."""
    history: list[tuple[float, str]] = field(default_factory=list)
    """The time of each response, by the monotonic clock, and its status."""
    stale: int = 0
    """The number of reads that lacked an acknowledged note of the same client."""
    without_retry_after: int = 0
    """The number of responses with a 503 but without ``Retry-After``."""

    def lost(self, found: set[str]) -> set[str]:
        """Return the acknowledged writes that are missing from the rows ``found``."""
        return self.acknowledged - found

    def phantoms(self, found: set[str]) -> set[str]:
        """Return the refused writes that are among the rows ``found`` nevertheless."""
        return self.refused & found

    def failed(self) -> int:
        """Return the number of requests that got a 5xx or no response."""
        return sum(
            count for status, count in self.statuses.items() if is_failure(status)
        )

    def recovered_after(self, moment: float) -> float:
        """Return the seconds from ``moment`` until requests succeed and none fails."""
        later = [(when, status) for when, status in self.history if when > moment]
        firsts = {status: when for when, status in reversed(later)}
        assert {"200", "201"} <= firsts.keys(), "no read or no write succeeds any more"
        failures = [when for when, status in later if is_failure(status)]
        return max(firsts["200"], firsts["201"], *failures) - moment


def is_failure(status: str) -> bool:
    """Return whether the status is a 5xx, or the connection was lost."""
    return status == "none" or status >= "500"


class Clients:
    """Clients of the service at ``url``, which share a ledger and a cookie jar."""

    _numbers = itertools.count()

    def __init__(
        self, url: str, ledger: Ledger | None = None, *, cookies: bool = True
    ) -> None:
        self.ledger = ledger or Ledger()
        self._own: set[str] = set()
        # Without cookies, the jar accepts them from no domain.
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
        """Send a request; return its status, or "none", and record it in the ledger."""
        status, _ = await self._request(method, path, **options)
        return status

    async def _request(
        self, method: str, path: str, **options: object
    ) -> tuple[str, str]:
        """Send a request; return its status, or "none", and its body."""
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
        ledger.statuses[status] += 1
        ledger.history.append((time.monotonic(), status))
        return status, body

    async def write(self, path: str = "/notes", **data: object) -> str:
        """Write a note with a new title: to ``/notes`` as JSON, else as a parameter."""
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
        """Read all notes, and record whether those of this client are among them."""
        own = set(self._own)
        status, body = await self._request("GET", path)
        if status == "200":
            found = body.splitlines() if path.endswith("/stream") else json.loads(body)
            self.ledger.stale += not own <= set(found)
        return status


def send_at_once(
    url: str, requests: Callable[[Clients], Iterable[Awaitable[object]]]
) -> Ledger:
    """Send all ``requests`` to the service at the same time; return their ledger."""

    async def send() -> Ledger:
        async with Clients(url) as clients:
            await asyncio.gather(*requests(clients))
        return clients.ledger

    return asyncio.run(send())


async def repeat_until(
    done: asyncio.Event, work: Callable[[], Awaitable[object]], clients: int
) -> None:
    """Have concurrent ``clients`` repeat ``work``, with pauses, until ``done``."""

    async def client() -> None:
        while not done.is_set():
            await work()
            await asyncio.sleep(0.05)  # Leave time for the tests beside this one.

    await asyncio.gather(*(client() for _ in range(clients)))
