"""Records a session of `copier copy` as docs/images/prompt.svg.

uv run python -m tests.picture
"""

import re
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import pyte

from tests.answers import asked, template
from tests.history import ROOT
from tests.terminal import CLEAR, DOWN, Terminal

PICTURE = ROOT / "docs" / "images" / "prompt.svg"
ROWS = 150
WIDTH, HEIGHT, EDGE = 8.4, 18, 16
"""Pixels: of a column, of a line, and around them."""
PAPER, INK = "#1e2228", "#d5d9de"
COLOURS = {"green": "#7ec77b", "red": "#e5786d", "cyan": "#6fc3d6", "brown": "#e3b341"}
HEX = re.compile("[0-9a-f]{6}")
URL = "postgresql://shop@db.example.com/shop"
KEYS = {
    "project_description": CLEAR + "Sells looms and engines.",
    "python_min": DOWN,
    "database_url": CLEAR + URL,
    "driver": DOWN,
    "pool_size": CLEAR + "20",
}
"""What is typed at a question, before Enter."""


def session() -> pyte.Screen:
    """The screen at the end of a session."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "template").symlink_to(template())
        screen = pyte.Screen(80, ROWS)
        with Terminal("copy", "template", "shop", rows=ROWS, cwd=Path(folder)) as user:
            for name in asked(database_url=URL):
                user.answer(name, KEYS.get(name, ""))
            user.finish()
            pyte.Stream(screen).feed(user.transcript.getvalue())
    return screen


def shown(screen: pyte.Screen) -> list[int]:
    """The numbers of the lines to show: all but the list of files, in no order."""
    lines = [line.strip() for line in screen.display]
    last = max(number for number, line in enumerate(lines) if line)
    copying, after = (
        next(number for number, line in enumerate(lines) if line.startswith(word))
        for word in ("Copying", "Next")
    )
    return [*range(copying), *range(after, last + 1)]


def draw(screen: pyte.Screen) -> str:
    """The screen as a window (SVG), dark on a light and on a dark page alike."""
    lines = shown(screen)
    width, height = 80 * WIDTH + 2 * EDGE, len(lines) * HEIGHT + 2 * EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
        '<g font-family="monospace" font-size="14" xml:space="preserve">',
    ]
    for position, number in enumerate(lines):
        parts += spans(screen, number, EDGE + (position + 0.8) * HEIGHT)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def spans(screen: pyte.Screen, number: int, y: float) -> Iterator[str]:
    """The drawing of a line at ``y``: a text for each stretch of one style."""
    length = len(screen.display[number].rstrip())
    cells = [(column, screen.buffer[number][column]) for column in range(length)]
    for (colour, bold), group in groupby(cells, lambda it: (it[1].fg, it[1].bold)):
        stretch = list(group)
        text = "".join(cell.data for _, cell in stretch)
        if not text.strip():
            continue
        x = EDGE + stretch[0][0] * WIDTH
        fill = f"#{colour}" if HEX.fullmatch(colour) else COLOURS.get(colour, INK)
        weight = ' font-weight="bold"' if bold else ""
        # Fonts differ in their width: the text is fitted to its columns.
        size = f'x="{x:.1f}" y="{y:.1f}" textLength="{len(stretch) * WIDTH:.1f}"'
        yield f'<text {size} fill="{fill}"{weight}>{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw(session()))
