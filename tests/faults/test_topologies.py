"""Tests of the topologies that test_scale_out.py uses."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pymysql
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from support.databases import create_database, execute
from support.processes import wait_for
from support.proxy import running_proxy
from support.servers import PASSWORD, USER, Server
from support.topologies import (
    GaleraCluster,
    GaleraNode,
    PgBouncer,
    PostgresStandby,
    Replica,
)


def create_table(server: Server) -> None:
    url = create_database(server.url(), "app")
    execute(url, "CREATE TABLE notes (id INTEGER PRIMARY KEY, stars INTEGER)")


def insert(server: Server, note: int) -> None:
    execute(server.url("app"), f"INSERT INTO notes VALUES ({note}, 0)")


def notes(server: Server) -> list[str]:
    return execute(server.url("app"), "SELECT id FROM notes ORDER BY id")


def test_pooler_shares_its_connections_by_transaction(pooler: PgBouncer) -> None:
    """Forty concurrent clients share three connections."""
    clients = [connect_to(pooler) for _ in range(40)]

    def transact(client: psycopg.Connection) -> set[int]:
        """Return the ids of the server's processes that executed a transaction."""
        query = "SELECT pg_backend_pid() FROM pg_sleep(0.01)"
        with client, client.transaction():
            return {client.execute(query).fetchone()[0] for _ in range(3)}  # type: ignore[index]

    with ThreadPoolExecutor(40) as threads:
        served_by = list(threads.map(transact, clients))
    assert {len(pids) for pids in served_by} == {1}
    assert len(set.union(*served_by)) == 3

    pooler.kill()
    with pytest.raises(OperationalError):
        execute(pooler.url(), "SELECT 42")
    pooler.start()
    assert execute(pooler.url(), "SELECT 42") == ["42"]


def connect_to(server: Server) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=server.port,
        user=USER,
        password=PASSWORD,
        dbname="postgres",
    )


@pytest.mark.parametrize("kind", ["standby", "mariadb_replica"])
def test_replica_is_paused_and_catches_up(
    kind: str, request: pytest.FixtureRequest
) -> None:
    replica: Replica = request.getfixturevalue(kind)
    create_table(replica.primary)
    insert(replica.primary, 1)
    replica.wait_until_replayed()
    replica.pause_replay()
    insert(replica.primary, 2)
    assert notes(replica) == ["1"]
    replica.resume_replay()
    replica.wait_until_replayed()
    assert notes(replica) == ["1", "2"]
    replica.kill()
    insert(replica.primary, 3)
    replica.start()
    replica.wait_until_replayed()
    assert notes(replica) == ["1", "2", "3"]


def test_promotion_of_a_synchronous_standby(standby: PostgresStandby) -> None:
    """The standby has all writes that the primary acknowledged before it was killed."""
    standby.primary.make_synchronous()
    create_table(standby.primary)
    for note in range(100):
        insert(standby.primary, note)
    standby.primary.kill()
    with pytest.raises(DBAPIError, match="read-only"):
        insert(standby, 100)
    standby.promote()
    insert(standby, 100)
    assert len(notes(standby)) == 101


def test_primary_and_standby_change_places(standby: PostgresStandby) -> None:
    former = standby.primary
    create_table(former)
    insert(former, 1)
    former.stop()
    standby.promote()
    former.follow(standby)
    former.start()
    insert(standby, 2)
    wait_for(lambda: notes(former) == ["1", "2"])
    with pytest.raises(DBAPIError, match="read-only"):
        insert(former, 3)


def test_nodes_of_a_cluster_refuse_conflicting_writes(cluster: GaleraCluster) -> None:
    """Two nodes update a row; the second commit fails with a deadlock (1213)."""
    first, second, _ = cluster.nodes
    create_table(first)
    tables = "SELECT table_name FROM information_schema.tables"
    wait_for(lambda: "notes" in execute(second.url(), tables))
    insert(first, 1)
    wait_for(lambda: notes(second) == ["1"])
    with connect(first) as one, connect(second) as other:
        for connection in (one, other):
            connection.cursor().execute("UPDATE notes SET stars = stars + 1")
        one.commit()
        with pytest.raises(pymysql.OperationalError) as refused:
            other.commit()
    assert refused.value.args[0] == 1213
    assert execute(second.url("app"), "SELECT stars FROM notes") == ["1"]


def test_node_of_a_cluster_is_killed_and_comes_back(cluster: GaleraCluster) -> None:
    first, second, _ = cluster.nodes
    second.kill()
    create_database(first.url(), "while_it_is_down")
    second.start()
    assert "while_it_is_down" in execute(second.url(), "SHOW DATABASES")


def connect(node: GaleraNode) -> pymysql.Connection:
    return pymysql.connect(
        host="127.0.0.1", port=node.port, user=USER, password=PASSWORD, database="app"
    )


def test_proxy_connects_to_the_first_server_that_runs(standby: PostgresStandby) -> None:
    servers = [standby.primary, standby]
    with running_proxy([server.port for server in servers]) as proxy:
        behind = make_url(standby.url()).set(port=proxy.port)
        url = behind.render_as_string(hide_password=False)
        ports = "SELECT current_setting('port')"
        assert execute(url, ports) == [str(standby.primary.port)]
        standby.primary.kill()
        assert execute(url, ports) == [str(standby.port)]
        proxy.targets = [standby.primary.port]
        with pytest.raises(OperationalError):
            execute(url, ports)
