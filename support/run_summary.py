"""The summary at the end of a run: the number of services, tests and so on."""

from collections import Counter, defaultdict

import pytest


class Summary:
    """A pytest plugin of the main process, which adds up the counts of the tests.

    A test stores its counts in its ``user_properties``, under "counts".
    """

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """The counts by the name of the test, without its parameters."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            test = report.nodeid.rpartition("::")[2].partition("[")[0]
            for name, counts in report.user_properties:
                if name == "counts" and isinstance(counts, dict):
                    self._counts[test].update(counts)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        if any(self._counts.values()):
            terminalreporter.section("rendered services")
        for test, counts in self._counts.items():
            numbers = [f"{count} {what}" for what, count in counts.items()]
            if numbers:
                terminalreporter.line(f"{test}: {', '.join(numbers)}")
