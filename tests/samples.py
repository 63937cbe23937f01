"""The sample of what does not span the variants: URL forms, numbers, Pythons.

Pairs of answers suffice here: every two that can occur together do in one sample.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from allpairspy import AllPairs

from tests.variants import ALL, BACKENDS, SAMPLED, Template, Variant, in_words

# The ends of what is allowed, or as near to them as a suite can wait.
NUMBERS = {
    "pool_size": ["1", "1000"],
    "max_overflow": ["0", "1000"],
    "pool_timeout": ["0.1", "600"],
    "pool_recycle": ["-1", "1"],
}

SERVER = "{user}@{host}:{port}/{database}"
SOCKET = "{user}@/{database}"

# The forms of a URL, for each backend; the run fills in its server.
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
    "sqlite-memory": {
        "memory": "sqlite:///:memory:",
        "memory-uri": "sqlite:///file::memory:?uri=true",
        "memory-pysqlite": "sqlite+pysqlite://",
        "memory-aiosqlite": "sqlite+aiosqlite:///:memory:",
    },
}


# To ask the template about a form before there is a server.
SOMEWHERE = {
    "user": "app",
    "host": "localhost",
    "port": "1",
    "socket": "/run",
    "database": "app",
    "folder": "/srv",
}


def url_samples(template: Template) -> Iterator[Variant]:
    """Every form of a URL, paired with what depends on it.

    ``database_url`` is the form, yet to be filled in.
    """
    backends = {form: name for name, forms in URL_FORMS.items() for form in forms}
    urls = {form: URL_FORMS[name][form] for form, name in backends.items()}
    modes = {
        form: [
            answers["mode"]
            for answers in template.expand(
                {"database_url": url.format(**SOMEWHERE)}, {"mode": ALL}
            )
        ]
        for form, url in urls.items()
    }
    axes = {
        "form": list(urls),
        "mode": sorted({mode for of_form in modes.values() for mode in of_form}),
        **{name: template.choices(name) for name in ("pool", "transaction", "alembic")},
    }

    def is_possible(row: Mapping[str, Any]) -> bool:
        return "mode" not in row or row["mode"] in modes[row["form"]]

    for row in pairs(axes, is_possible):
        form = row["form"]
        yield sample(template, f"url-{form}", backends[form], urls[form], row)


def tuning_samples(template: Template) -> Iterator[Variant]:
    """The numbers, the ping and the Python, paired with what might depend on them."""
    names = ["mode", "transaction", "alembic", "example", *SAMPLED]
    values = {name: template.choices(name) for name in names} | NUMBERS
    for backends in (["postgresql", "mysql"], ["sqlite"]):
        (asked,) = template.expand(
            {"database_url": BACKENDS[backends[0]]},
            {name: values[name][:1] for name in values},
        )
        axes = {"backend": backends} | {name: values[name] for name in asked}
        for number, row in enumerate(pairs(axes)):
            backend = row["backend"]
            name = f"tuning-{number:02}-{backend}"
            yield sample(template, name, backend, BACKENDS[backend], row)


def fresh_samples(
    template: Template, variants: Sequence[Variant], pythons: Sequence[str]
) -> Iterator[Variant]:
    """A variant of every backend, mode and driver, each on a Python in turn.

    The rest of the answers is as different as can be, and the service is made for that
    Python and newer ones.
    """

    def layer(variant: Variant) -> tuple[Any, ...]:
        answers = variant.answers
        return variant.backend, answers["mode"], answers.get("driver", "")

    on_disk = [variant for variant in variants if variant.backend != "sqlite-memory"]
    for index, (_, group) in enumerate(groupby(on_disk, layer)):
        same_layer = list(group)
        # 7 has no factor in common with the number of variants of a layer.
        variant = same_layer[7 * index % len(same_layer)]
        python = pythons[index % len(pythons)]
        answers = dict(variant.answers)
        if python in template.choices("python_min"):
            answers["python_min"] = python
        id_ = "-".join(["fresh", python, *filter(None, layer(variant))])
        yield replace(variant, id=id_, answers=answers, python=python)


def sample(
    template: Template, name: str, backend: str, url: str, row: Mapping[str, Any]
) -> Variant:
    """The answers in ``row``, as far as they are asked for where the URL is ``url``."""
    given = {"database_url": url.format(**SOMEWHERE)}
    wanted = {name: [row[name]] for name in template.questions if name in row}
    (answers,) = template.expand(given, wanted)
    words = [in_words(answer) for answer in answers.items() if answer[0] not in NUMBERS]
    return Variant("-".join([name, *words]), backend, {"database_url": url, **answers})


def pairs(
    axes: Mapping[str, Sequence[Any]],
    is_possible: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Iterator[Mapping[str, Any]]:
    """Rows in which every two values that are possible together occur together."""
    names = list(axes)

    def check(values: Sequence[Any]) -> bool:
        return is_possible is None or is_possible(
            dict(zip(names, values, strict=False))
        )

    for values in AllPairs(list(axes.values()), filter_func=check):
        yield dict(zip(names, values, strict=True))
