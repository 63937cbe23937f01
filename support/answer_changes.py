"""Updates that change answers: the answers before the update, and the new ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from support.copier_internals import Answers
from support.samples import pairs
from support.template import TAGS
from support.variants import BACKENDS, NUMBERS, Variant, values_of

# Other answers than the variants have. An update refuses another package name.
OTHERS: dict[str, Sequence[Any]] = {
    "project_name": ["Another name"],
    "project_description": ["Another description."],
    "database_url": ["postgresql://other@database.invalid/other"],
    "python_min": ["3.12", "3.13", "3.14"],
    "pool_pre_ping": ["always", "never"],
    "container": [False],
    "ci": ["gitlab", "none"],
    "read_replica": [True],
    "pooler": ["transaction"],
    "telemetry": ["opentelemetry"],
    **{name: values[-1:] for name, values in NUMBERS.items()},
}


@dataclass(frozen=True)
class Change:
    """An update of a service to other answers.

    Answers that are impossible in combination with the others are ignored, and
    missing answers are the defaults.
    """

    id: str
    release: str
    """The tag that the service was rendered from."""
    before: Answers
    after: Answers
    """The answers to the update; all others are kept."""


def changes(variants: Sequence[Variant]) -> list[Change]:
    """Return updates between variants, between drivers, and of all other answers."""
    return [*variant_pairs(variants), *driver_changes(variants), *other_changes()]


def variant_pairs(variants: Sequence[Variant]) -> Iterator[Change]:
    """Yield updates from variant to variant, so that all pairs of answers occur.

    The releases take turns.
    """
    values = values_of(variants)
    axes = {f"{side} {name}": values[name] for name in values for side in "ab"}
    for number, row in enumerate(pairs(axes)):
        before = {name: row[f"a {name}"] for name in values}
        after = {name: row[f"b {name}"] for name in values}
        changed = {name: after[name] for name in after if after[name] != before[name]}
        release = TAGS[number % len(TAGS)]
        yield Change(f"{release}-pair-{number:02}", release, before, changed)


def driver_changes(variants: Sequence[Variant]) -> Iterator[Change]:
    """Yield an update from each driver to each other of the same backend and mode."""
    drivers: dict[tuple[str, str], dict[str, None]] = {}
    for variant in variants:
        if driver := variant.answers.get("driver"):
            layer = variant.backend, variant.answers["mode"]
            drivers.setdefault(layer, {})[driver] = None
    for (backend, mode), names in drivers.items():
        for old, new in permutations(names, 2):
            before = {"database_url": BACKENDS[backend], "mode": mode, "driver": old}
            id_ = f"{TAGS[-1]}-{backend}-{old}-{new}"
            yield Change(id_, TAGS[-1], before, {"driver": new})


def other_changes() -> Iterator[Change]:
    """Yield updates that change all answers in ``OTHERS`` at once."""
    before = {"database_url": BACKENDS["postgresql"]}
    for number in range(max(map(len, OTHERS.values()))):
        after = {name: values[number % len(values)] for name, values in OTHERS.items()}
        yield Change(f"{TAGS[-1]}-others-{number}", TAGS[-1], before, after)
