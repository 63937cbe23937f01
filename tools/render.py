"""Renders one variant of the working tree into a folder, so that you can read it.

    uv run python -m tools.render postgresql-async-asyncpg-queue ../look

The first argument is the id of a variant, as shown by pytest, or a part of it.
"""

import sys
import tempfile
from pathlib import Path

from copier import run_copy

from support.copier_internals import Questionnaire
from support.template import copy_template, questions_only
from support.variants import all_variants


def main(wanted: str, folder: str) -> None:
    """Render the first variant whose id contains ``wanted`` into ``folder``."""
    variants = {
        variant.id: variant for variant in all_variants(Questionnaire(questions_only()))
    }
    found = [id_ for id_ in variants if wanted in id_]
    if not found:
        sys.exit("\n".join(["Choose one of these:", *variants]))
    with tempfile.TemporaryDirectory() as template:
        copy_template(Path(template))
        answers = dict(variants[found[0]].answers)
        run_copy(template, folder, answers, defaults=True, overwrite=True, quiet=True)
    print(f"{found[0]} is in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
