"""A prepare of real files on a Ray of two nodes, of which something is killed with -9 at a seeded random moment.

After it the same command again ends with the bytes of an undisturbed run, every document has one verdict, and neither
processes nor temporary files are left.
"""

import json
import os
import random
import subprocess
import sys
import time
from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

from pipeline.core.ledger import Ledger
from tests.processes import ROOT, found, kill, started, wait_for
from tests.ray_cluster import RayCluster
from tests.test_prepare import tree

MOMENTS = range(10)
MAX_MISSES = 2  # of them, at which nothing lived that could be killed
ATTEMPTS = "**/.attempt-*"
SETTINGS = {
    "sources": "[{name: bookcorpus, paths: ['books/*.epub', books/botchan.txt.gz]}, "
    "{name: jsonl, paths: [dedup/plagiarism*.jsonl.gz]}]",
    "tokenizer.vocab_size": "600",
    "tokenizer.sample_bytes": "400_000",
    "shards.validation_fraction": "0.05",
}


class Undisturbed(NamedTuple):
    out: Path
    seconds: list[float]  # from the first attempt until 0, 1, 2, ... splits are committed, and until the end


class Killed(NamedTuple):
    exit_code: int  # of the driver
    said: str
    hit: str  # what was killed while the driver ran; "" for nothing


def prepare_command(real_data: Path, out: Path) -> list[str]:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    config = ["--config", "configs/data/sample.yaml", "--set", f"input={real_data}"]
    return [sys.executable, "-m", "pipeline", "prepare", "--out", str(out), *config, *settings]


def prepare_undisturbed(real_data: Path, cluster: RayCluster, out: Path) -> Undisturbed:
    log = out.parent / "log"
    with started(prepare_command(real_data, out), log, **cluster.environment) as driver:
        assert driver.wait(timeout=200) == 0, log.read_text()
        ended = time.time()
    begun = min(times(out, "started"))
    return Undisturbed(out, [time - begun for time in (begun, *times(out, "committed"), ended)])


def times(out: Path, event: str) -> list[float]:
    """When attempts of splits did so, in order."""
    lines = [line for name in found(out, "events/*") for line in (out / name).read_text().split("\n")[:-1]]
    return sorted(told["time"] for told in map(json.loads, lines) if told["event"] == event)


def kill_at_a_moment(victim: str, seed: int, real_data: Path, undisturbed: Undisturbed, cluster: RayCluster,
                     out: Path) -> Killed:  # fmt: skip
    """`victim`: "driver", or as RayCluster.kill has it. All nodes are there again when this returns.

    A moment of an undisturbed run is so many committed splits, and some time after: load plays little part.
    """
    log, rng = out.parent / "log", random.Random(f"{victim} {seed}")
    with started(prepare_command(real_data, out), log, **cluster.environment) as driver:
        wait_for(lambda: found(out, ATTEMPTS), 120, "the first attempt")
        moment = rng.uniform(0, undisturbed.seconds[-1])
        num_committed = bisect_right(undisturbed.seconds, moment) - 1
        wait_for(lambda: len(times(out, "committed")) >= num_committed or driver.poll() is not None, 120, "the moment")
        time.sleep(moment - undisturbed.seconds[num_committed])
        is_running = driver.poll() is None
        hit = kill(driver.pid) if victim == "driver" else cluster.kill(victim, rng)
        exit_code = driver.wait(timeout=200)
    cluster.mend()
    return Killed(exit_code, log.read_text(), hit if is_running else "")


def go_on(real_data: Path, cluster: RayCluster, out: Path) -> None:
    again = subprocess.run(prepare_command(real_data, out), cwd=ROOT, env=os.environ | cluster.environment, timeout=200,
                           capture_output=True, text=True, check=False)  # fmt: skip
    assert again.returncode == 0, again.stderr


def require_same(out: Path, undisturbed: Undisturbed, cluster: RayCluster) -> None:
    assert tree(out) == tree(undisturbed.out)
    fates = Ledger.of(out).fates()
    assert len(fates) == len({fate.doc_id for fate in fates}) == len(Ledger.of(undisturbed.out).fates())
    leftovers = [path for path in out.rglob(".*") if path.name != ".lock"]
    assert not leftovers
    wait_for(lambda: not cluster.orphans(), 30, f"the end of {cluster.orphans()}")
