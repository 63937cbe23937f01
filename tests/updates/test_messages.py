"""Tests of the messages of an update: news, removed files, and next commands."""

import subprocess
from pathlib import Path

import pytest

from support.copier_internals import Answers
from support.processes import commit, copier, git
from support.template import NOW, TAGS, copy, files, update


def test_message_says_how_to_undo_the_update(service: Path) -> None:
    before = files(service)
    readme = service / "README.md"
    readme.write_text(readme.read_text().replace("$ uv sync", "$ make", 1))
    commit(service)
    edited = files(service)

    done = copier("update", "--defaults", "--data=mode=sync", cwd=service)

    command = "git restore --staged --worktree . && git clean -fd ."
    assert f"    {command}\n" in done.stderr
    assert files(service) != edited
    subprocess.run(["bash", "-c", command], cwd=service, check=True)
    assert files(service) == edited != before
    assert git(service, "status", "--porcelain") == ""


def test_message_says_what_is_new(service: Path) -> None:
    done = copier("update", "--defaults", cwd=service)
    assert f"New since {TAGS[0]}:\n\n" in done.stderr
    news = done.stderr.partition("New since")[2].partition("Next:")[0]
    assert "- `copier update` is tested" in news
    assert "The first release" not in news
    commit(service)

    done = copier("update", "--defaults", "--data=mode=sync", cwd=service)
    assert "New since" not in done.stderr


def test_message_names_removed_files(service: Path) -> None:
    before = files(service)
    done = copier("update", "--defaults", "--data=alembic=false", cwd=service)
    listed = done.stderr.partition("Removed, because")[2].partition("    git log")[0]
    lines = [
        line.partition("  # now ") for line in listed.split("\n\n")[1].splitlines()
    ]
    assert {line[0].strip() for line in lines} == before.keys() - files(service)
    moved = {old.strip(): new for old, _, new in lines if new}
    assert moved["src/service/db/slots.py"] == "src/service/db/limiter.py"
    assert moved["tests/test_sessions.py"] == "tests/db/test_sessions.py"
    assert {*moved.values()} <= files(service).keys()
    subprocess.run(
        ["bash", "-c", "git checkout HEAD -- migrations/env.py"],
        cwd=service,
        check=True,
    )
    assert (service / "migrations/env.py").exists()


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        ({}, {"ci": "none"}, ["uv run alembic upgrade head"]),
        (
            {"alembic": False},
            {"alembic": True},
            [
                "uv run alembic stamp head  # if the tables already exist",
                "uv run alembic upgrade head",
            ],
        ),
        (
            {"alembic": False},
            {"database_url": "postgresql://app@db/shop"},
            ["createdb --host db --username app shop", "grep DATABASE .env"],
        ),
        ({"alembic": False}, {"mode": "sync"}, ["grep DATABASE .env .env.example"]),
        ({"alembic": False}, {"transaction": "explicit"}, []),
    ],
)
def test_message_says_what_to_run(
    before: Answers,
    after: Answers,
    steps: list[str],
    releases: Path,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    copy(releases, tmp_path / "service", NOW, before)
    update(tmp_path / "service", quiet=False, **after)
    message = capfd.readouterr().err.partition("Next:\n\n")[2]
    printed = [line.strip() for line in message.splitlines() if line.strip()]
    expected = [
        "git status",
        *[step for step in steps if "alembic" not in step],
        "uv sync",
        *[step for step in steps if "alembic" in step],
        "uv run pytest",
        "uvx pre-commit run --all-files",
        "git add --all . && git commit",
    ]
    assert len(printed) == len(expected)
    assert all(map(str.startswith, printed, expected))
