"""The variants of the template, taken from its questions.

Nothing of the template is repeated here: which questions there are, what can be
answered and which are asked after which answers is all read from ``copier.yml``, by
Copier itself. A new choice is a new set of variants.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

# Copier has no public way to ask what can be answered; pytest-copier uses these too.
from copier._main import Worker
from copier._types import MISSING
from copier._user_data import AnswersMap, Question

Answers = Mapping[str, Any]

ROOT = Path(__file__).parent.parent

# No server answers at these addresses; the suites are told theirs by DATABASE_URL.
BACKENDS = {
    "sqlite": "sqlite:///./service.db",
    "sqlite-memory": "sqlite://",
    "postgresql": "postgresql://app@database.invalid/app",
    "mysql": "mysql://app@database.invalid/app",
}

ALL: Sequence[Any] = ()
"""In place of answers: whatever the question's choices allow."""

# The questions with choices that leave the database layer as it is, or tune it within
# one variant: test_samples.py draws a sample of them. All others span the variants.
SAMPLED = {"python_min", "pool_pre_ping", "container", "ci"}


@dataclass(frozen=True)
class Variant:
    """One way to answer the template's questions."""

    id: str
    """Readable, and no part of another's: ``pytest -k`` with it selects this one."""
    backend: str
    """A key of ``BACKENDS``."""
    answers: Answers
    """The answers that matter; those left out are the defaults."""
    python: str = ""
    """The Python to run it on, as in "3.11"; empty for the one that we run on."""


class Template:
    """The template of this repository, as far as it asks questions.

    Read from a copy in ``folder``: of a repository, Copier would take the last release.
    """

    def __init__(self, folder: Path) -> None:
        shutil.copy(ROOT / "copier.yml", folder)
        shutil.copytree(ROOT / "includes", folder / "includes")
        self._folder = folder

    @classmethod
    @contextmanager
    def open(cls) -> Iterator["Template"]:
        """The template, from a temporary copy."""
        with tempfile.TemporaryDirectory() as folder:
            yield cls(Path(folder))

    @cached_property
    def _worker(self) -> Worker:
        nowhere = self._folder / "destination"
        return Worker(src_path=str(self._folder), dst_path=nowhere)

    @cached_property
    def questions(self) -> Mapping[str, Mapping[str, Any]]:
        """All questions in their order, as they stand in ``copier.yml``."""
        return self._worker.template.questions_data

    @cached_property
    def asked(self) -> Mapping[str, Mapping[str, Any]]:
        """Those that are ever asked; the others are facts, which Copier computes."""
        return {
            name: question
            for name, question in self.questions.items()
            if question.get("when") is not False
        }

    @cached_property
    def axes(self) -> Sequence[str]:
        """The questions whose choices span the variants."""
        return [
            name
            for name, question in self.asked.items()
            if ("choices" in question or question["type"] == "bool")
            and name not in SAMPLED
        ]

    def variants(self) -> Iterator[Variant]:
        """Every variant: the product of all axes, for each backend."""
        axes = dict.fromkeys(self.axes, ALL)
        for backend, url in BACKENDS.items():
            for answers in self.expand({"database_url": url}, axes):
                yield Variant(
                    id="-".join([backend, *map(in_words, answers.items())]),
                    backend=backend,
                    answers={"database_url": url, **answers},
                )

    def choices(self, name: str) -> list[Any]:
        """What the question ``name`` can be answered with, over all backends."""
        found = [
            answers[name]
            for url in BACKENDS.values()
            for answers in self.expand({"database_url": url}, {"mode": ALL, name: ALL})
            if name in answers
        ]
        return list(dict.fromkeys(found))

    def expand(
        self, given: Answers, axes: Mapping[str, Sequence[Any]]
    ) -> list[Answers]:
        """Every way to answer the questions ``axes`` where ``given`` is answered.

        ``axes`` holds for each question the answers to take, or ``ALL`` for all that
        its choices allow. A question that is not asked has no answer in the result.
        ValueError where an answer is refused.
        """
        self._worker.data = dict(given)
        return list(self._walk(list(self.questions), axes, {}, {}))

    def settle(self, wanted: Answers) -> Answers:
        """Those of the answers ``wanted`` that are asked for, and allowed, together."""
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

    def ask(self, name: str, given: Answers) -> Question:
        """The question ``name``, after ``given`` and else the default answers."""
        self._worker.data = dict(given)
        known: dict[str, Any] = {}
        for before in self.questions:
            if before == name:
                break
            known[before] = given.get(
                before, self._question(before, known).get_default()
            )
        return self._question(name, known)

    def _question(self, name: str, known: Answers) -> Question:
        """The question ``name``, after the answers ``known``."""
        worker = self._worker
        worker.answers = AnswersMap(user=dict(known), init=worker.data)
        return Question(
            var_name=name,
            answers=worker.answers,
            context=worker._render_context(),
            jinja_env=worker.jinja_env,
            **self.questions[name],
        )

    def _walk(
        self,
        names: Sequence[str],
        axes: Mapping[str, Sequence[Any]],
        known: Answers,
        chosen: Answers,
    ) -> Iterator[Answers]:
        """Go through the questions as Copier does, but take all answers in turn."""
        for index, name in enumerate(names):
            if axes.keys().isdisjoint(names[index:]):
                break
            question = self._question(name, known)
            if name in axes and question.get_when():
                for answer in axes[name] or choices(question):
                    question.validate_answer(question.parse_answer(answer))
                    pair = {name: answer}
                    yield from self._walk(
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


def choices(question: Question) -> list[Any]:
    """What a question with choices, or for a yes or no, can be answered with."""
    if question.choices:
        return [
            question.cast_answer(choice.value)
            for choice in question._formatted_choices
            if not choice.disabled
        ]
    return [True, False]


def in_words(answer: tuple[str, Any]) -> str:
    """An answer as part of an id: its value, or the question's name for yes and no."""
    name, value = answer
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    return str(value)
