"""Generated requests, valid and invalid: none causes an internal error."""

import subprocess
from pathlib import Path

from openapi_spec_validator import validate

from support.fault_services import Render
from support.processes import SCRIPTS
from support.variants import Variant

EXAMPLES = 10
"""The number of requests that Schemathesis generates at random per operation."""
DESCRIBED = ("status_code", "content_type", "response_headers", "response_schema")
NO_ERRORS = ["--mode=all", "--checks=not_a_server_error"]
# FastAPI does not document its 400 for a body that is not text.
AS_DESCRIBED = [
    "--mode=positive",
    f"--checks={','.join(f'{it}_conformance' for it in DESCRIBED)}",
]


def test_no_request_breaks_the_service(
    sampled_driver: Variant, render: Render, tmp_path: Path
) -> None:
    """No request that is generated from the OpenAPI document gets a 5xx.

    All responses, including errors, conform to the document, which is the same for all
    databases.
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
