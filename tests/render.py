"""Renders one variant of the working tree into a folder, to look at it.

    uv run python -m tests.render postgresql-async-asyncpg-queue ../look

The first argument is the id of a variant, as pytest shows it, or a part of one.
"""

import sys
import tempfile
from pathlib import Path

from copier import run_copy

from tests.history import put_template
from tests.variants import Template


def main(wanted: str, folder: str) -> None:
    """Render the first variant whose id holds ``wanted`` into ``folder``."""
    with tempfile.TemporaryDirectory() as copy, Template.open() as template:
        variants = {variant.id: variant for variant in template.variants()}
        found = [id_ for id_ in variants if wanted in id_]
        if not found:
            sys.exit("\n".join(["Choose one of these:", *variants]))
        put_template(Path(copy))
        answers = dict(variants[found[0]].answers)
        run_copy(copy, folder, answers, defaults=True, overwrite=True, quiet=True)
    print(f"{found[0]} is in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
