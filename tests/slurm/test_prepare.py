"""launch/prepare.sh on a real Slurm: two nodes, one of them lost on the way; a job that is told to stop."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.ledger import Ledger
from tests.processes import ROOT, penstock, wait_for
from tests.slurm.cluster import SlurmCluster
from tests.test_prepare import tree

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def raw(cluster: SlurmCluster) -> Path:
    folder = cluster.folder / "in"
    assert penstock("sample", folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def alone(cluster: SlurmCluster, raw: Path) -> Path:
    """Prepared without Slurm."""
    out = cluster.folder / "alone"
    done = subprocess.run(["launch/prepare.sh", *arguments(raw, out)], cwd=ROOT, capture_output=True, text=True,
                          timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def arguments(raw: Path, out: Path) -> list[str]:
    return ["configs/data/sample.yaml", "--out", str(out), "--set", f"input={raw}"]


def submit(cluster: SlurmCluster, raw: Path, out: Path, *shape: str, num_nodes: int = 2) -> int:
    nodes = [f"--nodes={num_nodes}", "--ntasks-per-node=1", "--cpus-per-task=1"]
    log = [f"--output={out}.log", "--open-mode=append"]
    return cluster.submit(*nodes, *log, *shape, ROOT / "launch/prepare.sh", *arguments(raw, out))


def commits(out: Path) -> list[dict]:
    """Events of splits that were committed, so far."""
    lines = [line for file in sorted((out / "events").glob("*.jsonl")) for line in file.open() if line.endswith("\n")]
    return [event for event in map(json.loads, lines) if event["event"] == "committed"]


def test_both_nodes_work_and_the_bytes_are_those_of_one_machine(cluster: SlurmCluster, raw: Path, alone: Path) -> None:
    out = cluster.folder / "both"
    job = submit(cluster, raw, out)
    assert cluster.wait(job, 300) == "COMPLETED", Path(f"{out}.log").read_text()
    assert len({event["node"] for event in commits(out)}) == 2
    assert tree(out) == tree(alone)
    assert "ray::" not in cluster.run("ps", "-e", "-o", "args")


def test_a_node_that_loses_its_power_costs_its_splits_only(cluster: SlurmCluster, raw: Path, alone: Path) -> None:
    out = cluster.folder / "lost"
    job = submit(cluster, raw, out)
    wait_for(lambda: len({event["node"] for event in commits(out)}) == 2, 120, "work of both nodes")
    head = cluster.run("squeue", "-h", f"--jobs={job}", "--format=%B").strip()
    listed = cluster.run("squeue", "-h", f"--jobs={job}", "--format=%N").strip()
    (other,) = {*cluster.run("scontrol", "show", "hostnames", listed).split()} - {head}
    cluster.cut_power(int(other.removeprefix("node")))
    lost = time.time()
    try:
        assert cluster.wait(job, 300) == "COMPLETED", Path(f"{out}.log").read_text()
    finally:
        cluster.power_on(int(other.removeprefix("node")))
    assert tree(out) == tree(alone)
    assert len(Ledger.of(out).fates()) == len(Ledger.of(alone).fates())
    assert max(commits(out), key=lambda event: event["time"])["node"] == head
    assert max(event["time"] for event in commits(out) if event["node"] == other) < lost + 15


def test_a_job_whose_time_is_up_stops_with_75_and_the_next_one_goes_on(
    cluster: SlurmCluster, raw: Path, alone: Path
) -> None:
    out = cluster.folder / "limited"
    job = submit(
        cluster, raw, out, "--time=1", "--signal=B:USR1@55", num_nodes=1
    )  # Slurm tells it after 5 s, or sooner
    assert cluster.wait(job, 120) == "FAILED", Path(f"{out}.log").read_text()
    assert cluster.exit_code(job) == 75, Path(f"{out}.log").read_text()
    require_same_after_another_job(cluster, raw, out, alone)


def test_a_cancelled_job_leaves_nothing_and_the_next_one_goes_on(cluster: SlurmCluster, raw: Path, alone: Path) -> None:
    out = cluster.folder / "cancelled"
    job = submit(cluster, raw, out)
    wait_for(lambda: commits(out), 120, "work")
    cluster.run("scancel", str(job))
    assert cluster.wait(job, 120) == "CANCELLED"
    wait_for(lambda: "ray::" not in cluster.run("ps", "-e", "-o", "args"), 60, "the end of all workers")
    require_same_after_another_job(cluster, raw, out, alone)


def require_same_after_another_job(cluster: SlurmCluster, raw: Path, out: Path, alone: Path) -> None:
    job = submit(cluster, raw, out, num_nodes=1)
    assert cluster.wait(job, 300) == "COMPLETED", Path(f"{out}.log").read_text()
    assert tree(out) == tree(alone)
