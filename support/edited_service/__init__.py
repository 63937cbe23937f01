"""A service that its owners have edited, and what an update does to their edits.

Each edit replaces a line of a rendered file, and contains a line by which it is found
again. The owners have also added files, which are rendered from the templates in this
folder.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from support.template import ROOT

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader([Path(__file__).parent, ROOT]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)

SECRET = "s3cret-of-the-env-file"

CONFLICT = re.compile(
    r"^<{7} before updating\n(.*?)^={7}\n(.*?)^>{7} after updating\n",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Edit:
    """A line of a rendered file, and the lines that replace it."""

    path: str
    line: str
    """The line, without its break; "" for the end of the file."""
    new: str

    @property
    def mark(self) -> str:
        """Return the line by which the edit is found; the original file lacks it."""
        lines = [line.strip() for line in self.new.splitlines()]
        return [line for line in lines if line and line != self.line.strip()][-1]


P = "src/service"

FIXTURE = '''

@pytest.fixture
def tea() -> dict[str, str]:
    """Have what everyone orders."""
    return {"title": "Tea"}
'''

# Edits in files and lines that every variant has.
EDITS = [
    Edit("README.md", "## Check", "Ask Ada before you do.\n\n## Check"),
    Edit("README.md", "", "\n## Deploy\n\nOn Fridays never.\n"),
    Edit(".gitignore", ".env", ".env\n.env.local"),
    Edit(".env.example", "", "PAGE_SIZE=50\n"),
    Edit("pyproject.toml", 'version = "0.1.0"', 'version = "2.5.0"'),
    Edit(
        "pyproject.toml",
        '    "uvicorn>=0.54",',
        '    "uvicorn>=0.54",\n    "xmltodict>=0.14",',
    ),
    Edit("pyproject.toml", "", '\n[tool.pyright]\ninclude = ["src"]\n'),
    Edit(
        f"{P}/main.py",
        "from fastapi import FastAPI",
        "from fastapi import FastAPI\nfrom service.orders import routes as orders",
    ),
    Edit(
        f"{P}/main.py",
        "    lifespan=lifespan,",
        '    lifespan=lifespan,\n    version="2.5.0",',
    ),
    Edit(
        f"{P}/main.py",
        "add_exception_handlers(app)",
        "add_exception_handlers(app)\napp.include_router(orders.router)",
    ),
    Edit(
        f"{P}/settings.py",
        '        env_file=".env", extra="ignore", hide_input_in_errors=True',
        '        env_file=".env", extra="forbid", hide_input_in_errors=True',
    ),
    Edit(
        f"{P}/settings.py",
        "    database_echo: bool = False",
        '    api_key: str = ""\n    database_echo: bool = False',
    ),
    Edit(
        f"{P}/health.py",
        '    """Answer as long as the process does."""',
        '    """Answer as long as the process does. Kubernetes asks."""',
    ),
    Edit(
        f"{P}/db/base.py",
        '            "uq": "uq_%(table_name)s_%(column_0_N_name)s",',
        "            # As the DBAs want it:\n"
        '            "uq": "uq_%(table_name)s_%(column_0_N_name)s",',
    ),
    Edit("tests/conftest.py", "", FIXTURE),
]

# Edits in files that only services with the example, or with migrations, have.
EXAMPLE_EDITS = [
    Edit(
        f"{P}/users/routes.py",
        "    limit: Annotated[int, Query(ge=1, le=100)] = 20,",
        "    limit: Annotated[int, Query(ge=1, le=500)] = 50,",
    ),
    Edit(
        f"{P}/users/models.py",
        "    name: Mapped[str] = mapped_column(String(100))",
        "    name: Mapped[str] = mapped_column(String(100))  # As in the passport.",
    ),
]
MIGRATION_EDITS = [
    Edit(
        "migrations/env.py",
        "        url=engine.url,",
        "        url=engine.url,\n        compare_type=True,",
    ),
]


def own_files(
    facts: Mapping[str, Any],
    keeps_example: bool,
    migration_for: Callable[[str], str] | None = None,
) -> dict[str, bytes]:
    """Return the files that the owners have added, by path: the orders, and others.

    ``facts`` are the template's. ``migration_for`` returns the migration that creates
    the table of the orders on a backend.
    """
    templates = {
        f"{P}/orders/models.py": "models.py.jinja",
        f"{P}/orders/routes.py": "routes.py.jinja",
        "tests/test_orders.py": "test_orders.py.jinja",
        ".env": "env.jinja",
    }
    own = {
        path: TEMPLATES.get_template(name).render(facts, secret=SECRET)
        for path, name in templates.items()
    } | {
        f"{P}/orders/__init__.py": "",
        f"{P}/db/reports.py": '"""Queries for reports."""\n',
        "tests/data/order.json": '{"title": "Tea"}\n',
        "docs/index.md": "# Service\n",
        "uv.lock": "version = 1\n",
    }
    if facts["alembic"] and migration_for:
        migration = migration_for(facts["url"]["backend"])
        if not keeps_example:  # The initial migration is gone, too.
            migration = migration.replace('= "0001"', "= None")
        own["migrations/versions/0002_orders.py"] = migration
    return {path: text.encode() for path, text in own.items()}


def delete_example(folder: Path) -> None:
    """Delete the users and posts by hand, as an owner without use for them does."""
    for name in ("users", "posts"):
        shutil.rmtree(folder / P / name)
        (folder / f"tests/test_{name}.py").unlink()
    (folder / "migrations/versions/0001_initial.py").unlink()
    exclude_example(folder)


def exclude_example(folder: Path) -> None:
    """Delete the lines of ``main.py`` that include the users and posts."""
    main = folder / P / "main.py"
    lines = main.read_text().splitlines(keepends=True)
    main.write_text(
        "".join(line for line in lines if "users" not in line and "posts" not in line)
    )


def edit(folder: Path, edits: list[Edit]) -> None:
    """Apply the ``edits`` to the service in ``folder``."""
    for change in edits:
        path = folder / change.path
        text = path.read_text()
        assert change.mark not in text, change
        if change.line:
            assert text.splitlines().count(change.line) == 1, change
            text = f"\n{text}".replace(f"\n{change.line}\n", f"\n{change.new}\n")[1:]
        else:
            text += change.new
        path.write_text(text)


def write(folder: Path, own: Mapping[str, bytes]) -> None:
    """Write the files that the owners have added."""
    for name, content in own.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@dataclass
class Outcome:
    """What an update did to the edits."""

    kept: list[Edit] = field(default_factory=list)
    in_conflict: list[Edit] = field(default_factory=list)
    """Edits between the markers of a conflict, or in a ``.rej`` file."""
    removed: list[Edit] = field(default_factory=list)
    """Edits in files that the update has removed."""
    lost: list[Edit] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Return the number of edits with each outcome."""
        return {
            f"edits {kind.replace('_', ' ')}": len(edits)
            for kind, edits in vars(self).items()
        }


def resolve(folder: Path, conflicts: list[Edit]) -> None:
    """Resolve the ``conflicts``: accept the template's lines, and edit them again."""
    for path in (folder / "src/service/main.py", *(folder / c.path for c in conflicts)):
        path.write_text(CONFLICT.sub(lambda match: match[2], path.read_text()))
    edit(folder, conflicts)


def outcome(folder: Path, edits: list[Edit]) -> Outcome:
    """Return the outcome of each of the ``edits`` in the updated service."""
    found = Outcome()
    for change in edits:
        path = folder / change.path
        reject = path.with_name(f"{path.name}.rej")
        text = path.read_text() if path.exists() else ""
        if any(change.mark in ours for ours, _ in CONFLICT.findall(text)) or (
            reject.exists() and change.mark in reject.read_text()
        ):
            found.in_conflict.append(change)
        elif change.mark in text:
            found.kept.append(change)
        elif not path.exists():
            found.removed.append(change)
        else:
            found.lost.append(change)
    return found
