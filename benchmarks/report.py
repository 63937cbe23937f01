"""Formats results as tables, targets and plots."""

import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.load import ROUTES
from benchmarks.measure import CROWD, MANY, Results, Series, Table
from benchmarks.service import BASELINE, DRIVERS, LAYERS, MAIN
from support.template import ROOT

DOCS = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "benchmarks" / "results.json"
"""The results of this machine; the repository contains only the tables of the page."""
SECTION = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
"""A part of the page that is written from the results."""


@dataclass
class Ratio:
    """The ratio of two measurements, with its distribution over the rounds."""

    low: float
    """The lower quartile."""
    median: float
    high: float
    """The upper quartile."""

    @classmethod
    def of(
        cls, one: Series | None, other: Series | None, figure: str = "throughput"
    ) -> "Ratio | None":
        """Return ``one`` divided by ``other``, or None if one is missing or fails.

        If one of them has fewer rounds, the further rounds of the other do not count.
        """
        if one is None or other is None or one.fails or other.fails:
            return None
        pairs = zip(getattr(one, figure), getattr(other, figure), strict=False)
        ratios = [a / b for a, b in pairs if b]
        if len(ratios) == 1:
            ratios *= 2
        return cls(*statistics.quantiles(ratios, method="inclusive"))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


class Target(NamedTuple):
    """A target for the rendered layer with a driver."""

    name: str
    asked: str
    measured: str
    reached: bool


def show(figure: object) -> str:
    """Return the cell of a table; a dash for None."""
    return "–" if figure is None else str(figure)


def middle(figures: Sequence[float], digits: int = 0) -> str:
    """Return the median as text."""
    return f"{statistics.median(figures):.{digits}f}" if figures else "–"


def failed(series: Series | None) -> str:
    """Return the share of failed requests as text."""
    if series is None:
        return "–"
    if not series.errors:
        return "0"
    return f"{series.errors / (series.errors + series.answers):.1%}"


