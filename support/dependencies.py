"""The dependencies that a rendered service declares, and the packages it imports."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Not a syntax tree: this Python may not parse the syntax of a newer one.
IMPORT = re.compile(r"^ *(?:from (\w+)[\w.]* import|import (\w+))", re.MULTILINE)

# Needed, although not imported: they run the service, or the driver imports them.
TOOLS = {"cryptography", "fastapi-cli", "uvicorn"}


def normalized(requirement: str) -> str:
    """Return the normalized name in a requirement, without extras and versions."""
    return canonicalize_name(Requirement(requirement).name)


def imported(project: Path, *folders: str) -> set[str]:
    """Return the third-party packages that the Python files in ``folders`` import."""
    ours = {"tests", "migrations", *(path.name for path in (project / "src").iterdir())}
    modules = {
        match[1] or match[2]
        for folder in folders
        for path in (project / folder).rglob("*.py")
        for match in IMPORT.finditer(path.read_text())
    }
    distributions = packages_distributions()
    return {
        normalized(distributions.get(module, [module])[0])
        for module in modules - ours - sys.stdlib_module_names
    }


def check_dependencies(project: Path, driver: str) -> list[str]:
    """Return what is wrong: packages that are not declared, or declared but not needed.

    SQLAlchemy, not the service, imports the ``driver``.
    """
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    declared = set(map(normalized, pyproject["project"]["dependencies"]))
    for_tests = set(map(normalized, pyproject["dependency-groups"]["dev"]))
    run = imported(project, "src", "migrations")
    missing = {
        "dependencies": run - declared,
        "the group dev": imported(project, "tests") - declared - for_tests,
    }
    return [
        *(
            f"imported but not in {place}: {name}"
            for place, names in missing.items()
            for name in sorted(names)
        ),
        *(
            f"declared but not needed: {name}"
            for name in sorted(declared - run - TOOLS - {driver})
        ),
    ]
