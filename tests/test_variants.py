"""Every variant of the database layer, rendered and held to everything we promise."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

from tests.accept import Accept
from tests.found import Found
from tests.samples import NUMBERS
from tests.variants import BACKENDS, Template, Variant

# The questions that are answered with text of one's own.
FREE = {"project_name", "package_name", "project_description", "database_url"}


def test_variant(variant: Variant, accept: Accept) -> None:
    accept(variant.backend, variant.answers)


def test_variants_are_the_full_product(found: Found) -> None:
    """Of two modes, their drivers, and four questions with two answers each.

    In memory there are no drivers to choose, no pool and no migrations.
    """
    variants = found.variants["variant"]
    count = {
        backend: sum(variant.backend == backend for variant in variants)
        for backend in BACKENDS
    }
    assert count == {
        "sqlite": 2 * 16,
        "sqlite-memory": 2 * 4,
        "postgresql": 3 * 16,
        "mysql": 3 * 16,
    }


def test_each_id_selects_one_variant(found: Found) -> None:
    ids = [variant.id for variants in found.variants.values() for variant in variants]
    assert [(one, other) for one, other in permutations(ids, 2) if one in other] == []


def test_every_question_is_answered_in_more_than_one_way(
    template: Template, found: Found
) -> None:
    """A question that is new belongs to the variants, to a sample, or to free text."""
    asked = template.asked.keys()
    varied = {
        name
        for variants in found.variants.values()
        for name in asked
        if len({variant.answers.get(name) for variant in variants}) > 1
    }
    assert asked == varied | FREE
    assert varied >= NUMBERS.keys()


def test_every_choice_is_rendered(template: Template, found: Found) -> None:
    """Also those of a question that is in no list of ours."""
    taken = {
        (name, answer)
        for variants in found.variants.values()
        for variant in variants
        for name, answer in variant.answers.items()
    }
    offered = {
        (name, answer)
        for name, question in template.questions.items()
        for answer in static_choices(question)
    }
    assert offered
    assert offered <= taken


def static_choices(question: Mapping[str, Any]) -> list[Any]:
    """The choices as they stand in ``copier.yml``: none if they are computed."""
    choices = question.get("choices", [])
    if isinstance(choices, dict):
        choices = choices.values()
    elif isinstance(choices, str):
        choices = []
    return [
        choice["value"] if isinstance(choice, dict) else choice for choice in choices
    ]
