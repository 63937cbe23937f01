"""Tests of the summary at the end of a run."""

import pytest

pytest_plugins = ["pytester"]


def test_summary_adds_up_what_tests_count(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""\
from support.run_summary import Summary

def pytest_configure(config):
    config.pluginmanager.register(Summary())
""")
    pytester.makepyfile("""\
import pytest

@pytest.mark.parametrize("number", [1, 2, 3])
def test_it(request, number):
    counts = {"services": 1}
    request.node.user_properties.append(("counts", counts))
    counts["tests in suites"] = number
    assert number != 2
""")
    result = pytester.runpytest("-p", "no:xdist")
    result.stdout.fnmatch_lines(["test_it: 3 services, 6 tests in suites"])
