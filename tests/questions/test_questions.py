"""Tests of the questions: their order, their conditions, and the valid answers."""

import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.questions import CONFIG, QUESTIONS, answer, asked, converse, macros

# The default answers, in the order in which the questions are asked.
DEFAULTS = {
    "project_name": "my-service",
    "package_name": "my_service",
    "project_description": "A service built with FastAPI and SQLAlchemy.",
    "python_min": "3.11",
    "database_url": "sqlite:///./my_service.db",
    "mode": "async",
    "driver": "aiosqlite",
    "pool": "queue",
    "pool_size": "10",
    "max_overflow": "0",
    "pool_timeout": "5",
    "pool_recycle": "1800",
    "pool_pre_ping": "idle",
    "transaction": "request",
    "alembic": True,
    "example": True,
    "container": True,
    "ci": "github",
    "read_replica": False,
    "pooler": "none",
    "telemetry": "none",
}
FACTS = [name for name, question in QUESTIONS.items() if question.get("when") is False]

SERVER = "postgresql://app@localhost/app"
LONGEST_PACKAGE = "a" * 40


def refusal(**data: object) -> str:
    """Return the message by which ``data`` is refused."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - Copier raises no subclass
        answer(**data)
    return str(error.value)


# --- The questionnaire ---


def test_questions_are_asked_in_the_order_of_the_contract() -> None:
    assert [name for name in QUESTIONS if name not in FACTS] == list(DEFAULTS)


def test_questions_use_no_key_that_copier_would_ignore() -> None:
    known = {"type", "help", "choices", "default", "validator", "when"}
    for name, question in QUESTIONS.items():
        assert question.keys() <= known, name


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_question_has_a_type_a_default_and_a_help_of_one_line(name: str) -> None:
    question = QUESTIONS[name]
    assert question["type"] in {"str", "bool"}
    assert "default" in question
    assert question["help"].endswith("?") or "? " in question["help"]
    assert len(f"🎤  {question['help']}") < 80
    assert "\n" not in question["help"]


def test_settings_need_no_trust() -> None:
    """A release that needs trust would require it for all later updates."""
    assert CONFIG.keys() - QUESTIONS.keys() == {
        "_min_copier_version",
        "_subdirectory",
        "_envops",
        "_exclude",
        "_external_data",
        "_message_after_copy",
        "_message_before_update",
        "_message_after_update",
    }


def test_a_name_misspelt_in_a_template_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        converse({}).environment.from_string("{{ is_asynk }}").render(is_async=True)


def test_defaults_are_an_async_service_on_sqlite() -> None:
    answers = answer()
    assert {name: answers[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("data", "hidden"),
    [
        ({}, "driver pool_recycle pool_pre_ping read_replica pooler"),
        ({"pool": "null"}, "driver POOL read_replica pooler"),
        ({"database_url": SERVER}, ""),
        ({"database_url": SERVER, "pool": "null"}, "POOL"),
        ({"database_url": SERVER, "mode": "sync"}, "driver"),
        ({"database_url": "postgresql+asyncpg://localhost/app"}, "driver"),
        ({"database_url": "mysql://localhost/app"}, "pooler"),
        ({"database_url": "mysql://localhost/app", "mode": "sync"}, "driver pooler"),
        ({"database_url": "mariadb+aiomysql://localhost/app"}, "driver pooler"),
    ],
)
def test_a_question_is_asked_only_if_it_applies(
    data: dict[str, object], hidden: str
) -> None:
    numbers = "pool_size max_overflow pool_timeout pool_recycle pool_pre_ping"
    names = hidden.replace("POOL", numbers).split()
    assert asked(**data) == [name for name in DEFAULTS if name not in names]


def test_a_hidden_question_has_its_default() -> None:
    answers = answer(pool="null")
    assert answers["pool_size"] == "10"
    assert answers["pool_pre_ping"] == "idle"


# --- Facts ---


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_cannot_be_given_as_an_answer(name: str) -> None:
    value: object = {"bool": True, "str": "x", "json": "{}"}[QUESTIONS[name]["type"]]
    assert "Omit this; it is computed" in refusal(**{name: value})


@pytest.mark.parametrize(
    ("data", "true"),
    [
        ({"ci": "github"}, "is_sqlite is_async has_pool has_github_ci"),
        (
            {"mode": "sync", "pool": "null", "transaction": "explicit", "ci": "gitlab"},
            "is_sqlite is_explicit has_gitlab_ci",
        ),
        (
            {"database_url": SERVER, "mode": "sync", "python_min": "3.12"},
            "is_postgresql uses_psycopg has_pool has_server_pool has_type_parameters",
        ),
        (
            {"database_url": "postgresql+asyncpg://h/d", "pool": "null"},
            "is_postgresql is_async uses_asyncpg",
        ),
        (
            {"database_url": SERVER, "pool": "null", "pooler": "transaction"},
            "is_postgresql is_async uses_psycopg has_pooler",
        ),
        (
            {"mode": "sync", "pool": "null", "telemetry": "opentelemetry"},
            "is_sqlite has_telemetry",
        ),
        (
            {"database_url": "mariadb+pymysql://h/d", "pool": "null"},
            "is_mysql uses_pymysql",
        ),
        (
            {"database_url": "mysql+aiomysql://h/d", "transaction": "explicit"},
            """is_mysql is_async is_explicit uses_aiomysql needs_rsa has_pool
            has_server_pool""",
        ),
        (
            {"database_url": "mysql://h/d", "driver": "asyncmy", "pool": "null"},
            "is_mysql is_async uses_asyncmy needs_rsa",
        ),
    ],
)
def test_facts_follow_the_answers(data: dict[str, object], true: str) -> None:
    answers = answer(**{"ci": "none", **data})
    assert {name for name in FACTS if answers[name] is True} == set(true.split())


# --- Validators ---

EMOJI_WITH_JOINER = "👩\u200d💻"


VALID_ANSWERS: dict[str, list[object]] = {
    "project_name": ["x", "é" * 80, "\"{{ '\\ }} 🚀", EMOJI_WITH_JOINER],
    "package_name": ["a", "app2", "my_app", "fastapis", LONGEST_PACKAGE],
    "project_description": ["", 'Ünïcödé, "quotes" and {% braces %}'],
    "python_min": ["3.14", 3.11],
    "pool_size": ["1", 1000],
    "max_overflow": ["0", 1000],
    "pool_timeout": ["0.001", 30, 2.5],
    "pool_recycle": [-1, "1", 86400],
    "pool_pre_ping": ["never"],
    "transaction": ["explicit"],
    "alembic": ["no", False],
    "example": ["False", "on"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in VALID_ANSWERS.items() for value in values],
)
def test_a_valid_answer_is_accepted(name: str, value: object) -> None:
    taken = answer(**{"database_url": SERVER, name: value})[name]
    words = {"no": False, "False": False, "on": True}
    is_word = QUESTIONS[name]["type"] == "bool" and isinstance(value, str)
    expected = words[str(value)] if is_word else value
    assert str(taken) == str(expected)


# The names, the remedies, and answers that are refused with them.
INVALID_ANSWERS: list[tuple[str, str, list[object]]] = [
    ("project_name", "Use 1 to 80 characters", ["", "  ", "x" * 81]),
    (
        "project_name",
        "Use one line of plain text",
        ["a\nb", "a\tb", "a\x1b[31m", "right\u202eleft"],
    ),
    ("project_description", "Use one line of plain text", ["a\nb", "a\u2028b"]),
    (
        "package_name",
        "Use a-z, 0-9 and _, like my_app",
        ["", "My_App", "my-app", "2app", "_app", "app_", "café", "a.b", "app\n"],
    ),
    ("package_name", "Use 40 characters at most", [LONGEST_PACKAGE + "a"]),
    ("package_name", "Rename: this is a Python keyword", ["class"]),
    (
        "package_name",
        "Rename: a module has this name",
        ["email", "fastapi", "tests", "alembic", "migrations"],
    ),
    ("database_url", "Use a URL like sqlite:///./app.db", ["nonsense"]),
    ("database_url", "Put the password in .env instead", ["mysql://u:s3cret@h/d"]),
    (
        "pool_size",
        "Use a whole number from 1 to 1000",
        [0, 1001, "abc", "", "1e2", "010", "10\n", "१", 10.5, True],
    ),
    ("max_overflow", "Use a whole number from 0 to 1000", [-1, 1001]),
    (
        "pool_timeout",
        "Use seconds > 0, like 5 or 0.5",
        [0, -1, "0.0", "inf", "nan", "5s"],
    ),
    ("pool_recycle", "Use seconds, or -1 for never", [-2, 0, "never"]),
    ("alembic", "Answer yes or no", ["maybe", 2]),
    ("read_replica", "Answer yes or no", ["maybe"]),
    ("example", "Answer yes or no", ["", "falsee"]),
]


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        (name, value, remedy)
        for name, remedy, values in INVALID_ANSWERS
        for value in values
    ],
)
def test_an_invalid_answer_is_refused_with_the_remedy(
    name: str, value: object, remedy: str
) -> None:
    # The prompt shows this line, which must fit a terminal of 80 columns.
    line = f"Validation error for question '{name}': {remedy}"
    assert refusal(**{"database_url": SERVER, name: value}) == line
    assert len(line) <= 80


NO_CHOICES: dict[str, list[object]] = {
    "python_min": ["3.10", "3"],
    "mode": ["foo", True],
    "driver": ["psycopg2", "asyncmy"],
    "pool": ["static", False],
    "pool_pre_ping": ["sometimes"],
    "transaction": [3, "Request"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in NO_CHOICES.items() for value in values],
)
def test_an_answer_that_is_not_a_choice_is_refused(name: str, value: object) -> None:
    message = refusal(**{"database_url": SERVER, name: value})
    assert message.startswith(
        f"Invalid choice for '{name}': {str(value)!r} is not in ["
    )


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("value", [["a"], {"a": "b"}])
def test_lists_and_mappings_are_refused_as_answers(name: str, value: object) -> None:
    refusal(**{"database_url": SERVER, name: value})


@pytest.mark.parametrize(
    ("scheme", "mode", "other_mode"),
    [
        ("sqlite+pysqlite", "sync", "async"),
        ("mysql+pymysql", "sync", "async"),
        ("sqlite+aiosqlite", "async", "sync"),
        ("postgresql+asyncpg", "async", "sync"),
        ("mysql+asyncmy", "async", "sync"),
        ("mysql+aiomysql", "async", "sync"),
    ],
)
def test_a_driver_in_the_url_refuses_the_other_mode(
    scheme: str, mode: str, other_mode: str
) -> None:
    assert refusal(database_url=f"{scheme}:///app.db", mode=other_mode) == (
        f"Invalid choice for 'mode': Choose {mode} for this driver"
    )


@pytest.mark.parametrize(
    "data",
    [
        {"database_url": "postgresql://h/d", "mode": "sync", "driver": "asyncpg"},
        {"database_url": "postgresql+psycopg://h/d", "driver": "asyncpg"},
        {"database_url": "mysql://h/d", "driver": "pymysql"},
        {"database_url": "sqlite:///app.db", "driver": "pysqlite"},
    ],
)
def test_a_driver_that_contradicts_url_or_mode_is_refused(data: dict[str, Any]) -> None:
    assert refusal(**data).startswith(
        f"Invalid choice for 'driver': '{data['driver']}'"
    )


# --- Names ---


def is_refused(package_name: str) -> bool:
    """Return whether this package name is refused."""
    return bool(macros("names").package_problem(package_name, package_name).strip())


def test_no_package_is_named_like_a_standard_module() -> None:
    older = {"asynchat", "distutils", "imp", "telnetlib"}
    newer = {"annotationlib", "compression"}
    names = sys.stdlib_module_names | older | newer
    assert {name for name in names if not is_refused(name)} == set()


modules_and_owners = cache(metadata.packages_distributions)
"""Returns the distributions that own each module; listing them takes half a second."""


def installed(project: Path) -> Iterator[str]:
    """Yield the names of the distributions and modules in a service's environment."""
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    groups = pyproject["dependency-groups"].values()
    wanted = [
        *pyproject["project"]["dependencies"],
        *(line for g in groups for line in g),
    ]
    todo = [Requirement(line) for line in wanted]
    seen: set[str] = set()
    names: set[str] = set()
    while todo:
        requirement = todo.pop()
        if (key := str(requirement)) in seen:
            continue
        seen.add(key)
        names.add(canonicalize_name(requirement.name))
        try:
            further = metadata.requires(requirement.name) or []
        except metadata.PackageNotFoundError:
            continue  # for another system or an older Python
        for line in map(Requirement, further):
            marker, extras = line.marker, {"", *requirement.extras}
            # Only extras count: other markers depend on the system and the Python.
            if (
                marker is None
                or "extra" not in str(marker)
                or any(marker.evaluate({"extra": extra}) for extra in extras)
            ):
                todo.append(line)
    yield from (name.replace("-", "_") for name in names)
    for module, owners in modules_and_owners().items():
        ours = not names.isdisjoint(map(canonicalize_name, owners))
        if ours and not module.endswith("__mypyc"):  # compiled
            yield module


