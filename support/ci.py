"""The commands that the CI configuration of a rendered service runs."""

from pathlib import Path

import yaml


def github_script(project: Path) -> list[str]:
    """Return the commands of each step of the GitHub workflow, after its variables."""
    workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())
    return [
        "".join(f"{name}={value}\n" for name, value in step.get("env", {}).items())
        + step["run"].strip()
        for step in workflow["jobs"]["check"]["steps"]
        if "run" in step
    ]


def gitlab_script(project: Path) -> list[str]:
    """Return the commands of the GitLab job, which run in one shell."""
    job = yaml.safe_load((project / ".gitlab-ci.yml").read_text())["check"]
    script: list[str] = job["script"]
    return script
