"""The summary at the end of a run."""

import pytest

pytest_plugins = ["pytester"]


def test_summary_counts(pytester: pytest.Pytester) -> None:
    """What ran, what was skipped and why, and where the time went."""
    pytester.makeconftest("""\

from support.run_summary import Summary

def pytest_configure(config):
    config.pluginmanager.register(Summary())
""")
    pytester.makepyfile("""\
import pytest

@pytest.mark.parametrize("seconds", [1, 2, 3, 4])
def test_it(request, seconds):
    record = {}
    request.node.user_properties.append(("service", record))
    if seconds == 1:
        pytest.skip("get a server")
    record |= {"render": seconds, "suite": 10, "tests": 7}
    assert seconds != 2
""")
    result = pytester.runpytest("-p", "no:xdist")
    result.stdout.fnmatch_lines(
        [
            "*= rendered services =*",
            "test_it: 3 rendered, 3 run, 1 skipped, 21 tests in their suites",
            "39 s: render 9 s, *suite 30 s",
            "skipped 1: get a server",
        ]
    )
