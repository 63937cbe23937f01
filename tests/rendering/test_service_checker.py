"""Tests of the service checker: it finds faults, and reports them with the test."""

from pathlib import Path

import pytest

from support.copier_internals import CopierFixture
from support.databases import create_database, execute
from support.service_checker import ServiceChecker
from support.shared_servers import SharedServers

PACKAGE = "template/src/{{ package_name }}/__init__.py"
SUITE = "template/tests/test_shorten.py"
README = "template/README.md"
CONFIGURATION = "template/pyproject.toml"

# A minimal template that passes all checks.
TEMPLATE = {
    "copier.yml": """\
_subdirectory: template
package_name: {type: str, default: service}
""",
    "template/{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_yaml }}",
    README: "# A service\n",
    CONFIGURATION: """\
[tool.mypy]
strict = true
files = ["src", "tests"]
mypy_path = "src"

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    PACKAGE: """\
def shorten(text: str) -> str:
    if len(text) > 3:
        text = text[:3]
    return text
""",
    SUITE: """\
from service import shorten


def test_short() -> None:
    assert shorten("ab") == "ab"


def test_long() -> None:
    assert shorten("abcd") == "abc"
""",
}
SHORT = '    assert shorten("ab") == "ab"\n'
LONG = '    assert shorten("abcd") == "abc"\n'
OTHER = "    assert shorten\n"
WARN = '    import warnings\n\n    warnings.warn("oh")\n'
UNTRIED = "    if not text:\n        print()  # pragma: no cover\n"

# Changes to these files, and the findings that they cause.
FAULTS = {
    "failure": (SUITE, '"abc"', '"abd"', "suite failed with exit code 1"),
    "place": (SUITE, '"abc"', '"abd"', "tests/test_shorten.py:9: in test_long"),
    "no-test": (SUITE, "def test_", "def check_", "no test ran"),
    "broken-suite": (SUITE, "import", "imports", "suite failed with exit code 2"),
    "crash": (SUITE, LONG, "    import os\n\n    os.abort()\n", "exit code -6"),
    "skip": (SUITE, LONG, "    import pytest\n\n    pytest.skip()\n", "1 skipped"),
    "xfail": (SUITE, LONG, "    import pytest\n\n    pytest.xfail()\n", "1 expected"),
    "warning": (SUITE, LONG, f"{LONG}{WARN}", "warning: .*: oh"),
    "file-left": (SUITE, LONG, f'{LONG}    open("it", "w")\n', "left a file: it"),
    "line": (SUITE, LONG, OTHER, "not covered: src/service/__init__.py: 3, 2->3"),
    "branch": (SUITE, SHORT, OTHER, "not covered: src/service/__init__.py: 2->4"),
    "pragma": (PACKAGE, "    return", f"{UNTRIED}    return", "not covered: .*: 5"),
    "types": (PACKAGE, "-> str", "-> int", "src/.*.py:4: .* return value type"),
    "style": (PACKAGE, "def", "import os\n\n\ndef", "F401 .*\n --> src/.*.py:1:8"),
    "format": (PACKAGE, "[:3]", "[ : 3 ]", "would be reformatted"),
    "syntax": (PACKAGE, "return text", "return text)", "invalid-syntax"),
    "jinja": (README, "A", "{{ a }}", "README.md:1: Jinja is left over"),
    "white-space": (README, "A", "A \n", "README.md:1: trailing"),
    "gap": (CONFIGURATION, "\n\n", "\n\n\n\n", "pyproject.toml: empty lines"),
    "toml": (CONFIGURATION, "[tool.pytest", "[tool.pytest\n", "does not parse"),
}  # fmt: skip


@pytest.fixture
def template_folder(tmp_path: Path) -> Path:
    """Create the minimal template."""
    for name, text in TEMPLATE.items():
        path = tmp_path / "template" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "template"


@pytest.fixture
def small_checker(
    service_checker: ServiceChecker,
    template_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> ServiceChecker:
    """Provide a checker for the minimal template, which the summary omits."""
    service_checker.node.user_properties.clear()
    service_checker.copier = CopierFixture(template_folder, {}, monkeypatch)
    return service_checker


def test_service_without_faults_passes(small_checker: ServiceChecker) -> None:
    small_checker.check_all("none", {})
    assert small_checker.counts["tests in their suites"] == 2


@pytest.mark.parametrize(("file", "old", "new", "finding"), FAULTS.values(), ids=FAULTS)
def test_fault_is_found(
    file: str,
    old: str,
    new: str,
    finding: str,
    small_checker: ServiceChecker,
    template_folder: Path,
) -> None:
    path = template_folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(pytest.fail.Exception, match=finding) as failure:
        small_checker.check_all("none", {})
    assert str(failure.value).endswith(f"""
rendered: {small_checker.folder}/service
again:    uv run pytest -k '{small_checker.node.name.partition("[")[2][:-1]}'""")


@pytest.mark.parametrize("backend", ["postgresql", "mysql"])
def test_fault_of_a_database_is_found(
    backend: str, small_checker: ServiceChecker
) -> None:
    def leave_traces() -> None:
        with small_checker.database(backend) as url:
            execute(url, "CREATE TABLE kept (id INTEGER)")
            create_database(url, url.rpartition("/")[2] + "_test")

    with pytest.raises(pytest.fail.Exception) as failure:
        leave_traces()
    assert "the development database was written to: ['kept']" in str(failure.value)
    assert "database left behind: service-" in str(failure.value)
    small_checker.findings.clear()
    with small_checker.database(backend) as url:
        execute(url, "CREATE TABLE kept (id INTEGER)")
        execute(url, "DROP TABLE kept")


def test_service_without_its_server_is_skipped_or_fails(
    small_checker: ServiceChecker,
) -> None:
    small_checker.servers = SharedServers(
        missing={"mysql": "install it"}, broken={"postgresql": "no start"}
    )
    with pytest.raises(pytest.skip.Exception, match="install it"):
        small_checker.check_all("mysql", {})
    with pytest.raises(pytest.fail.Exception, match="no start"):
        small_checker.check_all("postgresql", {})
