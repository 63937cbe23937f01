"""The figures of the fault tests, shown at the end of the run and in the docs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from support.clients import Ledger
from support.template import ROOT

DOCS = ROOT / "docs" / "reliability.md"
BEGIN = "<!-- {}: written by `uv run pytest tests/faults --write-figures` -->"
END = "<!-- end of figures -->"

Record = Mapping[str, Any]


Figures = Callable[..., None]
"""Records figures of a test, as in ``figures(lost=0, requests=1200)``."""


def figures_of(test: pytest.Item) -> Figures:
    """Return a function that records figures of a test in its row."""
    scenario, _, variant = test.name.removeprefix("test_").partition("[")
    row = {"scenario": scenario.replace("_", " "), "variant": variant.rstrip("]")}
    test.user_properties.append(("figures", row))
    return row.update


def add_scale_out_row(
    test: pytest.Item,
    topology: str,
    driver: str,
    fault: str,
    ledger: Ledger,
    *,
    acknowledged: int | None = None,
    lost: int,
    recovered_after: float | str = "",
) -> None:
    """Add a row to the table of the tests with several servers."""
    row = {
        "topology": topology,
        "driver": driver,
        "fault": fault,
        "requests": ledger.statuses.total(),
        "acknowledged": (
            len(ledger.acknowledged) if acknowledged is None else acknowledged
        ),
        "lost": lost,
        "stale": ledger.stale,
        "recovered_after": recovered_after,
        "statuses": " ".join(sorted(ledger.statuses)),
    }
    test.user_properties.append(("scale-out", row))


class FiguresReport:
    """A pytest plugin of the main process, which collects the figures of all tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._records: dict[str, list[Record]] = {"figures": [], "scale-out": []}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for kind, record in report.user_properties:
                if kind in self._records and isinstance(record, dict):
                    self._records[kind].append(record)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        for kind, records in self._records.items():
            if not records:
                continue
            terminalreporter.section("faults" if kind == "figures" else kind)
            lines = scenarios(records) if kind == "figures" else table(records)
            for line in lines:
                terminalreporter.line(line)
            if self._config.getoption("--write-figures"):
                begin = BEGIN.format(kind)
                before, _, rest = DOCS.read_text().partition(begin)
                _, _, after = rest.partition(END)
                DOCS.write_text("\n".join([before + begin, "", *lines, END]) + after)


def scenarios(records: Sequence[Record]) -> list[str]:
    """Return a Markdown table for each scenario, below its name."""
    lines = []
    for scenario in sorted({record["scenario"] for record in records}):
        ours = [
            {name: figure for name, figure in record.items() if name != "scenario"}
            for record in records
            if record["scenario"] == scenario
        ]
        lines += [f"**{scenario.capitalize()}**", "", *table(ours)]
    return lines


def table(records: Sequence[Record]) -> list[str]:
    """Return a Markdown table, sorted by the names in the first columns.

    An empty line follows it.
    """
    records = sorted(records, key=lambda record: list(record.values())[:3])
    columns = list(dict.fromkeys(name for record in records for name in record))
    rows = [
        [column.replace("_", " ") for column in columns],
        ["---"] * len(columns),
        *([show(record.get(column, "")) for column in columns] for record in records),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def show(figure: object) -> str:
    """Return a figure as text; floats are seconds, and get two decimal places."""
    return f"{figure:.2f} s" if isinstance(figure, float) else str(figure)
