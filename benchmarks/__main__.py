"""The command: ``python -m benchmarks``."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Plan, measure
from benchmarks.service import DRIVERS, LAYERS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--drivers", default=",".join(DRIVERS))
    parser.add_argument("--layers")
    parser.add_argument("--routes")
    parser.add_argument("--clients")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    plan = Plan(options.drivers.split(","))
    if options.layers:
        plan = replace(plan, layers=options.layers.split(","))
    if options.routes:
        plan = replace(plan, routes=options.routes.split(","))
    if options.clients:
        plan = replace(plan, clients=[int(n) for n in options.clients.split(",")])
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    if options.seconds:
        plan = replace(plan, seconds=options.seconds)
    results = measure(plan)
    print(json.dumps(results.as_json(), indent=1))


if __name__ == "__main__":
    main()
