"""The pages of the documentation, and a reader that follows them."""

import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support import fork_server
from support.processes import SCRIPTS, clean_environment, free_port, kill, run, start

FENCE = re.compile(
    r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL
)
PROGRAM = re.compile(
    r"((?:\w+=\S+ )*)(?:uv run|uvx) ((?:alembic|copier|mypy|pytest|python)\b[^|&;<>]*)"
)
"""A command that runs one Python program, with the variables that it sets."""
SERVER = re.compile(r"\buv run fastapi (dev|run)\b")
ADDRESS = "127.0.0.1:8000"
TIMEOUT = 20.0
"""The seconds to wait for a server to start or to reload."""


@dataclass(frozen=True)
class Block:
    """A fenced code block of a page."""

    language: str
    title: str
    """The path of the file that the block creates or changes, or ""."""
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, in their order."""
    return [Block(*found) for found in FENCE.findall(page.read_text())]


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console block, each with the output that it shows."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output.strip()


def shows(expected: str, printed: str) -> bool:
    """Return whether ``expected`` was printed, where "…" matches anything."""
    pattern = ".*".join(map(re.escape, expected.split("…")))
    return re.search(pattern, printed, re.DOTALL) is not None


class Reader:
    """Follows pages in ``folder``: runs commands, creates files, and changes files.

    `uvx` and `uv run` use the packages of this environment (test_samples.py tests real
    ones), and each service gets a free port. Raises AssertionError if something differs
    from what the page says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """The current folder; ``cd`` changes it."""
        self.replacements = {ADDRESS: f"127.0.0.1:{free_port()}"}
        """The addresses of the page, and those on this machine."""
        tools = folder / ".tools"
        tools.mkdir()
        run_it = f'PATH="{SCRIPTS}:$PATH" exec "$@"'
        skip = '[ "$1" = sync ] || [ "$1" = lock ] || [ "$1" = add ] || '
        scripts = {
            "uvx": f'[ "$1" != --from ] || shift 2; {run_it}',
            "uv": f"{skip}{{ shift; {run_it}; }}",
        }
        for name, line in scripts.items():
            (tools / name).write_text(f"#!/bin/sh\n{line}\n")
            (tools / name).chmod(0o755)
        self.environment = clean_environment() | {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": "src",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "user.name",
            "GIT_CONFIG_VALUE_0": "User",
            "GIT_CONFIG_KEY_1": "user.email",
            "GIT_CONFIG_VALUE_1": "user@localhost",
        }
        self._log = tools / "service.log"
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def read(self, page: Path) -> None:
        """Follow a page to its end."""
        for block in blocks(page):
            self.follow(block)

    def follow(self, block: Block) -> None:
        """Run the commands of a block, or create or change its file."""
        match block.language:
            case "console":
                for command, output in commands(block):
                    self.type(command, output)
            case "diff":
                self.change(self.folder / block.title, block.text)
            case _ if block.title:
                text = self.localize(block.text)
                (self.folder / block.title).write_text(text)

    def localize(self, text: str) -> str:
        """Return a text of the page with the addresses of this machine."""
        for original, local in self.replacements.items():
            text = text.replace(original, local)
        return text

    def change(self, file: Path, diff: str) -> None:
        """Apply a diff without line numbers; the lines to change must occur once."""
        old, new = (
            "".join(line[1:] for line in diff.splitlines(True) if line[0] in signs)
            for signs in (" -", " +")
        )
        text = file.read_text()
        assert text.count(old) == 1, f"{file.name} does not have once:\n{old}"
        file.write_text(text.replace(old, new))

    def type(self, command: str, output: str = "") -> str:
        """Run a command, compare its output with the page, and return it."""
        words = command.split()
        if words[0] == "cd":
            self.folder /= words[1]
            return ""
        if SERVER.search(command):
            self.start(command)
            return ""
        asks = words[:2] == ["uvx", "copier"] and words[2] in {"copy", "update"}
        if asks and "--defaults" not in words:  # There is no terminal.
            command += " --defaults"
        printed = self.run(command)
        assert shows(self.localize(output), printed), f"{command}\n{printed}"
        return printed

    def run(self, command: str) -> str:
        """Run a command to its end; repeat it while the service is still loading."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            status, printed = self._run(self.localize(command))
            loading = status or printed == '{"detail":"Not Found"}'
            if not (command.startswith("curl") and loading):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert status == 0, f"{command}\n{printed}"
        return printed

    def _run(self, command: str) -> tuple[int, str]:
        """Run a command in a shell, or faster if it is a ``PROGRAM``."""
        if found := PROGRAM.fullmatch(command):
            assigned = dict(each.split("=", 1) for each in shlex.split(found[1]))
            result = fork_server.run_program(
                shlex.split(found[2]), self.folder, self.environment | assigned
            )
            return result.status, result.output
        done = run(["bash", "-c", command], self.folder, self.environment)
        return done.returncode, done.stdout

    def start(self, command: str) -> None:
        """Start a service, instead of a running one, and wait until it is up."""
        self.stop()
        host, _, port = self.replacements[ADDRESS].partition(":")
        in_shell = ["bash", "-c", f"{self.localize(command)} --port {port}"]
        self._server = start(in_shell, self.folder, self.environment, self._log)
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"{command}\n{self._log.read_text()}")

    def stop(self) -> None:
        """Stop the service, if one runs."""
        kill(self._server)
