"""The log of a service that is started by uvicorn or by FastAPI's command line."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from support.fault_services import Render, Rendering
from support.processes import SCRIPTS, kill, start, wait_for
from support.services import Service, is_ready
from support.variants import Variant

EMAIL = "s3cret@example.com"
"""A value that is a parameter of statements."""
SECRETS = ["s3cret", "pa55word"]
SETTINGS = {"LOG_FORMAT": "json", "DATABASE_SLOW_STATEMENT": "0.000001"}
COMMANDS = {
    "uvicorn": ["python", "-m", "uvicorn", "faults:app"],
    "workers": ["python", "-m", "uvicorn", "faults:app", "--workers=2"],
    "fastapi-run": ["fastapi", "run", "--entrypoint=faults:app"],
    "fastapi-dev": ["fastapi", "dev", "--entrypoint=faults:app"],
}


def parse(line: str) -> dict[str, Any]:
    """Return the object in a line of JSON, or an empty one for any other line."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def use(service: Service) -> None:
    """Send requests that succeed, conflict, are refused, and fail."""
    user = {"email": EMAIL, "name": "Ada"}
    for request_id, status_code in [("first", 201), ("second", 409)]:
        response = service.post(
            "/users", json=user, headers={"X-Request-ID": request_id}
        )
        assert response.status_code == status_code
        assert response.headers["X-Request-ID"] == request_id
    assert service.get("/users/404").status_code == 404
    crash = service.post("/crash", headers={"X-Request-ID": "third"})
    assert crash.status_code == 500
    assert crash.headers["X-Request-ID"] == "third"


def check(lines: Sequence[dict[str, Any]]) -> None:
    """Check that the lines of each request have its id and route, and no parameter."""
    assert [secret for secret in SECRETS if secret in json.dumps(lines)] == []
    first = [each for each in lines if each.get("request_id") == "first"]
    assert {each["route"] for each in first} == {"POST /users"}
    assert [each["message"] for each in first if each["logger"] == "uvicorn.access"]
    statements = [each for each in first if "statement" in each]
    assert any(each["statement"].startswith("INSERT") for each in statements)
    assert all(each["seconds"] >= 0 for each in statements)
    second = [each for each in lines if each.get("request_id") == "second"]
    assert any(each.get("statement", "").startswith("INSERT") for each in second)
    [crash] = [each for each in lines if "exception" in each]
    assert crash["exception"].endswith("RuntimeError: a bug")
    assert (crash["request_id"], crash["logger"]) == ("third", "uvicorn.error")


def serve(rendering: Rendering, command: str) -> list[str]:
    """Start a service with a command and use it; return the lines of its log."""
    rendering.create_database()
    service = rendering.service()
    service.environment.update(SETTINGS)
    if rendering.url.startswith("postgresql"):  # It accepts any password.
        service.environment["DATABASE_PASSWORD"] = "pa55word"
    program, *arguments = COMMANDS[command]
    process = start(
        [SCRIPTS / program, *arguments, f"--port={service.port}"],
        rendering.project,
        {**service.environment, "PYTHONPATH": "src"},
        service.log,
    )
    rendering.exits.callback(kill, process)
    wait_for(lambda: is_ready(service.url))
    service.wait_for_tables()
    use(service)
    process.terminate()
    process.wait(30)
    return service.read_log().splitlines()


def test_lines_are_json(sampled_driver: Variant, render: Render) -> None:
    """All lines are JSON, from the start to the end of the service."""
    lines = list(map(parse, serve(render(sampled_driver), "uvicorn")))

    assert {} not in lines
    check(lines)


@pytest.mark.parametrize("command", ["workers", "fastapi-run", "fastapi-dev"])
def test_lines_of_other_commands_are_json(
    file_driver: Variant, render: Render, command: str
) -> None:
    """FastAPI's command writes its own lines before it imports the service."""
    lines = list(filter(None, map(parse, serve(render(file_driver), command))))

    check(lines)
    assert "Application startup complete." in {each["message"] for each in lines}


def test_text_lines_end_with_the_request(
    sampled_driver: Variant, render: Render
) -> None:
    """Lines of text, the default for development, end with the id and the route."""
    rendering = render(sampled_driver)
    service = rendering.serve()
    use(service)

    log = service.read_log()
    assert "a bug [third POST /crash]" in log
    assert "s3cret" not in log
