"""Changes of mind: the answers of a service, and those of its update."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.answers import answer, asked
from tests.history import TAGS
from tests.samples import NUMBERS, pairs
from tests.variants import ALL, BACKENDS, Answers, Template

# What questions without choices can be answered with, besides numbers. The name of the
# package is missing, as an update refuses another one.
TEXTS = {
    "project_name": ["Another name"],
    "project_description": ["Another description."],
    "database_url": [*BACKENDS.values(), "postgresql://other@database.invalid/other"],
}


@dataclass(frozen=True)
class Change:
    """An update of a service with other answers.

    Answers that are not possible beside the others are as good as not given.
    """

    id: str
    release: str
    """The tag that the service was rendered from."""
    before: Answers
    after: Answers
    """The answers to the update."""


def changes(template: Template) -> Iterator[Change]:
    """From every release: pairs of variants, and every change of a single answer."""
    both = [*variant_pairs(template), *single_changes(template)]
    for release in TAGS:
        for name, before, after in both:
            yield Change(f"{release}-{name}", release, before, after)


def variant_pairs(template: Template) -> Iterator[tuple[str, Answers, Answers]]:
    """Two variants each, so that every two answers of one or of both occur."""
    values = {"database_url": list(BACKENDS.values())} | {
        name: template.choices(name) for name in template.axes
    }
    axes = {f"{side} {name}": values[name] for side in "ab" for name in values}
    for number, row in enumerate(pairs(axes)):
        before, after = (
            {name: row[f"{side} {name}"] for name in values} for side in "ab"
        )
        yield f"pair-{number:02}", before, after


def single_changes(template: Template) -> Iterator[tuple[str, Answers, Answers]]:
    """Each other answer to each question, from the defaults of a backend.

    What spans the variants is changed on every backend, and back; the rest on one.
    """
    for backend, url in BACKENDS.items():
        given = {"database_url": url}
        defaults = answer(project_name="Service", **given)
        names = [name for name in asked(**given) if name != "package_name"]
        before = {name: defaults[name] for name in names}
        for name in names:
            spans = name in template.axes
            if not (spans or name == "database_url" or backend == "postgresql"):
                continue
            for index, other in enumerate(others(template, given, name)):
                if other != before[name]:
                    change = {name: other}
                    yield f"{backend}-{name}-{index}", before, change
                    if spans:
                        yield f"{backend}-{name}-{index}-back", before | change, before


def others(template: Template, given: Answers, name: str) -> list[Any]:
    """What a question can be answered with: all choices, or some of much more."""
    if name in TEXTS:
        return TEXTS[name]
    if name in NUMBERS:
        return NUMBERS[name][:1]
    return [answers[name] for answers in template.expand(given, {name: ALL})]
