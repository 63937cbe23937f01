"""Fixtures of all tests: the template, the servers, and the checks of a service."""

from pathlib import Path

import pytest

from support import template
from support.copier_internals import CopierFixture, Questionnaire
from support.samples import Samples, samples_of
from support.service_checker import ServiceChecker
from support.shared_servers import SharedServers, servers_of

pytest_plugins = ["support.pytest_plugin"]


@pytest.fixture(scope="session")
def set_default_gitconfig() -> dict[str, str]:
    """Git's configuration in all tests: it does not wait for the disk."""
    return {"core.fsync": "none", "maintenance.auto": "false"}


@pytest.fixture(scope="session")
def questionnaire() -> Questionnaire:
    """The template's questions, asked one by one."""
    return Questionnaire(template.questions_only())


@pytest.fixture(scope="session")
def copier_template_paths() -> list[str]:
    """What pytest-copier renders: the template, without this repository's tests."""
    return [*template.PATHS]


@pytest.fixture(scope="session")
def unversioned_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without its repository, which Copier would clone every time."""
    folder = tmp_path_factory.mktemp("unversioned")
    template.copy_template(folder)
    return folder


@pytest.fixture
def copier(
    unversioned_template: Path, monkeypatch: pytest.MonkeyPatch
) -> CopierFixture:
    """Renders services, in a third of the time that pytest-copier takes."""
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
    template.make_releases(folder)
    return folder


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> SharedServers:
    """The database servers of the run."""
    return servers_of(pytestconfig)


@pytest.fixture(scope="session")
def samples(pytestconfig: pytest.Config) -> Samples:
    """The variants that each argument of a test stands for."""
    return samples_of(pytestconfig)


@pytest.fixture(scope="session")
def mypy_cache(pytestconfig: pytest.Config, worker_id: str) -> Path:
    """Mypy's cache, of this worker and all runs: without it a check takes 8 s."""
    assert pytestconfig.cache
    return pytestconfig.cache.mkdir(f"mypy-{worker_id.replace('master', 'gw0')}")


@pytest.fixture
def service_checker(
    copier: CopierFixture,
    servers: SharedServers,
    mypy_cache: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> ServiceChecker:
    """Renders a service and checks it, or fails the test."""
    return ServiceChecker(copier, servers, mypy_cache, tmp_path, request.node)
