"""The CI of a rendered service, above all its check of new migrations."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from support.ci import github_script, gitlab_script
from support.copier_internals import CopierFixture
from support.databases import create_database, drop_databases
from support.pages import Reader
from support.processes import commit, git, run
from support.shared_servers import SharedServers

POSTGRESQL = {"database_url": "postgresql://app@db/app"}
NEW = "migrations/versions/0002_age.py"
MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("users", sa.Column("age", sa.Integer))


def downgrade() -> None:
    op.drop_column("users", "age")
"""
MODEL = "    is_active: Mapped[bool] = mapped_column(server_default=true())\n"
COLUMN = "    age: Mapped[int | None]\n"

BLOCKING = 'op.execute("ALTER TABLE users ALTER COLUMN name TYPE varchar(100)")'
INITIAL, MODELS = "migrations/versions/0001_initial.py", "src/service/users/models.py"

# A change of files that must not be merged, and what the check then says.
FAULTS = {
    "a lock that blocks reads": (
        {NEW: ("def upgrade() -> None:", f"def upgrade() -> None:\n    {BLOCKING}")},
        "changing-column-type",
    ),
    "two heads": ({NEW: ('"0001"', "None")}, "heads"),
    "no way back": ({NEW: ('op.drop_column("users", "age")', "pass")}, "exists"),
    "a released migration was changed": (
        {INITIAL: ("sa.String(100)", "sa.String(99)"), MODELS: ("(100)", "(99)")},
        "New upgrade operations detected",
    ),
}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Who runs commands in the service."""
    with Reader(tmp_path) as reader:
        yield reader


def migration_check(reader: Reader, gitlab: bool) -> str:
    """The script of the check of the new migrations."""
    if not gitlab:
        return github_script(reader.folder)[-1]
    commands = gitlab_script(reader.folder)
    return "\n".join(commands[commands.index("uv run pytest") + 1 :])


def propose(reader: Reader, copier: CopierFixture, **answers: object) -> None:
    """Render a service that is on a main branch, and a change with a migration."""
    reader.folder /= "service"
    copier.copy(reader.folder, package_name="service", **answers)
    commit(reader.folder, "Released")
    git(reader.folder, "branch", "--move", "main")
    git(reader.folder, "remote", "add", "origin", ".")
    git(reader.folder, "fetch", "--quiet", "origin")
    git(reader.folder, "switch", "--quiet", "--create", "age")
    models = reader.folder / MODELS
    models.write_text(models.read_text().replace(MODEL, MODEL + COLUMN))
    (reader.folder / NEW).write_text(MIGRATION)
    reader.environment["CI_DEFAULT_BRANCH"] = "main"


def check(reader: Reader, gitlab: bool = False) -> tuple[int, str]:
    """Commit the change, and run the check as a CI does: its exit code, its output."""
    commit(reader.folder, "Age")
    script = migration_check(reader, gitlab)
    done = run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        reader.folder,
        reader.environment,
    )
    return done.returncode, done.stdout


@pytest.fixture
def database(reader: Reader, servers: SharedServers) -> Iterator[None]:
    """An empty database on PostgreSQL."""
    url = create_database(servers.url("postgresql"), f"ci-{uuid4().hex}")
    reader.environment["DATABASE_URL"] = url
    yield
    drop_databases(url)


def test_migration_passes_on_sqlite(reader: Reader, copier: CopierFixture) -> None:
    propose(reader, copier)
    code, output = check(reader)
    assert code == 0, output


@pytest.mark.usefixtures("database")
def test_migration_passes_on_postgresql(reader: Reader, copier: CopierFixture) -> None:
    propose(reader, copier, **POSTGRESQL, ci="gitlab")
    code, output = check(reader, gitlab=True)
    assert code == 0, output
    assert "Found 0 issues in 1 file" in output


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_migration_is_refused(
    fault: str, reader: Reader, copier: CopierFixture
) -> None:
    changes, message = FAULTS[fault]
    propose(reader, copier, **POSTGRESQL)
    for path, (old, new) in changes.items():
        file = reader.folder / path
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    code, output = check(reader)

    assert code != 0
    assert message in output


@pytest.mark.parametrize("answers", [{}, POSTGRESQL], ids=["sqlite", "postgresql"])
def test_both_kinds_of_ci_run_the_same_commands(
    answers: dict[str, str], copier: CopierFixture, tmp_path: Path
) -> None:
    """But for the branch that a change goes to, which GitLab has to fetch."""
    scripts = [
        function(copier.copy(tmp_path / ci, **answers, ci=ci).path)
        for ci, function in (("github", github_script), ("gitlab", gitlab_script))
    ]
    github, gitlab = ("\n".join(script).splitlines() for script in scripts)
    github[github.index("BASE=origin/main")] = "BASE=FETCH_HEAD"
    assert [line for line in gitlab if not line.startswith("git fetch")] == github
