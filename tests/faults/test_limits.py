"""Each timeout ends a wait with a 503 or a 504, and is logged."""

import asyncio
import time
from threading import Thread

from support.clients import Clients
from support.fault_figures import Figures
from support.fault_services import Render
from support.processes import wait_for
from support.servers import Server
from support.variants import Variant


def test_load_beyond_capacity_is_shed(
    mode_driver: Variant, render: Render, figures: Figures
) -> None:
    """Requests that queue for too long get a 503; other routes respond as before."""
    rendering = render(mode_driver)
    # SQLite has one connection for writes, so one request blocks all others.
    holders = 1 if mode_driver.backend == "sqlite" else 2
    service = rendering.serve(pool_size=holders, pool_timeout=0.5)

    async def overload() -> tuple[Clients, list[float]]:
        async with Clients(service.url) as clients, Clients(service.url) as others:
            held = [
                asyncio.create_task(
                    others.request("POST", "/idle", params={"seconds": 2})
                )
                for _ in range(holders)
            ]
            await asyncio.sleep(0.3)
            refused = asyncio.gather(
                *(clients.request("GET", "/notes") for _ in range(50))
            )
            waits = []
            for _ in range(10):
                begun = time.monotonic()
                assert await others.request("GET", "/health/live") == "200"
                waits.append(time.monotonic() - begun)
            await refused
            assert {await each for each in held} == {"200"}
        return clients, waits

    clients, waits = asyncio.run(overload())
    ledger = clients.ledger
    figures(
        requests=ledger.statuses.total(),
        shed=ledger.statuses["503"],
        longest_wait=ledger.longest,
        live_longest=max(waits),
    )

    assert ledger.statuses == {"503": 50}
    assert "503 for GET /notes" in service.read_log()
    assert service.get("/notes").status_code == 200


def test_connection_to_a_server_that_hangs(
    server_driver: Variant, server: Server, render: Render, figures: Figures
) -> None:
    """A connection attempt is given up after ``DATABASE_CONNECT_TIMEOUT``."""
    rendering = render(server_driver)
    server.start()
    rendering.create_database()
    service = rendering.service(connect_timeout=2, statement_timeout=2)
    server.freeze()
    service.start()
    begun = time.monotonic()
    response = service.get("/health/ready")
    seconds = time.monotonic() - begun
    server.thaw()
    figures(status=response.status_code, after=seconds)

    assert response.status_code == 503
    assert seconds < 10
    service.wait_for_tables()


def test_lock_that_is_not_granted(
    server_driver: Variant, render: Render, figures: Figures
) -> None:
    """A statement waits for a lock for at most ``DATABASE_LOCK_TIMEOUT`` seconds."""
    rendering = render(server_driver)
    service = rendering.serve(lock_timeout=1)
    note = service.post("/notes", json={"title": "wanted"}).json()
    holder = Thread(
        target=service.post, args=(f"/hold/{note}",), kwargs={"params": {"seconds": 3}}
    )
    holder.start()
    wait_for(lambda: service.get("/pools").json() == 1)
    time.sleep(0.3)  # from its connection to its lock
    begun = time.monotonic()
    response = service.post(f"/star/{note}")
    seconds = time.monotonic() - begun
    lock_is_held = holder.is_alive()
    holder.join()
    figures(status=response.status_code, after=seconds)

    assert response.status_code == 503
    assert lock_is_held
    assert f"503 for POST /star/{note}" in service.read_log()
    assert service.post(f"/star/{note}").status_code == 200


def test_transaction_that_sits_idle(
    server_driver: Variant, render: Render, figures: Figures
) -> None:
    """The database ends the transaction after ``DATABASE_IDLE_TRANSACTION_TIMEOUT``."""
    rendering = render(server_driver)
    service = rendering.serve(idle_transaction_timeout=1)
    response = service.post("/idle", params={"seconds": 2.5})
    figures(status=response.status_code)

    assert response.status_code in {503, 504}
    assert f"{response.status_code} for POST /idle" in service.read_log()
    assert service.post("/idle", params={"seconds": 0}).status_code == 200
    assert service.get("/pools").json() == 0
