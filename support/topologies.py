"""Private topologies of several servers: a pooler, a replica, and a cluster of three.

They start in seconds, and tests can break them.
"""

import os
import re
import signal
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import pymysql
from sqlalchemy.exc import OperationalError

from support.databases import execute
from support.processes import wait_for
from support.servers import (
    PASSWORD,
    USER,
    MariaDBServer,
    PostgresServer,
    Server,
    ServerMissingError,
    Startable,
    find_program,
    mariadb_binary,
)

GALERA_LIBRARY = Path("/usr/lib/galera/libgalera_smm.so")

# A script for state transfer, by which Galera sends a node the transactions that it has
# missed (IST). MariaDB's own scripts are in a package that starts a server.
TRANSFER = """\
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
    --role) role=$2 ;;
    --address) address=$2 ;;
    --datadir) data=${2%/} ;;
    --gtid) position=$2 ;;
    --bypass) transactions_only=1 ;;
    esac
    shift
done
if [ "$role" = joiner ]; then
    rm -f "$data/position"
    mkfifo "$data/position"
    echo "ready 127.0.0.1:1/$data/position"
    cat "$data/position"
else
    [ "$transactions_only" ] || exit 1
    echo "$position" >"/${address#*/}"
    echo "done $position"
fi
"""


class PgBouncer(Server):
    """PgBouncer in transaction mode, in front of all databases of ``server``.

    It opens up to ``pool_size`` connections to each database.
    """

    stop_signal = signal.SIGTERM
    drivername = "postgresql"

    def __init__(self, server: PostgresServer, pool_size: int = 5) -> None:
        program = find_program("pgbouncer")
        if program is None:
            raise ServerMissingError("no PgBouncer here; apt-get install pgbouncer")
        super().__init__()
        self._program = program
        self.server = server
        self.configuration = (
            "[databases]\n"
            f"* = host=127.0.0.1 port={self.server.port}\n"
            "[pgbouncer]\n"
            "listen_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\n"
            f"unix_socket_dir = {self.directory}\n"
            "auth_type = scram-sha-256\n"
            "auth_file = users.txt\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {pool_size}\n"
            "max_client_conn = 500\n"
            "server_login_retry = 1\n"  # Seconds; 15 by default.
        )

    @property
    def socket(self) -> Path:
        return self.directory

    def _install(self) -> None:
        users = self.directory / "users.txt"
        users.write_text(f'"{USER}" "{PASSWORD}"\n')
        users.chmod(0o644)
        configuration = self.directory / "pgbouncer.ini"
        configuration.write_text(self.configuration)
        configuration.chmod(0o644)

    def _command(self) -> Sequence[str | Path]:
        return [self._program, "pgbouncer.ini"]


class Replica(Server):
    """A server that replays the commits of another one."""

    primary: Server

    @abstractmethod
    def pause_replay(self) -> None:
        """Stop the replay; the replica continues to receive changes."""

    @abstractmethod
    def resume_replay(self) -> None:
        """Resume the replay, beginning with the received changes."""

    @abstractmethod
    def wait_until_replayed(self) -> None:
        """Wait until the replica has replayed all commits of the primary so far."""


