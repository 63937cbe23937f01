"""Runs Copier in a terminal, as a user does."""

import os
import re
import subprocess
import termios
from io import StringIO
from pathlib import Path
from typing import Self

from pexpect import EOF
from pexpect.fdpexpect import fdspawn

from support.processes import COPIER
from support.questions import QUESTIONS

ENTER, CLEAR, DOWN = "\r", "\x15", "\x1b[B"
STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Copier in an interactive terminal of 80 columns, in the folder ``cwd``.

    It does not use ``pexpect.spawn``, which would fork this process: under
    pytest-xdist, it has threads.
    """

    def __init__(
        self, *arguments: str | Path, rows: int = 24, cwd: Path | None = None
    ) -> None:
        ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (rows, 80))
        self._process = subprocess.Popen(
            [*COPIER, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env=os.environ | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            start_new_session=True,
        )
        os.close(theirs)
        self._dialogue = fdspawn(ours, encoding="utf-8", timeout=30)
        self._dialogue.logfile_read = self.transcript = StringIO()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait()
        self._dialogue.close()

    def expect(self, text: str) -> None:
        """Wait until ``text`` is printed."""
        self._dialogue.expect_exact(text)

    def answer(self, name: str, keys: str = "") -> None:
        """Wait for the question ``name``, and press ``keys`` and Enter."""
        self.expect(QUESTIONS[name]["help"])
        self._dialogue.send(keys + ENTER)

    def correct(self, name: str, remedy: str, keys: str) -> None:
        """Wait until an answer is refused with ``remedy``; enter ``keys`` instead."""
        self.expect(f"question '{name}': {remedy}")
        self._dialogue.send(CLEAR + keys + ENTER)

    def finish(self) -> str:
        """Wait for the end, and return the output after the last prompt."""
        self._dialogue.expect(EOF)
        printed = STYLES.sub("", self._dialogue.before or "")
        assert self._process.wait() == 0, printed
        return printed
