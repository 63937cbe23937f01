"""The benchmarks' command works; how fast anything is, no test can say."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.measure import Results, Series


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


def test_record_of_a_backend_is_of_one_run() -> None:
    """Else the ratios would be of windows that were never beside each other."""

    def record(backend: str, *drivers: str) -> Results:
        series = [Series(name, "rendered", 1, "read", 64) for name in drivers]
        return Results({backend: {}}, series)

    known = record("postgresql", "asyncpg", "psycopg")
    known.merge(record("sqlite", "pysqlite"))
    known.merge(record("postgresql", "psycopg"))

    assert known.machine.keys() == {"postgresql", "sqlite"}
    assert [series.driver for series in known.series] == ["psycopg", "pysqlite"]
