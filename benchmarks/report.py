"""Formats results as tables, targets and plots."""

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measure import CROWD, MANY, Results, Series
from benchmarks.service import BASELINE, DRIVERS, LAYERS
from support.template import ROOT

DOCS = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "benchmarks" / "results.json"
"""The results of this machine; the repository contains only the tables of the page."""
BEGIN = "<!-- figures: written by `python -m benchmarks --save` -->"
END = "<!-- end of figures -->"

Table = list[list[str]]
Target = tuple[str, str, str, bool]
"""The name, the goal, the measurement, and whether the goal was reached."""


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
        """Return ``one`` divided by ``other``; None if one of them never responded."""
        if one is None or other is None:
            return None
        pairs = zip(getattr(one, figure), getattr(other, figure), strict=True)
        ratios = [a / b for a, b in pairs if b]
        if not ratios:
            return None
        if len(ratios) == 1:
            ratios *= 2
        return cls(*statistics.quantiles(ratios, method="inclusive"))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def show(figure: object) -> str:
    """Return the cell of a table; a dash for None."""
    return "–" if figure is None else str(figure)


def middle(figures: Sequence[float], digits: int = 0) -> str:
    """Return the median as text."""
    if not figures:
        return "–"
    return f"{statistics.median(figures):.{digits}f}"


