"""A pooler, a replica, a failover pair and a cluster, which fail under load.

Whatever fails, no acknowledged write is lost, and the service responds with 503 until
the servers are back.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import make_url

from support.clients import Clients, Ledger, repeat_until, send_at_once
from support.databases import execute
from support.fault_figures import Figures, add_scale_out_row
from support.fault_services import Render, Rendering
from support.processes import wait_for
from support.proxy import running_proxy
from support.servers import Server
from support.services import Service
from support.topologies import GaleraCluster, PgBouncer, PostgresStandby, Replica
from support.variants import Variant

CLIENTS = 16


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Record the figures that the test measures; the run prints them at its end."""
    return partial(add_scale_out_row, request.node)


def use_during(
    service: Service, fault: Callable[[], float], paths: Sequence[str], reads_own: bool
) -> tuple[Ledger, float]:
    """Write and read before, during and after a fault; return the seconds to recover.

    They count from the moment that ``fault`` returns. With ``reads_own``, each client
    checks that it reads its own writes.
    """

    async def use() -> tuple[Ledger, float]:
        done = asyncio.Event()
        ledger = Ledger()

        async def write_and_read(clients: Clients) -> None:
            await clients.write(next(next_path))
            if reads_own:
                await clients.read_own()
            else:
                await clients.request("GET", "/stars")

        async with AsyncExitStack() as browsers:
            each_with_cookies = [
                await browsers.enter_async_context(Clients(service.url, ledger))
                for _ in range(CLIENTS)
            ]
            users = [
                asyncio.create_task(
                    repeat_until(done, partial(write_and_read, clients), 2)
                )
                for clients in each_with_cookies
            ]
            await asyncio.sleep(0.7)
            moment = await asyncio.to_thread(fault)
            await asyncio.sleep(1.5)
            done.set()
            await asyncio.gather(*users)
        return ledger, ledger.recovered_after(moment)

    next_path = itertools.cycle(paths)
    return asyncio.run(use())


def check(rendering: Rendering, service: Service, ledger: Ledger) -> int:
    """Assert that the service has recovered; return the number of lost writes."""
    lost = ledger.lost(rendering.titles())
    after = [service.post("/notes", json={"title": uuid4().hex[:20]}) for _ in range(9)]

    assert not lost
    assert not ledger.stale
    assert not ledger.without_retry_after
    assert set(ledger.statuses) <= {"200", "201", "503", "504"}
    assert {response.status_code for response in after} == {201}
    assert service.get("/pools").json() == 0
    return len(lost)


def check_during(
    rendering: Rendering,
    service: Service,
    name: str,
    fault: Callable[[], float],
    record: Callable[..., None],
    *,
    paths: Sequence[str] = ("/notes", "/authenticated"),
    reads_own: bool = True,
) -> None:
    """Use the service during a fault, check that it recovers, and record the figures.

    ``name`` is the fault's name in the figures. For the other parameters, see
    ``use_during``.
    """
    ledger, seconds = use_during(service, fault, paths, reads_own)
    lost = check(rendering, service, ledger)
    record(name, ledger, lost=lost, recovered_after=seconds)


def kill_and_start(server: Server) -> float:
    """Kill the server and start it again; return the moment when it runs."""
    server.kill()
    time.sleep(0.3)
    server.start()
    return time.monotonic()


