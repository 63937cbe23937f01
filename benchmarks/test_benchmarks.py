"""Tests of the benchmarks' command and page; they do not check speed."""

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.measure import MANY, Plan, Results, Series
from benchmarks.report import SECTION, Report
from benchmarks.service import BASELINE


def series(driver: str, layer: str, throughput: list[float], answers: int) -> Series:
    """Return a series of reads of many clients."""
    others = [1.0] * len(throughput)
    return Series(driver, layer, "read", MANY, throughput, others, others, answers)


def test_smallest_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    plan = "--drivers=pysqlite --layers=rendered --routes=read --clients=1 --rounds=1"

    main([*plan.split(), "--seconds=0.1"])

    printed = capsys.readouterr()
    assert "1/1 pysqlite rendered, read, 1: " in printed.err
    assert ", 0 errors" in printed.err
    assert "**Throughput and CPU time, 1 clients**" in printed.out
    assert "**What a service takes**" in printed.out


def test_results_of_a_backend_come_from_one_run(tmp_path: Path) -> None:
    """Ratios are only valid between measurements of the same run."""

    def record(backend: str, *drivers: str) -> Results:
        return Results(
            {backend: {}}, [Series(name, "rendered", "read", 1) for name in drivers]
        )

    known = record("postgresql", "asyncpg", "psycopg")
    known.merge(record("sqlite", "pysqlite"))
    known.merge(record("postgresql", "psycopg"))
    known.save(tmp_path / "results.json")
    known = Results.load(tmp_path / "results.json")

    assert known.facts.keys() == {"postgresql", "sqlite"}
    assert [series.driver for series in known.series] == ["psycopg", "pysqlite"]


def test_only_what_matters_most_is_measured_in_all_rounds() -> None:
    plan = Plan(["psycopg"], others=["explicit"], clients=(1, MANY), rounds=20)

    *first, last = (list(plan.windows(number)) for number in (1, 4, 5, 20))

    main, all_layers = ["rendered", BASELINE, "tutorial"], [*plan.layers, "explicit"]
    assert last == [(route, MANY, tuple(main)) for route in ("read", "write")]
    assert ("write", MANY, all_layers) in first[1]
    assert first[2] == last


def test_targets_follow_from_the_results() -> None:
    results = Results(
        {"postgresql": {"date": "today"}},
        [
            series("psycopg", "rendered", [44, 45, 44], 1000),
            series("psycopg", BASELINE, [100, 100, 100], 1000),
            series("psycopg", "tutorial", [10], 0),
        ],
    )

    sections = Report(results).sections()

    [_, missed] = sections["missed"]
    assert missed.endswith("baseline, psycopg: 0.44 (0.44–0.45) instead of ≥ 0.45")
    targets = "\n".join(sections["results"])
    assert "| **0.44 (0.44–0.45)** |" in targets
    assert "| the tutorial fails " in targets


def test_page_keeps_what_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n<!-- begin figures -->\nold\n<!-- end figures -->\n"
        "<!-- begin growth -->\nold\n<!-- end growth -->\n"
    )
    monkeypatch.setattr(report, "DOCS", page)
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results.json")

    report.save(Results({"growth": {"cores": 2}}, tables={"growth": {"A": [["B"]]}}))

    assert page.read_text() == (
        "# Page\n<!-- begin figures -->\nold\n<!-- end figures -->\n"
        "<!-- begin growth -->\n\n- growth: cores 2\n\n<!-- end growth -->\n"
    )


def test_page_has_all_sections() -> None:
    names = [match[1] for match in SECTION.findall(report.DOCS.read_text())]
    assert names == ["results", "missed", "growth", "memory", "checkout", "figures"]
