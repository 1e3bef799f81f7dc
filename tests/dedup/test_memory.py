"""The budget of a task is respected: peak memory of a process that runs one, over far more rows than fit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.clean.characters import Array
from pipeline.core.schema import DOCUMENT
from pipeline.core.shard_map import Counts
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.spill.rows import (
    CAPTURE,
    EDGE,
    ENTRY,
    LABEL,
    MEMBER,
    NEW,
    NGRAM,
    PAIR,
    TEXT,
    VERDICT,
    Fate,
    evidence,
    facts,
    fill,
    signed,
    to_ids,
)
from pipeline.dedup.spill.runs import Kind, RunWriter
from tests.dedup.steps import in_folder
from tests.processes import ROOT

pytestmark = pytest.mark.slow
BUDGET_MB = 48
NUM_NGRAMS = 20  # of a document
HELD_BYTES = 400  # of a documents file: of each of its documents that is not alone
SCRIPT = """
import sys, threading, time
from pathlib import Path
from pipeline.dedup.clusters import compare, components, copies, join, survivors, texts
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.decide import decide_file
from pipeline.dedup.spill.plan import FileTask, KeyTask, Plan
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
function(KeyTask(plan, ALL, sys.argv[4]), folder / "out")
print(peak[0] // 1024)
"""


def peak_mb(folder: Path, function: str, reads: str) -> int:
    command = [sys.executable, "-c", SCRIPT, str(folder), function, str(BUDGET_MB), reads]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def lay(folder: Path, step: str, kind: Kind, rows: Array) -> None:
    def write(task: None, private: Path) -> Counts:
        with RunWriter(private, kind, 1 << 40) as writer:
            writer.append(rows)
        return {}

    in_folder(write, None, folder / step, "laid")


def lay_inputs(folder: Path, num_rows: int, num_equal: int) -> None:
    """Of all steps; `num_equal` rows of each have one first key, and all members of a cluster one preference.

    Of rows that are large, or mean large ones, a tenth.
    """
    rng, config = np.random.default_rng(0), DedupConfig()

    def random(count: int) -> Array:
        return rng.integers(0, 2**63, count).astype(np.uint64)

    documents = fill(facts(config), random(num_rows // 30), random(num_rows // 30))
    documents["num_ngrams"] = NUM_NGRAMS
    lay(folder, "facts", facts(config), documents)

    def pairs(part: int) -> tuple[Array, Array, Array, Array]:
        one, other = (documents[rng.integers(0, len(documents), num_rows // part)] for _ in range(2))
        one[: num_equal // part] = documents[0]
        return one["high"], other["high"], one["low"], other["low"]

    for step, kind in (("sign", CAPTURE), ("captures", TEXT), ("bands", ENTRY), ("round-000", EDGE)):
        rows = fill(kind, *(random(num_rows) for _ in range(kind.keys)))
        rows[kind.fields[0]][:num_equal] = 5
        if kind is EDGE:
            rows["low"][:num_equal] = 5
        lay(folder, step, kind, rows)
    (folder / "facts" / "laid.facts-000.arrow").rename(folder / "sign" / "facts.facts-000.arrow")
    lay(folder, "join", PAIR, fill(PAIR, *pairs(1)))
    lay(folder, "attach", signed(config), fill(signed(config), *pairs(10)))
    lay(folder, "compare", PAIR, fill(PAIR, *pairs(10)))
    ids = {half: np.repeat(documents[half], NUM_NGRAMS) for half in ("high", "low")}
    lay(folder, "compare-ngrams", NGRAM, fill(NGRAM, **ids, ngram=random(len(documents) * NUM_NGRAMS)))
    lay(folder, "components", LABEL, fill(LABEL, *pairs(1)))
    members = fill(MEMBER, *(random(num_rows) for _ in range(MEMBER.keys)))
    members["label_high"][:num_equal] = members["label_low"][:num_equal] = 5
    members["preference"] = NEW
    lay(folder, "members", MEMBER, members)


@pytest.fixture(scope="module", params=[0, 300_000], ids=["uniform keys", "a large bucket"])
def inputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("inputs")
    lay_inputs(root / "large", 1_000_000, request.param)
    lay_inputs(root / "small", 100, 0)
    return {name: root / name for name in ("large", "small")}


@pytest.mark.parametrize(
    ("function", "reads"),
    [("copies.group_captures", ""), ("copies.group_texts", ""), ("join.join_bands", ""), ("compare.attach", "join"),
     ("compare.compare_candidates", "attach"), ("texts.need", "join"), ("texts.link_texts", "compare"),
     ("components.large_star", "round-000"), ("survivors.rank_members", ""), ("survivors.choose", "")],
)  # fmt: skip
def test_a_task_stays_within_its_memory(inputs: dict[str, Path], function: str, reads: str) -> None:
    peaks = {}
    for name, folder in inputs.items():
        peaks[name] = peak_mb(folder, function, reads)
        for path in (folder / "out").iterdir():
            path.unlink()
        (folder / "out").rmdir()
    assert 0 < peaks["large"] - peaks["small"] <= BUDGET_MB, peaks


def lay_file(folder: Path, num_documents: int) -> None:
    """A documents file, all of whose documents are near duplicates of one."""
    config, numbers = DedupConfig(), np.arange(num_documents, dtype=np.uint64)
    lay(folder, "sign", facts(config), fill(facts(config), numbers, numbers))
    (folder / "sign" / "laid.facts-000.arrow").rename(folder / "sign" / "web-00000.facts-000.arrow")
    same = {"survivor_high": numbers * 0, "survivor_low": numbers * 0, "cluster_size": numbers * 0 + num_documents}
    fate = np.where(numbers == 0, Fate.keep, Fate.near_duplicate)
    lay(folder, "survivors", VERDICT, fill(VERDICT, numbers * 0, numbers, numbers, fate=fate, **same))
    lay(folder, "evidence", evidence(config), fill(evidence(config), numbers * 0, numbers, numbers))
    text = pa.repeat("", num_documents)
    columns = dict.fromkeys(DOCUMENT.names, text) | {"doc_id": to_ids(numbers, numbers)}
    columns["meta"] = pa.nulls(num_documents, DOCUMENT.field("meta").type)
    table = pa.table([columns[name] for name in DOCUMENT.names], schema=DOCUMENT)
    pq.write_table(table, folder / "web-00000.documents.parquet", row_group_size=10_000)


def test_what_is_held_of_a_documents_file(tmp_path: Path) -> None:
    """No budget bounds it but the file. It took minutes when each document's evidence was looked for by itself."""
    peaks = {}
    for num_documents in (100, 300_000):
        lay_file(tmp_path / f"{num_documents}", num_documents)
        function = "lambda task, out: decide_file(FileTask(task.plan, 0), out)"
        peaks[num_documents] = peak_mb(tmp_path / f"{num_documents}", function, "")
    assert 0 < peaks[300_000] - peaks[100] <= 300_000 * HELD_BYTES / 2**20, peaks
