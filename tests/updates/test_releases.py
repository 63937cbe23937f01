"""Tests of the releases: they are recorded, and remove nothing that services need."""

import re
import shutil
from pathlib import Path

import pytest
from copier import run_copy

from support.copier_internals import Answers, read_config
from support.processes import git
from support.questions import static_choices
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


def test_no_question_or_choice_is_ever_removed(releases: Path, tmp_path: Path) -> None:
    """Copier would reset the answer in the services that have it."""

    def config(tag: str) -> Answers:
        archive = tmp_path / "release.tar"
        git(releases, "archive", f"--output={archive}", tag, "copier.yml", "includes")
        shutil.unpack_archive(archive, tmp_path / tag, filter="data")
        return read_config(tmp_path / tag / "copier.yml")

    now = config(NOW)
    for tag in TAGS:
        for name, question in config(tag).items():
            if not name.startswith("_") and question.get("when") is not False:
                assert now[name]["type"] == question["type"]
                missing = [
                    choice
                    for choice in static_choices(question)
                    if choice not in static_choices(now[name])
                ]
                assert missing == []


@pytest.mark.parametrize("backend", ["sqlite:///a.db", "postgresql:///a", "mysql:///a"])
@pytest.mark.parametrize("example", [True, False])
def test_a_released_migration_never_changes(
    backend: str, example: bool, releases: Path, tmp_path: Path
) -> None:
    migration = "migrations/versions/0001_initial.py"

    def render(tag: str, **answers: object) -> bytes:
        data = {"database_url": backend, "example": example, **answers}
        run_copy(
            str(releases),
            tmp_path / tag,
            data,
            vcs_ref=tag,
            exclude=["*", "!migrations"],
            defaults=True,
            quiet=True,
        )
        return (tmp_path / tag / migration).read_bytes()

    now = render(NOW, mode="sync")
    assert {tag: render(tag) for tag in TAGS} == dict.fromkeys(TAGS, now)
