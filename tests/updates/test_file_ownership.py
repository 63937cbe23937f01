"""Tests of the ownership of files (docs/update.md): updates keep the users' edits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import commit, git
from support.template import LATER, NOW, copy, files, update


def test_every_file_gets_the_changes_and_keeps_the_edits(
    later: Path, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    copy(later, service, NOW, {"database_url": "postgresql://app@db/app"})
    rendered = [name for name, text in files(service).items() if text]
    rendered.remove(".copier-answers.yml")
    for name in rendered:
        with (service / name).open("a") as file:
            file.write("# Edited.\n")
    commit(service, "Edits")

    update(service, LATER)

    for name in rendered:
        text = (service / name).read_text()
        assert text.startswith("# Fixed.\n"), name
        assert text.endswith("# Edited.\n"), name
        assert "<<<<<<<" not in text, name


def test_added_files_are_unchanged_and_deleted_files_stay_deleted(
    later: Path, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    copy(later, service, NOW, {})
    own = {
        ".env": "DATABASE_URL=postgresql://app:s3cret@db/app\n",
        "uv.lock": "version = 1\n",
        "migrations/versions/0002_mine.py": "# Mine.\n",
        "src/service/db/mine.py": "# Mine.\n",
        "tests/test_mine.py": "# Mine.\n",
    }
    for name, text in own.items():
        (service / name).write_text(text)
    deleted = [
        "tests/test_users.py",
        "src/service/health.py",
        ".pre-commit-config.yaml",
    ]
    for name in deleted:
        (service / name).unlink()
    commit(service, "Own work")

    update(service, LATER)

    assert {name: (service / name).read_text() for name in own} == own
    assert not any((service / name).exists() for name in deleted)


def test_a_conflict_is_marked_and_reported_by_git(later: Path, tmp_path: Path) -> None:
    service = tmp_path / "service"
    copy(later, service, NOW, {})
    readme = service / "README.md"
    readme.write_text(readme.read_text().replace("# Service", "# Our service", 1))
    commit(service, "Edit")

    update(service, LATER)

    assert readme.read_text().startswith(
        "<<<<<<< before updating\n# Our service\n=======\n# Fixed.\n# Service\n"
    )
    assert git(service, "diff", "--name-only", "--diff-filter=U") == "README.md\n"


@pytest.mark.parametrize("left_over", ["conflict", "reject", "nothing"])
def test_pre_commit_finds_conflict_markers_and_rej_files(
    left_over: str, later: Path, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    copy(later, service, NOW, {})
    readme = service / "README.md"
    if left_over != "nothing":
        readme.write_text(readme.read_text().replace("# Service", "# Our service", 1))
        commit(service, "Edit")
    update(service, LATER, conflict="rej" if left_over == "reject" else "inline")
    git(service, "add", "--all")

    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files"],
        cwd=service,
        # test_samples.py runs these hooks, which need the service's own environment.
        env=os.environ | {"SKIP": "ruff-check,ruff-format,mypy"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode == 0) is (left_over == "nothing"), done.stdout
    assert ("README.md:1:<<<<<<< before updating" in done.stdout) is (
        left_over == "conflict"
    )
    assert ("README.md.rej" in done.stdout) is (left_over == "reject")


def test_a_checkout_with_other_line_endings_is_updated(
    later: Path, tmp_path: Path
) -> None:
    """Git for Windows would convert the line endings without `.gitattributes`."""
    service = tmp_path / "service"
    copy(later, service, NOW, {})
    git(service, "config", "core.autocrlf", "true")
    for name in files(service):
        (service / name).unlink()
    git(service, "checkout", "--force", "HEAD")
    with (service / "README.md").open("a") as file:
        file.write("# Edited.\n")
    commit(service, "Edit")

    update(service, LATER)

    after = files(service)
    assert [name for name, text in after.items() if b"<<<<<<<" in text] == []
    assert [name for name, text in after.items() if b"\r\n" in text] == []
    readme = (service / "README.md").read_text()
    assert readme.startswith("# Fixed.\n")
    assert readme.endswith("# Edited.\n")
