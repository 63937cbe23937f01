"""Tests of the CI configuration of a service, such as its check of new migrations."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.ci import github_script, gitlab_script
from support.copier_internals import CopierFixture
from support.databases import temporary_database
from support.pages import Reader
from support.processes import SCRIPTS, clean_environment, commit, git, run, uv
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

# Changes that must not be merged, and the message of the check.
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
    """Provide a reader that runs commands in the service."""
    with Reader(tmp_path) as reader:
        yield reader


def migration_check(reader: Reader, gitlab: bool) -> str:
    """Return the script that checks new migrations."""
    if not gitlab:
        [step] = [each for each in github_script(reader.folder) if "restore" in each]
        return step
    commands = gitlab_script(reader.folder)
    begin, end = commands.index("uv run coverage report"), commands.index("uv audit")
    return "\n".join(commands[begin + 1 : end])


def propose(reader: Reader, copier: CopierFixture, **answers: object) -> None:
    """Render a service on the main branch, and make a change with a migration."""
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
    """Commit the change and run the check; return its exit code and its output."""
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
    """Provide an empty PostgreSQL database."""
    with temporary_database(servers.url("postgresql")) as url:
        reader.environment["DATABASE_URL"] = url
        yield


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
    """They differ only in the target branch, which GitLab has to fetch."""
    scripts = [
        function(copier.copy(tmp_path / ci, **answers, ci=ci).path)
        for ci, function in (("github", github_script), ("gitlab", gitlab_script))
    ]
    github, gitlab = ("\n".join(script).splitlines() for script in scripts)
    github[github.index("BASE=origin/main")] = "BASE=FETCH_HEAD"
    assert [line for line in gitlab if not line.startswith("git fetch")] == github


class Advisories(ThreadingHTTPServer):
    """A server with OSV's interface, which reports ``vulnerable`` packages."""

    def __init__(self, vulnerable: str) -> None:
        super().__init__(("127.0.0.1", 0), AdvisoryHandler)
        self.vulnerable = vulnerable


class AdvisoryHandler(BaseHTTPRequestHandler):
    """Answers batch queries for packages, and queries for one vulnerability."""

    server: Advisories

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = {"vulns": [{"id": "PYSEC-1", "modified": "2026-01-01T00:00:00Z"}]}
        names = [each["package"]["name"] for each in query["queries"]]
        assert "fastapi" in names
        self.respond(
            {
                "results": [
                    found if name == self.server.vulnerable else {} for name in names
                ]
            }
        )

    def do_GET(self) -> None:
        self.respond(
            {
                "id": "PYSEC-1",
                "modified": "2026-01-01T00:00:00Z",
                "summary": "Something bad",
                "affected": [],
            }
        )

    def respond(self, body: object) -> None:
        """Respond with ``body`` as JSON."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


@pytest.mark.parametrize("vulnerable", ["", "fastapi"])
def test_audit_finds_vulnerable_dependencies(
    vulnerable: str, copier: CopierFixture, tmp_path: Path
) -> None:
    """The audit asks OSV about all dependencies of the service."""
    project = copier.copy(tmp_path / "service")
    assert "uv audit" in github_script(project.path)
    with Advisories(vulnerable) as advisories:
        threading.Thread(target=advisories.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{advisories.server_port}"
        command = [uv(), "audit", f"--service-url={url}"]
        done = run(command, project.path, clean_environment())
        advisories.shutdown()
    assert bool(done.returncode) is bool(vulnerable), done.stdout
    assert ("PYSEC-1" in done.stdout) is bool(vulnerable)


def test_dependency_updates_are_configured(
    copier: CopierFixture, tmp_path: Path
) -> None:
    """GitHub has Dependabot, GitLab has Renovate, and without a CI there is neither."""
    files = {
        "github": (".github/dependabot.yml", "vendor.dependabot"),
        "gitlab": ("renovate.json", "vendor.renovate"),
    }
    for ci in (*files, "none"):
        project = copier.copy(tmp_path / ci, ci=ci)
        for other, (file, schema) in files.items():
            path = project.path / file
            assert path.exists() is (ci == other)
            if path.exists():
                tool = SCRIPTS / "check-jsonschema"
                done = run([tool, "--builtin-schema", schema, path], tmp_path)
                assert done.returncode == 0, done.stdout
