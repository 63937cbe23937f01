"""The template: the working tree, and a repository with all releases.

The releases are those in ``releases.toml``, followed by the working tree as the next
release.
"""

import shutil
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from copier import run_copy, run_update

from support.processes import commit, git

ROOT = Path(__file__).parent.parent

RELEASES: Mapping[str, str] = tomllib.loads((ROOT / "releases.toml").read_text())
"""The commit of each released version."""

TAGS = [f"v{version}" for version in RELEASES]
NOW = "v1000.0.0"
"""The tag of the working tree."""
LATER = "v1001.0.0"
"""The tag of a release after the working tree."""

NAMES: Mapping[str, Any] = {"project_name": "Service", "package_name": "service"}
"""Answers whose defaults depend on the name of the folder."""

PATHS = ("CHANGELOG.md", "copier.yml", "includes", "template")
"""The files of the repository that affect a rendered service."""

_temporary = TemporaryDirectory()


@cache
def questions_only() -> Path:
    """Return a template that asks all questions, but renders only the answers file.

    Rendering a service takes a second.
    """
    folder = Path(_temporary.name, "template")
    shutil.copytree(ROOT / "includes", folder / "includes")
    shutil.copy(ROOT / "copier.yml", folder)
    (folder / "template").mkdir()
    answers = "template/{{ _copier_conf.answers_file }}.jinja"
    shutil.copy(ROOT / answers, folder / answers)
    return folder


def copy_template(folder: Path) -> None:
    """Replace the template in ``folder`` with that of the working tree."""
    for name in PATHS:
        old, new = folder / name, ROOT / name
        remove(old)
        if new.is_dir():
            shutil.copytree(new, old, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(new, old)


def make_releases(folder: Path) -> None:
    """Make a repository with all releases, and the working tree as the last one.

    It contains only the template, because Copier clones it many times. Raises
    CalledProcessError if the commit of a release is missing; in a shallow clone, run
    `git fetch --unshallow`.
    """
    folder.mkdir()
    archive = folder / "release.tar"
    for version, sha in RELEASES.items():
        git(ROOT, "archive", f"--output={archive}", sha, *PATHS)
        for name in PATHS:
            remove(folder / name)
        shutil.unpack_archive(archive, folder, filter="data")
        archive.unlink()
        commit(folder, version)
        git(folder, "tag", f"v{version}")
    copy_template(folder)
    commit(folder, "The working tree")
    git(folder, "tag", NOW)
    # Otherwise, each clone would link, and remove, a thousand files.
    git(folder, "repack", "-adq")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy(source: Path, folder: Path, ref: str, answers: Mapping[str, Any]) -> None:
    """Render the template at ``ref`` with `copier copy --defaults`, and commit it."""
    data = {**NAMES, **answers}
    run_copy(str(source), folder, data, vcs_ref=ref, defaults=True, quiet=True)
    commit(folder, "Start")


def update(
    folder: Path,
    ref: str = NOW,
    /,
    *,
    quiet: bool = True,
    conflict: Literal["inline", "rej"] = "inline",
    **answers: Any,
) -> None:
    """Update the project in ``folder`` with `copier update --defaults`."""
    run_update(
        folder,
        answers,
        vcs_ref=ref,
        defaults=True,
        overwrite=True,
        quiet=quiet,
        conflict=conflict,
    )


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file in ``folder``, except for Git's own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
