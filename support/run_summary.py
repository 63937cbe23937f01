"""What a run did with the rendered services, as a table at its end."""

from collections import Counter, defaultdict
from statistics import median
from typing import Any

import pytest

PHASES = ("render", "style", "types", "sync", "suite")


class Summary:
    """A pytest plugin of the run's first process.

    Each test that checks a service tells of it in its ``user_properties``, under
    "service": the seconds that each phase took, and how many ``tests`` its suite ran.
    Each that updates one that was edited tells under "edits" what became of the edits.
    """

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        """What each test told, by its name."""
        self.edits: Counter[str] = Counter()
        """How many edits were kept in updates, are in conflicts, and so on."""
        self.updates: list[float] = []
        """The seconds that each update of an untouched service took."""
        self.skipped: dict[str, str] = {}
        """The reasons of those that were skipped."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        told: dict[str, Any] = dict(report.user_properties)
        self.edits.update(told.get("edits", {}))
        self.updates += told.get("update", [])
        # Tests that use a single step of the checks tell nothing.
        if told.get("service") or ("service" in told and report.skipped):
            name = report.nodeid.rpartition("::")[2]
            self.services[name] = told["service"]
            if report.skipped and isinstance(report.longrepr, tuple):
                self.skipped[name] = report.longrepr[2].removeprefix("Skipped: ")

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        if self.updates:
            terminalreporter.section("updates")
            middle = median(self.updates)
            terminalreporter.line(f"{len(self.updates)} untouched, {middle:.1f} s each")
            edits = [f"{count} {kind}" for kind, count in self.edits.items()]
            terminalreporter.line(f"{self.edits.total()} edits: {', '.join(edits)}")
        if self.services:
            terminalreporter.section("rendered services")
            for line in self.lines():
                terminalreporter.line(line)

    def lines(self) -> list[str]:
        """A line for each test, and for where the time of all workers went."""
        by_test = defaultdict(list)
        for name in self.services:
            by_test[name.partition("[")[0]].append(name)
        lines = [f"{test}: {self.count(names)}" for test, names in by_test.items()]
        spent = {
            phase: sum(service.get(phase, 0.0) for service in self.services.values())
            for phase in PHASES
        }
        phases = [f"{phase} {seconds:.0f} s" for phase, seconds in spent.items()]
        lines.append(f"{sum(spent.values()):.0f} s: {', '.join(phases)}")
        reasons = Counter(self.skipped.values())
        lines += [f"skipped {count}: {reason}" for reason, count in reasons.items()]
        return lines

    def count(self, names: list[str]) -> str:
        """How far the services of some tests have come."""
        services = [self.services[name] for name in names]
        rendered = sum("render" in service for service in services)
        ran = [service["tests"] for service in services if "tests" in service]
        skipped = sum(name in self.skipped for name in names)
        return (
            f"{rendered} rendered, {len(ran)} run, {skipped} skipped, "
            f"{sum(ran)} tests in their suites"
        )
