"""Tests of Copier's command line: prompts, refusals, and the next commands."""

from pathlib import Path

import pytest
from copier import run_copy

from support.processes import copier
from support.questions import asked
from support.template import questions_only
from support.terminal import CLEAR, DOWN, Terminal


def stored(folder: Path) -> list[str]:
    """Return the lines of the answers file."""
    return (folder / ".copier-answers.yml").read_text("utf-8").splitlines()


def test_a_copy_needs_no_trust(releases: Path, tmp_path: Path) -> None:
    done = copier("copy", "--defaults", releases, "shop", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "package_name: shop" in stored(tmp_path / "shop")
    assert (tmp_path / "shop/src/shop/main.py").exists()
    assert done.stderr.rstrip().endswith("uv run pytest")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "database_url=postgresql://app:s3cret@db/app",
            "question 'database_url': Put the password in .env instead",
        ),
        ("mode=foo", "for 'mode': 'foo' is not in ['async', 'sync']"),
        ("is_async=no", "question 'is_async': Omit this; it is computed"),
    ],
)
def test_bad_data_is_refused_and_nothing_is_written(
    data: str, message: str, tmp_path: Path
) -> None:
    """The message is the last line; test_questions.py tests all messages."""
    done = copier(
        *("copy", "--defaults", f"--data={data}", questions_only(), "shop"),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(message)
    assert "s3cret" not in done.stdout + done.stderr
    assert not (tmp_path / "shop").exists()


def test_enter_accepts_all_defaults(tmp_path: Path) -> None:
    with Terminal("copy", questions_only(), tmp_path / "typed/shop") as terminal:
        for name in asked():
            terminal.answer(name)
        terminal.finish()
    run_copy(str(questions_only()), tmp_path / "shop", defaults=True, quiet=True)
    assert stored(tmp_path / "typed/shop") == stored(tmp_path / "shop")


def test_a_refused_answer_is_asked_again(tmp_path: Path) -> None:
    with Terminal("copy", questions_only(), tmp_path / "shop") as terminal:
        terminal.answer("project_name", CLEAR + "Web Shop")
        terminal.answer("package_name", CLEAR + "fastapi")
        terminal.correct("package_name", "Rename: a module has this name", "web_shop")
        terminal.answer("project_description")
        terminal.answer("python_min", DOWN)
        terminal.answer("database_url", CLEAR + "postgresql://app:s3cret@db/shop")
        terminal.correct(
            "database_url",
            "Put the password in .env instead",
            "postgresql://app@db:5433/shop",
        )
        terminal.answer("mode")
        terminal.answer("driver", DOWN)
        terminal.answer("pool")
        terminal.answer("pool_size", CLEAR + "many")
        terminal.correct("pool_size", "Use a whole number from 1 to 1000", "20")
        terminal.answer("max_overflow")
        terminal.answer("pool_timeout", CLEAR + "0")
        terminal.correct("pool_timeout", "Use seconds > 0, like 5 or 0.5", "0.5")
        terminal.answer("pool_recycle", CLEAR + "-1")
        terminal.answer("pool_pre_ping", DOWN + DOWN)
        terminal.answer("transaction", DOWN)
        terminal.answer("alembic")
        # One letter answers this question; Enter answers the next one.
        terminal.answer("example", "n")
        terminal.answer("ci", DOWN)
        terminal.answer("read_replica", "y")
        terminal.answer("telemetry", DOWN)
        printed = terminal.finish()

    assert stored(tmp_path / "shop")[2:] == [
        "alembic: true",
        "ci: gitlab",
        "container: true",
        "database_url: postgresql://app@db:5433/shop",
        "driver: asyncpg",
        "example: false",
        "max_overflow: '0'",
        "mode: async",
        "package_name: web_shop",
        "pool: queue",
        "pool_pre_ping: never",
        "pool_recycle: '-1'",
        "pool_size: '20'",
        "pool_timeout: '0.5'",
        "pooler: none",
        "project_description: A service built with FastAPI and SQLAlchemy.",
        "project_name: Web Shop",
        "python_min: '3.12'",
        "read_replica: true",
        "telemetry: opentelemetry",
        "transaction: explicit",
    ]
    assert "createdb --host db --port 5433 --username app shop" in printed


def test_a_mode_that_the_url_excludes_cannot_be_chosen(tmp_path: Path) -> None:
    with Terminal("copy", questions_only(), tmp_path / "shop") as terminal:
        terminal.answer("project_name")
        terminal.answer("package_name")
        terminal.answer("project_description")
        terminal.answer("python_min")
        terminal.answer("database_url", CLEAR + "mysql+pymysql:///shop")
        terminal.expect("async (Choose sync for this driver)")


# --- The commands that follow ---


def next_commands(
    capsys: pytest.CaptureFixture[str], folder: str = "shop", /, **data: object
) -> list[str]:
    """Return the commands in the message after a copy."""
    run_copy(str(questions_only()), folder, data, defaults=True, pretend=True)
    message = capsys.readouterr().err.partition("Next:")[2]
    return [line.strip() for line in message.splitlines() if line.strip()]


def test_next_commands_for_sqlite_create_no_database(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert next_commands(capsys) == [
        "cd shop",
        "uv sync",
        "uv run alembic upgrade head",
        "uv run fastapi dev",
        "uv run pytest",
    ]


def test_next_commands_without_alembic_run_no_migration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert next_commands(capsys, "my shop", alembic=False) == [
        "cd 'my shop'",
        "uv sync",
        "uv run fastapi dev",
        "uv run pytest",
    ]


def test_next_commands_in_the_current_folder_have_no_cd(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert next_commands(capsys, ".", package_name="shop")[0] == "uv sync"


@pytest.mark.parametrize(
    ("database_url", "command"),
    [
        (
            "postgresql://app@[::1]:5433/it%27s",
            """createdb --host ::1 --port 5433 --username app 'it'"'"'s'""",
        ),
        (
            "postgresql:///shop?host=/var/run/postgresql",
            "createdb --host /var/run/postgresql shop",
        ),
        (
            "postgresql:///shop?host=a:5433&host=b&target_session_attrs=primary",
            "createdb --host a --port 5433 shop",
        ),
        (
            "mysql://app@db/shop",
            "mysqladmin --host db --user app --password create shop",
        ),
        (
            "mariadb://app@/shop?unix_socket=/run/mysqld.sock",
            "mariadb-admin --socket /run/mysqld.sock --user app --password create shop",
        ),
    ],
)
def test_next_commands_for_a_server_create_the_database(
    database_url: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert next_commands(capsys, database_url=database_url)[1:4] == [
        command,
        "cp .env.example .env  # and set DATABASE_PASSWORD in it",
        "uv sync",
    ]


# --- The answers file ---


@pytest.mark.parametrize("source", ["template", "./template", "../here/template"])
def test_a_relative_source_is_stored_as_an_absolute_path(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "template").symlink_to(questions_only())
    monkeypatch.chdir(here)
    run_copy(source, "shop", defaults=True, quiet=True)
    assert f"_src_path: {questions_only().resolve()}" in stored(here / "shop")


def test_a_url_is_stored_as_it_is(releases: Path, tmp_path: Path) -> None:
    source = f"git+file://{releases}"
    done = copier("copy", "--defaults", "--quiet", source, "shop", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"_src_path: {source}" in stored(tmp_path / "shop")
