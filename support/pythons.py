"""The Python interpreters on this machine that can run a rendered service."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from support.processes import run

OLDEST = 11  # The minor version of the oldest supported Python.


def find_pythons() -> dict[str, str]:
    """Return an interpreter for each supported minor version, as {"3.11": path}."""
    pythons = {".".join(map(str, sys.version_info[:2])): sys.executable}
    for minor in range(OLDEST, OLDEST + 20):
        version = f"3.{minor}"
        for interpreter in interpreters(version):
            if version not in pythons and is_usable(interpreter, version):
                pythons[version] = interpreter
    return dict(sorted(pythons.items(), key=lambda item: int(item[0].split(".")[1])))


def interpreters(version: str) -> Iterator[str]:
    """Yield the paths where pyenv, uv or the PATH may have an interpreter.

    `uv python list` finds the same ones, but takes a second if pyenv is installed.
    """
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"), "versions")
    uvs = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", home / ".local/share/uv/python"))
    yield from map(str, pyenv.glob(f"{version}.*/bin/python{version}"))
    yield from map(str, uvs.glob(f"cpython-{version}.*/bin/python{version}"))
    if on_path := shutil.which(f"python{version}"):
        yield on_path


def is_usable(interpreter: str, version: str) -> bool:
    """Return whether this is a released Python of the version, with ssl and sqlite3."""
    asked = """if True:
        import sqlite3, ssl, sys
        if sys.version_info.releaselevel == "final":
            print("%d.%d" % sys.version_info[:2] + getattr(sys, "abiflags", ""))
    """
    return run([interpreter, "-c", asked], Path.cwd()).stdout.strip() == version


def is_newer(python: str) -> bool:
    """Return whether a version such as "3.14" is newer than the running Python."""
    return tuple(map(int, python.split("."))) > sys.version_info[:2]
