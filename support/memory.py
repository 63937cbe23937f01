"""Measures the memory and the time that a command takes."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.processes import run

WRAPPER = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def measure(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> tuple[float, float]:
    """Run a command; return the seconds it took, and its peak memory in MB."""
    begun = time.perf_counter()
    done = run([sys.executable, "-c", WRAPPER, *command], folder, environment)
    assert done.returncode == 0, done.stdout
    return time.perf_counter() - begun, int(done.stdout.split()[-1]) / 1024
