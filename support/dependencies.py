"""What a rendered service declares to need, and what it imports."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

# No syntax tree, as that of a newer Python is beyond ours.
IMPORT = re.compile(r"^ *(?:from (\w+)[\w.]* import|import (\w+))", re.MULTILINE)

# Not imported, and yet needed: they run the service, or the driver imports it.
TOOLS = {"cryptography", "fastapi-cli", "uvicorn"}


def normalized(requirement: str) -> str:
    """The name in a requirement, as the index knows it: without extras and versions."""
    name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(project: Path, *folders: str) -> set[str]:
    """The packages of others that the Python files in ``folders`` import."""
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
    """No package is imported that is not declared, or declared and not needed.

    ``driver`` is the service's: SQLAlchemy imports it.
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
