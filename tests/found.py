"""What there is to test with: the template's variants, Pythons, database servers."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.samples import fresh_samples, tuning_samples, url_samples
from tests.servers import BACKENDS, ServerError, ServerMissingError, find_server
from tests.variants import Template, Variant

OLDEST = 11  # the minor version of the oldest Python that is supported


@dataclass(frozen=True)
class Found:
    """What the run's first process found."""

    variants: dict[str, list[Variant]] = field(default_factory=dict)
    """All variants, and the samples of what does not span them, by their argument."""
    pythons: dict[str, str] = field(default_factory=dict)
    """The path of the interpreter for each minor version, as in "3.11"."""
    servers: dict[str, str] = field(default_factory=dict)
    """The URL of the server for each backend that has one."""
    sockets: dict[str, str] = field(default_factory=dict)
    """The Unix socket of the server, if it is on this machine."""
    missing: dict[str, str] = field(default_factory=dict)
    """Why there is none for the others; on this machine that is all right."""
    broken: dict[str, str] = field(default_factory=dict)
    """Why there is none for the others, and it is not."""

    @classmethod
    def out(cls, exits: ExitStack) -> Self:
        """Find out, and start the servers, which end with ``exits``."""
        found = cls()
        with ThreadPoolExecutor() as threads:
            servers = {
                backend: threads.submit(find_server, backend, exits)
                for backend in BACKENDS
            }
            pythons = threads.submit(find_pythons)
            with Template.open() as template:
                found.variants["variant"] = list(template.variants())
                found.variants["url_sample"] = list(url_samples(template))
                found.variants["tuning_sample"] = list(tuning_samples(template))
                found.pythons.update(pythons.result())
                found.variants["fresh_sample"] = list(
                    fresh_samples(
                        template, found.variants["variant"], list(found.pythons)
                    )
                )
        for backend, server in servers.items():
            found.note(backend, server.result)
        return found

    def note(self, backend: str, start: Callable[[], tuple[str, str]]) -> None:
        """Note the URL and the socket that ``start`` returns, or why it does not."""
        try:
            self.servers[backend], self.sockets[backend] = start()
        except ServerMissingError as error:
            where = self.broken if "CI" in os.environ else self.missing
            where[backend] = str(error)
        except ServerError as error:
            self.broken[backend] = str(error)

    @classmethod
    def told(cls, text: str) -> Self:
        """What another process found, and told with ``tell``."""
        parts = json.loads(text)
        variants = {
            name: [Variant(**variant) for variant in variants]
            for name, variants in parts.pop("variants").items()
        }
        return cls(variants=variants, **parts)

    def tell(self) -> str:
        return json.dumps(asdict(self))


def uv() -> str:
    """The path of uv: the one that runs us, or the one on the PATH."""
    found = os.environ.get("UV") or shutil.which("uv")
    if not found:
        pytest.fail("uv is missing; run the tests with `uv run pytest`", pytrace=False)
    return found


def find_pythons() -> dict[str, str]:
    """An interpreter for each minor version from ``OLDEST`` up, as {"3.11": path}."""
    pythons = {".".join(map(str, sys.version_info[:2])): sys.executable}
    for minor in range(OLDEST, OLDEST + 20):
        version = f"3.{minor}"
        for interpreter in interpreters(version):
            if version not in pythons and runs(interpreter, version):
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


def runs(interpreter: str, version: str) -> bool:
    """Whether it is a released Python of that version, with what a service needs."""
    asked = """if True:
        import sqlite3, ssl, sys
        if sys.version_info.releaselevel == "final":
            print("%d.%d" % sys.version_info[:2] + getattr(sys, "abiflags", ""))
    """
    done = subprocess.run(
        [interpreter, "-c", asked], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() == version