def test_pooler(
    pooler_driver: Variant, pooler: PgBouncer, render: Render, figures: Figures
) -> None:
    """Many clients share three connections; timeouts and read-only sessions work.

    Then the pooler is killed, and then the server.
    """
    rendering = render(pooler_driver)
    rendering.url = pooler.url("app")
    service = rendering.serve(
        pool_size=20, pool_timeout=30, statement_timeout=2, connect_timeout=2
    )
    # Without a pool, each request opens a connection, which takes longer.
    rounds = 40 if pooler_driver.answers["pool"] == "queue" else 10

    async def load() -> Ledger:
        async with Clients(service.url) as clients, Clients(service.url) as others:

            async def client(number: int) -> None:
                for _ in range(rounds):
                    await clients.write()
                    await clients.request("GET", "/stars")
                guarded = await others.request(
                    *("POST", "/notes/read-only"),
                    json={"title": f"guarded {number}"},
                    headers={"Connection": "close"},  # A 500 ends the connection.
                )
                assert guarded == "500"

            await asyncio.gather(*map(client, range(CLIENTS)))
        return clients.ledger

    ledger = asyncio.run(load())
    slow = service.get("/notes/sql", params={"statement": "SELECT pg_sleep(5)"})
    lost = check(rendering, service, ledger)
    record = partial(figures, "pooler", pooler_driver.id)
    record("none", ledger, lost=lost)

    assert set(ledger.statuses) == {"200", "201"}
    assert not [title for title in rendering.titles() if title.startswith("guarded")]
    assert slow.status_code == 504
    # The settings of a transaction do not remain on the connection.
    assert execute(pooler.url("app"), "SHOW statement_timeout") == ["0"]
    for name, server in (("pooler", pooler), ("server", pooler.server)):
        # Requests with two sessions would deadlock: the pooler has too few connections.
        fault = partial(kill_and_start, server)
        name = f"{name} killed"
        check_during(rendering, service, name, fault, record, paths=["/notes"])


def test_two_transactions_in_requests_behind_a_pooler(
    pooler_queue_driver: Variant, pooler: PgBouncer, render: Render
) -> None:
    """No request deadlocks if the pooler has more connections than the service."""
    rendering = render(pooler_queue_driver)
    rendering.url = pooler.url("app")
    service = rendering.serve(pool_size=2, pool_timeout=30)

    paths = ["/authenticated", "/audited", "/audited/retried"] * 20
    ledger = send_at_once(service.url, lambda clients: map(clients.write, paths))

    assert ledger.statuses == {"201": 60}
    check(rendering, service, ledger)


def serve_with_replica(
    rendering: Rendering, replica: Replica, **settings: Any
) -> Service:
    """Start a service that reads from the replica."""
    rendering.url = replica.primary.url("app")
    service = rendering.serve(read_url=replica.url("app"), **settings)
    wait_for(lambda: servers(service)["replica"] == "ok")
    return service


def servers(service: Service) -> dict[str, str]:
    """Return the state of the servers according to ``/health/ready``."""
    response = service.get("/health/ready")
    return response.json() if response.is_success else {}


def test_clients_read_their_own_writes(
    replica_driver: Variant, replica: Replica, render: Render, figures: Figures
) -> None:
    """While the replay is paused, clients with cookies read their own writes."""
    rendering = render(replica_driver)
    service = serve_with_replica(rendering, replica, read_max_lag=60)
    assert service.get("/port").json() == replica.port
    replica.pause_replay()

    async def use(ledger: Ledger, *, cookies: bool) -> None:
        async def client() -> None:
            async with Clients(service.url, ledger, cookies=cookies) as own:
                for write in ("/notes", "/authenticated", "/notes"):
                    await own.write(write)
                    await own.read_own()
                    await own.read_own("/notes/stream")

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def read_while_the_primary_is_down() -> set[str]:
        async with Clients(service.url) as writer:
            await writer.write()
            await asyncio.to_thread(replica.wait_until_replayed)
            await asyncio.to_thread(replica.primary.stop)
            return {await writer.read_own(), await writer.read_own("/notes/stream")}

    with_cookies, without = Ledger(), Ledger()
    asyncio.run(use(with_cookies, cookies=True))
    asyncio.run(use(without, cookies=False))
    lost = check(rendering, service, with_cookies)
    replica.resume_replay()
    row = ("replica", replica_driver.id, "replay paused")
    figures(*row, with_cookies, lost=lost)
    figures(*row[:2], "replay paused, clients without cookies", without, lost=lost)

    assert set(with_cookies.statuses) == set(without.statuses) == {"200", "201"}
    assert without.stale == 6 * CLIENTS
    # Once it has replayed the writes, the replica serves clients with cookies, too.
    assert asyncio.run(read_while_the_primary_is_down()) == {"200"}
    assert servers(service) == {
        "status": "degraded",
        "primary": "unavailable",
        "replica": "ok",
    }


