"""Cleans up after a database server, however its owner ends.

Usage: ``python -m support.server_watcher <directory>``, with a pipe as standard input.
The pipe closes when its owner closes it or is killed. Then the process whose id is in
``<directory>/server.pid`` is ended with its children, and the directory is removed.
A process that does not run in the directory is left alone: the server has ended, and
the kernel has given its id to another process.
"""

import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from support.processes import is_alive, kill_tree


def is_server(pid: int, directory: Path) -> bool:
    """Return whether the process ``pid`` runs in the server's directory."""
    with suppress(psutil.Error):
        return Path(psutil.Process(pid).cwd()).is_relative_to(directory)
    return False


def end_tree(pid: int) -> None:
    """Ask the server ``pid`` to quit at once, and kill what is left after 5 s.

    MariaDB quits on SIGTERM. PostgreSQL quits on SIGQUIT without waiting for its
    clients, and releases its shared memory, which SIGKILL would leak.
    """
    with suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        for process in [*server.children(recursive=True), server]:
            with suppress(psutil.NoSuchProcess):
                process.resume()  # It may be frozen.
        server.send_signal(
            signal.SIGQUIT if server.name() == "postgres" else signal.SIGTERM
        )
        deadline = time.monotonic() + 5
        while is_alive(server) and time.monotonic() < deadline:
            time.sleep(0.002)
    kill_tree(pid)


def main(directory: Path) -> None:
    sys.stdin.read()  # This returns when the pipe closes.
    pid_file = directory / "server.pid"
    if pid_file.exists():
        pid = int(pid_file.read_text())
        if is_server(pid, directory):
            end_tree(pid)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
