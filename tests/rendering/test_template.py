"""Tests of readability: few facts, no nested conditions, a short copier.yml."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import jinja2
import pytest
from jinja2 import nodes

from support.questions import QUESTIONS, answer
from support.samples import Samples
from support.template import ROOT

FACTS = {name for name, each in QUESTIONS.items() if each.get("when") is False}
FLAGS = {name for name, each in QUESTIONS.items() if each["type"] == "bool"}
TEMPLATES = {
    str(path.relative_to(ROOT)): path
    for folder in ("template", "includes")
    for path in sorted((ROOT / folder).rglob("*.jinja"))
}


def parse(source: str) -> nodes.Template:
    """Parse a template."""
    return jinja2.Environment(trim_blocks=True, lstrip_blocks=True).parse(source)


def conditions(path: Path) -> Iterator[nodes.If]:
    """Yield the `{% if %}` blocks of a template and of its path."""
    for source in (path.read_text(), str(path.relative_to(ROOT))):
        yield from parse(source).find_all(nodes.If)


def test_copier_yml_fits_on_a_few_screens() -> None:
    lines = (ROOT / "copier.yml").read_text().splitlines()
    assert len(lines) < 200
    assert [line for line in lines if len(line) > 100] == []


def test_there_are_few_facts() -> None:
    assert len(FACTS) <= 25


def test_no_two_facts_are_equivalent(samples: Samples) -> None:
    variants = [*samples["variant"], *samples["tuning_sample"]]
    answers = [answer(**variant.answers) for variant in variants]
    values = {name: tuple(each[name] for each in answers) for name in FACTS & FLAGS}
    for one, other in combinations(sorted(values), 2):
        assert values[one] != values[other], (one, other)
        assert values[one] != tuple(not each for each in values[other]), (one, other)


@pytest.mark.parametrize("name", TEMPLATES)
def test_conditions_are_not_nested(name: str) -> None:
    for condition in conditions(TEMPLATES[name]):
        inside = nodes.Block("", [*condition.body, *condition.else_], False, False)
        nested = [each.lineno for each in inside.find_all(nodes.If)]
        assert nested == [], f"{name}:{nested}"


@pytest.mark.parametrize(
    "name", [name for name in TEMPLATES if "template/" in name and ".py" in name]
)
def test_conditions_are_facts_and_yes_or_no_answers(name: str) -> None:
    for condition in conditions(TEMPLATES[name]):
        assert list(condition.test.find_all(nodes.Compare)) == []
        tested = {condition.test, *condition.test.find_all(nodes.Name)}
        names = {each.name for each in tested if isinstance(each, nodes.Name)}
        assert names <= FLAGS | {"sqlalchemy_names"}, f"{name}:{condition.lineno}"
