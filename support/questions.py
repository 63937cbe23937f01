"""The questions of the template, and their answers."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from support.copier_internals import Conversation, answer_questions, read_config
from support.template import ROOT, questions_only

CONFIG: Mapping[str, Any] = read_config(ROOT / "copier.yml")
QUESTIONS = {name: value for name, value in CONFIG.items() if not name.startswith("_")}


def converse(data: dict[str, Any], folder: str = "my-service") -> Conversation:
    """Answer the questions for a service in ``folder`` with ``data`` and defaults."""
    assert data.keys() <= QUESTIONS.keys(), "Copier would ignore unknown names"
    # Nothing is written to this folder.
    return answer_questions(questions_only(), data, Path(gettempdir(), "none", folder))


def answer(**data: object) -> dict[str, Any]:
    """Return the values of all questions and facts."""
    return converse(data).values


def asked(**data: object) -> list[str]:
    """Return the names of the questions that are asked, in order."""
    hidden = converse(data).hidden
    return [name for name in QUESTIONS if name not in hidden]


@cache
def macros(name: str) -> Any:
    """Return the macros of a file in ``includes/``, which Python can call."""
    return converse({}).environment.get_template(f"includes/{name}.jinja").module


def static_choices(question: Mapping[str, Any]) -> list[Any]:
    """Return the choices in ``copier.yml``, or none if they are computed."""
    choices = question.get("choices", [])
    if isinstance(choices, dict):
        choices = choices.values()
    elif isinstance(choices, str):
        choices = []
    return [
        choice["value"] if isinstance(choice, dict) else choice for choice in choices
    ]
