"""The template: that of the working tree, and a repository with all its releases.

The releases are those of ``releases.toml``; after them comes the working tree, as the
release that is being made.
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
"""The commit of each version."""

TAGS = [f"v{version}" for version in RELEASES]
NOW = "v1000.0.0"
"""The tag of the working tree."""
LATER = "v1001.0.0"
"""The tag of a release that is yet to come."""

NAMES: Mapping[str, Any] = {"project_name": "Service", "package_name": "service"}
"""Answers that else would come from the folder's name."""

PATHS = ("CHANGELOG.md", "copier.yml", "includes", "template")
"""What of the repository a rendered service depends on."""

_temporary = TemporaryDirectory()


@cache
def questions_only() -> Path:
    """A template that asks all questions, and renders no file but the answers.

    To render a service takes a second.
    """
    folder = Path(_temporary.name, "template")
    shutil.copytree(ROOT / "includes", folder / "includes")
    shutil.copy(ROOT / "copier.yml", folder)
    (folder / "template").mkdir()
    answers = "template/{{ _copier_conf.answers_file }}.jinja"
    shutil.copy(ROOT / answers, folder / answers)
    return folder


def copy_template(folder: Path) -> None:
    """Put the template of the working tree in ``folder``, in place of another one."""
    for name in PATHS:
        old, new = folder / name, ROOT / name
        remove(old)
        if new.is_dir():
            shutil.copytree(new, old, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(new, old)


def make_releases(folder: Path) -> None:
    """Make a repository with all releases, and the working tree as the last one.

    It holds the template alone, as Copier clones it many times. Raises
    CalledProcessError where the commit of a release is missing: in a shallow clone,
    `git fetch --unshallow` brings it.
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


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy(source: Path, folder: Path, ref: str, answers: Mapping[str, Any]) -> None:
    """Render the template at ``ref``, as `copier copy --defaults`, and commit it."""
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
    """Update the project in ``folder``, as `copier update --defaults`."""
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
    """The content of every file in ``folder``, but for Git's own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
