"""Measure rendered services, raw drivers, and the idioms of tutorials.

The full run takes about an hour, the quick one about three minutes, and the long one
(twenty rounds of reads and writes on PostgreSQL) about seven. ``--save`` keeps the
results in this folder, and writes their tables to docs/benchmarks.md.
"""

import argparse
import signal
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.growth import growth, soak
from benchmarks.measure import Plan, Results, measure
from benchmarks.report import (
    Report,
    Table,
    described,
    save_results,
    save_tables,
    titled,
)
from benchmarks.service import BASELINE, DRIVERS, LAYERS

FULL = Plan(
    drivers=[*DRIVERS],
    idioms=("explicit", "pre-ping"),
    changes=[name for name, layer in LAYERS.items() if layer.rendered][1:],
    clients=(1, 16, 64, 300),
    two_workers=True,
    # Many short rounds, because the speed of the machine changes within seconds.
    rounds=10,
    seconds=0.4,
    warm_up=0.2,
    crowd_seconds=10.0,
)
QUICK = Plan(
    drivers=("asyncpg", "psycopg", "psycopg-sync"),
    routes=("read", "write"),
    clients=(64, 300),
    rounds=2,
    seconds=0.6,
)
LONG = Plan(
    drivers=("asyncpg", "psycopg"),
    routes=("read", "write"),
    rounds=20,
    seconds=0.8,
)
LONG_SYNC = replace(
    LONG,
    drivers=("psycopg-sync",),
    # The tutorials' sync layer answers hardly any request of 64 clients.
    layers=("rendered", BASELINE),
)
KINDS = ["speed", "growth"]
PLAN = ("drivers", "layers", "routes", "clients", "rounds", "seconds")


def names(text: str) -> list[str]:
    return text.split(",")


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="a short run, PostgreSQL only"
    )
    parser.add_argument(
        "--long", action="store_true", help="20 rounds, reads and writes on PostgreSQL"
    )
    plan = parser.add_argument_group("changes to the plan")
    plan.add_argument("--drivers", type=names, help=", ".join(DRIVERS))
    plan.add_argument("--layers", type=names, help=", ".join(LAYERS))
    plan.add_argument("--routes", type=names, help="read, write, page, auth")
    plan.add_argument("--clients", type=numbers)
    plan.add_argument("--rounds", type=int)
    plan.add_argument("--seconds", type=float, help="the length of a window")
    other = parser.add_argument_group("single measurements instead of all")
    other.add_argument("--speed", action="store_true", help="speed and CPU time")
    other.add_argument("--growth", action="store_true", help="renders and updates")
    other.add_argument(
        "--soak", type=int, metavar="REQUESTS", help="memory of a worker"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, help="write the results to this file")
    output.add_argument("--show", type=Path, help="only show the results in this file")
    output.add_argument("--save", action="store_true", help="save all, write the docs")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.show:
        show(Results.load(options.show), options)
        return
    if options.long:
        rounds = options.rounds or LONG.rounds
        title = f"Reads and writes on PostgreSQL, {rounds} rounds"
        show_tables({title: long(rounds)}, options)
        return
    wanted = [name for name in KINDS if getattr(options, name)]
    if options.soak:
        drivers = options.drivers or ["asyncpg", "psycopg-sync"]
        show_tables({"A long life": [*soak(drivers, options.soak)]}, options)
    elif not wanted:
        wanted = ["speed"] if options.quick else KINDS
    if "speed" in wanted:
        given = {
            name: getattr(options, name) for name in PLAN if getattr(options, name)
        }
        if "layers" in given:
            given |= {"idioms": (), "changes": ()}
        plan = replace(QUICK if options.quick else FULL, **given)
        measure(plan, lambda results: show(results, options))
    if "growth" in wanted:
        show_tables(growth(), options)


def long(rounds: int) -> Table:
    """Measure reads and writes on PostgreSQL, for a table of its own."""
    found = Results()

    def add(results: Results) -> None:
        found.machine |= results.machine
        found.series += results.series

    for plan in (LONG, LONG_SYNC):
        measure(replace(plan, rounds=rounds), add)
    print(*described(found.machine), sep="\n")
    return Report(found).speed()


def show(results: Results, options: argparse.Namespace) -> None:
    """Print the results, and save them if requested."""
    if options.json:
        results.save(options.json)
    print("\n".join(Report(results).lines()), flush=True)
    if options.save:
        save_results(results)


def show_tables(tables: dict[str, Table], options: argparse.Namespace) -> None:
    """Print tables, and save them if requested."""
    print("\n".join(titled(tables)), flush=True)
    if options.save:
        save_tables(tables)


if __name__ == "__main__":
    # On SIGTERM, exit normally, so that no service keeps running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
