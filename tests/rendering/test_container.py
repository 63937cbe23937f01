"""Tests of the container and CI files: validated by tools, and run without Docker."""

import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.copier_internals import CopierFixture, CopierProject
from support.processes import SCRIPTS, environment_with_uv, free_port, run, uv, wait_for
from support.services import is_ready

SERVICES: dict[str, dict[str, Any]] = {
    "sqlite": {},
    "sqlite-no-alembic": {"alembic": False, "mode": "sync", "python_min": "3.13"},
    "postgresql": {"database_url": "postgresql://db/app", "mode": "sync"},
    "postgresql-no-alembic": {"database_url": "postgresql://db/app", "alembic": False},
    "mysql": {"database_url": "mysql://db/app", "python_min": "3.14"},
    "mariadb": {"database_url": "mariadb://db/app", "alembic": False},
}


@pytest.fixture
def services(copier: CopierFixture, tmp_path: Path) -> list[CopierProject]:
    """Render a service for each variant of the container files."""
    return [
        copier.copy(tmp_path / name, **answers) for name, answers in SERVICES.items()
    ]


def check(services: list[CopierProject], file: str, *command: str) -> None:
    """Check a file of each service with a tool of this environment."""
    files = [service / file for service in services]
    done = run([SCRIPTS / command[0], *command[1:], *files], Path.cwd())
    assert done.returncode == 0, done.stdout


def check_schema(services: list[CopierProject], file: str, name: str) -> None:
    """Check a file of each service against a schema of check-jsonschema."""
    check(services, file, "check-jsonschema", "--builtin-schema", f"vendor.{name}")


def test_dockerfile_and_compose_file_are_valid(services: list[CopierProject]) -> None:
    check(services, "Dockerfile", "hadolint")
    check_schema(services, "compose.yaml", "compose-spec")


def test_workflow_is_valid_and_safe(services: list[CopierProject]) -> None:
    check_schema(services, ".github/workflows/ci.yml", "github-workflows")
    check(services, ".github/workflows/ci.yml", "zizmor", "--offline")


def test_gitlab_file_is_valid(copier: CopierFixture, tmp_path: Path) -> None:
    projects = [
        copier.copy(tmp_path / name, **answers, ci="gitlab")
        for name, answers in SERVICES.items()
    ]
    check_schema(projects, ".gitlab-ci.yml", "gitlab-ci")
    assert not any((project / ".github").exists() for project in projects)


def test_without_container_and_ci_their_files_are_missing(
    copier: CopierFixture, tmp_path: Path
) -> None:
    project = copier.copy(tmp_path / "service", container=False, ci="none")
    names = {path.name for path in project.path.rglob("*")}
    assert names.isdisjoint(
        {"Dockerfile", ".dockerignore", "compose.yaml", ".github", ".gitlab-ci.yml"}
    )
    assert "docker" not in (project.path / "README.md").read_text().lower()


def test_compose_has_no_password_and_migrates_first(
    services: list[CopierProject],
) -> None:
    for service in services:
        text = (service.path / "compose.yaml").read_text()
        compose = yaml.safe_load(text)["services"]
        answers = service.answers
        is_sqlite = answers["database_url"].startswith("sqlite")
        assert re.findall(r"_PASSWORD: (?!.*DATABASE_PASSWORD:[?]|\"1\").*", text) == []
        assert ("migrate" in compose) is answers.get("alembic", False)
        assert ("database" in compose) is not is_sqlite
        if "migrate" in compose:
            condition = {"condition": "service_completed_successfully"}
            assert compose["app"]["depends_on"] == {"migrate": condition}


def test_the_image_runs(copier: CopierFixture, tmp_path: Path) -> None:
    """The steps of the Dockerfile need only the files that they copy."""
    project = copier.copy(tmp_path / "context", package_name="service")
    environment = environment_with_uv()
    assert run([uv(), "lock"], project.path, environment).returncode == 0
    app = tmp_path / "app"
    app.mkdir()
    (app / "data").mkdir()
    text = (project.path / "Dockerfile").read_text().replace("/data", f"{app}/data")
    build, _, final = text.partition("\nFROM ")
    command: list[str] = []
    for line in (build + "\n" + final.partition("\n")[2]).splitlines():
        match line.split():
            case ["COPY", source, *_] if source.startswith("--from"):
                pass
            case ["COPY", *sources, _]:
                for source in sources:
                    run(["cp", "-R", project.path / source, app / source], app)
            case ["RUN", "useradd", *_]:
                pass
            case ["RUN", *words]:
                done = run(["bash", "-c", shlex.join(words)], app, environment)
                assert done.returncode == 0, done.stdout
            case ["CMD", *_]:
                command = yaml.safe_load(line.removeprefix("CMD "))
    # The image does not contain the source, so the environment cannot import it.
    shutil.rmtree(app / "src")
    environment["PATH"] = f"{app}/.venv/bin:{environment['PATH']}"
    environment["DATABASE_URL"] = f"sqlite+aiosqlite:///{app}/data/app.db"
    done = run(["alembic", "upgrade", "head"], app, environment)
    assert done.returncode == 0, done.stdout
    port = free_port()
    with subprocess.Popen(
        [*command, f"--port={port}"], cwd=app, env=environment
    ) as server:
        try:
            wait_for(lambda: is_ready(f"http://127.0.0.1:{port}"), timeout=20)
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=10) in (0, -signal.SIGTERM)