@pytest.mark.parametrize(
    "database_url",
    [
        "sqlite+aiosqlite:///app.db",
        "postgresql+psycopg://h/d",
        "postgresql+asyncpg://h/d",
        "mysql+asyncmy://h/d",
        "mysql+aiomysql://h/d",
        "mysql+pymysql://h/d",
    ],
)
def test_no_package_is_named_like_one_the_service_installs(
    database_url: str, unversioned_template: Path, tmp_path: Path
) -> None:
    run_copy(
        str(unversioned_template),
        tmp_path,
        {"database_url": database_url},
        exclude=["*", "!pyproject.toml"],
        defaults=True,
        quiet=True,
    )
    names = set(installed(tmp_path))
    assert {"fastapi", "sqlalchemy", "pytest", "anyio"} <= names
    assert {name for name in names if not is_refused(name)} == set()


@pytest.mark.parametrize(
    ("project_name", "package_name"),
    [
        ("My Shop", "my_shop"),
        ("Café (Überraschung)", "cafe_uberraschung"),
        ("Cafe\u0301", "cafe"),
        ("2fast 4u", "fast_4u"),
        ("  --api__v2--  ", "api_v2"),
        ("Привет", "service"),
        ("123", "service"),
        ("🚀", "service"),
        ("FastAPI", "fastapi_service"),
        ("tests", "tests_service"),
        ("class", "class_service"),
        ("x" * 80, "x" * 40),
    ],
)
def test_a_package_is_named_after_its_project(
    project_name: str, package_name: str
) -> None:
    assert answer(project_name=project_name)["package_name"] == package_name


@given(st.text())
@settings(deadline=None)
def test_default_package_names_are_valid(name: str) -> None:
    assert not is_refused(macros("names").derive_package(name))


@given(st.text())
@settings(deadline=None)
def test_default_project_names_are_valid(folder: str) -> None:
    project_name = macros("names").derive_project(folder)
    assert not macros("checks").text(project_name, 80).strip()


@pytest.mark.parametrize(
    ("folder", "project_name"),
    [("shop", "shop"), ("My Shop", "My Shop"), ("a\tb", "ab"), ("x" * 100, "x" * 80)],
)
def test_a_project_is_named_after_its_folder(folder: str, project_name: str) -> None:
    assert converse({}, folder).values["project_name"] == project_name
