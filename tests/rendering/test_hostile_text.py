"""Tests with answers that break careless templates: quotes, escapes, braces."""

import ast
import tomllib
from itertools import product
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from support.copier_internals import CopierFixture, CopierProject
from support.questions import answer, macros
from support.service_checker import ServiceChecker, check_style, parse

TEXTS = {
    "quotes": """it's "quoted", '''thrice''' and \"\"\"thrice\"\"\"""",
    "more-double-quotes": 'say "cheese"',
    "backslashes": r"C:\new\table \" \' \u0041 \N{DASH} trailing \\",
    "jinja": "{{ package_name }} {% raw %} {# gone #} {%- endif %} }}",
    "formats": "{x} {0!r} %s %(here)s ${HOME} $(id) `id`",
    "toml": "x' # [tool.uv] = \"\"\" ''' \\",
    "yaml": "- &a !!python/name:os.system *b: [x] # y",
    "python": '"); import os; os.abort() #',
    "markdown": "# *a* <b>b</b> &amp; | [c](d) <!-- ",
    "letters": "Größe naïve ‘café’ – 日本語 Привет ΑΒΓ ＡＢＣ",
    "emoji": "🚀 👩\u200d💻 🏳️\u200d🌈 👍🏽",
    "words": " ".join(["word"] * 16),
    "one-word": "w" * 80,
}
URLS = {
    "sqlite": """sqlite:///./it's "a" {{ file }} 50% \\ é 🚀 # ${HOME}.db?timeout=9""",
    "postgresql": "postgresql://us'er@db.example.com/%22a%27%20%7B%7B%5C?options=-c%20a",
    "mysql": 'mariadb://u%40x@[::1]:3307/d%25s?unix_socket=/tmp/it\'s%20here&x="y"',
    "long": "postgresql+asyncpg://" + "host." * 30 + "example.com:5432/" + "d" * 60,
}


def literals(file: Path) -> set[object]:
    """Return all constants of a Python file."""
    tree = ast.parse(file.read_text("utf-8"))
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


def assert_sound(project: CopierProject) -> None:
    """Assert that all files are valid, and formatted as by ruff."""
    for file in project.path.rglob("*.*"):
        if file.is_file():
            parse(file.suffix, file.read_text("utf-8"))
    assert check_style(project.path) == []


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])))
@settings(deadline=None)
def test_literals_evaluate_to_the_text(text: str) -> None:
    assert ast.literal_eval(macros("text").py_string(text)) == text
    assert tomllib.loads(f"x = {macros('text').toml_string(text)}") == {"x": text}


def test_python_literals_are_in_ruffs_style(tmp_path: Path) -> None:
    texts = ["".join(letters) for letters in product("'\"\\a", repeat=4)]
    literals = map(macros("text").py_string, texts)
    (tmp_path / "literals.py").write_text("".join(f"f({it})\n" for it in literals))
    (tmp_path / "pyproject.toml").write_text('[tool.ruff.lint]\nselect = ["Q", "W"]\n')
    assert check_style(tmp_path) == []


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_is_kept_as_it_is(
    text: str, copier: CopierFixture, tmp_path: Path
) -> None:
    project = copier.copy(
        tmp_path / "shop", project_name=text, project_description=text
    )
    assert_sound(project)
    assert project.answers["project_name"] == text
    assert project.answers["project_description"] == text
    pyproject = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    assert pyproject["project"]["description"] == text
    package = project.path / "src" / project.answers["package_name"]
    assert text in literals(package / "main.py")
    assert text in (project / "README.md").read_text("utf-8")


@pytest.mark.parametrize("database_url", URLS.values(), ids=URLS)
def test_a_url_is_kept_as_it_is(
    database_url: str, copier: CopierFixture, tmp_path: Path
) -> None:
    project = copier.copy(tmp_path / "shop", database_url=database_url)
    assert_sound(project)
    assert project.answers["database_url"] == database_url
    url = answer(database_url=database_url)["sqlalchemy_url"]
    assert make_url(url).database == make_url(database_url).database
    package = project.path / "src" / project.answers["package_name"]
    assert url in literals(package / "settings.py")
    example = dotenv_values(project / ".env.example")["DATABASE_URL"] or ""
    assert make_url(example) == make_url(url)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mysql"])
def test_a_service_full_of_hostile_text_passes_all_checks(
    backend: str, service_checker: ServiceChecker
) -> None:
    # The checks would report braces as leftover Jinja.
    no_braces = str.maketrans("", "", "{}")
    service_checker.check_all(
        backend,
        {
            "project_name": TEXTS["quotes"],
            "project_description": " ".join(TEXTS.values()).translate(no_braces),
            "package_name": "z" * 40,
            "database_url": URLS[backend].translate(no_braces),
        },
    )
