"""How far the run is, and at its end what it did with the rendered services."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import median
from typing import Any

import pytest

PHASES = ("render", "style", "types", "sync", "suite")

INTERVAL = 15.0  # seconds


class Progress:
    """A pytest plugin of the run's first process: every so often a line of progress.

    It has the count, the time left and the slowest test. What a test takes that is yet
    to come is what those of the same function took, for other parameters.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.workers: set[object] = set()
        self.expected: Counter[str] = Counter()
        """How many tests there are, by function."""
        self.done: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """The time spent, by function."""
        self.slowest: defaultdict[str, float] = defaultdict(float)
        """The time spent, by test."""
        self.told = time.monotonic()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self.workers.add(node)
        self.expect(ids)

    def expect(self, ids: Iterable[str]) -> None:
        self.expected = Counter(map(function_of, ids))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        function = function_of(report.nodeid)
        self.seconds[function] += report.duration
        self.slowest[report.nodeid] += report.duration
        self.done[function] += report.when == "teardown"
        if time.monotonic() > self.told + INTERVAL:
            self.told = time.monotonic()
            reporter = self.config.pluginmanager.get_plugin("terminalreporter")
            if isinstance(reporter, pytest.TerminalReporter):
                reporter.write_line(self.line())

    def line(self) -> str:
        """How far the run is."""
        done = self.done.total()
        mean = sum(self.seconds.values()) / max(done, 1)
        left = 0.0
        for name, count in self.expected.items():
            ran = self.done[name]
            left += (count - ran) * (self.seconds[name] / ran if ran else mean)
        minutes, seconds = divmod(round(left / max(len(self.workers), 1)), 60)
        longest, slowest = max((took, name) for name, took in self.slowest.items())
        return (
            f"{done} of {self.expected.total()} tests, {minutes}:{seconds:02} left, "
            f"slowest: {longest:.1f} s {slowest.rpartition('::')[2]}"
        )


def function_of(nodeid: str) -> str:
    """The test's function, without its parameters."""
    return nodeid.partition("[")[0]


class Summary:
    """A pytest plugin of the run's first process.

    Each test that accepts a service tells of it in its ``user_properties``, under
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
        # Tests that only borrow the means to accept a service tell nothing.
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
        """What there is to tell, a line each; times add up those of all workers."""
        by_test = defaultdict(list)
        for name in self.services:
            by_test[function_of(name)].append(name)
        lines = [f"{test}: {self.count(names)}" for test, names in by_test.items()]
        spent = {
            phase: sum(service.get(phase, 0.0) for service in self.services.values())
            for phase in PHASES
        }
        phases = [f"{phase} {seconds:.0f} s" for phase, seconds in spent.items()]
        lines.append(f"{sum(spent.values()):.0f} s: {', '.join(phases)}")
        rendered = [name for name, one in self.services.items() if "render" in one]
        slowest = sorted(rendered, key=self.seconds, reverse=True)[:3]
        lines += [f"slowest: {self.seconds(name):.1f} s {name}" for name in slowest]
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

    def seconds(self, name: str) -> float:
        """What one service took, all phases together."""
        return float(sum(self.services[name].get(phase, 0.0) for phase in PHASES))
