"""The variants of the template, taken from its questions.

Copier itself reads the questions, their choices and their conditions from
``copier.yml``, so a new choice adds variants. This module lists only what the template
does not contain: URLs, and limits of numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from support.copier_internals import ALL, Answers, Questionnaire

# No server answers at these addresses; the suites get a real one in DATABASE_URL.
BACKENDS = {
    "sqlite": "sqlite:///./service.db",
    "postgresql": "postgresql://app@database.invalid/app",
    "mysql": "mysql://app@database.invalid/app",
}
SERVER_BACKENDS = ("postgresql", "mysql")
FILE_BACKENDS = ("sqlite",)

# Questions that do not affect the database layer, or tune it within one variant. Their
# answers are tested in samples; all other questions with choices span the variants.
SAMPLED = {
    *("python_min", "pool_pre_ping", "container", "ci"),
    *("read_replica", "pooler", "telemetry"),
}

# Questions whose answers are free text.
FREE_TEXT = {"project_name", "package_name", "project_description", "database_url"}

# The limits of the allowed range, or values near them if a suite would wait too long.
NUMBERS = {
    "pool_size": ["1", "1000"],
    "max_overflow": ["0", "1000"],
    "pool_timeout": ["0.1", "600"],
    "pool_recycle": ["-1", "1"],
}

SERVER = "{user}@{host}:{port}/{database}"
SOCKET = "{user}@/{database}"

# The forms of a URL for each backend; the test fills in its server.
URL_FORMS = {
    "postgresql": {
        "postgres": f"postgres://{SERVER}",
        "postgresql": f"postgresql://{SERVER}",
        "psycopg": f"postgresql+psycopg://{SERVER}?application_name=a%20b",
        "asyncpg": f"postgresql+asyncpg://{SERVER}?prepared_statement_cache_size=0",
        "postgresql-socket": f"postgresql://{SOCKET}?host={{socket}}&port={{port}}",
    },
    "mysql": {
        "mysql": f"mysql://{SERVER}",
        "mariadb": f"mariadb://{SERVER}?charset=utf8mb4",
        "pymysql": f"mysql+pymysql://{SERVER}",
        "asyncmy": f"mariadb+asyncmy://{SERVER}",
        "aiomysql": f"mysql+aiomysql://{SERVER}",
        "mysql-socket": f"mysql://{SOCKET}?unix_socket={{socket}}",
    },
    "sqlite": {
        "relative": "sqlite:///./data.db",
        "bare": "sqlite:///data.db?timeout=9",
        "absolute": "sqlite:///{folder}/data.db",
        "file-uri": "sqlite:///file:data.db?uri=true",
        "pysqlite": "sqlite+pysqlite:///data.db",
        "aiosqlite": "sqlite+aiosqlite:///data.db",
    },
}


@dataclass(frozen=True)
class Variant:
    """One combination of answers to the template's questions."""

    id: str
    """A readable id; ``pytest -k`` selects it, as it is not part of another one."""
    backend: str
    """A key of ``BACKENDS``."""
    answers: Answers
    """The relevant answers; all others are the defaults."""
    python: str = ""
    """The Python to run the service on, as in "3.11"; empty for the running one."""


def all_variants(questionnaire: Questionnaire) -> Iterator[Variant]:
    """Yield all variants: the product of all choices, for each backend."""
    axes = {
        name: ALL
        for name, question in questionnaire.asked.items()
        if ("choices" in question or question["type"] == "bool") and name not in SAMPLED
    }
    for backend, url in BACKENDS.items():
        for answers in questionnaire.expand({"database_url": url}, axes):
            yield Variant(
                id="-".join([backend, *map(in_words, answers.items())]),
                backend=backend,
                answers={"database_url": url, **answers},
            )


def all_choices(questionnaire: Questionnaire, name: str) -> list[Any]:
    """Return the possible answers to the question ``name`` with any backend."""
    found = [
        answers[name]
        for url in BACKENDS.values()
        for answers in questionnaire.expand(
            {"database_url": url}, {"mode": ALL, name: ALL}
        )
        if name in answers
    ]
    return list(dict.fromkeys(found))


def values_of(variants: Sequence[Variant]) -> dict[str, list[Any]]:
    """Return the answers to each question that occur in the variants."""
    names = dict.fromkeys(name for variant in variants for name in variant.answers)
    return {
        name: list(
            dict.fromkeys(
                variant.answers[name] for variant in variants if name in variant.answers
            )
        )
        for name in names
    }


def in_words(answer: tuple[str, Any]) -> str:
    """Return an answer as a part of an id: its value, or a name for yes or no."""
    name, value = answer
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    return str(value)
