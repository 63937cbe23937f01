"""Fixtures of the tests of updates: a service, and a release that is yet to come."""

import shutil
from pathlib import Path

import pytest

from support.processes import commit, git
from support.template import LATER, TAGS, copy


@pytest.fixture
def service(releases: Path, tmp_path: Path) -> Path:
    """A service from the first release."""
    folder = tmp_path / "service"
    copy(releases, folder, TAGS[0], {})
    return folder


@pytest.fixture(scope="session")
def later(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The releases, and another one that changes the first line of every file."""
    folder = tmp_path_factory.mktemp("later") / "template"
    shutil.copytree(releases, folder)
    for path in (folder / "template").rglob("*"):
        if path.is_file() and path.read_text() and "answers_file" not in path.name:
            path.write_text(f"# Fixed.\n{path.read_text()}")
    commit(folder, "Later")
    git(folder, "tag", LATER)
    return folder
