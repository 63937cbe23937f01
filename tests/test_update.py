"""`copier update`: from every release, to every other answer, from wherever it came."""

import time
from pathlib import Path

import pytest

from tests.changes import Change
from tests.history import NOW, commit, copy, files, update
from tests.variants import Template

NAMES = {"project_name": "Service", "package_name": "service"}


def test_an_update_is_a_fresh_copy(
    change: Change,
    releases: Path,
    template: Template,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    service = tmp_path / "service"
    copy(releases, service, change.release, NAMES | template.settle(change.before))
    commit(service)

    after = template.settle({**change.before, **change.after})
    changed = {name: after[name] for name in change.after if name in after}
    started = time.monotonic()
    update(service, **NAMES | changed)
    seconds = time.monotonic() - started
    request.node.user_properties.append(("update", [seconds]))

    copy(releases, tmp_path / "fresh", NOW, NAMES | after)
    assert files(service) == files(tmp_path / "fresh")
