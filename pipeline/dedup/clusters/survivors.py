"""Who survives a cluster: the document that is preferred to all others of it.

    LABEL by id      -> MEMBER by label, the preferred one first       rank_members
    MEMBER by label  -> VERDICT on every new document of the cluster   choose
                     -> PAIR (document, survivor), unless their texts are the same

The order of preference: what an earlier run has seen (of several, the smallest id); no older capture of a page; source
priority; quality; length; id. Where an earlier run has seen a document, its survivor there is the survivor here.
"""

from pathlib import Path

import numpy as np

from pipeline.clean.characters import Array
from pipeline.core.shard_map import Counts
from pipeline.dedup.signatures.sign import lookup, recall
from pipeline.dedup.spill.plan import KeyTask, Plan
from pipeline.dedup.spill.rows import LABEL, MEMBER, NEW, OLD, OLD_CAPTURE, PAIR, VERDICT, Fate, fill
from pipeline.dedup.spill.runs import Runs, RunWriter, around, firsts, places, start_of, with_carry


def rank_members(task: KeyTask, folder: Path) -> Counts:
    plan = task.plan
    with RunWriter(folder, MEMBER, plan.budget) as members:
        for rows in plan.runs(LABEL, "components").pieces(plan.budget, task.span, extra=MEMBER.row_bytes):
            told = ("preference", "file", "exact_high", "exact_low")
            found = lookup(plan, rows, ("high", "low"), *told)
            ranked = fill(MEMBER, **{name: rows[name] for name in LABEL.fields}, **{name: found[name] for name in told})
            old = plan.runs(OLD, "captures").all(around(rows, "high"))
            ranked["preference"][places(old, rows) >= 0] |= OLD_CAPTURE
            members.append(ranked)
    return {"rows": members.num_rows}


def choose(task: KeyTask, folder: Path) -> Counts:
    plan = task.plan
    members = plan.runs(MEMBER, "members")
    with RunWriter(folder, VERDICT, plan.budget) as verdicts, RunWriter(folder, PAIR, plan.budget) as pairs:
        pieces = members.pieces(plan.budget, task.span, extra=2 * VERDICT.row_bytes)
        for rows, num_seen in with_carry(pieces, "label_high", "label_low"):
            first = firsts(rows, "label_high", "label_low")
            judged = _judge(rows, first, _num_new(rows, first, members), plan)
            judged = judged[(np.arange(len(rows)) >= num_seen) & (rows["preference"] >= NEW)]
            verdicts.append(judged)
            alike = judged[np.isin(judged["fate"], (Fate.same_url, Fate.near_duplicate))]
            pairs.append(fill(PAIR, alike["high"], alike["survivor_high"], alike["low"], alike["survivor_low"]))
    return {"rows": pairs.num_rows}


def _num_new(rows: Array, first: Array, members: Runs) -> Array:
    """Per row the documents of its cluster that no earlier run has seen."""
    numbers = np.bincount(first, weights=rows["preference"] >= NEW, minlength=len(rows)).astype(np.uint64)[first]
    for edge in (0, -1):  # the cluster may go on before or after this piece
        same = rows["label_high"] == rows["label_high"][edge]
        label = int(rows["label_high"][edge])
        numbers[same] = members.count((start_of(label, int(NEW)), start_of(label + 1)))
    return numbers


def _judge(rows: Array, first: Array, num_new: Array, plan: Plan) -> Array:
    """VERDICT rows."""
    own = np.arange(len(rows))
    is_first = first == own
    leaders = rows[is_first]
    leader = (np.cumsum(is_first) - 1)[first]  # of each row
    survivor = _survivors(leaders, plan)[leader]
    same_text = (rows["exact_high"] == survivor["exact_high"]) & (rows["exact_low"] == survivor["exact_low"])
    is_old = (rows["preference"] & OLD_CAPTURE) != 0
    keeps = is_first & (rows["preference"] >= NEW)
    fate = np.select([keeps, is_old, same_text], [Fate.keep, Fate.same_url, Fate.exact_duplicate], Fate.near_duplicate)
    return fill(VERDICT, rows["file"], rows["high"], rows["low"], fate=fate, survivor_high=survivor["high"],
                survivor_low=survivor["low"], cluster_size=num_new + survivor["cluster_size"])  # fmt: skip


def _survivors(leaders: Array, plan: Plan) -> Array:
    """Of the first member of each cluster: itself, or what survived it in an earlier run.

    With its text's hash, and the size of the cluster that the earlier run found.
    """
    fields = ("high", "low", "exact_high", "exact_low", "cluster_size")
    result = np.zeros(len(leaders), dtype=[(name, np.uint64) for name in fields])
    for name in fields[:4]:
        result[name] = leaders[name]
    seen = np.flatnonzero(leaders["preference"] < NEW)
    told, missing = recall(plan, leaders[seen], ("high", "low"), "survivor_high", "survivor_low", "cluster_size")
    assert not missing.any(), "a known document that no index has"
    text, _ = recall(plan, told, ("survivor_high", "survivor_low"), "exact_high", "exact_low")
    for name, column in (
        ("high", told["survivor_high"]), ("low", told["survivor_low"]), ("cluster_size", told["cluster_size"]),
        ("exact_high", text["exact_high"]), ("exact_low", text["exact_low"]),
    ):  # fmt: skip
        result[name][seen] = column
    return result
