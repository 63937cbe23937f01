"""What the tests share: the template, the servers, and the acceptance of a service.

The run's first process finds out what there is (variants, Pythons) and starts the
servers; pytest-xdist's workers are told.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jinja2
import pytest
from copier._main import Worker
from pytest_copier.plugin import CopierFixture

from tests import history
from tests.accept import Accept
from tests.changes import changes
from tests.faults.report import Report
from tests.found import Found
from tests.runner import Forker
from tests.summary import Progress, Summary
from tests.variants import BACKENDS, Template

# The arguments of tests that stand for variants.
VARIANTS = ("variant", "url_sample", "tuning_sample", "fresh_sample")

FOUND = pytest.StashKey[Found]()
FORKER = pytest.StashKey[Forker]()
EXITS = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-figures",
        action="store_true",
        help="write the figures of the fault tests into docs/reliability.md",
    )


def pytest_configure(config: pytest.Config) -> None:
    remember_compiled_templates()
    if hasattr(config, "workerinput"):
        config.stash[FOUND] = Found.told(config.workerinput["found"])
    else:
        config.pluginmanager.register(Progress(config))
        config.pluginmanager.register(Summary())
        config.pluginmanager.register(Report(config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run one variant, selected by its id, without workers, which take seconds.

    The libraries that it needs are loaded while we look for the variants.
    """
    keyword = config.option.keyword
    if keyword.startswith(tuple(BACKENDS)) and keyword.count("-") > 3:
        config.stash[FORKER] = exits_of(config).enter_context(Forker())
        if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            config.args = [str(Path(__file__).with_name("test_variants.py"))]
        return 0
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist what we found."""
    node.workerinput["found"] = find(node.config).tell()


def pytest_unconfigure(config: pytest.Config) -> None:
    if EXITS in config.stash:
        config.stash[EXITS].close()


def find(config: pytest.Config) -> Found:
    """What was found, once in a run."""
    if FOUND not in config.stash:
        config.stash[FOUND] = Found.out(exits_of(config))
    return config.stash[FOUND]


def exits_of(config: pytest.Config) -> ExitStack:
    """What ends with the run."""
    return config.stash.setdefault(EXITS, ExitStack())


def remember_compiled_templates() -> None:
    """Let Jinja compile a template once in a process, not once in a rendering."""
    compile_ = jinja2.Environment.compile
    compiled: dict[object, Any] = {}

    def compile_once(
        self: jinja2.Environment, source: Any, *args: Any, **kwargs: Any
    ) -> Any:
        # All that differs between the environments here; file names do not matter.
        key = (type(self), self.trim_blocks, self.lstrip_blocks, source)
        if key not in compiled:
            compiled[key] = compile_(self, source, *args, **kwargs)
        return compiled[key]

    jinja2.Environment.compile = compile_once  # type: ignore[method-assign]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for each of the variants that its argument stands for."""
    for argument in {*VARIANTS}.intersection(metafunc.fixturenames):
        variants = find(metafunc.config).variants[argument]
        ids = [variant.id for variant in variants]
        metafunc.parametrize(argument, variants, ids=ids)
    if "change" in metafunc.fixturenames:
        updates = list(changes(find(metafunc.config).variants["variant"]))
        metafunc.parametrize("change", updates, ids=[change.id for change in updates])


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    """The template's questions."""
    with Template.open() as template:
        yield template


@pytest.fixture(scope="session")
def copier_template_paths() -> list[str]:
    """What pytest-copier renders: the template, without this repository's tests."""
    return [*history.TEMPLATE]


@pytest.fixture(scope="session")
def unversioned_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without its repository, which Copier would clone every time."""
    folder = tmp_path_factory.mktemp("unversioned")
    history.put_template(folder)
    return folder


@pytest.fixture
def copier(
    unversioned_template: Path, monkeypatch: pytest.MonkeyPatch
) -> CopierFixture:
    """Renders services, in a third of the time that pytest-copier takes."""
    # Copier runs Git once a file, for repositories; these services are in none.
    monkeypatch.setattr(Worker, "_sync_git_index_executable_bit", lambda *_: None)
    return CopierFixture(unversioned_template, {}, monkeypatch)


@pytest.fixture(autouse=True)
def copier_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep Copier's clones of remote templates out of the user's caches."""
    folder = tmp_path_factory.getbasetemp() / "copier-cache"
    monkeypatch.setenv("COPIER_CACHE_DIR", str(folder))


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the template, with a tag for every release and for now."""
    folder = tmp_path_factory.mktemp("releases") / "template"
    history.make_history(folder)
    return folder


@pytest.fixture(scope="session")
def found(pytestconfig: pytest.Config) -> Found:
    """What the run's first process found on this machine."""
    return find(pytestconfig)


@pytest.fixture(scope="session")
def forker(pytestconfig: pytest.Config) -> Iterator[Forker]:
    """The process whose children run suites and type checks."""
    with pytestconfig.stash.get(FORKER, None) or Forker() as forker:
        yield forker


@pytest.fixture(scope="session")
def mypy_cache(pytestconfig: pytest.Config, worker_id: str) -> Path:
    """Mypy's cache, of this worker and all runs: without it a check takes 8 s."""
    assert pytestconfig.cache
    return pytestconfig.cache.mkdir(f"mypy-{worker_id.replace('master', 'gw0')}")


@pytest.fixture
def accept(
    copier: CopierFixture,
    forker: Forker,
    found: Found,
    mypy_cache: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Accept:
    """A callable that accepts a rendered service, or fails the test."""
    return Accept(copier, forker, found, mypy_cache, tmp_path, request.node)
