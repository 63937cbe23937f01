"""The Pythons of this machine that a rendered service can run on."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from support.processes import run

OLDEST = 11  # the minor version of the oldest Python that is supported


def find_pythons() -> dict[str, str]:
    """An interpreter for each minor version from ``OLDEST`` up, as {"3.11": path}."""
    pythons = {".".join(map(str, sys.version_info[:2])): sys.executable}
    for minor in range(OLDEST, OLDEST + 20):
        version = f"3.{minor}"
        for interpreter in interpreters(version):
            if version not in pythons and is_usable(interpreter, version):
                pythons[version] = interpreter
    return dict(sorted(pythons.items(), key=lambda item: int(item[0].split(".")[1])))


def interpreters(version: str) -> Iterator[str]:
    """Where a Python may be: with pyenv, with uv, on the PATH.

    `uv python list` knows the same ones, but takes a second where there is pyenv.
    """
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"), "versions")
    uvs = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", home / ".local/share/uv/python"))
    yield from map(str, pyenv.glob(f"{version}.*/bin/python{version}"))
    yield from map(str, uvs.glob(f"cpython-{version}.*/bin/python{version}"))
    if on_path := shutil.which(f"python{version}"):
        yield on_path


def is_usable(interpreter: str, version: str) -> bool:
    """Whether it is a released Python of that version, with what a service needs."""
    asked = """if True:
        import sqlite3, ssl, sys
        if sys.version_info.releaselevel == "final":
            print("%d.%d" % sys.version_info[:2] + getattr(sys, "abiflags", ""))
    """
    return run([interpreter, "-c", asked], Path.cwd()).stdout.strip() == version


def is_newer(python: str) -> bool:
    """Whether a version, as in "3.14", is newer than the Python that runs the tests."""
    return tuple(map(int, python.split("."))) > sys.version_info[:2]