def test_replica_is_killed(
    replica_driver: Variant, replica: Replica, render: Render, figures: Figures
) -> None:
    """Reads use the primary, and return to the replica when it is back."""
    rendering = render(replica_driver)
    service = serve_with_replica(
        rendering, replica, pool_timeout=5, connect_timeout=2, statement_timeout=5
    )

    def kill() -> float:
        replica.kill()
        return time.monotonic()

    record = partial(figures, "replica", replica_driver.id)
    check_during(rendering, service, "replica killed", kill, record)

    assert service.get("/port").json() == replica.primary.port
    assert servers(service) == {
        "status": "degraded",
        "primary": "ok",
        "replica": "unavailable",
    }
    replica.start()
    wait_for(lambda: service.get("/port").json() == replica.port)
    assert servers(service)["status"] == "ok"


def test_replica_lags_without_a_fallback(
    sampled_replica_driver: Variant, replica: Replica, render: Render
) -> None:
    """Reads get a 503 while the replica is down or too far behind."""
    rendering = render(sampled_replica_driver)
    service = serve_with_replica(
        rendering, replica, read_fallback=False, read_max_lag=2, connect_timeout=2
    )

    def statuses() -> set[int]:
        """Return the statuses of a read and a stream; none if the stream breaks off."""
        with suppress(httpx2.RemoteProtocolError):
            return {
                service.get(path).status_code for path in ("/notes", "/notes/stream")
            }
        return set()

    assert statuses() == {200}
    replica.pause_replay()
    service.post("/notes", json={"title": "new"})
    wait_for(lambda: statuses() == {503})
    assert service.get("/notes").headers["Retry-After"]
    assert service.post("/notes", json={"title": "newer"}).status_code == 201
    replica.resume_replay()
    wait_for(lambda: statuses() == {200})
    replica.kill()
    wait_for(lambda: statuses() == {503})
    assert service.post("/notes", json={"title": "newest"}).status_code == 201


def test_read_that_replay_cancels(
    postgresql_replica_driver: Variant, standby: PostgresStandby, render: Render
) -> None:
    """A query that delays a standby's replay is cancelled (40001), which is a 503."""
    rendering = render(postgresql_replica_driver)
    service = serve_with_replica(rendering, standby)
    standby.configure(max_standby_streaming_delay="0")
    statement = {"statement": "SELECT count(*), pg_sleep(20) FROM notes"}
    service.post("/notes", json={"title": "read for long"})
    standby.wait_until_replayed()
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(service.get, "/notes/sql", params=statement)
        running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%'"
        wait_for(lambda: len(execute(standby.url("app"), running)) > 1)
        execute(rendering.url, "ALTER TABLE notes ADD COLUMN extra INTEGER")
        response = reading.result()

    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert "conflict with recovery" in service.read_log()
    assert service.get("/port").json() == standby.port


def url_of_pair(standby: PostgresStandby) -> str:
    """Return a URL with both hosts, by which drivers find the primary."""
    hosts = [f"127.0.0.1:{server.port}" for server in (standby.primary, standby)]
    url = make_url(standby.url("app"))._replace(host=None, port=None)
    url = url.update_query_dict({"host": hosts, "target_session_attrs": "primary"})
    return url.render_as_string(hide_password=False)


def test_switchover_and_failover(
    postgresql_driver: Variant,
    standby: PostgresStandby,
    render: Render,
    figures: Figures,
) -> None:
    """Primary and standby swap roles; then the new primary is killed.

    The other server, by then a synchronous standby, is promoted.
    """
    rendering = render(postgresql_driver)
    rendering.url = url_of_pair(standby)
    service = rendering.serve(pool_timeout=5, connect_timeout=2)
    former = standby.primary

    def switch_over() -> float:
        former.stop()
        standby.promote()
        moment = time.monotonic()
        former.follow(standby)
        former.start()
        return moment

    def fail_over() -> float:
        standby.kill()
        time.sleep(0.3)
        former.promote()
        return time.monotonic()

    record = partial(figures, "failover", postgresql_driver.id)
    check_during(rendering, service, "planned switch-over", switch_over, record)
    standby.make_synchronous()
    check_during(rendering, service, "primary killed", fail_over, record)


