"""Candidates: documents that share a band of their signatures.

    facts of a file -> ENTRY    a row per band, of every document that goes on
    ENTRY by hash   -> PAIR     of the documents in a bucket of equal hashes

In a bucket every document is paired with the WINDOW ones before it, by id; in one of up to WINDOW + 1 documents these
are all pairs. A pair of documents that an earlier run has seen is none: that run has judged it.
"""

from pathlib import Path

import numpy as np

from pipeline.clean.characters import Array
from pipeline.core.kernels import kernel
from pipeline.core.shard_map import Counts
from pipeline.dedup.spill.plan import FileTask, KeyTask, Plan
from pipeline.dedup.spill.rows import ENTRY, EXCLUDED, PAIR, facts, fill
from pipeline.dedup.spill.runs import COPIES, RunWriter, distinct, of_file, places, with_carry

WINDOW = 32
BAND_FIELDS = ("num_ngrams", "bands")  # of the facts


def bands_of_file(task: FileTask, folder: Path) -> Counts:
    plan = task.plan
    signed = plan.runs_of_file(facts(plan.config), "sign", task.number).only("high", "low", *BAND_FIELDS)
    excluded = plan.runs(EXCLUDED, "captures", "texts").all(of_file(task.number))
    with RunWriter(folder, ENTRY, plan.budget) as entries:
        for piece in signed.pieces(plan.budget, extra=_extra(plan)):
            rows = distinct(piece, "high", "low")
            entries.append(_entries(rows.compress(places(excluded, rows) < 0), is_known=False))
    return {"rows": entries.num_rows}


def bands_of_known(task: FileTask, folder: Path) -> Counts:
    plan = task.plan
    with RunWriter(folder, ENTRY, plan.budget) as entries:
        signed = plan.known_run(task.number).only("high", "low", *BAND_FIELDS, "alone")
        for rows in signed.pieces(plan.budget, extra=_extra(plan)):
            entries.append(_entries(rows.compress(rows["alone"]), is_known=True))
    return {"rows": entries.num_rows}


def join_bands(task: KeyTask, folder: Path) -> Counts:
    plan = task.plan
    at_once = max(1, plan.budget // COPIES // (WINDOW * PAIR.row_bytes))  # rows whose pairs fit, however many
    with RunWriter(folder, PAIR, plan.budget) as pairs:
        pieces = plan.runs(ENTRY, "bands").pieces(plan.budget, task.span, shared=True)
        for rows, num_seen in with_carry(pieces, "hash", last=WINDOW):
            hash, high, low, known = (np.ascontiguousarray(rows[name]) for name in ENTRY.fields)
            for start in range(num_seen, len(rows), at_once):
                left, right = _pairs(hash, high, low, known, start, min(start + at_once, len(rows)), WINDOW)
                found = fill(PAIR, high[left], high[right], low[left], low[right])
                pairs.append(distinct(PAIR.sort(found), *PAIR.fields))
    return {"rows": pairs.num_rows}


def _extra(plan: Plan) -> int:
    return plan.config.bands * ENTRY.row_bytes


def _entries(rows: Array, is_known: bool) -> Array:
    rows = rows.compress(rows["num_ngrams"] > 0)
    num_bands = rows["bands"].shape[1]
    return fill(ENTRY, rows["bands"].ravel(), np.repeat(rows["high"], num_bands), np.repeat(rows["low"], num_bands),
                known=np.full(rows["bands"].size, is_known))  # fmt: skip


@kernel
def _pairs(hash, high, low, known, start, stop, window):  # type: ignore[no-untyped-def]
    """Places of the documents of each pair, the one with the larger id second and in rows start to stop."""
    num = 0
    for turn in range(2):  # counted first, then written
        if turn == 1:
            left, right = np.empty(num, dtype=np.int64), np.empty(num, dtype=np.int64)
            num = 0
        for row in range(start, stop):
            other = row - 1
            while other >= 0 and row - other <= window and hash[other] == hash[row]:
                same = high[other] == high[row] and low[other] == low[row]
                if not same and not (known[other] and known[row]):
                    if turn == 1:
                        left[num], right[num] = other, row
                    num += 1
                other -= 1
    return left, right
