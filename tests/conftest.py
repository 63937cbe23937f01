"""Fixtures for all tests: the template, the servers, and the checks of a service."""

import shutil
from pathlib import Path

import pytest

from support import template
from support.copier_internals import CopierFixture, Questionnaire
from support.processes import SCRIPTS, locked, run
from support.samples import Samples, samples_of
from support.service_checker import ServiceChecker
from support.shared_servers import SharedServers, servers_of

pytest_plugins = ["support.pytest_plugin"]


@pytest.fixture(scope="session")
def set_default_gitconfig() -> dict[str, str]:
    """Configure Git for all tests: no waiting for the disk, and no sample hooks."""
    return {
        "core.fsync": "none",
        "init.templateDir": "",
        "maintenance.auto": "false",
    }


@pytest.fixture(scope="session")
def questionnaire() -> Questionnaire:
    """Provide the template's questions, which can be asked one by one."""
    return Questionnaire(template.questions_only())


@pytest.fixture(scope="session")
def unversioned_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the template outside Git; Copier would clone a repository each time."""
    folder = tmp_path_factory.mktemp("unversioned")
    template.copy_template(folder)
    return folder


@pytest.fixture
def copier(
    unversioned_template: Path, monkeypatch: pytest.MonkeyPatch
) -> CopierFixture:
    """Render services, in a third of the time that pytest-copier takes."""
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
    """Provide a repository of the template, with tags for all releases and for now."""
    folder = tmp_path_factory.mktemp("releases") / "template"
    template.make_releases(folder)
    return folder


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> SharedServers:
    """Provide the database servers of the test run."""
    return servers_of(pytestconfig)


@pytest.fixture(scope="session")
def samples(pytestconfig: pytest.Config) -> Samples:
    """Provide the variants for each argument of a test."""
    return samples_of(pytestconfig)


@pytest.fixture(scope="session")
def mypy_cache(pytestconfig: pytest.Config, worker_id: str) -> Path:
    """Provide mypy's cache, which persists across runs and saves 8 s per check.

    It begins as a copy of this repository's, which covers the libraries. In a fresh
    checkout, one worker creates that cache, and the others wait for it.
    """
    assert pytestconfig.cache
    cache = pytestconfig.cache.mkdir(f"mypy-{worker_id.replace('master', 'gw0')}")
    if not any(cache.iterdir()):
        ours = template.ROOT / ".mypy_cache"
        with locked(cache.with_name("mypy.lock")):
            if not ours.exists():
                run([SCRIPTS / "mypy"], template.ROOT)
        shutil.copytree(ours, cache, dirs_exist_ok=True)
    return cache


@pytest.fixture
def service_checker(
    copier: CopierFixture,
    servers: SharedServers,
    mypy_cache: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> ServiceChecker:
    """Provide the checks of rendered services; their findings fail the test."""
    return ServiceChecker(copier, servers, mypy_cache, tmp_path, request.node)
