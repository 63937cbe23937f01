"""The servers of the tests of scale-out do what their names say."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest


@pytest.fixture
def exits() -> Iterator[ExitStack]:
    """Closes the servers of the test; one that is missing here skips it."""
    with ExitStack() as exits:
        yield exits
