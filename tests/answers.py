"""The questions, answered without rendering a service: that would take a second."""

from functools import cache
from pathlib import Path
from shutil import copy, copytree
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from copier import run_copy

ROOT = Path(__file__).parent.parent
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
QUESTIONS = {name: value for name, value in CONFIG.items() if not name.startswith("_")}

_directory = TemporaryDirectory()


@cache
def template() -> Path:
    """A template with all of our questions, and with no file but the answers'."""
    root = Path(_directory.name, "template")
    copytree(ROOT / "includes", root / "includes")
    copy(ROOT / "copier.yml", root)
    (root / "template").mkdir()
    copy(ROOT / "template/{{ _copier_conf.answers_file }}.jinja", root / "template")
    return root


# Copier has no public name for the type of what it returns.
def run(data: dict[str, Any], folder: str = "my-service") -> Any:
    """Answer the questions with `data`, and with the defaults where it says nothing."""
    assert data.keys() <= QUESTIONS.keys(), "Copier would ignore unknown names"
    destination = Path(_directory.name, folder)
    return run_copy(
        str(template()), destination, data, defaults=True, pretend=True, quiet=True
    )


def answer(**data: object) -> dict[str, Any]:
    """Return the value of every question and fact."""
    return dict(run(data).answers.combined)


def asked(**data: object) -> list[str]:
    """Return the names of the questions asked, in order."""
    hidden = run(data).answers.hidden
    return [name for name in QUESTIONS if name not in hidden]


@cache
def macros(name: str) -> Any:
    """Return the macros of a file in `includes`, to be called from Python."""
    return run({}).jinja_env.get_template(f"includes/{name}.jinja").module
