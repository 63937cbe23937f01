"""Tests of the releases: they are recorded, and remove nothing that services need."""

import re
import shutil
from pathlib import Path

import pytest
from copier import run_copy

from support.copier_internals import read_config
from support.processes import git
from support.questions import QUESTIONS, static_choices
from support.template import NOW, RELEASES, ROOT, TAGS


def test_every_release_has_a_commit_and_a_changelog_entry() -> None:
    entries = re.findall(
        r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    released = [entry for entry in entries if entry != "Unreleased"]
    recorded = list(RELEASES)[::-1]
    # Before a release is recorded, the newest entry has no commit yet.
    assert recorded in (released, released[1:])
    for version, sha in RELEASES.items():
        assert f'version = "{version}"' in git(ROOT, "show", f"{sha}:pyproject.toml")
        assert f"## {version}\n" in git(ROOT, "show", f"{sha}:CHANGELOG.md")
        git(ROOT, "merge-base", "--is-ancestor", sha, "HEAD")
    for tag in git(ROOT, "tag").split():
        sha = git(ROOT, "rev-parse", f"{tag}^{{commit}}").strip()
        assert RELEASES[tag.removeprefix("v")] == sha


# The tests below compare the working tree with the last release only: each release was
# compared with the one before it, and releases do not change.


def test_no_question_or_choice_is_ever_removed(releases: Path, tmp_path: Path) -> None:
    """Copier would reset the answer in the services that have it."""
    archive = tmp_path / "release.tar"
    git(releases, "archive", f"--output={archive}", TAGS[-1], "copier.yml", "includes")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    for name, question in read_config(tmp_path / "copier.yml").items():
        if not name.startswith("_") and question.get("when") is not False:
            assert QUESTIONS[name]["type"] == question["type"]
            now = static_choices(QUESTIONS[name])
            assert [each for each in static_choices(question) if each not in now] == []


@pytest.mark.parametrize("backend", ["sqlite:///a.db", "postgresql:///a", "mysql:///a"])
@pytest.mark.parametrize("example", [True, False])
def test_a_released_migration_never_changes(
    backend: str, example: bool, releases: Path, tmp_path: Path
) -> None:
    def render(tag: str, **answers: object) -> str:
        run_copy(
            str(releases),
            tmp_path / tag,
            {"database_url": backend, "example": example, **answers},
            vcs_ref=tag,
            exclude=["*", "!migrations"],
            defaults=True,
            quiet=True,
        )
        return (tmp_path / tag / "migrations/versions/0001_initial.py").read_text()

    assert render(NOW, mode="sync") == render(TAGS[-1], mode="async")
