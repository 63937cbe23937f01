"""Conflicting transactions, and concurrent writers of a SQLite file."""

import asyncio
import time

import pytest

from support.clients import Clients, Ledger, send_at_once
from support.fault_figures import Figures
from support.fault_services import Render, Rendering
from support.processes import wait_for
from support.services import Service
from support.variants import SERVER_BACKENDS, Variant

RUNS = 40


def stars(service: Service, rendering: Rendering) -> int:
    """Return the sum of the stars of all notes."""
    if not rendering.url:
        return int(service.get("/stars").json())
    return int(rendering.rows("SELECT sum(stars) FROM notes")[0])


def post_all(service: Service, paths: list[str]) -> Ledger:
    """Post to all paths at the same time."""
    return send_at_once(
        service.url,
        lambda clients: (clients.request("POST", path) for path in paths),
    )


def test_deadlocks_end_in_success(
    mode_driver: Variant, render: Render, figures: Figures
) -> None:
    """Two rows are updated concurrently in both orders, and all requests succeed."""
    rendering = render(mode_driver)
    service = rendering.serve(pool_size=10, pool_timeout=60, lock_timeout=20)
    one, two = (
        service.post("/notes", json={"title": title}).json() for title in ("one", "two")
    )
    orders = [f"/exchange/{one}/{two}", f"/exchange/{two}/{one}"] * 10
    ledger = post_all(service, orders)
    counted = stars(service, rendering)
    figures(
        requests=len(orders),
        succeeded=ledger.statuses["200"],
        lost=2 * len(orders) - counted,
        longest_wait=ledger.longest,
        connections_left=service.get("/pools").json(),
    )

    assert ledger.statuses == {"200": len(orders)}
    assert counted == 2 * len(orders)


def test_read_modify_write(
    mode_driver: Variant, render: Render, figures: Figures
) -> None:
    """No update is lost if all requests read a number and write the next one."""
    rendering = render(mode_driver)
    service = rendering.serve(pool_size=10, pool_timeout=60)
    note = service.post("/notes", json={"title": "counter"}).json()
    path = f"/count/{note}"
    if mode_driver.backend in SERVER_BACKENDS:
        path += "?isolation=SERIALIZABLE"
    ledger = post_all(service, [path] * RUNS)
    counted = stars(service, rendering)
    figures(
        requests=RUNS,
        succeeded=ledger.statuses["200"],
        lost=RUNS - counted,
        longest_wait=ledger.longest,
        connections_left=service.get("/pools").json(),
    )

    assert ledger.statuses == {"200": RUNS}
    assert counted == RUNS


def test_fifty_writers_of_a_file(
    file_driver: Variant, render: Render, figures: Figures
) -> None:
    """No writer gets "database is locked", and readers do not wait for writers."""
    rendering = render(file_driver)
    service = rendering.serve(pool_size=60)

    async def load() -> tuple[Clients, list[float]]:
        async with Clients(service.url) as clients, Clients(service.url) as readers:
            holder = asyncio.create_task(clients.write("/slow", seconds=1.5))
            await asyncio.sleep(0.3)
            writers = [asyncio.create_task(clients.write()) for _ in range(50)]
            waits = []
            for _ in range(10):
                begun = time.monotonic()
                assert await readers.request("GET", "/notes") == "200"
                waits.append(time.monotonic() - begun)
            assert not holder.done()
            await asyncio.gather(holder, *writers)
        return clients, waits

    clients, waits = asyncio.run(load())
    ledger = clients.ledger
    found = rendering.titles()
    figures(
        requests=ledger.statuses.total(),
        acknowledged=len(ledger.acknowledged),
        lost=len(ledger.lost(found)),
        longest_wait=ledger.longest,
        longest_read=max(waits),
    )

    assert ledger.statuses == {"201": 51}
    assert found == ledger.acknowledged


def test_work_in_the_background_sees_what_was_committed(
    mode_driver: Variant, render: Render
) -> None:
    """A background task opens its own transaction after that of the request."""
    rendering = render(mode_driver)
    service = rendering.serve()

    assert service.post("/later", params={"title": "later"}).status_code == 202
    wait_for(lambda: stars(service, rendering) == 7)
    assert service.get("/pools").json() == 0


@pytest.mark.parametrize(
    ("setting", "value"),
    [("url", "nope://u:s3cret@host/x"), ("echo", "s3cret")],
)
def test_wrong_setting_stops_the_service_with_a_line(
    sampled_driver: Variant, render: Render, setting: str, value: str
) -> None:
    """The line names the variable, but does not contain its value."""
    service = render(sampled_driver).service()
    service.environment[f"DATABASE_{setting.upper()}"] = value
    with pytest.raises(RuntimeError) as stopped:
        service.start()
    last = str(stopped.value).strip().splitlines()[-1]

    assert last.startswith(f"DATABASE_{setting.upper()}: ")
    assert "s3cret" not in str(stopped.value)
