"""Tests of updates of edited services: edits and added files are kept."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from support import fork_server
from support.copier_internals import Answers, Questionnaire
from support.databases import temporary_database
from support.edited_service import (
    EDITS,
    EXAMPLE_EDITS,
    MIGRATION_EDITS,
    SECRET,
    delete_example,
    edit,
    exclude_example,
    outcome,
    own_files,
    resolve,
    write,
)
from support.processes import clean_environment, commit, git
from support.questions import answer
from support.service_checker import ServiceChecker
from support.template import NAMES, NOW, TAGS, copy, files, update
from support.variants import BACKENDS

SQLITE, POSTGRESQL, MYSQL = (
    {"database_url": BACKENDS[backend]} for backend in ("sqlite", "postgresql", "mysql")
)
BEFORE_0_4 = [tag for tag in TAGS if tag < "v0.4"]
CONFTEST = "tests/conftest.py"
"""Version 0.4 rewrites the end of this file, where the edit adds a fixture."""


@dataclass(frozen=True)
class Story:
    """The first answers of a service, those that an update changes, and the result."""

    before: Answers
    after: Answers
    keeps_example: bool = True
    conflicts: tuple[str, ...] = ()
    """The files with conflicts, because the answer changes edited lines."""
    removed: tuple[str, ...] = ()
    """The edited files that the answer removes."""


STORIES = {
    # These updates change no answer.
    "fixes-sqlite": Story(SQLITE, {}),
    "fixes-postgresql": Story(POSTGRESQL | {"transaction": "explicit"}, {}),
    "fixes-mysql": Story(MYSQL | {"mode": "sync", "alembic": False}, {}),
    "fixes-example-deleted": Story(SQLITE, {}, keeps_example=False),
    "sqlite-to-postgresql": Story(
        SQLITE,
        POSTGRESQL,
        conflicts=(".env.example", "src/service/settings.py"),
    ),
    "postgresql-to-mysql": Story(POSTGRESQL, MYSQL),
    "async-to-sync": Story(
        SQLITE, {"mode": "sync"}, conflicts=(".env.example", CONFTEST)
    ),
    "sync-to-async": Story(
        POSTGRESQL | {"mode": "sync"}, {"mode": "async"}, conflicts=(CONFTEST,)
    ),
    "another-driver": Story(POSTGRESQL, {"driver": "asyncpg"}),
    "queue-to-null": Story(POSTGRESQL, {"pool": "null"}),
    "request-to-explicit": Story(SQLITE, {"transaction": "explicit"}),
    "explicit-to-request": Story(
        SQLITE | {"transaction": "explicit"}, {"transaction": "request"}
    ),
    "telemetry-on": Story(POSTGRESQL, {"telemetry": "opentelemetry"}),
    "alembic-on": Story(SQLITE | {"alembic": False}, {"alembic": True}),
    "alembic-off": Story(SQLITE, {"alembic": False}, removed=("migrations/env.py",)),
    "example-off": Story(
        SQLITE,
        {"example": False},
        removed=("src/service/users/models.py", "src/service/users/routes.py"),
    ),
    "example-off-deleted": Story(SQLITE, {"example": False}, keeps_example=False),
}


def stories() -> list[tuple[str, str]]:
    """Return the stories, each with the release that its service is rendered from.

    It is the last release. For updates that change no answer, it is the first one, too,
    and they take turns with those in between.
    """
    fixes = [name for name, story in STORIES.items() if not story.after]
    return [
        *((name, TAGS[-1]) for name in STORIES),
        *((name, TAGS[0]) for name in fixes),
        *zip(cycle(fixes), TAGS[1:-1], strict=False),
    ]


@pytest.mark.parametrize(("name", "release"), stories())
def test_updates_lose_no_edit(
    name: str,
    release: str,
    releases: Path,
    questionnaire: Questionnaire,
    orders_migration: Callable[[str], str],
    service_checker: ServiceChecker,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    story = STORIES[name]
    service = tmp_path / "service"
    facts = answer(**NAMES, **questionnaire.settle(story.before))
    copy(releases, service, release, story.before)
    own = own_files(facts, story.keeps_example, orders_migration)
    edits = [*EDITS, *(MIGRATION_EDITS if facts["alembic"] else [])]
    if story.keeps_example:
        edits += EXAMPLE_EDITS
    else:
        delete_example(service)
        commit(service, "No example")
    edit(service, edits)
    commit(service, "Edits")
    write(service, own)
    commit(service, "Orders")

    update(service, quiet=False, **story.after)

    result = outcome(service, edits)
    service_checker.counts.update(result.counts())
    assert result.lost == []
    moved = {CONFTEST} if release in BEFORE_0_4 else set()
    assert {one.path for one in result.in_conflict} == {*story.conflicts} | moved
    assert {one.path for one in result.removed} == {*story.removed}
    assert {*story.removed} <= {*capfd.readouterr().err.split()}
    now = files(service)
    assert {path: now.get(path) for path in own} == own
    assert story.keeps_example or not (service / "src/service/users").exists()
    commit(service, "Update")
    assert SECRET not in git(service, "log", "--patch", "--all")

    # The releases in between end in the same files.
    if {*story.conflicts} <= {CONFTEST} and release in {TAGS[0], TAGS[-1]}:
        resolve(service, result.in_conflict)
        if not story.keeps_example:
            exclude_example(service)
        after = answer(**NAMES, **questionnaire.settle({**story.before, **story.after}))
        # The owners adapt their own code to async, commits and the database.
        write(service, own_files(after, story.keeps_example, orders_migration))
        with service_checker.database(after["url"]["backend"]) as url:
            suite = fork_server.check_suite(
                service, "service", {"DATABASE_URL": url} if url else {}
            )
            assert suite.status == 0, suite.output
            assert "test_orders" in suite.output


@pytest.mark.parametrize("release", BEFORE_0_4)
def test_a_service_in_memory_gets_a_file(
    release: str, releases: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    service = tmp_path / "service"
    copy(releases, service, release, {"database_url": "sqlite://"})
    edit(service, EDITS)
    commit(service, "Edits")

    update(service, quiet=False, alembic=False)

    message = capfd.readouterr().err
    assert "DATABASE_URL is now sqlite:///./service.db" in message
    assert "--data database_url=sqlite:///./FILE.db" in message
    result = outcome(service, EDITS)
    assert result.lost == result.removed == []
    resolve(service, result.in_conflict)
    write(service, own_files(answer(**NAMES, alembic=False), keeps_example=True))
    suite = fork_server.check_suite(service, "service", {})
    assert suite.status == 0, suite.output


@pytest.mark.parametrize("release", [tag for tag in BEFORE_0_4 if tag >= "v0.3"])
def test_imports_from_db_responses_work_after_the_update(
    release: str, releases: Path, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    copy(releases, service, release, {})
    own = service / "src/service/orders.py"
    names = "CONFLICT, NOT_FOUND, UNAVAILABLE, BrokenRule, BrokenRules, Problem"
    own.write_text(f"from service.db.responses import {names}\n")
    commit(service, "Orders")

    update(service)

    subprocess.run(
        [sys.executable, "-c", "import service.main, service.orders"],
        cwd=service,
        env=clean_environment() | {"PYTHONPATH": "src"},
        check=True,
    )


def alembic(folder: Path, environment: dict[str, str], *commands: str) -> None:
    """Run Alembic's commands in a service, one after the other."""
    for command in commands:
        done = fork_server.run_program(
            ["alembic", *command.split()],
            folder,
            {"PYTHONPATH": "src"} | environment,
        )
        assert done.status == 0, done.output


@pytest.fixture
def orders_migration(
    releases: Path,
    service_checker: ServiceChecker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], str]:
    """Provide a function that generates the migration for the orders on a backend."""
    shared = tmp_path_factory.getbasetemp()

    def migration_for(backend: str) -> str:
        folder = shared / f"orders-{backend}"
        if not folder.exists():
            generate_migration(folder, backend)
        (migration,) = folder.glob("migrations/versions/*_0002_orders.py")
        return migration.read_text()

    def generate_migration(folder: Path, backend: str) -> None:
        answers = {**NAMES, "database_url": BACKENDS[backend]}
        copy(releases, folder, NOW, answers)
        write(folder, own_files(answer(**answers), keeps_example=True))
        main = folder / "src/service/main.py"
        main.write_text(main.read_text() + "\nimport service.orders.models\n")
        revise = "revision --autogenerate --message Orders --rev-id 0002"
        commands = ("upgrade head", revise, "upgrade head", "check")
        if backend == "sqlite":
            alembic(folder, {}, *commands)
        else:
            with temporary_database(service_checker.servers.url(backend)) as url:
                alembic(folder, {"DATABASE_URL": url}, *commands)

    return migration_for