class Report:
    """Tables of a run's results."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._drivers = list(dict.fromkeys(one.driver for one in results.series))
        self._clients = sorted({one.clients for one in results.series})
        # A short run may have a single, different number of clients.
        self._many = MANY if MANY in self._clients else self._clients[0]

    def lines(self) -> Iterator[str]:
        """Yield the whole report as Markdown."""
        yield from described(self._results.machine)
        yield from titled(self.tables())

    def tables(self) -> Mapping[str, Table]:
        """Return all tables by title; each has a column "driver"."""
        return {
            "Targets": self.targets(),
            f"Throughput and CPU time, {self._many} clients": self.speed(),
            "More and fewer clients": self.by_clients(),
            "What a service takes": self.footprints(),
            f"Other layers, {self._many} clients": self.layers(),
            "A second worker": self.workers(),
        }

    def find(
        self, driver: str, layer: str, route: str, clients: int = 0, workers: int = 1
    ) -> Series | None:
        clients = clients or self._many
        return self._results.find(driver, layer, route, clients, workers)

    def speed(self) -> Table:
        """Compare the rendered layer with the baseline and the tutorials' layer."""
        table = [
            [
                *("driver", "route", "of the baseline", "of the tutorial's"),
                *("CPU/baseline", "CPU/tutorial's", "requests/s", "CPU µs"),
                *("p50 ms", "p99 ms", "tutorial's p99", "errors", "tutorial's errors"),
            ]
        ]
        for driver in self._drivers:
            for route in dict.fromkeys(one.route for one in self._results.series):
                ours = self.find(driver, "rendered", route)
                if ours is None:
                    continue
                baseline = self.find(driver, BASELINE, route)
                theirs = self.find(driver, "tutorial", route)
                table.append(
                    [
                        *(driver, route),
                        show(Ratio.of(ours, baseline)),
                        show(Ratio.of(ours, theirs)),
                        show(Ratio.of(ours, baseline, "cpu")),
                        show(Ratio.of(ours, alive(theirs), "cpu")),
                        *(middle(ours.throughput), middle(ours.cpu)),
                        *(middle(ours.p50, 1), middle(ours.p99, 1)),
                        middle(theirs.p99 if theirs else (), 1),
                        *(share(ours), share(theirs)),
                    ]
                )
        return table

    def by_clients(self) -> Table:
        """Compare them briefly, by number of clients."""
        table = [
            [
                *("driver", "route", "clients", "of the baseline", "of the tutorial's"),
                *("p99 ms", "tutorial's p99", "errors", "tutorial's errors"),
            ]
        ]
        if len(self._clients) == 1:
            return table
        for driver in self._drivers:
            for route in ("read", "write"):
                for clients in self._clients:
                    ours = self.find(driver, "rendered", route, clients)
                    if ours is None:
                        continue
                    baseline = self.find(driver, BASELINE, route, clients)
                    theirs = self.find(driver, "tutorial", route, clients)
                    table.append(
                        [
                            *(driver, route, str(clients)),
                            show(Ratio.of(ours, baseline)),
                            show(Ratio.of(ours, theirs)),
                            middle(ours.p99, 1),
                            middle(theirs.p99 if theirs else (), 1),
                            *(share(ours), share(theirs)),
                        ]
                    )
        return table

    def footprints(self) -> Table:
        """Return the round trips, new connections, memory and start times."""
        table = [
            [
                *("driver", "layer", "trips: read", "write", "page", "auth"),
                *("new connections/1000: read", "write"),
                *("memory MB", "start s"),
            ]
        ]
        for one in self._results.footprints:
            trips = [show(one.trips.get(r)) for r in ("read", "write", "page", "auth")]
            new = [middle(one.connections.get(r, ()), 1) for r in ("read", "write")]
            row = [one.driver, one.layer, *trips, *new]
            table.append([*row, middle(one.memory), middle(one.start, 2)])
        return table

    def layers(self) -> Table:
        """Compare other layers with the rendered one, as ratios."""
        table = [
            [
                *("driver", "layer", "route", "of the rendered"),
                *("CPU/rendered", "p99 ms", "errors", "what it is"),
            ]
        ]
        for one in self._results.series:
            if one.layer in {"rendered", BASELINE, "tutorial"} or one.workers > 1:
                continue
            ours = self.find(one.driver, "rendered", one.route, one.clients)
            table.append(
                [
                    *(one.driver, one.layer, one.route),
                    show(Ratio.of(one, ours)),
                    show(Ratio.of(one, ours, "cpu")),
                    *(middle(one.p99, 1), share(one), LAYERS[one.layer].about),
                ]
            )
        return table

    def workers(self) -> Table:
        """Compare the throughput of two workers with that of one."""
        table = [["driver", "layer", "route", "two of one", "CPU/CPU of one"]]
        for one in self._results.series:
            if one.workers == 1:
                continue
            single = self.find(one.driver, one.layer, one.route, one.clients)
            table.append(
                [
                    *(one.driver, one.layer, one.route),
                    show(Ratio.of(one, single)),
                    show(Ratio.of(one, single, "cpu")),
                ]
            )
        return table

    def targets(self) -> Table:
        """Return the targets, and whether they were reached."""
        rows = [["target", "driver", "asked for", "measured", "reached"]]
        for driver in self._drivers:
            for name, asked, found, reached in self._targets_of(driver):
                answer = "yes" if reached else "no"
                rows.append([name, driver, asked, found, answer])
        return rows

    def _targets_of(self, driver: str) -> Iterator[Target]:
        ours, theirs = "rendered", "tutorial"
        yield from self._at_least(
            0.4, "reads, of the baseline", "read", driver, BASELINE
        )
        if DRIVERS[driver].mode == "async":
            name = "of the tutorial's"
            yield from self._at_least(1.5, f"reads, {name}", "read", driver, theirs)
            yield from self._at_least(1.2, f"writes, {name}", "write", driver, theirs)
        else:
            yield from self._beside_async(driver)
        footprint = self._results.footprint(driver, ours)
        if footprint and footprint.trips:
            for route, goal in {"read": 1.0, "write": 3.0}.items():
                if route in footprint.trips:
                    trips = footprint.trips[route]
                    name = f"round trips of a {route}"
                    yield name, f"{goal:.0f}", f"{trips:.1f}", trips <= goal
            new = max(max(counts) for counts in footprint.connections.values())
            yield "new connections once warm", "0", f"{new:.1f}/1000", new == 0
        for route in ("read", "write"):
            crowd = self.find(driver, ours, route, CROWD)
            other = self.find(driver, theirs, route, CROWD)
            if crowd and other:
                ratio = Ratio.of(crowd, other, "p99")
                assert ratio
                name = f"p99 of a {route} at {CROWD}, of the tutorial's"
                yield name, "≤ 0.10", str(ratio), ratio.median <= 0.1
        errors = sum(
            one.errors
            for one in self._results.series
            if (one.driver, one.layer) == (driver, ours)
        )
        yield "errors", "0", str(errors), errors == 0

    def _beside_async(self, driver: str) -> Iterator[Target]:
        """Yield the targets relative to async tutorials on the same database."""
        backend = DRIVERS[driver].backend
        for rival in (DRIVERS[name] for name in self._drivers):
            if (rival.backend, rival.mode) == (backend, "async"):
                for route in ("read", "write"):
                    name = f"{route}s, of the tutorial's on {rival.name}"
                    yield from self._at_least(
                        1.0, name, route, driver, "tutorial", rival.name
                    )

    def _at_least(
        self,
        goal: float,
        name: str,
        route: str,
        driver: str,
        layer: str,
        rival: str = "",
    ) -> Iterator[Target]:
        """Yield the throughput of the rendered layer relative to that of ``layer``."""
        ratio = Ratio.of(
            self.find(driver, "rendered", route),
            self.find(rival or driver, layer, route),
        )
        if ratio:
            yield name, f"≥ {goal:.2f}", str(ratio), ratio.median >= goal