class Report:
    """Tables of the results."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self.drivers = list(dict.fromkeys(one.driver for one in results.series))
        self._on_postgresql = [
            name for name in self.drivers if DRIVERS[name].backend == "postgresql"
        ]
        clients = {one.clients for one in results.series}
        # A short run may have a single, different number of clients.
        self._many = MANY if MANY in clients else min(clients, default=MANY)

    def sections(self) -> dict[str, list[str]]:
        """Return the lines of the sections of the page, by name."""
        tables = {
            f"Throughput and CPU time, {self._many} clients": self.speed(True),
            "More and fewer clients": self.speed(False),
            "What a service takes": self.footprints(),
            f"Other layers, {self._many} clients": self.layers(),
        }
        sections = {
            part: ["", self.facts(part), *titled(tables)]
            for part, tables in self._results.tables.items()
        }
        if self.drivers:
            backends = dict.fromkeys(DRIVERS[name].backend for name in self.drivers)
            lines = [*map(self.facts, backends), *titled(tables)]
            sections["figures"] = ["", *lines]
        if self._on_postgresql:
            sections["results"] = [*titled({"Targets on PostgreSQL": self.targets()})]
            missed = self.missed() or ["All targets were reached."]
            sections["missed"] = ["", *missed]
        return sections

    def facts(self, part: str) -> str:
        """Return a line about the versions and the machine."""
        facts = self._results.facts[part].items()
        return f"- {part}: " + ", ".join(f"{name} {value}" for name, value in facts)

    def find(
        self, driver: str, layer: str, route: str, clients: int = 0
    ) -> Series | None:
        """Return the series with these names, or None."""
        key = (driver, layer, route, clients or self._many)
        for one in self._results.series:
            if (one.driver, one.layer, one.route, one.clients) == key:
                return one
        return None

    def speed(self, many: bool) -> Table:
        """Compare the rendered layer with the others, for many or other clients."""
        table = [
            [
                *("driver", "route", "clients", "rounds", "of baseline", "of tutorial"),
                *("CPU of baseline", "CPU of tutorial", "requests/s", "CPU µs"),
                *("p99 ms", "p99 of tutorial", "errors", "errors of tutorial"),
            ]
        ]
        rendered = [
            one
            for one in self._results.series
            if one.layer == "rendered" and (one.clients == self._many) == many
        ]
        order = [(name, route) for name in self.drivers for route in ROUTES]
        rendered.sort(
            key=lambda one: (order.index((one.driver, one.route)), one.clients)
        )
        for ours in rendered:
            baseline, theirs = (
                self.find(ours.driver, layer, ours.route, ours.clients)
                for layer in (BASELINE, "tutorial")
            )
            table.append(
                [
                    *(ours.driver, ours.route, str(ours.clients), str(len(ours.cpu))),
                    *(show(Ratio.of(ours, baseline)), show(Ratio.of(ours, theirs))),
                    show(Ratio.of(ours, baseline, "cpu")),
                    show(Ratio.of(ours, theirs, "cpu")),
                    *(middle(ours.throughput), middle(ours.cpu), middle(ours.p99, 1)),
                    middle(theirs.p99, 1) if theirs and not theirs.fails else "–",
                    *(failed(ours), failed(theirs)),
                ]
            )
        return table

    def footprints(self) -> Table:
        """Return the round trips, new connections, memory and start times."""
        table = [
            [
                *("driver", "layer", *(f"round trips: {route}" for route in ROUTES)),
                *("new connections/1000: read", "write", "memory MB", "start s"),
            ]
        ]
        for one in self._results.footprints:
            trips = [show(one.trips.get(route)) for route in ROUTES]
            new = [show(one.connections.get(route)) for route in ("read", "write")]
            other = [f"{one.memory:.0f}", f"{one.start:.2f}"]
            table.append([one.driver, one.layer, *trips, *new, *other])
        return table

    def layers(self) -> Table:
        """Compare other layers with the rendered one, as ratios."""
        table = [
            [
                *("driver", "layer", "route", "of rendered", "CPU of rendered"),
                *("p99 ms", "errors", "description"),
            ]
        ]
        for one in self._results.series:
            if one.layer not in MAIN:
                ours = self.find(one.driver, "rendered", one.route)
                table.append(
                    [
                        *(one.driver, one.layer, one.route),
                        *(show(Ratio.of(one, ours)), show(Ratio.of(one, ours, "cpu"))),
                        *(middle(one.p99, 1), failed(one), LAYERS[one.layer].about),
                    ]
                )
        return table

    def targets(self) -> Table:
        """Return the targets on PostgreSQL; those that were missed are bold."""
        rows: dict[tuple[str, str], dict[str, str]] = {}
        drivers = self._on_postgresql
        for driver in drivers:
            for name, asked, measured, reached in self.targets_of(driver):
                cells = rows.setdefault((name, asked), {})
                cells[driver] = measured if reached else f"**{measured}**"
        return [
            ["target", "asked for", *drivers],
            *(
                [*target, *(cells.get(driver, "–") for driver in drivers)]
                for target, cells in rows.items()
            ),
        ]

    def missed(self) -> list[str]:
        """Return a line for each target that was missed."""
        return [
            f"- {one.name}, {driver}: {one.measured} instead of {one.asked}"
            for driver in self._on_postgresql
            for one in self.targets_of(driver)
            if not one.reached
        ]

    def targets_of(self, driver: str) -> Iterator[Target]:
        """Yield the targets that were measured with a driver."""
        for goal, route, layer in (
            (0.45, "read", BASELINE),
            (1.4, "read", "tutorial"),
            (1.2, "write", "tutorial"),
        ):
            name = f"{route}s per second, relative to the {layer}"
            yield from self._target(name, goal, driver, layer, route)
        for route in ("read", "write"):
            name = f"p99 of {route}s of {CROWD} clients, relative to the tutorial"
            yield from self._target(name, -0.5, driver, "tutorial", route, CROWD)
        for one in self._results.footprints:
            if (one.driver, one.layer) == (driver, "rendered"):
                for route, asked in {"read": 1, "write": 3}.items():
                    if trips := one.trips.get(route):
                        name = f"round trips of a {route}"
                        yield Target(name, str(asked), f"{trips:.1f}", trips <= asked)
                for route, new in one.connections.items():
                    name = f"new connections in 1000 {route}s, once warm"
                    yield Target(name, "0", f"{new:.1f}", new == 0)
        errors = sum(
            one.errors
            for one in self._results.series
            if (one.driver, one.layer) == (driver, "rendered")
        )
        yield Target("errors", "0", str(errors), errors == 0)

    def _target(
        self,
        name: str,
        goal: float,
        driver: str,
        layer: str,
        route: str,
        clients: int = 0,
    ) -> Iterator[Target]:
        """Yield a target of the throughput or, if ``goal`` is negative, of the p99."""
        ours = self.find(driver, "rendered", route, clients)
        theirs = self.find(driver, layer, route, clients)
        asked = f"≥ {goal:.2f}" if goal > 0 else f"≤ {-goal:.2f}"
        ratio = Ratio.of(ours, theirs, "throughput" if goal > 0 else "p99")
        if ratio:
            # As it is shown, with two digits.
            found = round(ratio.median, 2)
            reached = found >= goal if goal > 0 else found <= -goal
            yield Target(name, asked, str(ratio), reached)
        elif theirs and theirs.fails:
            yield Target(name, asked, f"the {layer} fails", True)


def markdown(table: Table) -> Iterator[str]:
    """Yield the lines of a Markdown table; the first row is its header."""
    rows = [table[0], ["---"] * len(table[0]), *table[1:]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "| " + " | ".join(cells) + " |"


def titled(tables: Mapping[str, Table]) -> Iterator[str]:
    """Yield the lines of all tables that are not empty, below their titles."""
    for title, table in tables.items():
        if len(table) > 1:
            yield from ("", f"**{title}**", "", *markdown(table))


COLOURS = {"rendered": "#2f81f7", "tutorial": "#d29922"}
"""The colours of the bars, legible on black and on white."""
TEXT = "#808890"


def plots(report: Report) -> Iterator[tuple[str, str]]:
    """Yield plots (SVG) by name: throughput, and 99th percentiles under overload."""
    rows = [(driver, route) for driver in report.drivers for route in ("read", "write")]

    def throughput(layer: str, driver: str, route: str) -> float | None:
        baseline = report.find(driver, BASELINE, route)
        ratio = Ratio.of(report.find(driver, layer, route), baseline)
        return ratio.median if ratio else None

    def slowest(layer: str, driver: str, route: str) -> float | None:
        series = report.find(driver, layer, route, CROWD)
        if series is None or series.fails:
            return None
        return statistics.median(series.p99) / 1000

    title = f"Throughput, as a share of the driver baseline, {MANY} clients"
    yield "benchmarks", chart(title, rows, throughput, full=1)
    title = f"99th percentile of the latency in seconds, {CROWD} clients"
    yield "p99", chart(title, rows, slowest, full=5)


def chart(
    title: str,
    rows: Sequence[tuple[str, str]],
    value: Callable[[str, str, str], float | None],
    full: float,
) -> str:
    """Draw bars of the ``value`` of each layer in each row; ``full`` is the maximum."""
    left, width, step, top = 150.0, 500.0, 34, 58
    height = top + step * len(rows) + 30

    def write(text: str, x: float, y: float, more: str = "") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{text}</text>'

    def bar(colour: str, x: float, y: float, length: float) -> str:
        size = f'width="{length:.1f}" height="11"'
        return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>'

    view = f'viewBox="0 0 720 {height}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {view} fill="{TEXT}">',
        write(title, left, 18, 'font-size="14"'),
    ]
    for fifth in range(6):
        x = left + width * fifth / 5
        ends = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{height - 24}"'
        parts.append(f'<line {ends} stroke="{TEXT}" stroke-opacity="0.35"/>')
        label = f"{full * fifth / 5:.2g}"
        parts.append(write(label, x, height - 8, 'text-anchor="middle"'))
    for index, (layer, colour) in enumerate(COLOURS.items()):
        x = left + 160 * index
        parts.append(bar(colour, x, 28, 12))
        parts.append(write(layer, x + 18, 38))
        for number, (driver, route) in enumerate(rows):
            y = top + step * number + 2 + 13 * index
            if not index:
                name = f"{driver}, {route}"
                parts.append(write(name, left - 8, y + 16, 'text-anchor="end"'))
            figure = value(layer, driver, route)
            length = width * min((figure or 0) / full, 1)
            parts.append(bar(colour, left, y, length))
            text = "fails" if figure is None else f"{figure:.2f}"
            parts.append(write(text, left + length + 5, y + 10))
    return "\n".join([*parts, "</svg>", ""])


def save(results: Results) -> None:
    """Add the results to those of this machine, and write the page and its plots."""
    all_results = Results.load(RESULTS)
    all_results.merge(results)
    all_results.save(RESULTS)
    report = Report(all_results)
    sections = report.sections()

    def section(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name not in sections:  # It was not measured on this machine.
            return match[0]
        return begin + "\n".join([*sections[name], "", end])

    DOCS.write_text(SECTION.sub(section, DOCS.read_text()))
    if report.drivers == [*DRIVERS]:  # No bar is missing.
        for name, drawing in plots(report):
            (IMAGES / name).with_suffix(".svg").write_text(drawing)
