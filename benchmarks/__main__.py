"""Measure rendered services beside raw drivers and the tutorials' idioms.

The full run measures everything and takes about 40 minutes, ``--quick`` about three.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Plan, Results, measure
from benchmarks.report import Report, write_docs
from benchmarks.service import DRIVERS, LAYERS

FULL = Plan(
    drivers=[*DRIVERS],
    idioms=("explicit", "pre-ping"),
    changes=[name for name, layer in LAYERS.items() if layer.rendered][1:],
    clients=(1, 16, 64, 300),
    two_workers=True,
    rounds=3,
)
QUICK = Plan(
    drivers=("asyncpg", "psycopg", "psycopg-sync"),
    routes=("read", "write"),
    clients=(64, 300),
    rounds=2,
    seconds=0.6,
)


def names(text: str) -> list[str]:
    return text.split(",")


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="PostgreSQL, in short")
    changes = parser.add_argument_group("changes to the plan")
    changes.add_argument("--drivers", type=names, help=", ".join(DRIVERS))
    changes.add_argument("--layers", type=names, help=", ".join(LAYERS))
    changes.add_argument("--routes", type=names, help="read, write, page, auth")
    changes.add_argument("--clients", type=numbers)
    changes.add_argument("--rounds", type=int)
    changes.add_argument("--seconds", type=float, help="the length of a window")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, help="write the results to this file")
    output.add_argument(
        "--show", type=Path, help="measure nothing, show results from a file"
    )
    output.add_argument(
        "--write-docs", action="store_true", help="write docs/benchmarks.md's figures"
    )
    options = parser.parse_args(arguments)
    if options.show:
        results = Results.from_json(json.loads(options.show.read_text()))
    else:
        given = {
            name: getattr(options, name)
            for name in ("drivers", "layers", "routes", "clients", "rounds", "seconds")
            if getattr(options, name)
        }
        if "layers" in given:
            given |= {"idioms": (), "changes": ()}
        results = measure(replace(QUICK if options.quick else FULL, **given))
    if options.json:
        options.json.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    print("\n".join(Report(results).lines()))
    if options.write_docs:
        write_docs(results)


if __name__ == "__main__":
    main()
