"""The pytest plugin of this repository: options, samples, servers and summaries.

The main process lists the samples of variants and starts the servers, and passes both
on to pytest-xdist's workers.
"""

import gc
import json
import os
import tempfile
from dataclasses import asdict
from typing import Any

import pytest

from support import fork_server
from support.answer_changes import Change, changes
from support.copier_internals import (
    remember_compiled_templates,
    remember_configurations,
    skip_git_commands,
)
from support.fault_figures import FiguresReport
from support.run_summary import Summary
from support.samples import SAMPLES, samples_of
from support.servers import FRESH_DATA, roomy_dir
from support.shared_servers import EXITS, SERVERS, SharedServers, servers_of
from support.template import ROOT
from support.variants import BACKENDS, Variant

ROOM_NEEDED = 4 << 30  # Bytes of free memory, most of them for fresh environments.


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-figures",
        action="store_true",
        help="write the figures of the fault tests into docs/reliability.md",
    )


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(50_000)  # Rendering creates many objects, and few cycles.
    # On a disk, each folder that a test creates and removes takes milliseconds.
    tempfile.tempdir = os.environ.setdefault("TMPDIR", roomy_dir(ROOM_NEEDED))
    remember_compiled_templates()
    remember_configurations()
    skip_git_commands()
    if hasattr(config, "workerinput"):
        shared = json.loads(config.workerinput["shared"])
        config.stash[SERVERS] = SharedServers(**shared["servers"])
        FRESH_DATA.update(shared["fresh_data"])
        config.stash[SAMPLES] = {
            argument: [Variant(**variant) for variant in variants]
            for argument, variants in shared["samples"].items()
        }
    else:
        config.pluginmanager.register(Summary())
        config.pluginmanager.register(FiguresReport(config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the samples and the servers on to a worker of pytest-xdist."""
    samples, servers = samples_of(node.config), servers_of(node.config)
    shared = {
        "servers": asdict(servers),
        "fresh_data": FRESH_DATA,
        "samples": {name: list(map(asdict, each)) for name, each in samples.items()},
    }
    node.workerinput["shared"] = json.dumps(shared)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return two workers for each core, as many tests wait, or none for one variant.

    Workers take seconds to start. For a variant that is selected by its id, the
    libraries are imported while the variants are listed.
    """
    keyword = config.option.keyword
    if keyword.startswith(tuple(BACKENDS)) and keyword.count("-") > 3:
        fork_server.preload()
        if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            config.args = [str(ROOT / "tests/rendering/test_variants.py")]
        return 0
    return (os.cpu_count() or 1) * 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise a test with the samples that the name of its argument stands for."""
    samples = samples_of(metafunc.config)
    for argument in metafunc.fixturenames:
        if argument == "change":
            metafunc.parametrize(argument, changes(samples["variant"]), ids=id_of)
        elif argument in samples:
            metafunc.parametrize(argument, samples[argument], ids=id_of)


def id_of(sample: Variant | Change) -> str:
    return sample.id


def pytest_unconfigure(config: pytest.Config) -> None:
    if EXITS in config.stash:
        config.stash[EXITS].close()
