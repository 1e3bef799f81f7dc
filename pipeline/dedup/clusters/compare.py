"""Pairs of documents are compared by their signatures, which meet without being in memory all at once.

    PAIR by one document    -> SIGNED: the pair with that one's signature         attach
    SIGNED by the other one -> the other's signature beside it, and the estimate  compare
                            -> EDGE      of candidates that are similar enough
                            -> EVIDENCE  of a document that is dropped and its survivor

`attach` drops the pairs that several bands have found.
"""

from pathlib import Path

import numpy as np

from pipeline.core.shard_map import Counts
from pipeline.dedup.signatures.minhash import similarity
from pipeline.dedup.signatures.sign import lookup
from pipeline.dedup.spill.plan import KeyTask
from pipeline.dedup.spill.rows import EDGE, KNOWN_FILE, PAIR, evidence, fill, signed
from pipeline.dedup.spill.runs import RunWriter, distinct


def attach(task: KeyTask, folder: Path) -> Counts:
    plan, kind = task.plan, signed(task.plan.config)
    with RunWriter(folder, kind, plan.budget) as with_signature:
        for rows in plan.runs(PAIR, task.reads).pieces(plan.budget, task.span, extra=kind.row_bytes):
            rows = distinct(rows, *PAIR.fields)
            found = lookup(plan, rows, ("high", "low"), "file", "signature")
            ids = {name: rows[name] for name in PAIR.fields}
            with_signature.append(fill(kind, **ids, file=found["file"], signature=found["signature"]))
    return {"rows": with_signature.num_rows}


def compare_candidates(task: KeyTask, folder: Path) -> Counts:
    """EDGE; with `verify` PAIR instead, of pairs that may turn out to be similar enough and whose texts are here."""
    plan, kind = task.plan, signed(task.plan.config)
    config = plan.config
    least = int(np.ceil(config.min_jaccard * config.bands * config.rows - 1e-9))
    maybe = least - 4 * np.sqrt(config.bands * config.rows) / 2  # four standard deviations at the most
    with RunWriter(folder, EDGE, plan.budget) as edges, RunWriter(folder, PAIR, plan.budget) as pairs:
        for rows in plan.runs(kind, task.reads).pieces(plan.budget, task.span, extra=kind.row_bytes):
            other = lookup(plan, rows, ("other_high", "other_low"), "signature", "file")
            agree = (rows["signature"] == other["signature"]).sum(axis=1)
            has_texts = config.verify & (rows["file"] != KNOWN_FILE) & (other["file"] != KNOWN_FILE)
            for writer, chosen in ((edges, ~has_texts & (agree >= least)), (pairs, has_texts & (agree >= maybe))):
                writer.append(fill(writer.kind, **{name: rows[name][chosen] for name in PAIR.fields}))
    return {"rows": edges.num_rows, "pairs": pairs.num_rows}


def compare_duplicates(task: KeyTask, folder: Path) -> Counts:
    """The other one is the survivor."""
    plan, kind = task.plan, signed(task.plan.config)
    config, told = plan.config, evidence(plan.config)
    with RunWriter(folder, told, plan.budget) as found:
        for rows in plan.runs(kind, task.reads).pieces(plan.budget, task.span, extra=kind.row_bytes):
            other = lookup(plan, rows, ("other_high", "other_low"), "signature")["signature"]
            agree = rows["signature"] == other
            shared = agree.reshape(-1, config.bands, config.rows).all(axis=2)
            alike = similarity(rows["signature"], other)
            found.append(fill(told, rows["file"], rows["high"], rows["low"], jaccard=alike, shared=shared))
    return {"rows": found.num_rows}