class PostgresStandby(PostgresServer, Replica):
    """A streaming standby of ``primary``, which must run at its first start."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__(primary.binaries)
        self.primary: PostgresServer = primary

    def _install(self) -> None:
        self._make_binaries_readable()
        self._run(
            *(self.binaries / "pg_basebackup", "--pgdata=data", "--no-sync"),
            *("--checkpoint=fast", f"--dbname={self.primary.connection_string}"),
        )
        self.follow(self.primary)

    def pause_replay(self) -> None:
        execute(self.url(), "SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state()"
        wait_for(lambda: execute(self.url(), state) == ["paused"])

    def resume_replay(self) -> None:
        execute(self.url(), "SELECT pg_wal_replay_resume()")

    def wait_until_replayed(self) -> None:
        [position] = execute(self.primary.url(), "SELECT pg_current_wal_lsn()")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        wait_for(lambda: execute(self.url(), replayed) == ["True"])


class MariaDBPrimary(MariaDBServer):
    """MariaDB with a binary log, for replicas."""

    def _replication(self) -> list[str]:
        return [
            *(f"--server-id={self.port}", "--log-bin=binlog", "--log-slave-updates"),
            *("--binlog-format=ROW", "--gtid-strict-mode=ON"),
        ]


class MariaDBReplica(MariaDBPrimary, Replica):
    """A replica of ``primary`` with GTIDs; the primary must run at its first start."""

    def __init__(self, primary: MariaDBPrimary) -> None:
        super().__init__(primary.mariadbd)
        self.primary: MariaDBPrimary = primary
        self._follows = False

    def start(self) -> None:
        super().start()  # After its first start, it resumes the replication by itself.
        if not self._follows:
            execute(
                self.url(),
                "CHANGE MASTER TO master_host = '127.0.0.1', "
                f"master_port = {self.primary.port}, master_user = '{USER}', "
                f"master_password = '{PASSWORD}', master_connect_retry = 1, "
                "master_use_gtid = slave_pos",
            )
            execute(self.url(), "START SLAVE")
            self._follows = True

    def pause_replay(self) -> None:
        execute(self.url(), "STOP SLAVE SQL_THREAD")

    def resume_replay(self) -> None:
        execute(self.url(), "START SLAVE SQL_THREAD")

    def wait_until_replayed(self) -> None:
        [position] = execute(self.primary.url(), "SELECT @@gtid_binlog_pos")
        waited = execute(self.url(), f"SELECT master_gtid_wait('{position}', 9)")
        assert waited == ["0"], "the replica does not catch up"


class GaleraNode(MariaDBServer):
    """A node of a cluster with the nodes ``members``."""

    def __init__(self, mariadbd: Path) -> None:
        super().__init__(mariadbd)
        self.members = [self]
        self.creates_cluster = False
        self._group_port = self._reserve_port()
        self._transfer_port = self._reserve_port()

    def _install(self) -> None:
        super()._install()
        self._install_transfer()

    def begin_with(self, node: "GaleraNode") -> None:
        """Copy the data of ``node``, which must be stopped, instead of installing."""
        (self.directory / "users.sql").touch()
        self._run("cp", "-r", node.directory / "data", "data")
        self._install_transfer()
        self._installed = True

    def _install_transfer(self) -> None:
        transfer = self.directory / "wsrep_sst_test"
        transfer.write_text(TRANSFER)
        transfer.chmod(0o755)

    def start(self) -> None:
        super().start()
        wait_for(self.is_ready)
        # The cluster has its users now.
        (self.directory / "users.sql").write_text("")

    def is_ready(self) -> bool:
        """Return whether the node is a synchronised member of the cluster."""
        try:
            return self.status("wsrep_ready") == "ON"
        except OperationalError:
            return False

    def status(self, variable: str) -> str:
        """Return the value of a status variable; the node must be ready."""
        return execute(
            self.url(),
            "SELECT variable_value FROM information_schema.global_status "
            f"WHERE variable_name = '{variable}'",
        )[0]

    def isolate(self) -> None:
        """Isolate the node from the others; it is then not ready (error 1047)."""
        self._set_isolation("1")
        wait_for(lambda: not self.is_ready())

    def rejoin(self) -> None:
        """Reconnect an isolated node to the others."""
        self._set_isolation("0")
        wait_for(self.is_ready)

    def _set_isolation(self, value: str) -> None:
        # SQLAlchemy begins with a ROLLBACK, which a node refuses when it is not ready.
        with pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD
        ) as connection:
            option = f"gmcast.isolate={value}"
            statement = f"SET GLOBAL wsrep_provider_options = '{option}'"
            connection.cursor().execute(statement)

    def _command(self) -> Sequence[str | Path]:
        path = f"PATH={self.directory}:{os.environ['PATH']}"
        command = ["env", path, *super()._command()]
        state = self.directory / "data/grastate.dat"
        if self.creates_cluster:
            command.append("--wsrep-new-cluster")
        elif "seqno:   -1" in state.read_text():  # after a kill
            log = self._run(*command, "--wsrep-recover")
            [position] = re.findall("Recovered position: (.*)", log)
            command.append(f"--wsrep-start-position={position}")
        return command

    def _replication(self) -> list[str]:
        options = {
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self._group_port}",
            "ist.recv_addr": f"127.0.0.1:{self._transfer_port}",
            "gcache.size": "16M",
            # The time until a dead node is expelled; 5 seconds by default.
            "evs.suspect_timeout": "PT2S",
            "evs.keepalive_period": "PT0.5S",
        }
        members = [f"127.0.0.1:{node._group_port}" for node in self.members]
        return [
            *("--wsrep-on=ON", f"--wsrep-provider={GALERA_LIBRARY}"),
            f"--wsrep-cluster-address=gcomm://{','.join(members)}",
            f"--wsrep-provider-options={';'.join(map('='.join, options.items()))}",
            *("--wsrep-node-address=127.0.0.1", "--wsrep-sst-method=test"),
            *("--binlog-format=ROW", "--innodb-autoinc-lock-mode=2"),
        ]


class GaleraCluster(Startable):
    """Three nodes of MariaDB, which all accept writes."""

    def __init__(self) -> None:
        mariadbd = mariadb_binary()
        if not GALERA_LIBRARY.exists():
            raise ServerMissingError("no Galera here; apt-get install galera-4")
        self.nodes = [GaleraNode(mariadbd) for _ in range(3)]
        for node in self.nodes:
            node.members = self.nodes

    def start(self) -> None:
        """Start the cluster; all nodes begin with the same data."""
        first, *others = self.nodes
        first.creates_cluster = True
        first.start()
        first.stop()
        for other in others:
            other.begin_with(first)
        first.start()
        first.creates_cluster = False
        for other in others:
            other.start()

    def close(self) -> None:
        """End all nodes and remove their directories."""
        for node in self.nodes:
            node.close()
