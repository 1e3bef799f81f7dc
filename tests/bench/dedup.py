"""Deduplication: signatures, join and components against datatrove's MinHash stages, a million documents end to end.

1. signatures: a documents file to its runs on disk, against `MinhashDedupSignature` from documents in memory; English
   pages, one core, CPU time, interleaved
2. join and components: from signatures to clusters in one process, against `MinhashDedupBuckets` and
   `MinhashDedupCluster` on the same signatures; both must find the same clusters; CPU time
3. a million documents with planted duplicates of known similarity (dedup_corpus.py): the whole stage with two workers,
   time and memory of all processes, Ray included; recall and precision against the S-curve
4. with --large the same with four million, against the million

Results are the same clusters whatever the workers and files: counted, not sampled.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document as TheirDocument
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig

from pipeline.core.manifest import committed_files
from pipeline.core.shard_map import Workers
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.run import Steps, cluster, link_near, run
from pipeline.dedup.signatures.curve import linked
from pipeline.dedup.signatures.minhash import MinHash, similarity
from pipeline.dedup.signatures.sign import sign_file
from pipeline.dedup.spill.plan import FileTask, Plan
from pipeline.dedup.spill.rows import LABEL, facts, to_ids
from tests.bench import dedup_corpus as corpus
from tests.bench.clean import english_pages
from tests.bench.row import Row
from tests.dedup.documents import write_stage
from tests.dedup.steps import OneProcess, in_folder
from tests.processes import descendants

DATATROVE = f"datatrove {version('datatrove')}"
ROUNDS = 3
JOINED = 200_000
MILLION = 1_000_000


def rows() -> Iterator[Row]:
    yield from signature_rows()
    yield jaccard_error()
    yield from join_rows()
    yield equality()
    yield from whole(MILLION)


def large_rows() -> Iterator[Row]:
    """Ten minutes and more."""
    small, large = measure(MILLION), measure(4 * MILLION)
    detail = f"{large} against {small}"
    yield Row("near-dedup of 4 M documents, time against 1 M", large.seconds / small.seconds, "x", 4.4, at_most=True,
              detail=detail)  # fmt: skip
    yield Row("near-dedup of 4 M documents, memory against 1 M", large.gibibytes / small.gibibytes, "x", 1.1,
              at_most=True, detail=detail)  # fmt: skip
    yield large.quality()


# ---- 1: signatures -------------------------------------------------------------------------------------------------


def signature_rows() -> Iterator[Row]:
    documents = english_pages()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clean = write_stage(root, {"web-00000": documents})
        plan = Plan(DedupConfig(), clean, (), root / "scratch")
        theirs = [TheirDocument(text=document.text, id=document.key) for document in documents[::10]]
        sides: list[tuple[Callable[[int], Any], int]] = [
            (lambda number: in_folder(sign_file, FileTask(plan, 0), root / f"ours-{number}", "web-00000"),
             sum(len(document.text.encode()) for document in documents)),
            (lambda number: MinhashDedupSignature(str(root / f"theirs-{number}")).run(iter(theirs)),
             sum(len(document.text.encode()) for document in theirs)),
        ]  # fmt: skip
        seconds = best_seconds([side for side, _ in sides])
        ours, their_rate = (num_bytes / 1e6 / taken for (_, num_bytes), taken in zip(sides, seconds, strict=True))
    detail = f"{ours:.1f} against {their_rate:.3f} MB/s of CPU time, {len(documents)} pages, a tenth for the peer"
    yield Row("MinHash signatures", ours / their_rate, "x", 100, peer=f"{DATATROVE} with spaCy", detail=detail)
    yield Row("MinHash signatures, a core", ours, "MB/s", 40, detail="a documents file in, runs on disk out")


def best_seconds(sides: list[Callable[[int], Any]]) -> list[float]:
    """Of CPU time, the best of ROUNDS after one that compiles and loads; the sides take turns, and are told which."""
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(ROUNDS + 1):
        for side, taken in zip(sides, seconds, strict=True):
            taken.append(cpu_seconds(lambda side=side, number=number: side(number)))
    return [min(taken[1:]) for taken in seconds]


def cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def jaccard_error() -> Row:
    """Mean of estimate minus truth, per similarity; the largest."""
    minhash, rng, errors = MinHash(5, 14, 8), np.random.default_rng(0), {}
    for words, edits in ((204, 1), *((corpus.WORDS, edits) for edits in range(1, 7))):
        one = corpus.words(4000, rng, words)
        other = corpus.edited(one, np.full(len(one), edits), rng)
        signed = [minhash.sign(corpus.folded(texts)).entries for texts in (one, other)]
        true = corpus.true_jaccard(edits, words)
        errors[true] = float((similarity(*signed) - true).mean())
    detail = ", ".join(f"J {true:.3f}: {error:+.4f}" for true, error in errors.items())
    return Row("Jaccard estimate, mean error", max(map(abs, errors.values())), "J", 0.005, at_most=True,
               detail=f"{detail}; 4000 pairs each")  # fmt: skip


# ---- 2: join and components ----------------------------------------------------------------------------------------


def join_rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plan = Plan(DedupConfig(min_jaccard=0), corpus.write(root, JOINED, 16), (), root / "scratch")
        steps = Steps(plan, OneProcess())  # type: ignore[arg-type]
        steps.by_file(sign_file, "sign")
        write_their_signatures(plan, root / "theirs")
        ours, theirs = best_seconds([lambda _: our_clusters(steps), lambda _: their_clusters(root / "theirs")])
        same = partition(our_labels(plan)) == partition(their_labels(plan, root / "theirs"))
    assert same, "not the same clusters"
    detail = f"{ours:.2f} against {theirs:.1f} s of CPU time, {JOINED:,} documents, the same clusters"
    yield Row("join and components", theirs / ours, "x", 20, peer=f"{DATATROVE} stages 2 and 3", detail=detail)


def our_clusters(steps: Steps) -> None:
    """What run.py does between `sign` and `members`, but for copies, of which datatrove knows none."""
    for step in ("bands", "join", "attach", "compare", "components"):
        shutil.rmtree(steps.plan.scratch / step, ignore_errors=True)
    link_near(steps)
    cluster(steps, 0)


def our_labels(plan: Plan) -> dict[bytes, bytes]:
    rows = plan.runs(LABEL, "components").all()
    ids, labels = (to_ids(rows[f"{prefix}high"], rows[f"{prefix}low"]).to_pylist() for prefix in ("", "label_"))
    return dict(zip(ids, labels, strict=True))


THEIR_CONFIG = MinhashConfig(hash_config=HashConfig(precision=32))


def write_their_signatures(plan: Plan, folder: Path) -> None:
    """Our signatures as their stage 1 writes them: per band and file sorted tuples of 8 hashes and the row."""
    for number in range(len(plan.files)):
        signature = plan.runs_of_file(facts(plan.config), "sign", number).all()["signature"]
        for band in range(plan.config.bands):
            rows = np.empty((len(signature), plan.config.rows + 1), dtype="<u4")
            rows[:, :-1] = signature[:, band * plan.config.rows : (band + 1) * plan.config.rows]
            rows[:, -1] = np.arange(len(rows))
            path = folder / f"bucket_{band:03d}" / f"{number:05d}.minhash.sig"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(rows[np.lexsort(rows.T[::-1])].tobytes())


def their_clusters(folder: Path) -> None:
    for step in ("buckets", "clusters"):
        shutil.rmtree(folder / step, ignore_errors=True)
    buckets = MinhashDedupBuckets(str(folder), str(folder / "buckets"), config=THEIR_CONFIG)
    for rank in range(THEIR_CONFIG.num_buckets):
        buckets.run(None, rank, THEIR_CONFIG.num_buckets)
    MinhashDedupCluster(str(folder / "buckets"), str(folder / "clusters"), THEIR_CONFIG, save_cluster_id=True).run()


def their_labels(plan: Plan, folder: Path) -> dict[bytes, bytes]:
    labels = {}
    for number in range(len(plan.files)):
        rows = plan.runs_of_file(facts(plan.config), "sign", number).all()
        ids = to_ids(rows["high"], rows["low"]).to_pylist()
        path = folder / "clusters" / f"{number:06d}.clusters"
        for row, label in np.frombuffer(path.read_bytes(), dtype="<u4").reshape(-1, 2).tolist():
            labels[ids[row]] = label
    return labels


def partition(labels: Mapping[bytes, Any]) -> set[frozenset[bytes]]:
    clusters: dict[Any, set[bytes]] = {}
    for doc_id, label in labels.items():
        clusters.setdefault(label, set()).add(doc_id)
    return {frozenset(members) for members in clusters.values()}


# ---- 3: the whole stage --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """One run of the stage, two workers."""

    documents: int
    seconds: float
    gibibytes: float
    recall: dict[int, float]  # by number of edits
    precision: float  # share of the near duplicates found that have a true similarity of min_jaccard or more
    false_merges: int

    def __str__(self) -> str:
        return f"{self.documents:,} documents {self.seconds:.0f} s, {self.gibibytes:.2f} GiB"

    def quality(self) -> Row:
        config = DedupConfig()
        expected = {edits: linked(corpus.true_jaccard(edits), config.bands, config.rows, config.min_jaccard)
                    for edits in corpus.EDITS}  # fmt: skip
        alike = sum(share for edits, share in expected.items() if corpus.true_jaccard(edits) >= config.min_jaccard)
        told = {f"J {corpus.true_jaccard(e):.2f}": (self.recall[e], share) for e, share in expected.items()}
        told["precision"] = (self.precision, alike / sum(expected.values()))
        off = max(abs(found - share) for found, share in told.values())
        detail = ", ".join(f"{name} {found:.3f} ({share:.3f})" for name, (found, share) in told.items())
        what = f"recall and precision against the S-curve, {self.documents:,} documents"
        detail = f"found (expected): {detail}; {self.false_merges} merges of what is not planted"
        return Row(what, off, "", 0.01, at_most=True, detail=detail)


def whole(num_documents: int) -> Iterator[Row]:
    found = measure(num_documents)
    yield Row("near-dedup of 1 M documents, 2 workers", found.seconds, "s", 120, at_most=True, detail=str(found))
    yield Row("near-dedup of 1 M documents, memory", found.gibibytes, "GiB", 2, at_most=True,
              detail="proportional set size of all processes, Ray included, at the worst moment")  # fmt: skip
    yield found.quality()


def measure(num_documents: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        clean = corpus.write(Path(folder), num_documents, max(2, num_documents // 62_500))
        command = [sys.executable, "-m", "tests.bench.dedup", str(clean), folder]
        start, peak = time.perf_counter(), 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                peak = max(peak, sum(map(resident_kb, [process.pid, *descendants(process.pid)])))
                time.sleep(0.2)
        assert process.returncode == 0
        seconds = time.perf_counter() - start
        (found,) = Path(folder).glob("dedup-*")
        return Measured(num_documents, seconds, peak / 2**20, *judge(found))


def resident_kb(pid: int) -> int:
    """Pages that processes share are counted once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def judge(folder: Path) -> tuple[dict[int, float], float, int]:
    """(recall by number of edits, precision, merges of what is not planted), of the ledger."""
    rows = planted(folder)
    names = dict(zip(rows["doc_id"].to_pylist(), rows["key"].to_pylist(), strict=True))
    num_planted = Counter(name.partition("/")[2] for name in names.values())
    found: Counter[str] = Counter()
    false_merges = 0
    for name, reason, detail in zip(rows["key"].to_pylist(), rows["reason"].to_pylist(), rows["detail"].to_pylist(),
                                    strict=True):  # fmt: skip
        if reason:
            survivor = names[bytes.fromhex(json.loads(detail)["survivor"])]
            copy = max(name, survivor, key=len)
            false_merges += name.partition("/")[0] != survivor.partition("/")[0]
            found[copy.partition("/")[2]] += 1
    near = {edits: found[str(edits)] for edits in corpus.EDITS}
    alike = sum(number for edits, number in near.items() if corpus.true_jaccard(edits) >= DedupConfig().min_jaccard)
    recall = {edits: number / num_planted[str(edits)] for edits, number in near.items()}
    assert found["exact"] == num_planted["exact"], "copies in capitals"
    return recall, alike / sum(near.values()), false_merges


