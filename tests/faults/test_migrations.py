"""Migrations that run concurrently, that a lock blocks, and that fail halfway."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from support import fork_server
from support.databases import DRIVERS
from support.fault_services import Render, Rendering
from support.processes import SCRIPTS, clean_environment, kill, start, wait_for
from support.variants import BACKENDS, Variant

ANSWERS = {
    "postgresql": {"mode": "async", "driver": "asyncpg"},
    "mysql": {"mode": "sync"},
    "sqlite": {"mode": "async"},
}
"""The answers per backend; async and sync differ in only one function of `env.py`."""

MIGRATION = '''
"""A migration of this test."""

import time
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    {}


def downgrade() -> None:
    pass
'''
PAUSE = """op.create_table("twice", sa.Column("id", sa.Integer, primary_key=True))
    Path("running").touch()
    while not Path("go_on").exists():
        time.sleep(0.02)
"""
VIEW = """

class Name(Base):
    __table__ = Table("names", MetaData(), Column("name", String, primary_key=True))
"""
CONCURRENT_INDEX = """
    with op.get_context().autocommit_block():
        op.create_index("ix_name", "users", ["name"], postgresql_concurrently=True)
"""


class MigratedService:
    """A service with Alembic, whose commands run in separate processes."""

    def __init__(self, rendering: Rendering, backend: str) -> None:
        self.backend = backend
        self.folder = rendering.project
        self.rows = rendering.rows
        self.url = rendering.url
        self.environment = clean_environment() | {
            "PYTHONPATH": "src",
            "DATABASE_URL": rendering.url,
        }
        rendering.create_database()

    def write_migration(self, upgrade: str) -> None:
        """Write the migration 0002 with ``upgrade`` as its code."""
        path = self.folder / "migrations/versions/0002_test.py"
        path.write_text(MIGRATION.format(upgrade).lstrip())

    def upgrade(self, **settings: object) -> fork_server.Result:
        """Run `alembic upgrade head`; ``lock_timeout`` is MIGRATION_LOCK_TIMEOUT."""
        environment = {f"MIGRATION_{k.upper()}": str(v) for k, v in settings.items()}
        return fork_server.run_program(
            ["alembic", "upgrade", "head"], self.folder, self.environment | environment
        )

    def start_upgrade(self, log: Path) -> subprocess.Popen[bytes]:
        """Start `alembic upgrade head`, which logs to ``log``."""
        command = [str(SCRIPTS / "alembic"), "upgrade", "head"]
        return start(command, self.folder, self.environment, log)

    def version(self) -> list[str]:
        """Return the current version of the database."""
        return self.rows("SELECT version_num FROM alembic_version")


@pytest.fixture
def service(request: pytest.FixtureRequest, render: Render) -> MigratedService:
    """Provide a service on the backend that the test is parametrised with."""
    name: str = request.param
    backend = "postgresql" if name == "pooler" else name
    answers = {"database_url": BACKENDS[backend], "transaction": "request"}
    answers |= ANSWERS[backend]
    if name == "pooler":
        answers["pooler"] = "transaction"
    rendering = render(Variant(name, backend, answers))
    if name == "pooler":
        rendering.url = request.getfixturevalue("pooler").url("app")
    return MigratedService(rendering, backend)


@pytest.fixture
def open_transaction(service: MigratedService) -> Iterator[None]:
    """Read the users in a transaction that stays open inside the ``with`` block."""
    assert service.upgrade().status == 0
    url = make_url(service.url).set(drivername=DRIVERS[service.backend])
    with create_engine(url, poolclass=NullPool).connect() as connection:
        connection.exec_driver_sql("SELECT * FROM users").all()
        yield


ALL = pytest.mark.parametrize("service", ANSWERS, indirect=True)
SERVERS = pytest.mark.parametrize("service", ["postgresql", "mysql"], indirect=True)


@pytest.mark.parametrize("service", [*ANSWERS, "pooler"], indirect=True)
def test_three_upgrades_at_once(service: MigratedService) -> None:
    """One process migrates, the others print that they wait, and a fourth gives up."""
    concurrent_index = CONCURRENT_INDEX if service.backend == "postgresql" else ""
    service.write_migration(PAUSE + concurrent_index)
    service.environment["DATABASE_IDLE_TRANSACTION_TIMEOUT"] = "1"
    logs = [service.folder / f"{number}.log" for number in range(3)]
    processes = [service.start_upgrade(log) for log in logs]
    try:
        wait_for((service.folder / "running").exists)
        wait_for(lambda: sum("waiting" in log.read_text() for log in logs) == 2)
        fourth = service.upgrade(wait_timeout=0.5)
        (service.folder / "go_on").touch()
        codes = [process.wait(timeout=30) for process in processes]
    finally:
        for process in processes:
            kill(process)
    output = "".join(log.read_text() for log in logs)
    assert codes == [0, 0, 0], output
    assert output.count("Running upgrade 0001 -> 0002") == 1
    assert fourth.status != 0
    assert "another process is still" in fourth.output.splitlines()[-1]
    assert service.version() == ["0002"]


@SERVERS
@pytest.mark.usefixtures("open_transaction")
def test_migration_gives_up_on_a_lock(service: MigratedService) -> None:
    """The migration fails before the statements that queue behind it do."""
    service.write_migration('op.add_column("users", sa.Column("age", sa.Integer))')
    service.environment["DATABASE_LOCK_TIMEOUT"] = "60"

    blocked = service.upgrade(lock_timeout=1, statement_timeout=5)

    assert blocked.status != 0
    message = {"postgresql": "lock timeout", "mysql": "Lock wait timeout exceeded"}
    assert message[service.backend] in blocked.output
    assert service.version() == ["0001"]


@SERVERS
def test_statements_of_migrations_have_a_timeout_of_their_own(
    service: MigratedService,
) -> None:
    sleep = {"postgresql": "pg_sleep(2)", "mysql": "sleep(2)"}[service.backend]
    service.write_migration(f'op.execute("SELECT {sleep}")')
    service.environment["DATABASE_STATEMENT_TIMEOUT"] = "1"

    too_long = service.upgrade(statement_timeout=1)
    long = service.upgrade()

    assert too_long.status != 0
    assert "statement" in too_long.output
    assert long.status == 0, long.output


@ALL
def test_run_after_a_failed_migration(service: MigratedService) -> None:
    """A failed migration leaves nothing behind, except on MySQL."""
    create = 'op.create_table("half", sa.Column("id", sa.Integer, primary_key=True))'
    fail = '\n    op.execute("SELECT nothing FROM nowhere")'
    assert service.upgrade().status == 0
    service.write_migration(create + fail)

    failed = service.upgrade()
    version = service.version()
    service.write_migration(create)
    again = service.upgrade()

    assert failed.status != 0
    assert version == ["0001"]
    if service.backend != "mysql":
        assert again.status == 0, again.output
    else:
        assert "Table 'half' already exists" in again.output
        assert service.version() == ["0001"]
        service.write_migration(f"{create[:-1]}, if_not_exists=True)")
        assert service.upgrade().status == 0
    assert service.version() == ["0002"]
    assert service.rows("SELECT count(*) FROM half") == ["0"]


@SERVERS
def test_suite_runs_again_on_an_existing_database(service: MigratedService) -> None:
    """It leaves the database empty; migrations may end the transaction."""
    service.write_migration(
        "with op.get_context().autocommit_block():\n"
        '        op.execute("CREATE VIEW names AS SELECT name FROM users")\n'
        '        op.execute("DROP VIEW names")'
    )
    models = service.folder / "src/service/users/models.py"
    imports = "from sqlalchemy import Column, MetaData, Table\n"
    models.write_text(imports + models.read_text() + VIEW)
    service.environment["TEST_DATABASE_URL"] = service.url
    # Here, the tests of the migrations run before the tests with a model.
    tests = [
        "tests/test_migrations.py",
        "tests/test_users.py",
        "tests/db/test_errors.py",
    ]

    for _ in range(2):
        suite = fork_server.run_program(
            ["pytest", *tests], service.folder, service.environment
        )

        assert suite.status == 0, suite.output
        assert service.version() == []
