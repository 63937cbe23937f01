"""Fixtures for the tests of updates: a service, and a future release."""

import shutil
from pathlib import Path

import pytest

from support.processes import commit, git
from support.template import LATER, TAGS, copy


@pytest.fixture
def service(releases: Path, tmp_path: Path) -> Path:
    """Render a service from the first release."""
    folder = tmp_path / "service"
    copy(releases, folder, TAGS[0], {})
    return folder


@pytest.fixture(scope="session")
def later(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the releases, and a later one that adds a first line to every file."""
    folder = tmp_path_factory.mktemp("later") / "template"
    shutil.copytree(releases, folder)
    for path in (folder / "template").rglob("*"):
        if path.is_file() and path.read_text() and "answers_file" not in path.name:
            path.write_text(f"# Fixed.\n{path.read_text()}")
    commit(folder, "Later")
    git(folder, "tag", LATER)
    return folder
