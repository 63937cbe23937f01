"""300 clients and a pool of five: all are served, no write is lost, none starves."""

import asyncio
import statistics
import time

from support.clients import Clients
from support.fault_figures import Figures
from support.fault_services import Render
from support.variants import Variant

CLIENTS = 300
WRITES = ["/notes", "/authenticated"]
READS = ["/notes", "/notes/sessions", "/notes/all-sessions", "/notes/stream"]


def test_load_of_300_clients(
    every_driver: Variant, render: Render, figures: Figures
) -> None:
    """The clients use all kinds of sessions, alone and together."""
    rendering = render(every_driver)
    rendering.create_database()
    service = rendering.service(pool_timeout=60)
    service.start()

    def seconds_of_probe() -> float:
        begun = time.monotonic()
        assert service.get("/health/live").status_code == 200
        return time.monotonic() - begun

    async def load() -> tuple[Clients, list[float], float]:
        done = asyncio.Event()
        waits: list[float] = []
        async with Clients(service.url) as clients:

            async def client(number: int) -> None:
                await clients.write(WRITES[number % len(WRITES)])
                await clients.request("GET", READS[number % len(READS)])

            async def probe_liveness() -> None:
                while not done.is_set():
                    # In a thread, so that the clients' own event loop does not count.
                    waits.append(await asyncio.to_thread(seconds_of_probe))
                    await asyncio.sleep(0.05)

            watcher = asyncio.create_task(probe_liveness())
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
        requests=ledger.statuses.total(),
        acknowledged=len(ledger.acknowledged),
        lost=len(ledger.lost(found)),
        failed=ledger.failed(),
        connections_left=checked_out,
        longest_wait=ledger.longest,
        live_median=statistics.median(waits),
        requests_per_second=round(ledger.statuses.total() / took),
    )

    assert set(ledger.statuses) == {"200", "201"}
    assert not ledger.lost(found)
    assert checked_out == 0
    assert statistics.median(waits) < ledger.longest / 10
