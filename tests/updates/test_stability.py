"""Tests of the names that docs/stability.md lists: services and releases have them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.template import NOW, ROOT, TAGS, copy
from tools.reference import fields

PAGE = (ROOT / "docs/stability.md").read_text()
IMPORTS = {
    module.replace(".", "/"): re.findall(r"`(\w+)`", names)
    for module, names in re.findall(r"Imports from `<package>\.([\w.]+)` \|(.*)", PAGE)
}
DATABASES = ["sqlite:///./app.db", "postgresql://app@db/app", "mysql://app@db/app"]


def names_in(path: Path) -> Iterator[str]:
    """Yield the names that a module defines or imports."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.ImportFrom():
                yield from (each.asname or each.name for each in node.names)


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("database_url", DATABASES)
def test_names_of_the_last_release_remain(
    database_url: str, mode: str, releases: Path, tmp_path: Path
) -> None:
    services = {}
    for tag in (TAGS[-1], NOW):
        services[tag] = tmp_path / tag / "src/service"
        answers = {"database_url": database_url, "mode": mode}
        copy(releases, tmp_path / tag, tag, answers)
    for service in services.values():
        for module, names in IMPORTS.items():
            path = service / f"{module}.py"
            path = path if path.exists() else service / module / "__init__.py"
            assert set(names) <= set(names_in(path)), path
    then, now = (
        {name for name, *_ in fields((each / "settings.py").read_text())}
        for each in services.values()
    )
    assert then <= now
    conftest = set(names_in(tmp_path / NOW / "tests/conftest.py"))
    assert {"database", "connection", "session", "client"} <= conftest
