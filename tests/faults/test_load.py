"""300 clients and a pool of five: all are served, no write is lost, none starves."""

import asyncio
import statistics
import time
from collections.abc import Callable

from support.clients import Clients
from support.fault_figures import Figures
from support.fault_services import Rendering
from support.variants import Variant

CLIENTS = 300
WRITES = ["/notes", "/authenticated"]
READS = ["/notes", "/notes/sessions", "/notes/all-sessions", "/notes/stream"]


def test_load_of_300_clients(
    every_driver: Variant, render: Callable[[Variant], Rendering], figures: Figures
) -> None:
    """The clients use all kinds of sessions, alone and together."""
    rendering = render(every_driver)
    rendering.create_database()
    service = rendering.service(pool_timeout=60)
    service.start()

    async def load() -> tuple[Clients, list[float], float]:
        done = asyncio.Event()
        waits: list[float] = []
        async with Clients(service.url) as clients, Clients(service.url) as others:

            async def client(number: int) -> None:
                await clients.write(WRITES[number % len(WRITES)])
                await clients.request("GET", READS[number % len(READS)])

            async def look_whether_it_lives() -> None:
                while not done.is_set():
                    begun = time.monotonic()
                    assert await others.request("GET", "/health/live") == "200"
                    waits.append(time.monotonic() - begun)
                    await asyncio.sleep(0.05)

            watcher = asyncio.create_task(look_whether_it_lives())
            begun = time.monotonic()
            await asyncio.gather(*map(client, range(CLIENTS)))
            took = time.monotonic() - begun
            done.set()
            await watcher
        return clients, waits, took

    clients, waits, took = asyncio.run(load())
    ledger = clients.ledger
    found = set(service.get("/notes").json())
    checked_out = service.get("/pools").json()
    figures(
        requests=ledger.answers.total(),
        acknowledged=len(ledger.acknowledged),
        lost=len(ledger.lost(found)),
        failed=ledger.failed(),
        connections_left=checked_out,
        longest_wait=ledger.longest,
        live_median=statistics.median(waits),
        requests_per_second=round(ledger.answers.total() / took),
    )

    assert set(ledger.answers) == {"200", "201"}
    assert not ledger.lost(found)
    assert checked_out == 0
