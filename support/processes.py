"""Runs commands, servers, Git and Copier in processes."""

import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import CompletedProcess

import psutil

SCRIPTS = Path(sys.executable).parent
"""The folder of the programs that the dependencies install."""

COPIER = [sys.executable, "-m", "copier"]

# Variables that would affect a rendered service: its settings, those of pytest and
# coverage, and those of the virtual environment that the tests run in.
OURS = re.compile(
    "DATABASE_|TEST_|PYTEST_|COV_|COVERAGE_|VIRTUAL_ENV|UV_PROJECT|UV_RUN|PYTHON"
)


def clean_environment() -> dict[str, str]:
    """Return the environment of this process without the variables in ``OURS``."""
    return {key: value for key, value in os.environ.items() if not OURS.match(key)}


def environment_with_uv() -> dict[str, str]:
    """Return the clean environment, with uv on its PATH for commands that call it."""
    environment = clean_environment()
    environment["PATH"] = f"{Path(uv()).parent}{os.pathsep}{environment['PATH']}"
    return environment


def run(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> CompletedProcess[str]:
    """Run a command in ``folder``; its ``stdout`` contains its errors, too."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def start(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start a command in ``folder``, with its output in ``log``; ``kill`` ends it."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes] | None) -> None:
    """End a process from ``start`` and its children, if it still runs."""
    if process and process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def kill_tree(pid: int) -> None:
    """Kill the process ``pid`` and its descendants, and wait for their end."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    while any(is_alive(process) for process in processes):
        time.sleep(0.002)


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process runs and is not a zombie.

    A new process that reuses its id is not the same process.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """Return a free TCP port on loopback; see ``reserve_port``."""
    with reserve_port() as reserved:
        return int(reserved.getsockname()[1])


def reserve_port() -> socket.socket:
    """Return a socket that reserves a free TCP port on loopback until it is closed.

    The port is below the range of ephemeral ports: otherwise, a client that retries to
    connect to a stopped server could connect to itself.
    """
    while True:
        reserved = socket.socket()
        try:
            reserved.bind(("127.0.0.1", random.randint(15_000, 32_000)))
        except OSError:
            reserved.close()
            continue
        return reserved


def uv() -> str:
    """Return the path of the uv that runs the tests, or of the one on the PATH."""
    found = os.environ.get("UV") or shutil.which("uv")
    if not found:
        raise FileNotFoundError("uv is missing; run the tests with `uv run pytest`")
    return found


def copier(*arguments: object, cwd: Path) -> CompletedProcess[str]:
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
    """Run git in ``folder``; return its output. Raises CalledProcessError."""
    return subprocess.run(
        ["git", "-c", "user.name=User", "-c", "user.email=user@localhost", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def commit(folder: Path, message: str = "All of it") -> None:
    """Commit all files in ``folder``; create a repository if there is none."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", message)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on the file ``path``, which all processes of the run share."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def wait_for(condition: Callable[[], object], timeout: float = 30) -> None:
    """Wait until ``condition`` returns true, for at most ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited for {timeout} s"
        time.sleep(0.02)
