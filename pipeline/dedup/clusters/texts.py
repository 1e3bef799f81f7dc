"""Pairs are compared by their texts: the true Jaccard similarity of the n-grams, for those who ask (`verify: true`).

    PAIR by document  -> NEEDED: which documents of which file                 need
    documents file    -> NGRAM: their distinct n-grams                         ngrams_of_file
    PAIR and NGRAM    -> EDGE of candidates that are similar enough            link_texts
                      -> TRUTH of a document that is dropped and its survivor  judge_texts

A document that only an earlier run has seen has no text here; its pairs are judged by the estimate.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.clean.characters import Array
from pipeline.core.kernels import kernel
from pipeline.core.shard_map import Counts
from pipeline.core.tables import read_batches
from pipeline.dedup.signatures.sign import lookup
from pipeline.dedup.spill.plan import FileTask, KeyTask
from pipeline.dedup.spill.rows import EDGE, KNOWN_FILE, NEEDED, NGRAM, PAIR, TRUTH, fill, from_ids
from pipeline.dedup.spill.runs import RunWriter, distinct, distinct_ids, of_file, places

ENDS = (("high", "low"), ("other_high", "other_low"))


def ngrams_of(step: str) -> str:
    """The step that reads the texts of the pairs which `step` wrote."""
    return f"{step}-ngrams"


def need(task: KeyTask, folder: Path) -> Counts:
    plan = task.plan
    with RunWriter(folder, NEEDED, plan.budget) as needed:
        for rows in plan.runs(PAIR, task.reads).pieces(plan.budget, task.span, extra=2 * NEEDED.row_bytes):
            for high, low in ENDS:
                ids, _ = distinct_ids(rows[high], rows[low])
                found = fill(NEEDED, lookup(plan, ids, ("high", "low"), "file")["file"], ids["high"], ids["low"])
                needed.append(found.compress(found["file"] != KNOWN_FILE))
    return {"rows": needed.num_rows}


def ngrams_of_file(task: FileTask, folder: Path) -> Counts:
    plan, minhash = task.plan, task.plan.config.minhash()
    ids = distinct(plan.runs(NEEDED, task.reads).all(of_file(task.number)), "high", "low")
    with RunWriter(folder, NGRAM, plan.budget) as ngrams:
        for batch in read_batches(plan.files[task.number], ["doc_id", "text"]):
            high, low = from_ids(batch["doc_id"])
            for row in np.flatnonzero(places(ids, fill(NEEDED, high=high, low=low)) >= 0).tolist():
                found = minhash.ngrams(batch["text"][row].as_py())
                ngrams.append(fill(NGRAM, np.full(len(found), high[row]), np.full(len(found), low[row]), found))
    return {"rows": ngrams.num_rows}


def link_texts(task: KeyTask, folder: Path) -> Counts:
    plan = task.plan
    with RunWriter(folder, EDGE, plan.budget) as edges:
        for rows, true in _compared(task):
            alike = rows.compress(true >= plan.config.min_jaccard - 1e-9)
            edges.append(fill(EDGE, **{name: alike[name] for name in EDGE.fields}))
    return {"rows": edges.num_rows}


def judge_texts(task: KeyTask, folder: Path) -> Counts:
    plan = task.plan
    with RunWriter(folder, TRUTH, plan.budget) as truths:
        for rows, true in _compared(task):
            file = lookup(plan, rows, ("high", "low"), "file")["file"]
            truths.append(fill(TRUTH, file, rows["high"], rows["low"], jaccard=true).compress(~np.isnan(true)))
    return {"rows": truths.num_rows}


def _compared(task: KeyTask) -> Iterator[tuple[Array, Array]]:
    """(PAIR rows, their true similarity, nan if a text is not here); so many at once that their n-grams fit."""
    plan = task.plan
    for rows in plan.runs(PAIR, task.reads).pieces(plan.budget, task.span):
        sizes = sum(lookup(plan, rows, ends, "num_ngrams")["num_ngrams"] for ends in ENDS) * NGRAM.row_bytes
        part_of = np.cumsum(sizes) // (plan.budget // 4)
        for part in np.split(rows, np.flatnonzero(np.diff(part_of)) + 1):
            yield part, _true_jaccard(task, part)


def _true_jaccard(task: KeyTask, pairs: Array) -> Array:
    count = len(pairs)
    ids, place = distinct_ids(*(np.concatenate([pairs[end[half]] for end in ENDS]) for half in (0, 1)))
    values, ends = task.plan.runs(NGRAM, ngrams_of(task.reads)).values(ids, "ngram")
    return _jaccard(values, ends, place[:count], place[count:])


@kernel
def _jaccard(values, ends, left, right):  # type: ignore[no-untyped-def]
    """Of the sorted sets values[ends[k]:ends[k + 1]]; nan where one is empty."""
    result = np.full(len(left), np.nan)
    for pair in range(len(left)):
        one, one_end = ends[left[pair]], ends[left[pair] + 1]
        other, other_end = ends[right[pair]], ends[right[pair] + 1]
        size = one_end - one + other_end - other
        if one == one_end or other == other_end:
            continue
        common = 0
        while one < one_end and other < other_end:
            if values[one] == values[other]:
                common += 1
                one += 1
                other += 1
            elif values[one] < values[other]:
                one += 1
            else:
                other += 1
        result[pair] = common / (size - common)
    return result
