"""What a run did with the rendered services, in a few lines at its end."""

from collections import Counter, defaultdict

import pytest


class Summary:
    """A pytest plugin of the run's first process, which adds up what tests count.

    A test puts its numbers into its ``user_properties``, under "counts".
    """

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By the name of the test, without its parameters."""

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
