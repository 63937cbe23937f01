"""Tests of the benchmarks' command and files; they do not check speed."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.measure import Results, Series
from benchmarks.report import DOCS, Page, titled
from benchmarks.service import DRIVERS


def test_smallest_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    plan = "--speed --drivers=pysqlite --layers=rendered --routes=read --clients=1"

    main([*plan.split(), "--rounds=1", "--seconds=0.1", f"--json={file}"])

    results = json.loads(file.read_text())
    [series] = results["series"]
    [footprint] = results["footprints"]
    assert series["answers"] > 0
    assert series["errors"] == 0
    for figure in ("throughput", "cpu", "busy", "p50", "p99"):
        assert len(series[figure]) == 1
    assert footprint.keys() >= {"start", "memory", "trips", "connections"}
    assert "Throughput and CPU time" in capsys.readouterr().out


def test_results_of_a_backend_come_from_one_run() -> None:
    """Ratios are only valid between measurements of the same run."""

    def record(backend: str, *drivers: str) -> Results:
        series = [Series(name, "rendered", 1, "read", 64) for name in drivers]
        return Results({backend: {}}, series)

    known = record("postgresql", "asyncpg", "psycopg")
    known.merge(record("sqlite", "pysqlite"))
    known.merge(record("postgresql", "psycopg"))

    assert known.machine.keys() == {"postgresql", "sqlite"}
    assert [series.driver for series in known.series] == ["psycopg", "pysqlite"]


def test_page_keeps_the_rows_of_other_backends() -> None:
    head = ["driver", "layer", "route", "two of one", "CPU/CPU of one"]
    rows = [["asyncpg", "rendered", "read", "1", "1"], ["pysqlite", "rendered"]]
    page = Page({"sqlite": "- sqlite: then"}, {"A second worker": [head, *rows]})
    results = Results(
        {"sqlite": {"date": "now"}}, [Series("pysqlite", "rendered", 1, "read", 1)]
    )

    page.add_results(results)

    assert page.machine == {"sqlite": "- sqlite: date now"}
    assert page.tables["A second worker"] == [head, rows[0]]


def test_page_is_read_as_it_was_written() -> None:
    page = Page.load()
    lines = [*page.machine.values(), *titled(page.tables)]
    assert "\n".join(lines) in DOCS.read_text()
    assert page.machine.keys() == {driver.backend for driver in DRIVERS.values()}
