"""Tests of every variant of the database layer, with all checks."""

from itertools import permutations

from support.copier_internals import Questionnaire
from support.questions import static_choices
from support.samples import RENDERED, Samples
from support.service_checker import ServiceChecker
from support.variants import BACKENDS, FREE_TEXT, NUMBERS, Variant


def test_variant(variant: Variant, service_checker: ServiceChecker) -> None:
    service_checker.check_all(variant.backend, variant.answers)


def test_variants_are_the_full_product(samples: Samples) -> None:
    """The product has two modes, their drivers, and four questions with two answers."""
    variants = samples["variant"]
    count = {
        backend: sum(variant.backend == backend for variant in variants)
        for backend in BACKENDS
    }
    assert count == {
        "sqlite": 2 * 16,
        "postgresql": 3 * 16,
        "mysql": 3 * 16,
    }


def test_each_id_selects_one_variant(samples: Samples) -> None:
    ids = [variant.id for name in RENDERED for variant in samples[name]]
    assert [(one, other) for one, other in permutations(ids, 2) if one in other] == []


def test_every_question_is_answered_in_more_than_one_way(
    questionnaire: Questionnaire, samples: Samples
) -> None:
    """A new question must be part of the variants, of a sample, or be free text."""
    asked = questionnaire.asked.keys()
    varied = {
        name
        for argument in RENDERED
        for name in asked
        if len({variant.answers.get(name) for variant in samples[argument]}) > 1
    }
    assert asked == varied | FREE_TEXT
    assert varied >= NUMBERS.keys()


def test_every_choice_is_rendered(
    questionnaire: Questionnaire, samples: Samples
) -> None:
    """This includes the choices of questions that no list here names."""
    taken = {
        (name, answer)
        for argument in RENDERED
        for variant in samples[argument]
        for name, answer in variant.answers.items()
    }
    offered = {
        (name, answer)
        for name, question in questionnaire.questions.items()
        for answer in static_choices(question)
    }
    assert offered
    assert offered <= taken
