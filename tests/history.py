"""The template as users have it: a repository with a tag for every release.

The releases are those of ``releases.toml``; after them comes the working tree, as the
release that is being made.
"""

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from copier import run_copy, run_update

from tests.shell import commit, git

ROOT = Path(__file__).parent.parent

RELEASES: Mapping[str, str] = tomllib.loads((ROOT / "releases.toml").read_text())
"""The commit of each version."""

TAGS = [f"v{version}" for version in RELEASES]
NOW = "v1000.0.0"

NAMES: Mapping[str, Any] = {"project_name": "Service", "package_name": "service"}
"""Answers that else would come from the folder's name."""

TEMPLATE = ("CHANGELOG.md", "copier.yml", "includes", "template")
"""What of the repository a rendered service depends on."""


def make_history(folder: Path) -> None:
    """Make a repository with all releases, and the working tree as the last one.

    It holds the template alone, as Copier clones it many times. Raises
    CalledProcessError where the commit of a release is missing: in a shallow clone,
    `git fetch --unshallow` brings it.
    """
    folder.mkdir()
    archive = folder / "release.tar"
    for version, sha in RELEASES.items():
        git(ROOT, "archive", f"--output={archive}", sha, *TEMPLATE)
        for name in TEMPLATE:
            remove(folder / name)
        shutil.unpack_archive(archive, folder, filter="data")
        archive.unlink()
        commit(folder, version)
        git(folder, "tag", f"v{version}")
    put_template(folder)
    commit(folder, "What the working tree holds")
    git(folder, "tag", NOW)


def put_template(folder: Path) -> None:
    """Replace the template in ``folder`` by that of the working tree."""
    for name in TEMPLATE:
        old, new = folder / name, ROOT / name
        remove(old)
        if new.is_dir():
            shutil.copytree(new, old, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(new, old)


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
