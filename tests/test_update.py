"""`copier update`: from every release, to every other answer, wherever it came from."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.changes import Change
from tests.history import NOW, commit, copy, files, git, update
from tests.variants import Answers, Template

NAMES = {"project_name": "Service", "package_name": "service"}


def test_an_update_is_a_fresh_copy(
    change: Change, releases: Path, template: Template, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    copy(releases, service, change.release, NAMES | template.settle(change.before))
    commit(service)

    after = template.settle({**change.before, **change.after})
    update(service, **NAMES | {name: after[name] for name in change.after if name in after})

    copy(releases, tmp_path / "fresh", NOW, NAMES | after)
    assert files(service) == files(tmp_path / "fresh")
