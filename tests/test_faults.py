"""Prepare on a real Ray of several nodes while processes are killed with -9: a worker, a raylet, the head, the driver.

Each at ten seeded random moments of a prepare of real files (marker `real`: conftest says where they are read). After
each, the same command again ends with the bytes of an undisturbed run, every document has one verdict, and neither
processes nor temporary files are left.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.ledger import Ledger
from tests.processes import ROOT, found, kill, started, wait_for
from tests.ray_cluster import RayCluster
from tests.test_prepare import tree

pytestmark = [pytest.mark.real, pytest.mark.slow]

MOMENTS = 10
ATTEMPTS = "**/.attempt-*"
SETTINGS = {
    "sources": "[{name: bookcorpus, paths: ['books/*.epub', books/botchan.txt.gz]}, "
    "{name: jsonl, paths: [dedup/plagiarism*.jsonl.gz]}]",
    "tokenizer.vocab_size": "600",
    "tokenizer.sample_bytes": "400_000",
    "shards.validation_fraction": "0.05",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(num_nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def undisturbed(real_data: Path, cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The finished folder, and the seconds from the first attempt to the end."""
    out = tmp_path_factory.mktemp("undisturbed") / "data"
    log = out.parent / "log"
    with started(command(real_data, out), log, **cluster.environment) as driver:
        wait_for(lambda: found(out, ATTEMPTS), 120, "the first attempt")
        begun = time.monotonic()
        assert driver.wait(timeout=200) == 0, log.read_text()
    return out, time.monotonic() - begun


def command(real_data: Path, out: Path) -> list[str]:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    config = ["--config", "configs/data/sample.yaml", "--set", f"input={real_data}"]
    return [sys.executable, "-m", "pipeline", "prepare", "--out", str(out), *config, *settings]


@pytest.mark.parametrize("seed", range(MOMENTS))
@pytest.mark.parametrize("victim", ["worker", "raylet", "driver", "head"])
def test_killed_at_a_random_moment(
    victim: str, seed: int, real_data: Path, undisturbed: tuple[Path, float], cluster: RayCluster, tmp_path: Path
) -> None:
    whole, seconds = undisturbed
    out, log = tmp_path / "data", tmp_path / "log"
    rng = random.Random(f"{victim} {seed}")
    with started(command(real_data, out), log, **cluster.environment) as driver:
        wait_for(lambda: found(out, ATTEMPTS), 120, "the first attempt")
        time.sleep(rng.uniform(0, seconds))
        if victim == "driver":
            kill(driver.pid)
        else:
            cluster.kill(victim, rng)
        ended = driver.wait(timeout=200)
    if victim in ("worker", "raylet"):
        assert ended == 0, log.read_text()
    elif victim == "head" and ended != 0:  # else it was done before anyone missed the head
        assert ended == 76, log.read_text()
        assert "the head of Ray at" in log.read_text()
    cluster.mend()
    if ended != 0:
        again = subprocess.run(command(real_data, out), cwd=ROOT, env=os.environ | cluster.environment, timeout=200,
                               capture_output=True, text=True, check=False)  # fmt: skip
        assert again.returncode == 0, again.stderr
    assert tree(out) == tree(whole)
    fates = Ledger.of(out).fates()
    assert len(fates) == len({fate.doc_id for fate in fates}) == len(Ledger.of(whole).fates())
    leftovers = [path for path in out.rglob(".*") if path.name != ".lock"]
    assert not leftovers
    wait_for(lambda: not cluster.strays(), 60, f"the end of {cluster.strays()}")
