"""Git and Copier, as typed."""

import subprocess
import sys
from pathlib import Path

COPIER = [sys.executable, "-m", "copier"]


def copier(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `copier` without a terminal, and without `--trust`."""
    return subprocess.run(
        [*COPIER, *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def git(folder: Path, *arguments: str | Path) -> str:
    """Run git in ``folder``; what it printed. Raises CalledProcessError."""
    return subprocess.run(
        ["git", "-c", "user.name=User", "-c", "user.email=user@localhost", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def commit(folder: Path, message: str = "All of it") -> None:
    """Commit all that is in ``folder``, to a repository that is made if need be."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", message)
