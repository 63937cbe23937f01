"""Whatever is sent to the service, it has an answer: no error of its own."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from openapi_spec_validator import validate

from support.fault_services import Rendering
from support.processes import SCRIPTS
from support.variants import Variant

EXAMPLES = 10
"""How many requests schemathesis makes up for each operation, beside its own."""
DESCRIBED = ("status_code", "content_type", "response_headers", "response_schema")
NO_ERRORS = ["--mode=all", "--checks=not_a_server_error"]
# FastAPI's own 400 for a body that is no text is in no description.
AS_DESCRIBED = [
    "--mode=positive",
    f"--checks={','.join(f'{it}_conformance' for it in DESCRIBED)}",
]


def test_no_request_breaks_the_service(
    sampled_driver: Variant,
    render: Callable[[Variant], Rendering],
    tmp_path: Path,
) -> None:
    """Requests made up from the OpenAPI document, valid and not, are never a 5xx.

    And every answer, errors included, is as the document describes it, which is the
    same for all databases.
    """
    rendering = render(sampled_driver)
    service = rendering.serve(app="service.main:app")
    validate(service.get("/openapi.json").json())
    is_described = sampled_driver.backend == "postgresql"
    for checks in [NO_ERRORS, *([AS_DESCRIBED] if is_described else [])]:
        run = subprocess.run(
            [
                *(SCRIPTS / "schemathesis", "run"),
                *(f"{service.url}/openapi.json", *checks),
                *(f"--max-examples={EXAMPLES}", "--no-color"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

        assert run.returncode == 0, run.stdout
        assert "13 selected / 13 total" in run.stdout
    assert service.get("/users").status_code == 200
