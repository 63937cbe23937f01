"""The commands in the documentation, run as they stand there."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.history import ROOT, TAGS, copy
from tests.runner import clean_environment, run
from tests.shell import commit, git


def commands(document: str) -> list[str]:
    """The commands of a document, in their order."""
    return re.findall(r"(?m)^\$ (.+)$", (ROOT / document).read_text())


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `uvx` and `uv run` run what is installed here.

    True environments are those of test_samples.py.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    run_it = f'PATH="{Path(sys.executable).parent}:$PATH" exec "$@"'
    scripts = {"uvx": run_it, "uv": f'[ "$1" = sync ] || {{ shift; {run_it}; }}'}
    for name, line in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    return clean_environment() | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": "src",
        "PYTEST_ADDOPTS": "-p anyio.pytest_plugin",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "User",
        "GIT_CONFIG_KEY_1": "user.email",
        "GIT_CONFIG_VALUE_1": "user@localhost",
    }


def test_the_commands_of_an_update(
    releases: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """From a service of the first release, each command does what the text says."""
    service = tmp_path / "service"
    copy(releases, service, TAGS[0], {})
    models = service / "src/service/users/models.py"
    models.write_text(models.read_text().replace("who writes posts", "who writes"))
    session = service / "src/service/db/session.py"
    printed = {}
    for command in commands("docs/update.md"):
        if command.startswith("uvx copier"):
            commit(service, "Before an update")
        done = run(["bash", "-c", command], service, environment)
        printed[command] = done.stdout
        if command == "uvx copier update":  # It asks, and there is no terminal.
            assert "Use `--defaults`" in done.stdout
            assert git(service, "status", "--porcelain") == ""
            done = run(["bash", "-c", f"{command} --defaults"], service, environment)
        assert done.returncode == 0, done.stdout
        if command.endswith("transaction=explicit"):
            assert "refuse_uncommitted_changes" in session.read_text()
        elif command.endswith("example=false"):
            assert (
                "Someone who writes." in models.with_name("models.py.rej").read_text()
            )
    assert "New template version available" in printed["uvx copier check-update"]
    assert "passed" in printed["uv run pytest"]
    assert (
        "Someone who writes."
        in printed["git log --patch -- src/service/users/models.py"]
    )