def alive(series: Series | None) -> Series | None:
    """Return the series, or None if it has hardly any responses."""
    return series if series and series.answers > 10 * len(series.cpu) else None


def share(series: Series | None) -> str:
    """Return the share of failed requests as text."""
    if series is None:
        return "–"
    if not series.errors:
        return "0"
    return f"{series.errors / (series.errors + series.answers):.1%}"


def markdown(table: Table) -> Iterator[str]:
    """Yield the lines of a Markdown table; the first row is its header."""
    rows = [table[0], ["---"] * len(table[0]), *table[1:]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "| " + " | ".join(cells) + " |"


COLOURS = {"rendered": "#2f81f7", "tutorial": "#d29922"}
"""The colours of the bars, legible on black and on white."""
TEXT = "#808890"


def plots(results: Results) -> Iterator[tuple[str, str]]:
    """Yield plots (SVG) by name: throughput, and 99th percentiles under overload."""
    report = Report(results)
    rows = [
        (driver, route)
        for driver in dict.fromkeys(one.driver for one in results.series)
        for route in ("read", "write")
    ]

    def throughput(layer: str, driver: str, route: str) -> float | None:
        baseline = report.find(driver, BASELINE, route)
        ratio = Ratio.of(report.find(driver, layer, route), baseline)
        return ratio.median if ratio else None

    def slowest(layer: str, driver: str, route: str) -> float | None:
        series = alive(report.find(driver, layer, route, CROWD))
        return statistics.median(series.p99) / 1000 if series else None

    title = f"Requests per second, as a share of the driver's own pool, {MANY} clients"
    yield "benchmarks", chart(title, rows, throughput, full=0.5)
    title = f"Seconds in which 99 of 100 requests are answered, {CROWD} clients"
    yield "p99", chart(title, rows, slowest, full=10)


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


def titled(tables: Mapping[str, Table]) -> Iterator[str]:
    """Yield the lines of all tables that are not empty, below their titles."""
    for title, table in tables.items():
        if len(table) > 1:
            yield from ("", f"**{title}**", "", *markdown(table))


def described(machine: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """Yield a line about the machine and its load for each backend."""
    for backend, facts in machine.items():
        shown = ", ".join(f"{name} {value}" for name, value in facts.items())
        yield f"- {backend}: {shown}"


@dataclass
class Page:
    """The part of docs/benchmarks.md between the markers: lines and tables."""

    machine: dict[str, str]
    """A line for each backend."""
    tables: dict[str, Table]

    @classmethod
    def load(cls) -> "Page":
        """Read the current page."""
        page = cls({}, {})
        title = ""
        text = DOCS.read_text().partition(BEGIN)[2].partition(END)[0]
        for line in text.splitlines():
            if line.startswith("- "):
                page.machine[line[2:].partition(":")[0]] = line
            elif line.startswith("**"):
                title = line.strip("*")
                page.tables[title] = []
            elif line.startswith("| ") and not line.startswith("| ---"):
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                page.tables[title].append(cells)
        return page

    def add_results(self, results: Results) -> None:
        """Replace all rows of the backends that a run measured with those of the run.

        Ratios are only valid between measurements of the same run.
        """
        report = Report(results)
        lines = described(results.machine)
        self.machine |= dict(zip(results.machine, lines, strict=True))
        tables = {}
        for title, (head, *rows) in report.tables().items():
            column = head.index("driver")
            rows += [
                row
                for row in self.tables.pop(title, [head])[1:]
                if DRIVERS[row[column]].backend not in results.machine
            ]
            by_driver = {
                name: [r for r in rows if r[column] == name] for name in DRIVERS
            }
            tables[title] = [head, *itertools.chain(*by_driver.values())]
        self.tables = tables | self.tables

    def save(self) -> None:
        """Write the page."""
        lines = [*self.machine.values(), *titled(self.tables)]
        before, _, rest = DOCS.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCS.write_text("\n".join([before + BEGIN, "", *lines, "", END]) + after)


def save_results(results: Results) -> None:
    """Save the results on this machine, and write their tables and plots."""
    local = Results.load(RESULTS) if RESULTS.exists() else Results()
    local.merge(results)
    local.save(RESULTS)
    page = Page.load()
    page.add_results(results)
    page.save()
    if {one.driver for one in local.series} == DRIVERS.keys():  # No bar is missing.
        for name, drawing in plots(local):
            (IMAGES / name).with_suffix(".svg").write_text(drawing)


def save_tables(tables: Mapping[str, Table]) -> None:
    """Write tables of other runs; they replace those with the same titles."""
    page = Page.load()
    page.tables |= tables
    page.save()
