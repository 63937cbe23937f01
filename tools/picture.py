"""Records a session of `copier copy` as docs/images/prompt.svg.

uv run python -m tools.picture
"""

import html
import re
import tempfile
from io import StringIO
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from support.questions import asked
from support.template import ROOT, questions_only
from support.terminal import CLEAR, DOWN, Terminal

PICTURE = ROOT / "docs" / "images" / "prompt.svg"
COLUMNS, ROWS = 80, 150
HEX = re.compile("[0-9a-f]{6}")
NAMED = {"default": None, "brown": "yellow"}
"""Colours that have other names in pyte than in Rich."""
URL = "postgresql://shop@db.example.com/shop"
KEYS = {
    "project_description": CLEAR + "Sells looms and engines.",
    "python_min": DOWN,
    "database_url": CLEAR + URL,
    "driver": DOWN,
    "pool_size": CLEAR + "20",
}
"""The keys to type at a question, before Enter."""


def session() -> pyte.Screen:
    """Return the screen at the end of a session."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "template").symlink_to(questions_only())
        screen = pyte.Screen(COLUMNS, ROWS)
        with Terminal("copy", "template", "shop", rows=ROWS, cwd=Path(folder)) as user:
            for name in asked(database_url=URL):
                user.answer(name, KEYS.get(name, ""))
            user.finish()
            pyte.Stream(screen).feed(user.transcript.getvalue())
    return screen


def shown(screen: pyte.Screen) -> list[int]:
    """Return the numbers of the lines to show: all except the list of files."""
    lines = [line.strip() for line in screen.display]
    last = max(number for number, line in enumerate(lines) if line)
    copying, after = (
        next(number for number, line in enumerate(lines) if line.startswith(word))
        for word in ("Copying", "Next")
    )
    return [*range(copying), *range(after, last + 1)]


def draw(screen: pyte.Screen) -> str:
    """Draw the screen as a window (SVG)."""
    console = Console(record=True, width=COLUMNS, file=StringIO())
    for number in shown(screen):
        line = Text()
        length = len(screen.display[number].rstrip())
        cells = (screen.buffer[number][column] for column in range(length))
        for (colour, bold), piece in groupby(cells, lambda cell: (cell.fg, cell.bold)):
            if HEX.fullmatch(colour):
                colour = f"#{colour}"
            style = Style(color=NAMED.get(colour, colour), bold=bold)
            line.append("".join(cell.data for cell in piece), style)
        console.print(line)
    return console.export_svg(title="copier copy")


def text_of(drawing: str) -> str:
    """Return the text of a drawing, in which each element has letters of one style."""
    pieces = re.findall("<text[^>]*>(.*?)</text>", drawing)
    return html.unescape("\n".join(pieces))


if __name__ == "__main__":
    PICTURE.write_text(draw(session()))
