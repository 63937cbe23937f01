"""Measure rendered services, raw drivers, and the idioms of tutorials.

Without arguments, all parts except the fresh checkout are measured, in about 40
minutes. Each part prints its tables. ``--save`` keeps the results of each part in this
folder when it ends, and writes their tables to docs/benchmarks.md.
"""

import argparse
import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

from benchmarks.fresh_checkout import checkout
from benchmarks.growth import growth, memory
from benchmarks.load import ROUTES
from benchmarks.measure import CROWD, MANY, Plan, Results, Table, facts, measure
from benchmarks.report import Report, save
from benchmarks.service import DRIVERS, LAYERS, OTHERS

CLIENTS = (1, 16, MANY, CROWD)
PLANS = {
    "postgresql": Plan(
        ("asyncpg", "psycopg", "psycopg-sync"),
        others=OTHERS,
        clients=CLIENTS,
        rounds=20,
    ),
    "mysql": Plan(("asyncmy", "aiomysql", "pymysql"), clients=CLIENTS, rounds=4),
    "sqlite": Plan(("aiosqlite", "pysqlite"), clients=CLIENTS, rounds=4),
}
QUICK: dict[str, Any] = {
    "others": (),
    "routes": ("read", "write"),
    "clients": (MANY, CROWD),
    "rounds": 2,
    "crowd_seconds": 3.0,
}
PARTS = [*PLANS, "growth", "memory", "checkout"]
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
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--save", action="store_true", help="save all, write the docs")
    parser.add_argument("--requests", type=int, default=100_000, help="of memory")
    plan = parser.add_argument_group("changes to the plan of the databases")
    plan.add_argument("--quick", action="store_true", help="only what matters most")
    plan.add_argument("--drivers", type=names, help=", ".join(DRIVERS))
    plan.add_argument("--layers", type=names, help=", ".join(LAYERS))
    plan.add_argument("--routes", type=names, help=", ".join(ROUTES))
    plan.add_argument("--clients", type=numbers)
    plan.add_argument("--rounds", type=int)
    plan.add_argument("--seconds", type=float, help="the length of a window")
    options = parser.parse_args(arguments)
    unknown = {*options.parts} - {*PARTS}
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    if options.save and (options.quick or any(getattr(options, name) for name in PLAN)):
        parser.error("only parts that are measured as planned can be saved")
    return options


def plan_of(part: str, options: argparse.Namespace) -> Plan:
    """Return the plan for a database, with the changes that the options ask for."""
    changes = {name: value for name in PLAN if (value := getattr(options, name))}
    if options.drivers:
        changes["drivers"] = [
            name for name in options.drivers if DRIVERS[name].backend == part
        ]
    if options.layers:
        changes["others"] = ()
    return replace(PLANS[part], **(QUICK if options.quick else {}) | changes)


def tables(part: str, requests: int) -> dict[str, Table]:
    """Measure a part that is not a database."""
    match part:
        case "growth":
            return growth()
        case "memory":
            return {"Memory": memory(requests)}
    return {"Fresh checkout to passing tests": checkout()}


def run(part: str, options: argparse.Namespace) -> Results:
    """Measure a part."""
    begun, load = time.monotonic(), os.getloadavg()[0]
    more: dict[str, object] = {}
    if part in PLANS:
        plan = plan_of(part, options)
        results = measure(plan)
        more["rounds"] = plan.rounds
    else:
        results = Results(tables={part: tables(part, options.requests)})
    more["minutes"] = round((time.monotonic() - begun) / 60)
    more["load before and after"] = f"{load:.1f}, {os.getloadavg()[0]:.1f}"
    results.facts[part] = facts() | more
    return results


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.drivers:
        parts = list(dict.fromkeys(DRIVERS[name].backend for name in options.drivers))
    else:
        parts = options.parts or (["postgresql"] if options.quick else PARTS[:-1])
    for part in parts:
        results = run(part, options)
        for lines in Report(results).sections().values():
            print(*lines, sep="\n", flush=True)
        if options.save:
            save(results)


if __name__ == "__main__":
    # On SIGTERM, exit normally, so that no service keeps running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
