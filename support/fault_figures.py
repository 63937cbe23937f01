"""The figures of the fault tests, as a table at the end of the run and in the docs."""

from collections.abc import Mapping
from typing import Any

import pytest

from support.template import ROOT

DOCS = ROOT / "docs" / "reliability.md"
BEGIN = "<!-- figures: written by `uv run pytest tests/faults --write-figures` -->"
END = "<!-- end of figures -->"


class Figures:
    """What a test measured; ``figures(lost=0, requests=1200)`` notes two of it."""

    def __init__(self, node: pytest.Item) -> None:
        scenario, _, variant = node.name.removeprefix("test_").partition("[")
        self._record: dict[str, Any] = {
            "scenario": scenario.replace("_", " "),
            "variant": variant.rstrip("]"),
        }
        node.user_properties.append(("figures", self._record))

    def __call__(self, **figures: object) -> None:
        self._record.update(figures)


class FiguresReport:
    """A pytest plugin of the run's first process, which collects all figures."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._records: list[Mapping[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        record = dict(report.user_properties).get("figures")
        if report.when == "call" and report.passed and isinstance(record, dict):
            self._records.append(record)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        if not self._records:
            return
        terminalreporter.section("faults")
        tables = self.tables()
        for line in tables:
            terminalreporter.line(line)
        if self._config.getoption("--write-figures"):
            before, _, rest = DOCS.read_text().partition(BEGIN)
            _, _, after = rest.partition(END)
            DOCS.write_text("\n".join([before + BEGIN, "", *tables, END]) + after)

    def tables(self) -> list[str]:
        """The lines of a Markdown table for each scenario."""
        lines = []
        for scenario in sorted({record["scenario"] for record in self._records}):
            records = sorted(
                (r for r in self._records if r["scenario"] == scenario),
                key=lambda record: str(record["variant"]),
            )
            columns = list(dict.fromkeys(key for r in records for key in r))[1:]
            rows = [
                [column.replace("_", " ") for column in columns],
                ["---"] * len(columns),
                *(
                    [show(record.get(column, "")) for column in columns]
                    for record in records
                ),
            ]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            lines += [f"**{scenario.capitalize()}**", ""]
            for row in rows:
                cells = (c.ljust(w) for c, w in zip(row, widths, strict=True))
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
        return lines


def show(figure: object) -> str:
    """A figure as text: seconds, which are floats, with two digits."""
    return f"{figure:.2f} s" if isinstance(figure, float) else str(figure)
