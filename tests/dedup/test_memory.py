"""The budget of a task is respected: peak memory of a process that runs one, over far more rows than fit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.shard_map import Counts
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.spill.rows import CAPTURE, EDGE, ENTRY, LABEL, PAIR, facts, fill
from pipeline.dedup.spill.runs import Array, Kind, RunWriter
from tests.dedup.steps import in_folder
from tests.processes import ROOT

pytestmark = pytest.mark.slow
BUDGET_MB = 48
SCRIPT = """
import sys, threading, time
from pathlib import Path
from pipeline.dedup.clusters import compare, components, copies, join, survivors
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.spill.plan import KeyTask, Plan
from pipeline.dedup.spill.runs import ALL

folder, function = Path(sys.argv[1]), eval(sys.argv[2])
plan = Plan(DedupConfig(task_memory_mb=int(sys.argv[3])), folder, (), folder)
(folder / "out").mkdir()
peak = [0]

def watch():  # of what is not a file's: the system takes back pages of mapped files as it likes
    while True:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak[0] = max(peak[0], next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
        time.sleep(0.002)

threading.Thread(target=watch, daemon=True).start()
function(KeyTask(plan, ALL, "join"), folder / "out")
print(peak[0] // 1024)
"""


def peak_mb(folder: Path, function: str) -> int:
    command = [sys.executable, "-c", SCRIPT, str(folder), function, str(BUDGET_MB)]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def lay(folder: Path, step: str, kind: Kind, rows: Array) -> None:
    def write(task: None, private: Path) -> Counts:
        with RunWriter(private, kind, 1 << 40) as writer:
            writer.append(rows)
        return {}

    in_folder(write, None, folder / step, "laid")


def lay_inputs(folder: Path, num_rows: int, num_equal: int) -> None:
    """Of all steps; `num_equal` rows of each have one first key."""
    rng = np.random.default_rng(0)

    def random(count: int) -> Array:
        return rng.integers(0, 2**63, count).astype(np.uint64)

    for step, kind in (("sign", CAPTURE), ("bands", ENTRY), ("compare", EDGE)):
        rows = fill(kind, *(random(num_rows) for _ in range(kind.keys)))
        rows[kind.fields[0]][:num_equal] = 5
        if kind is EDGE:
            rows["low"][:num_equal] = 5
        lay(folder, step, kind, rows)
    documents = fill(facts(DedupConfig()), random(num_rows // 30), random(num_rows // 30))
    lay(folder, "facts", facts(DedupConfig()), documents)
    (folder / "facts" / "laid.facts-000.arrow").rename(folder / "sign" / "facts.facts-000.arrow")
    one, other = (documents[rng.integers(0, len(documents), num_rows)] for _ in range(2))
    one[:num_equal] = documents[0]
    lay(folder, "join", PAIR, fill(PAIR, one["high"], other["high"], one["low"], other["low"]))
    lay(folder, "components", LABEL, fill(LABEL, one["high"], other["high"], one["low"], other["low"]))


@pytest.fixture(scope="module", params=[0, 300_000], ids=["uniform keys", "a large bucket"])
def inputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("inputs")
    lay_inputs(root / "large", 1_000_000, request.param)
    lay_inputs(root / "small", 100, 0)
    return {name: root / name for name in ("large", "small")}


@pytest.mark.parametrize(
    "function", ["copies.group_captures", "join.join_bands", "compare.attach", "components.large_star",
                 "survivors.rank_members"]
)  # fmt: skip
def test_a_task_stays_within_its_memory(inputs: dict[str, Path], function: str) -> None:
    peaks = {}
    for name, folder in inputs.items():
        if function == "components.large_star":
            (folder / "join").rename(folder / "pairs")
            (folder / "compare").rename(folder / "join")
        peaks[name] = peak_mb(folder, function)
        for path in (folder / "out").iterdir():
            path.unlink()
        (folder / "out").rmdir()
    assert 0 < peaks["large"] - peaks["small"] <= BUDGET_MB, peaks
