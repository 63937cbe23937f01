"""Typical routes of users: nested transactions, WebSockets, and busy services."""

import asyncio
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from support.clients import Clients, Ledger, send_at_once
from support.fault_figures import Figures
from support.fault_services import CONNECTIONS, POOL_SIZE, Render
from support.processes import wait_for
from support.servers import Server
from support.services import Service
from support.variants import SERVER_BACKENDS, Variant

CLIENTS = 100
SOCKETS = 12


def test_transaction_in_a_request(
    pooled_driver: Variant, render: Render, figures: Figures
) -> None:
    """A hundred requests that each open a second transaction do not deadlock.

    SQLite has only one connection for writes, so it refuses each of them at once.
    """
    rendering = render(pooled_driver)
    service = rendering.serve()
    # Without a pool, each request takes two of the server's two hundred connections.
    requests = CLIENTS if pooled_driver.answers["pool"] == "queue" else 40

    async def load() -> tuple[Ledger, Ledger]:
        async with Clients(service.url) as clients, Clients(service.url) as background:
            paths = ["/audited", "/audited/retried"] * (requests // 2)
            await asyncio.gather(
                *(clients.write(path) for path in paths),
                *(
                    background.request("POST", "/later", params={"title": f"later {n}"})
                    for n in range(CLIENTS // 5)
                ),
            )
        return clients.ledger, background.ledger

    ledger, background = asyncio.run(load())
    # The background tasks run after their responses.
    wait_for(lambda: service.get("/pools").json() == 0)
    found = rendering.titles()
    figures(
        requests=ledger.statuses.total(),
        acknowledged=len(ledger.acknowledged),
        lost=len(ledger.lost(found)),
        refused=ledger.statuses["500"],
        unavailable=ledger.statuses["503"],
        longest_wait=ledger.longest,
        connections_left=0,
    )

    assert ledger.statuses == (
        {"201": requests}
        if pooled_driver.backend in SERVER_BACKENDS
        else {"500": requests}
    )
    assert not ledger.lost(found) | ledger.phantoms(found)
    assert background.statuses == {"202": CLIENTS // 5}
    if pooled_driver.backend not in SERVER_BACKENDS:
        assert "use the open session, or end it first" in service.read_log()


def test_one_transaction_too_many(
    sampled_pooled_driver: Variant, render: Render, figures: Figures
) -> None:
    """A third transaction is refused at once, with the remedy."""
    rendering = render(sampled_pooled_driver)
    service = rendering.serve()

    ledger = send_at_once(
        service.url, lambda clients: (clients.write("/nested") for _ in range(CLIENTS))
    )
    figures(refused=ledger.statuses["500"], longest_wait=ledger.longest)

    assert ledger.statuses == {"500": CLIENTS}
    assert not rendering.titles()
    assert "use the open session, or end it first" in service.read_log()
    assert service.get("/pools").json() == 0


def test_websockets(
    sampled_pooled_driver: Variant, render: Render, figures: Figures
) -> None:
    """A WebSocket cannot have a session, and holds no connection between messages."""
    rendering = render(sampled_pooled_driver)
    service = rendering.serve(pool_timeout=1)
    address = service.url.replace("http", "ws", 1)

    async def hold_sessions() -> int:
        refused = 0
        for _ in range(SOCKETS):
            with pytest.raises(InvalidStatus):
                await connect(f"{address}/socket/session")
            refused += 1
        return refused

    async def exchange() -> list[int]:
        sockets = [await connect(f"{address}/socket") for _ in range(SOCKETS)]
        for number, socket in enumerate(sockets):
            await socket.send(f"message {number}")
        assert [await socket.recv() for socket in sockets] == [
            f"message {number}" for number in range(SOCKETS)
        ]
        statuses = await asyncio.to_thread(look_around, service)
        for socket in sockets:
            await socket.close()
        return statuses

    refused = asyncio.run(hold_sessions())
    assert look_around(service) == [200, 200, 0]
    assert asyncio.run(exchange()) == [200, 200, 0]
    figures(refused=refused, messages_kept=len(rendering.titles()))

    assert len(rendering.titles()) == SOCKETS
    assert "open a transaction() for each message" in service.read_log()


def look_around(service: Service) -> list[int]:
    """Return the status of a read and of readiness, and the connections in use."""
    paths = ["/notes", "/health/ready"]
    statuses = [service.get(path).status_code for path in paths]
    return [*statuses, service.get("/pools").json()]


def test_clients_that_disconnect_in_the_queue(
    queue_driver: Variant, render: Render, figures: Figures
) -> None:
    """Of 300 requests whose clients disconnect, only those that have begun run."""
    rendering = render(queue_driver)
    service = rendering.serve(pool_timeout=30)

    idle = {"params": {"seconds": 1}, "timeout": 2}
    begun = time.monotonic()
    send_at_once(
        service.url,
        lambda hurried: (hurried.request("POST", "/idle", **idle) for _ in range(300)),
    )
    seconds = int(time.monotonic() - begun)  # Two, or more on a busy machine.
    ledger = send_at_once(
        service.url,
        lambda clients: (clients.request("GET", "/notes") for _ in range(CLIENTS)),
    )
    served = service.get("/finished").json()
    figures(
        disconnected=300,
        served=served,
        requests_after_them=ledger.statuses.total(),
        longest_wait=ledger.longest,
    )

    assert ledger.statuses == {"200": CLIENTS}
    # Those that began before the last client disconnected.
    assert served <= (seconds + 1) * POOL_SIZE
    # The requests that had begun run to their end.
    wait_for(lambda: service.get("/pools").json() == 0)


def test_ready_while_busy(
    queue_driver: Variant, render: Render, figures: Figures
) -> None:
    """A service that rejects requests is ready, and probes share a connection."""
    rendering = render(queue_driver)
    # SQLite has one connection for writes, so one request blocks all others.
    holders = 1 if queue_driver.backend == "sqlite" else POOL_SIZE
    service = rendering.serve(pool_size=holders, pool_timeout=0.3)
    connections = CONNECTIONS[queue_driver.backend]

    async def load() -> tuple[Ledger, int]:
        async with Clients(service.url) as busy, Clients(service.url) as probes:
            idle = {"params": {"seconds": 2}}
            held = [
                asyncio.create_task(busy.request("POST", "/idle", **idle))
                for _ in range(holders)
            ]
            await asyncio.sleep(0.5)
            assert await busy.request("GET", "/notes") == "503"
            await asyncio.gather(
                *(probes.request("GET", "/health/ready") for _ in range(200))
            )
            [opened] = await asyncio.to_thread(rendering.rows, connections)
            await asyncio.gather(*held)
        return probes.ledger, int(opened)

    ledger, opened = asyncio.run(load())
    figures(probes=200, ready=ledger.statuses["200"], connections=opened)

    assert ledger.statuses == {"200": 200}
    assert opened <= POOL_SIZE + 3  # with those of create_tables and titles()


def test_not_ready_while_the_database_hangs(
    server_driver: Variant, server: Server, render: Render, figures: Figures
) -> None:
    """Probes get a 503 in time, even on a connection that is already open."""
    rendering = render(server_driver)
    server.start()
    service = rendering.serve(connect_timeout=2)
    assert service.get("/health/ready").status_code == 200
    server.freeze()
    begun = time.monotonic()
    status = service.get("/health/ready").status_code
    seconds = time.monotonic() - begun
    server.thaw()
    figures(status=status, after=seconds, recovered_after=service.wait_until_ready())

    assert status == 503
    assert seconds < 10
