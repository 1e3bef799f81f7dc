"""Verdicts are carried out: a documents file in; the documents that stay, and a ledger row for every one, out.

Beside them `clusters.parquet` for the stages that follow: of every document that is not alone its cluster, named by the
survivor, and the cluster's size (documents may be repeated by it, as FineWeb-2 does).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clean.characters import Array
from pipeline.core.errors import ArtifactError
from pipeline.core.schema import DOCUMENT, LEDGER
from pipeline.core.shard_map import Counts
from pipeline.core.tables import TableWriter, read_batches
from pipeline.dedup.signatures.sign import recall
from pipeline.dedup.spill.plan import FileTask, Plan
from pipeline.dedup.spill.rows import KNOWN_FILE, REPEAT, TRUTH, VERDICT, Fate, evidence, facts, fill, from_ids, to_ids
from pipeline.dedup.spill.runs import distinct, of_file, places, sorted_by

STAGE = "dedup"
CLUSTERS = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("cluster", pa.binary(16)),  # doc_id of the survivor
        ("cluster_size", pa.int64()),  # documents that the survivor stands for, itself included
        ("kept", pa.bool_()),
    ]
)


class Judged:
    """What is to become of the documents of a file; those without a verdict stay, alone."""

    def __init__(self, task: FileTask) -> None:
        plan, here = task.plan, of_file(task.number)
        told = np.concatenate([plan.runs(VERDICT, "survivors").all(here), _on_repeats(plan, task.number)])
        self._verdicts = distinct(sorted_by(told, "high", "low"), "high", "low")
        self._evidence = plan.runs(evidence(plan.config), "evidence").all(here)
        self._truth = plan.runs(TRUTH, "truth").all(here)
        self.used = np.zeros(len(self._verdicts), dtype=bool)
        signed = plan.runs_of_file(facts(plan.config), "sign", task.number).only("high", "low")
        self.num_documents, repeated = 0, [signed.kind.empty()]
        for ids in signed.pieces(plan.budget):
            self.num_documents += len(ids)
            repeated.append(distinct(ids[1:][ids[1:] == ids[:-1]], "high", "low"))  # equal ids are in one piece
        self._repeated = np.concatenate(repeated)  # ids that the file has more than once
        self._seen: set[bytes] = set()  # of these

    def on(self, doc_ids: pa.Array) -> Array:
        """VERDICT rows on the next documents of the file."""
        high, low = from_ids(doc_ids)
        rows = self.of_ids(high, low)
        for row in np.flatnonzero(places(self._repeated, rows) >= 0).tolist():
            doc_id = doc_ids[row].as_py()
            if doc_id in self._seen and rows["fate"][row] != Fate.same_record:
                for name, value in (
                    ("fate", Fate.same_record),
                    ("survivor_high", high[row]),
                    ("survivor_low", low[row]),
                ):
                    rows[name][row] = value
            self._seen.add(doc_id)
        return rows

    def of_ids(self, high: Array, low: Array) -> Array:
        rows = fill(VERDICT, high=high, low=low, survivor_high=high, survivor_low=low, cluster_size=np.ones(len(high)))
        place = places(self._verdicts, rows)
        rows[place >= 0] = self._verdicts[place[place >= 0]]
        self.used[place[place >= 0]] = True
        return rows

    def details(self, verdicts: Array) -> list[str]:
        """What the ledger says of each that is not alone: its survivor, how alike they are, by which bands."""
        survivors = to_ids(verdicts["survivor_high"], verdicts["survivor_low"]).to_pylist()
        estimated, true = (places(rows, verdicts).tolist() for rows in (self._evidence, self._truth))
        keeps = verdicts["fate"] == Fate.keep
        details = [""] * len(verdicts)
        for row in np.flatnonzero(~keeps | (verdicts["cluster_size"] > 1)).tolist():
            told: dict[str, Any] = {}
            if not keeps[row]:
                told = {"survivor": survivors[row].hex(), "jaccard": 1.0}
                if (at := estimated[row]) >= 0:
                    told["jaccard"] = round(float(self._evidence["jaccard"][at]), 4)
                    told["bands"] = np.flatnonzero(self._evidence["shared"][at]).tolist()
                if (at := true[row]) >= 0:
                    told["true_jaccard"] = round(float(self._truth["jaccard"][at]), 4)
            details[row] = json.dumps(told | {"cluster_size": int(verdicts["cluster_size"][row])})
        return details


def _on_repeats(plan: Plan, number: int) -> Array:
    """VERDICT rows on records of a file that are in another one as well, or in an earlier run."""
    repeats = sorted_by(plan.runs(REPEAT, "captures").all(of_file(number)), "first_file", "high", "low")
    ids = {"high": repeats["high"], "low": repeats["low"]}
    rows = fill(VERDICT, repeats["file"], **ids, **{f"survivor_{half}": column for half, column in ids.items()})
    rows["fate"], rows["cluster_size"] = Fate.same_record, 1
    for first_file in np.unique(repeats["first_file"]):
        here = np.flatnonzero(repeats["first_file"] == first_file)
        if first_file == KNOWN_FILE:
            told, _ = recall(plan, rows[here], ("high", "low"), "survivor_high", "survivor_low", "cluster_size")
            for name in told.dtype.names or ():
                rows[name][here] = told[name]
            continue
        there = plan.runs(VERDICT, "survivors").all(of_file(int(first_file)))
        place = places(there, rows[here])
        rows["cluster_size"][here[place >= 0]] = there["cluster_size"][place[place >= 0]]
    return rows


def decide_file(task: FileTask, folder: Path) -> Counts:
    """`documents.parquet`, `ledger.parquet` and `clusters.parquet`."""
    judged = Judged(task)
    file = task.plan.files[task.number]
    counts = {"in": 0, "kept": 0, "dropped": 0, "errors": 0, "bytes_in": 0, "bytes_kept": 0}
    with (
        TableWriter(folder / "documents.parquet", DOCUMENT) as documents,
        TableWriter(folder / "ledger.parquet", LEDGER) as ledger,
        TableWriter(folder / "clusters.parquet", CLUSTERS) as clusters,
    ):
        for batch in read_batches(file, DOCUMENT.names):
            verdicts = judged.on(batch["doc_id"])
            keeps = verdicts["fate"] == Fate.keep
            sizes = np.asarray(pc.binary_length(batch["text"]))
            documents.append(batch.filter(pa.array(keeps)), int(sizes[keeps].sum()) + 300 * int(keeps.sum()))
            ledger.append(_ledger(batch, verdicts, judged), 100 * len(batch))
            clusters.append(_clusters(batch, verdicts), 40 * len(batch))
            for name, rows in (("in", slice(None)), ("kept", keeps), ("dropped", ~keeps)):
                counts[name] += len(sizes[rows])
            counts["bytes_in"] += int(sizes.sum())
            counts["bytes_kept"] += int(sizes[keeps].sum())
    if counts["in"] != judged.num_documents or not judged.used.all():
        raise ArtifactError(f"{file} changed while it was deduplicated")
    return counts


def _ledger(batch: pa.RecordBatch, verdicts: Array, judged: Judged) -> pa.RecordBatch:
    keeps = verdicts["fate"] == Fate.keep
    columns = {
        "doc_id": batch["doc_id"], "source": batch["source"], "key": batch["key"],
        "origin": pa.repeat("", len(batch)), "stage": pa.repeat(STAGE, len(batch)),
        "verdict": pa.array(np.where(keeps, "kept", "dropped").tolist()),
        "kind": pa.array(np.where(keeps, "", "quality").tolist()),
        "reason": pa.array(["" if fate == Fate.keep else Fate(fate).name for fate in verdicts["fate"].tolist()]),
        "detail": pa.array(judged.details(verdicts)), "num_bytes": pc.binary_length(batch["text"]).cast(pa.int64()),
    }  # fmt: skip
    return pa.record_batch([columns[name] for name in LEDGER.names], schema=LEDGER)


def _clusters(batch: pa.RecordBatch, verdicts: Array) -> pa.RecordBatch:
    rows = np.flatnonzero((verdicts["cluster_size"] > 1) & (verdicts["fate"] != Fate.same_record))
    verdicts = verdicts[rows]
    survivors = to_ids(verdicts["survivor_high"], verdicts["survivor_low"])
    columns = [batch["doc_id"].take(pa.array(rows)), survivors, pa.array(verdicts["cluster_size"].astype(np.int64)),
               pa.array(verdicts["fate"] == Fate.keep)]  # fmt: skip
    return pa.record_batch(columns, schema=CLUSTERS)
