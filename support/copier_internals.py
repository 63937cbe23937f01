"""All uses of Copier's private API, so that a new version can break only this module.

Copier's public API does not tell which questions are asked after which answers, or
which answers are possible. pytest-copier uses the same internals.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from copier import _template, _vcs, run_copy
from copier._main import Worker
from copier._types import MISSING
from copier._user_data import AnswersMap, Question
from pytest_copier.plugin import CopierFixture, CopierProject

__all__ = ["CopierFixture", "CopierProject"]

Answers = Mapping[str, Any]

ALL: Sequence[Any] = ()
"""Stands for all answers that the choices of a question allow."""


@dataclass(frozen=True)
class Conversation:
    """The answers to all questions."""

    values: dict[str, Any]
    """The value of every question and fact."""
    hidden: set[str]
    """The questions that were not asked."""
    environment: jinja2.Environment
    """The Jinja environment that renders the files of the template."""


def read_config(path: Path) -> Answers:
    """Return the content of a ``copier.yml`` and of the files that it includes."""
    return _template.load_template_config(path)


def answer_questions(template: Path, data: Answers, destination: Path) -> Conversation:
    """Answer the questions with ``data``, and all others with their defaults."""
    done = run_copy(
        str(template), destination, {**data}, defaults=True, pretend=True, quiet=True
    )
    combined = dict(done.answers.combined)
    return Conversation(combined, set(done.answers.hidden), done.jinja_env)


class Questionnaire:
    """The questions of the template in ``folder``, which can be asked one by one."""

    def __init__(self, folder: Path) -> None:
        self._worker = Worker(src_path=str(folder), dst_path=folder / "destination")

    @cached_property
    def questions(self) -> Mapping[str, Mapping[str, Any]]:
        """All questions in their order, as defined in ``copier.yml``."""
        return self._worker.template.questions_data

    @cached_property
    def asked(self) -> Mapping[str, Mapping[str, Any]]:
        """The questions that may be asked; Copier computes the others, the facts."""
        return {
            name: question
            for name, question in self.questions.items()
            if question.get("when") is not False
        }

    def expand(
        self, given: Answers, axes: Mapping[str, Sequence[Any]]
    ) -> list[Answers]:
        """Return all combinations of answers to the questions ``axes`` after ``given``.

        ``axes`` maps each question to its answers, or to ``ALL`` for all its choices.
        A question that is not asked has no answer in the result. Raises ValueError if
        an answer is refused.
        """
        self._worker.data = dict(given)
        return list(self._expand(list(self.questions), axes, {}, {}))

    def settle(self, wanted: Answers) -> Answers:
        """Return the ``wanted`` answers that are asked for and allowed together."""
        self._worker.data = {}
        known: dict[str, Any] = {}
        settled = {}
        for name in self.questions:
            question = self._question(name, known)
            known[name] = question.get_default()
            if name in wanted and question.get_when():
                with suppress(ValueError):
                    answer = question.parse_answer(wanted[name])
                    question.validate_answer(answer)
                    known[name] = settled[name] = answer
        return settled

    def _question(self, name: str, known: Answers) -> Question:
        """Return the question ``name``, as asked after the answers ``known``."""
        worker = self._worker
        worker.answers = AnswersMap(user=dict(known), init=worker.data)
        return Question(
            var_name=name,
            answers=worker.answers,
            context=worker._render_context(),
            jinja_env=worker.jinja_env,
            **self.questions[name],
        )

    def _expand(
        self,
        names: Sequence[str],
        axes: Mapping[str, Sequence[Any]],
        known: Answers,
        chosen: Answers,
    ) -> Iterator[Answers]:
        """Go through the questions as Copier does, but yield all combinations."""
        for index, name in enumerate(names):
            if axes.keys().isdisjoint(names[index:]):
                break
            question = self._question(name, known)
            if name in axes and question.get_when():
                for answer in axes[name] or choices_of(question):
                    question.validate_answer(question.parse_answer(answer))
                    pair = {name: answer}
                    yield from self._expand(
                        names[index + 1 :],
                        axes,
                        {**known, **pair},
                        {**chosen, **pair},
                    )
                return
            default = question.get_default()
            if default is not MISSING:
                known = {**known, name: default}
        yield chosen


def choices_of(question: Question) -> list[Any]:
    """Return the possible answers to a question with choices or for yes or no."""
    if question.choices:
        return [
            question.cast_answer(choice.value)
            for choice in question._formatted_choices
            if not choice.disabled
        ]
    return [True, False]


def skip_git_commands() -> None:
    """Skip Git commands that have no effect in these tests.

    They set the executable bits of files on Windows, and find out whether a folder that
    is no repository is a bundle.
    """
    Worker._sync_git_index_executable_bit = lambda *_: None  # type: ignore[method-assign]
    _vcs.is_git_bundle = lambda *_: False


def remember_configurations() -> None:
    """Let Copier parse the same questions once per process."""
    load = _template.load_template_config
    loaded: dict[object, Any] = {}

    def load_once(path: Path, *args: Any) -> Any:
        files = [path, *sorted(path.parent.glob("includes/*.yml"))]
        key = tuple(each.read_bytes() for each in files)
        if key not in loaded:
            loaded[key] = load(path, *args)
        return deepcopy(loaded[key])

    _template.load_template_config = load_once  # type: ignore[assignment]


def remember_compiled_templates() -> None:
    """Let Jinja compile a template once per process instead of once per rendering."""
    compile_ = jinja2.Environment.compile
    compiled: dict[object, Any] = {}

    def compile_once(
        self: jinja2.Environment, source: Any, *args: Any, **kwargs: Any
    ) -> Any:
        # The environments differ in nothing else; file names do not matter.
        key = (type(self), self.trim_blocks, self.lstrip_blocks, source)
        if key not in compiled:
            compiled[key] = compile_(self, source, *args, **kwargs)
        return compiled[key]

    jinja2.Environment.compile = compile_once  # type: ignore[method-assign]
