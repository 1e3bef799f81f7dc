"""Copies: records read twice, older captures of a page, equal texts. Of each group one document goes on to MinHash.

    CAPTURE by page -> of equal ids one stays; the newest capture of a page, or the document of no page, goes on    TEXT
    TEXT by text    -> one document of each text goes on

What does not go on is EXCLUDED, and linked by an EDGE to what does; a record that was read twice is a REPEAT instead.
What an earlier run has seen stands for what comes new.
"""

from pathlib import Path

import numpy as np

from pipeline.clean.characters import Array
from pipeline.core.errors import ArtifactError
from pipeline.core.shard_map import Counts
from pipeline.dedup.spill.plan import KeyTask, Plan
from pipeline.dedup.spill.rows import CAPTURE, EDGE, EXCLUDED, KNOWN_FILE, NEW, OLD, REPEAT, TEXT, fill, to_ids
from pipeline.dedup.spill.runs import RunWriter, firsts, sort_order, with_carry


def group_captures(task: KeyTask, folder: Path) -> Counts:
    plan = task.plan
    with (
        RunWriter(folder, TEXT, plan.budget) as texts, RunWriter(folder, EDGE, plan.budget) as edges,
        RunWriter(folder, EXCLUDED, plan.budget) as excluded, RunWriter(folder, OLD, plan.budget) as olds,
        RunWriter(folder, REPEAT, plan.budget) as repeated,
    ):  # fmt: skip
        pieces = plan.runs(CAPTURE, "sign", "recall").pieces(plan.budget, task.span)
        for piece, num_seen in with_carry(pieces, "key_high", "key_low"):
            rows, repeats, first_file = _without_repeats(plan, piece, num_seen)
            repeated.append(fill(REPEAT, repeats["file"], **_ids(repeats), first_file=first_file))
            first = firsts(rows, "key_high", "key_low")
            is_first = first == np.arange(len(rows))
            old = ~is_first & (rows["file"] != KNOWN_FILE)
            is_first[:num_seen] = False
            texts.append(_texts(rows[is_first]))
            edges.append(fill(EDGE, **_ids(rows[first[old]]), **_ids(rows[old], "other_")))
            olds.append(fill(OLD, **_ids(rows[old])))
            for gone in (repeats, rows[old]):
                excluded.append(fill(EXCLUDED, gone["file"], **_ids(gone)))
    return {"texts": texts.num_rows, "edges": edges.num_rows}


def group_texts(task: KeyTask, folder: Path) -> Counts:
    plan = task.plan
    with RunWriter(folder, EDGE, plan.budget) as edges, RunWriter(folder, EXCLUDED, plan.budget) as excluded:
        pieces = plan.runs(TEXT, "captures").pieces(plan.budget, task.span)
        for rows, _ in with_carry(pieces, "exact_high", "exact_low"):
            first = firsts(rows, "exact_high", "exact_low")
            copy = (first != np.arange(len(rows))) & (rows["file"] != KNOWN_FILE)
            one, other = rows[first[copy]], rows[copy]
            itself = one[(one["high"] == other["high"]) & (one["low"] == other["low"])]
            _refuse(plan, itself["high"], itself["low"])
            edges.append(fill(EDGE, one["high"], other["high"], one["low"], other["low"]))
            excluded.append(fill(EXCLUDED, other["file"], other["high"], other["low"]))
    return {"edges": edges.num_rows}


def _without_repeats(plan: Plan, rows: Array, num_seen: int) -> tuple[Array, Array, Array]:
    """(rows of distinct ids, in their order; those that repeat an id of another file; of each the number of that file).

    Of equal ids the one that an earlier run knows stays, else that of the first file. What repeats within a file is
    seen when the file is read (decide.py).
    """
    place = rows["file"] + np.uint64(1)  # 0: known
    place[:num_seen] = 0
    order = sort_order([rows["newer_high"], rows["newer_low"], place])
    ordered = rows[order]
    again = np.zeros(len(rows), dtype=bool)
    again[1:] = (ordered["newer_high"][1:] == ordered["newer_high"][:-1]) & (
        ordered["newer_low"][1:] == ordered["newer_low"][:-1]
    )
    key = ordered["key_high"], ordered["key_low"]
    elsewhere = again[1:] & ((key[0][1:] != key[0][:-1]) | (key[1][1:] != key[1][:-1]))
    _refuse(plan, **_ids(ordered[1:][elsewhere]))
    stays = np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))
    first_file = ordered["file"][stays]
    elsewhere = again & (ordered["file"] != first_file)
    distinct = np.ones(len(rows), dtype=bool)
    distinct[order[again]] = False
    return rows[distinct], ordered[elsewhere], first_file[elsewhere]


def _refuse(plan: Plan, high: Array, low: Array) -> None:
    """Ids that have two pages each: whether these meet here depends on the memory. No source of ours writes such."""
    if len(high):
        doc_id = to_ids(high[:1], low[:1])[0].as_py().hex()
        raise ArtifactError(f"{plan.documents} has document {doc_id} twice, with two `page` of `meta`")


def _texts(rows: Array) -> Array:
    ids = _ids(rows)
    order = (rows["order"] & NEW) | ids["high"] >> np.uint64(1)
    return fill(TEXT, rows["exact_high"], order, **ids, exact_low=rows["exact_low"], file=rows["file"])


def _ids(rows: Array, prefix: str = "") -> dict[str, Array]:
    return {f"{prefix}high": ~rows["newer_high"], f"{prefix}low": ~rows["newer_low"]}
