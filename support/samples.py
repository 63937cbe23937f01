"""The variants and samples of variants that tests are parametrised with.

The variants are the full product of the answers that shape the database layer. For all
other answers, a pairwise sample suffices: every two answers that are possible together
occur together in at least one service.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import cycle, groupby, product
from typing import Any

import pytest
from allpairspy import AllPairs

from support.copier_internals import ALL, Questionnaire
from support.pythons import find_pythons
from support.template import questions_only
from support.variants import (
    BACKENDS,
    FILE_BACKENDS,
    NUMBERS,
    SAMPLED,
    SERVER_BACKENDS,
    URL_FORMS,
    Variant,
    all_choices,
    all_variants,
    in_words,
)

Samples = Mapping[str, Sequence[Variant]]

SAMPLES = pytest.StashKey[Samples]()

RENDERED = (
    *("variant", "url_sample", "tuning_sample", "telemetry_sample", "fresh_sample"),
    "lowest_sample",
)
"""The arguments of tests that render a service; the fault tests use the others."""

# Alternated between an async and a sync driver, these cover all pairs of answers.
PAIRED_POOLS = [
    *(("queue", "request"), ("null", "explicit")),
    *(("null", "explicit"), ("queue", "request")),
    *(("queue", "explicit"), ("null", "request")),
]

# Values for the form of a URL, to ask the template about it before a server runs.
SOMEWHERE = {
    "user": "app",
    "host": "localhost",
    "port": "1",
    "socket": "/run",
    "database": "app",
    "folder": "/srv",
}


def samples_of(config: pytest.Config) -> Samples:
    """Return the variants for each argument of a test, listed once per run."""
    if SAMPLES not in config.stash:
        questionnaire = Questionnaire(questions_only())
        config.stash[SAMPLES] = all_samples(questionnaire, list(find_pythons()))
    return config.stash[SAMPLES]


def all_samples(questionnaire: Questionnaire, pythons: Sequence[str]) -> Samples:
    """Return the variants for each argument of a test."""
    sampler = Sampler(questionnaire)
    variants = list(all_variants(questionnaire))
    fresh = list(sampler.fresh_samples(variants, pythons))
    return {
        "variant": variants,
        "url_sample": list(sampler.url_samples()),
        "tuning_sample": list(sampler.tuning_samples()),
        "telemetry_sample": list(telemetry_samples(variants)),
        "fresh_sample": fresh,
        "lowest_sample": [
            replace(each, id=each.id.replace("fresh", "lowest")) for each in fresh[1::3]
        ],
        **fault_samples(variants),
    }


class Sampler:
    """Draws samples of the variants of a template."""

    def __init__(self, questionnaire: Questionnaire) -> None:
        self._questionnaire = questionnaire
        self._choices = cache(lambda name: all_choices(questionnaire, name))

    def url_samples(self) -> Iterator[Variant]:
        """Yield every form of a URL, in each mode that it allows.

        ``database_url`` is the form, which the test fills in. The other answers that
        affect the use of the URL take turns.
        """
        names = ("pool", "alembic", "transaction")
        turns = cycle(product(*map(self._choices, names)))
        for backend, forms in URL_FORMS.items():
            for form, url in forms.items():
                given = {"database_url": url.format(**SOMEWHERE)}
                for answers in self._questionnaire.expand(given, {"mode": ALL}):
                    others = dict(zip(names, next(turns), strict=True))
                    row = {**answers, **others}
                    yield self._sample(f"url-{form}", backend, url, row)

    def tuning_samples(self) -> Iterator[Variant]:
        """Yield numbers, pings and Pythons, paired with answers that may affect them.

        Each row of pairs is a sample on one backend.
        """
        names = ["mode", "transaction", "alembic", "example", *SAMPLED]
        values = {name: self._choices(name) for name in names} | NUMBERS
        for backends in (list(SERVER_BACKENDS), list(FILE_BACKENDS)):
            (asked,) = self._questionnaire.expand(
                {"database_url": BACKENDS[backends[0]]},
                {name: values[name][:1] for name in values},
            )
            axes = {"backend": backends} | {name: values[name] for name in asked}
            for number, row in enumerate(pairs(axes)):
                backend = row["backend"]
                name = f"tuning-{number:02}-{backend}"
                yield self._sample(name, backend, BACKENDS[backend], row)

    def fresh_samples(
        self, variants: Sequence[Variant], pythons: Sequence[str]
    ) -> Iterator[Variant]:
        """Yield a variant of every backend, mode and driver; the Pythons alternate.

        All other answers vary as much as possible. The service supports the Python of
        the sample and newer ones.
        """

        def layer(variant: Variant) -> tuple[Any, ...]:
            answers = variant.answers
            return variant.backend, answers["mode"], answers.get("driver", "")

        for index, (_, group) in enumerate(groupby(variants, layer)):
            same_layer = list(group)
            # 7 has no factor in common with the number of variants of a layer.
            variant = same_layer[7 * index % len(same_layer)]
            python = pythons[index % len(pythons)]
            answers = dict(variant.answers)
            if python in self._choices("python_min"):
                answers["python_min"] = python
            id_ = "-".join(["fresh", python, *filter(None, layer(variant))])
            yield replace(variant, id=id_, answers=answers, python=python)

    def _sample(
        self, name: str, backend: str, url: str, row: Mapping[str, Any]
    ) -> Variant:
        """Return a variant with the answers in ``row`` that this URL asks for."""
        given = {"database_url": url.format(**SOMEWHERE)}
        questions = self._questionnaire.questions
        wanted = {name: [row[name]] for name in questions if name in row}
        (answers,) = self._questionnaire.expand(given, wanted)
        words = [in_words(each) for each in answers.items() if each[0] not in NUMBERS]
        answers = {"database_url": url, **answers}
        return Variant("-".join([name, *words]), backend, answers)


def telemetry_samples(variants: Sequence[Variant]) -> Iterator[Variant]:
    """Yield every driver with telemetry; pools and transaction policies alternate."""
    for driver in with_paired_pools(drivers_of(variants)):
        sample = with_answers(driver, telemetry="opentelemetry")
        yield replace(sample, id=f"telemetry-{driver.id}")


def fault_samples(variants: Sequence[Variant]) -> Samples:
    """Return the services of the fault tests: with a pool, and without Alembic.

    Faults of connections and load are tested with every driver. If drivers make no
    difference, one is tested for each backend and mode (``mode_driver``) or for each
    backend (``sampled_driver``). Some tests use both pools and both transaction
    policies: in ``sampled_pooled_driver``, all pairs of backend, mode, pool and policy
    occur.
    """
    drivers = drivers_of(variants)
    of_modes = {(each.backend, each.answers["mode"]): each for each in drivers[::-1]}
    modes = [each for each in drivers if each in of_modes.values()]
    servers = [each for each in drivers if each.backend in SERVER_BACKENDS]
    poolers = [
        with_answers(each, pooler="transaction")
        for each in with_paired_pools(servers)
        if each.backend == "postgresql"
    ]
    replicas = [
        with_answers(each, read_replica=True) for each in with_paired_pools(servers)
    ]
    return {
        "every_driver": drivers,
        "mode_driver": modes,
        "sampled_driver": drivers[::3],
        "server_driver": servers,
        "postgresql_driver": [each for each in servers if each.backend == "postgresql"],
        "mysql_driver": [each for each in servers if each.backend == "mysql"],
        "pooler_driver": poolers,
        "pooler_queue_driver": [
            each for each in poolers if each.answers["pool"] == "queue"
        ],
        "replica_driver": replicas,
        "postgresql_replica_driver": [
            each for each in replicas if each.backend == "postgresql"
        ],
        "sampled_replica_driver": replicas[::3],
        "file_driver": [each for each in drivers if each.backend in FILE_BACKENDS],
        "pooled_driver": list(with_pools(drivers, ["queue", "null"])),
        "sampled_pooled_driver": list(with_paired_pools(modes)),
        "queue_driver": list(with_pools(modes, ["queue"])),
    }


def drivers_of(variants: Sequence[Variant]) -> list[Variant]:
    """Return the variant of each driver that most fault tests use.

    Its id is the backend, the mode and the driver, as in "postgresql-async-asyncpg".
    """
    usual = {
        "pool": "queue",
        "transaction": "request",
        "alembic": False,
        "example": True,
    }
    return [
        replace(each, id=each.id.partition("-request")[0].removesuffix("-queue"))
        for each in variants
        if usual.items() <= (usual | dict(each.answers)).items()
    ]


def with_pools(drivers: Sequence[Variant], pools: Sequence[str]) -> Iterator[Variant]:
    """Yield each driver with each of the pools; the transaction policies alternate."""
    policies = cycle(["request", "explicit", "explicit", "request"][: 2 * len(pools)])
    for driver in drivers:
        for pool, policy in zip(pools, policies, strict=False):
            yield with_pool(driver, pool, policy)


def with_paired_pools(drivers: Sequence[Variant]) -> Iterator[Variant]:
    """Yield each driver with one pool and one policy; see ``PAIRED_POOLS``."""
    for number, driver in enumerate(drivers):
        yield with_pool(driver, *PAIRED_POOLS[number % len(PAIRED_POOLS)])


def with_answers(driver: Variant, **answers: Any) -> Variant:
    """Return the driver with additional answers, which its id does not name."""
    return replace(driver, answers=dict(driver.answers) | answers)


def with_pool(driver: Variant, pool: str, policy: str) -> Variant:
    answers = {**driver.answers, "pool": pool, "transaction": policy}
    return replace(driver, id=f"{driver.id}-{pool}-{policy}", answers=answers)


def pairs(axes: Mapping[str, Sequence[Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield rows in which all pairs of values occur."""
    for values in AllPairs(list(axes.values())):
        yield dict(zip(axes, values, strict=True))
