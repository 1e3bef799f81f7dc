"""Fixtures every folder of tests may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.shard_map import Workers
from tests.processes import penstock

REAL_DATA = "PENSTOCK_TEST_DATA"
ROOT = Path(__file__).parent.parent

# Ray workers and forked ranks import functions of the tests by name
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real corpora named by PENSTOCK_TEST_DATA; they are not ours to ship."""
    folder = os.environ.get(REAL_DATA)
    if not folder:
        pytest.skip(f"{REAL_DATA} is not set: the real corpora are NOT tested in this run")
    if not Path(folder).is_dir():
        pytest.fail(f"{REAL_DATA}={folder} is not a folder")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """Two Ray workers, started when the first test needs them."""
    with Workers(num_workers=2) as pool:
        yield pool


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded corpus."""
    from pipeline.sources.sample import write_sample  # here, so that other tests run without it

    folder = tmp_path_factory.mktemp("corpus") / "sample"
    write_sample(folder)
    return folder


@pytest.fixture(scope="session")
def prepared(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded corpus as token shards, made by the command."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    config = ["--config", "configs/data/sample.yaml", "--set", f"input={sample}", "--set", "num_workers=2"]
    result = penstock("prepare", *config, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder
