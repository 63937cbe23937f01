"""Updates that change answers: those of a service, and those of its update."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from support.copier_internals import Answers
from support.samples import pairs
from support.template import TAGS
from support.variants import BACKENDS, NUMBERS, Variant, values_of

# What else is answered, once, on one backend. The name of the package is missing: an
# update refuses another one.
OTHERS: dict[str, Sequence[Any]] = {
    "project_name": ["Another name"],
    "project_description": ["Another description."],
    "database_url": ["postgresql://other@database.invalid/other"],
    "python_min": ["3.12", "3.13", "3.14"],
    "pool_pre_ping": ["always", "never"],
    "container": [False],
    "ci": ["gitlab", "none"],
    **{name: values[-1:] for name, values in NUMBERS.items()},
}


@dataclass(frozen=True)
class Change:
    """An update of a service with other answers.

    Answers that are not possible beside the others are as good as not given, and those
    left out are the defaults.
    """

    id: str
    release: str
    """The tag that the service was rendered from."""
    before: Answers
    after: Answers
    """The answers to the update."""


def changes(variants: Sequence[Variant]) -> list[Change]:
    """Pairs of variants from the first release and the last, from it single answers.

    So there are not more of them with every release; those that update edited services
    do it from all.
    """
    found = []
    for release in dict.fromkeys((TAGS[0], TAGS[-1])):
        answers = [*variant_pairs(variants)]
        if release == TAGS[-1]:
            answers += single_changes(variants)
        found += [
            Change(f"{release}-{each[0]}", release, *each[1:]) for each in answers
        ]
    return found


def variant_pairs(
    variants: Sequence[Variant],
) -> Iterator[tuple[str, Answers, Answers]]:
    """Two variants each, so that every two answers of one or of both occur."""
    values = values_of(variants)
    axes = {f"{side} {name}": values[name] for side in "ab" for name in values}
    for number, row in enumerate(pairs(axes)):
        before, after = (
            {name: row[f"{side} {name}"] for name in values} for side in "ab"
        )
        yield f"pair-{number:02}", before, after


def single_changes(
    variants: Sequence[Variant],
) -> Iterator[tuple[str, Answers, Answers]]:
    """Each answer changed to each other one; what spans the variants, everywhere."""
    for backend, url in BACKENDS.items():
        given = {"database_url": url}
        for other, other_url in BACKENDS.items():
            if other != backend:
                yield f"{backend}-{other}", given, {"database_url": other_url}
        of_backend = [variant for variant in variants if variant.backend == backend]
        for name, values in values_of(of_backend).items():
            for old, new in permutations(values, 2):
                yield f"{backend}-{name}-{old}-{new}", {**given, name: old}, {name: new}
    for name, others in OTHERS.items():
        for value in others:
            given = {"database_url": BACKENDS["postgresql"]}
            yield f"postgresql-{name}-{value}".replace("/", "-"), given, {name: value}