def test_connections_to_a_standby_are_replaced(
    postgresql_driver: Variant,
    standby: PostgresStandby,
    render: Render,
    figures: Figures,
) -> None:
    """A proxy, which is the host of the URL, leads to a standby for a while."""
    with running_proxy([standby.primary.port]) as proxy:
        rendering = render(postgresql_driver)
        url = make_url(standby.url("app")).set(port=proxy.port)
        rendering.url = url.render_as_string(hide_password=False)
        service = rendering.serve()
        standby.wait_until_replayed()

        def lead_to_standby() -> float:
            proxy.targets = [standby.port]
            standby.primary.restart()  # This closes the connections.
            time.sleep(0.5)
            proxy.targets = [standby.primary.port]
            return time.monotonic()

        # A read connection that is opened in the meantime stays with the standby.
        name = "proxy leads to a standby"
        record = partial(figures, "failover", postgresql_driver.id)
        check_during(rendering, service, name, lead_to_standby, record, reads_own=False)
    assert "the server accepts no writes" in service.read_log()


def test_node_of_a_cluster_is_killed_or_cut_off(
    mysql_driver: Variant,
    cluster: GaleraCluster,
    render: Render,
    figures: Figures,
) -> None:
    """A proxy such as HAProxy connects to another node."""
    first, second, third = cluster.nodes
    with running_proxy([node.port for node in cluster.nodes]) as proxy:
        rendering = render(mysql_driver)
        url = make_url(first.url(f"app_{uuid4().hex[:8]}")).set(port=proxy.port)
        rendering.url = url.render_as_string(hide_password=False)
        service = rendering.serve(pool_timeout=5, statement_timeout=5)

        def kill() -> float:
            first.kill()
            return time.monotonic()

        def cut_off() -> float:
            second.isolate()
            proxy.targets = [third.port]
            return time.monotonic()

        record = partial(figures, "Galera", mysql_driver.id)
        check_during(rendering, service, "node killed", kill, record)
        first.start()
        proxy.targets = [second.port]
        # New connections lead to the node that will be isolated.
        service.kill()
        service.start()
        check_during(rendering, service, "node not ready (1047)", cut_off, record)
        second.rejoin()
    assert "the server accepts no writes" in service.read_log()


def test_conflicting_writes_in_a_cluster(
    mysql_driver: Variant,
    cluster: GaleraCluster,
    render: Render,
    figures: Figures,
) -> None:
    """Two services write the same row through two nodes.

    ``run_in_transaction`` retries until it succeeds; other requests get a 503.
    """
    rendering = render(mysql_driver)
    name = f"app_{uuid4().hex[:8]}"
    rendering.url = cluster.nodes[0].url(name)
    services = [rendering.serve(pool_timeout=60)]
    rendering.url = cluster.nodes[1].url(name)
    services.append(rendering.service(pool_timeout=60))
    services[1].start()
    services[1].wait_for_tables()
    note = services[0].post("/notes", json={"title": "wanted"}).json()

    async def post(path: str, times: int) -> Ledger:
        ledger = Ledger()
        async with (
            Clients(services[0].url, ledger) as one,
            Clients(services[1].url, ledger) as other,
        ):
            for _ in range(times):
                await asyncio.gather(
                    *(each.request("POST", path) for each in [one, other] * 2)
                )
        return ledger

    def stars() -> int:
        # This node first applies what the other one has committed.
        wait = "SET STATEMENT wsrep_sync_wait = 1 FOR"
        return int(rendering.rows(f"{wait} SELECT sum(stars) FROM notes")[0])

    retried = asyncio.run(post(f"/count/{note}?isolation=SERIALIZABLE", 20))
    counted = stars()
    refused = asyncio.run(post(f"/star/{note}", 50))
    given = stars() - counted
    for ledger, fault, found in (
        (retried, "conflicts, run_in_transaction", counted),
        (refused, "conflicts, SessionDep", given),
    ):
        row = ("Galera", mysql_driver.id, fault, ledger)
        succeeded = ledger.statuses["200"]
        figures(*row, acknowledged=succeeded, lost=succeeded - found)

    assert retried.statuses == {"200": 80}
    assert counted == 80
    assert set(refused.statuses) == {"200", "503"}
    assert given == refused.statuses["200"]
    assert not refused.without_retry_after
