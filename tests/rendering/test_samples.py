"""Tests of samples: answers that do not span the variants, and fresh environments."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import make_url

from support.ci import github_script
from support.dependencies import check_dependencies
from support.processes import (
    clean_environment,
    commit,
    environment_with_uv,
    git,
    run,
    uv,
)
from support.pythons import find_pythons, is_newer
from support.samples import Samples
from support.service_checker import ServiceChecker
from support.variants import SERVER_BACKENDS, Variant


def test_url_form(url_sample: Variant, service_checker: ServiceChecker) -> None:
    """The service connects to its database with a URL of this form.

    The URL is either DATABASE_URL, or the answer, which is the default. With the
    default, the service needs DATABASE_PASSWORD.
    """
    form = url_sample.answers["database_url"]
    socket = service_checker.servers.sockets.get(url_sample.backend)
    if "{socket}" in form and not socket:
        pytest.skip(f"the socket of the server for {url_sample.backend} is not known")
    with service_checker.database(url_sample.backend) as url:
        parts: dict[str, object] = {"folder": service_checker.folder, "socket": socket}
        environment = {}
        if url_sample.backend in SERVER_BACKENDS:
            server = make_url(url)
            user, password = str(server.username), str(server.password)
            parts |= {"host": server.host, "port": server.port or 3306}
            parts |= {"user": quote(user), "database": server.database}
            if url_sample.answers["transaction"] == "request":
                user_password = f"{quote(user)}:{quote(password, safe='')}"
                environment["DATABASE_URL"] = form.format(
                    **{**parts, "user": user_password}
                )
            else:
                environment["DATABASE_PASSWORD"] = password
        answers = {**url_sample.answers, "database_url": form.format(**parts)}
        project = service_checker.render(answers)
        service_checker.check_style(project)  # Types do not depend on the form.
        service_checker.run_suite(project, environment)


def test_tuning(tuning_sample: Variant, service_checker: ServiceChecker) -> None:
    """The numbers, the ping and the Python; suites for a newer Python are not run."""
    if is_newer(tuning_sample.answers["python_min"]):
        with service_checker.database("sqlite"):
            project = service_checker.render(tuning_sample.answers)
            service_checker.check_style(project)
            service_checker.check_types(project)
    else:
        service_checker.check_all(tuning_sample.backend, tuning_sample.answers)


def test_telemetry(telemetry_sample: Variant, service_checker: ServiceChecker) -> None:
    """All drivers and pools work with telemetry."""
    service_checker.check_all(telemetry_sample.backend, telemetry_sample.answers)


def test_fresh_environment(
    fresh_sample: Variant,
    service_checker: ServiceChecker,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """`uv sync` and `uv run pytest` suffice, and all installed packages are needed."""
    environments = tmp_path_factory.getbasetemp()
    check_in_an_environment(
        fresh_sample, service_checker, environments, "highest", ["pytest"]
    )


def test_lowest_versions(
    lowest_sample: Variant,
    service_checker: ServiceChecker,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The suite passes with the oldest versions that `pyproject.toml` allows.

    Coverage is measured, which depends on the installed packages. The samples are sync
    services; test_the_commands_of_the_ci_pass measures it in an async one.
    """
    assert lowest_sample.answers["mode"] == "sync"
    environments = tmp_path_factory.getbasetemp()
    coverage = ["coverage", "run", "-m", "pytest"]
    check_in_an_environment(
        lowest_sample, service_checker, environments, "lowest-direct", coverage
    )


def check_in_an_environment(
    sample: Variant,
    service_checker: ServiceChecker,
    environments: Path,
    resolution: str,
    suite: Sequence[str],
) -> None:
    """Install the service in a fresh environment, and run its ``suite`` there.

    Services on the same Python share an environment, one after the other: `uv sync`
    removes packages that a service does not declare.
    """
    environment = clean_environment()
    python = find_pythons()[sample.python]
    place = environments / f"environment-{resolution}-{sample.python}"
    environment["UV_PROJECT_ENVIRONMENT"] = str(place)
    with service_checker.database(sample.backend) as url:
        if url:
            environment["DATABASE_URL"] = url
        project = service_checker.render(sample.answers)
        service_checker.findings += check_dependencies(
            project.path, project.context["driver"]
        )
        sync = ["sync", f"--python={python}", f"--resolution={resolution}"]
        synced = run([uv(), *sync], project.path, environment)
        if synced.returncode:
            service_checker.findings.append(synced.stdout)
        else:
            command = [uv(), "run", "--no-sync", *suite]
            ran = run(command, project.path, environment)
            passed = re.search(r"=+ (\d+) passed in .* =+\s*\Z", ran.stdout)
            if ran.returncode or not passed:
                service_checker.findings.append(ran.stdout)
            else:
                service_checker.counts["tests in their suites"] = int(passed[1])


def test_the_commands_of_the_ci_pass(service_checker: ServiceChecker) -> None:
    """The commands of the CI, which run all checks, pass in a new service.

    Coverage measures the suite, and fails if code is not tested; the tests of the
    variants use Slipcover instead. test_ci.py tests `uv audit`.
    """
    with service_checker.database("sqlite"):
        project = service_checker.render({"ci": "github"})
        commit(project.path)
        git(project.path, "update-ref", "refs/remotes/origin/main", "HEAD")
        commands = github_script(project.path)
        commands.remove("uv audit")
        report = "uv run coverage report"
        assert report in commands
        environment = environment_with_uv()
        for command in commands:
            done = run(["bash", "-e", "-c", command], project.path, environment)
            if done.returncode:
                service_checker.findings.append(done.stdout)
        package = project.path / "src" / project.answers["package_name"]
        with (package / "health.py").open("a") as file:
            file.write("print()\n")
        done = run(["bash", "-c", report], project.path, environment)
        assert done.returncode == 2, done.stdout
        assert "Coverage failure" in done.stdout


def test_suite_runs_in_parallel(service_checker: ServiceChecker) -> None:
    """With pytest-xdist, each worker finds the same tests, and has its own database."""
    with service_checker.database("sqlite"):
        project = service_checker.render({})
        environment = clean_environment() | {"PYTHONPATH": str(project.path / "src")}
        # pytest-copier does not belong to the service, and warns.
        suite = [sys.executable, "-m", "pytest", "-p", "no:copier", "--numprocesses=2"]
        ran = run(suite, project.path, environment)
        if ran.returncode:
            service_checker.findings.append(ran.stdout)


def test_fresh_environments_cover_every_python_and_driver(
    samples: Samples,
) -> None:
    fresh = samples["fresh_sample"]
    assert {sample.python for sample in fresh} == find_pythons().keys()
    layers = {
        (variant.backend, variant.answers["mode"], variant.answers.get("driver"))
        for variant in samples["variant"]
    }
    assert layers == {
        (sample.backend, sample.answers["mode"], sample.answers.get("driver"))
        for sample in fresh
    }


def test_missing_uv_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="with `uv run pytest`"):
        uv()