def planted(folder: Path) -> pa.Table:
    columns = ["doc_id", "key", "reason", "detail"]
    return pa.concat_tables(
        [pq.read_table(file, columns=columns) for file in committed_files(folder, ".ledger.parquet")]
    )


def equality() -> Row:
    """Per document its verdict and survivor, under 1, 2 and 4 workers, little memory, and other files."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (num_workers, num_files, memory_mb) in enumerate(((1, 4, 192), (2, 4, 192), (4, 4, 2), (2, 7, 8))):
            root = Path(folder) / str(number)
            clean = corpus.write(root, 20_000, num_files)
            with Workers(num_workers) as workers:
                rows = planted(run(DedupConfig(task_memory_mb=memory_mb), clean, root, workers))
            verdicts = zip(rows["reason"].to_pylist(), rows["detail"].to_pylist(), strict=True)
            results.append(dict(zip(rows["doc_id"].to_pylist(), verdicts, strict=True)))
    first = results[0]
    equal = sum(all(other.get(doc_id) == verdict for other in results) for doc_id, verdict in first.items())
    detail = "1, 2 and 4 workers, 4 and 7 files dealt anew, 192, 8 and 2 MiB a task; 20,000 documents"
    return Row("equal verdicts whatever runs them", 100 * equal / len(first), "%", 100, detail=detail)


if __name__ == "__main__":
    with Workers(2) as pool:
        run(DedupConfig(), Path(sys.argv[1]), Path(sys.argv[2]), pool)
