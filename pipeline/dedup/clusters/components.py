"""Clusters from edges: the connected components of a graph of documents. Label: the smallest document of the component.

Two ways to the same labels, whatever the order of the edges:

1. `unite`: union-find over all edges in one task, for as many as fit into its memory.
2. `large_star`, then `small_star`, until nothing changes (Kiveris et al. 2014, "Connected components in MapReduce and
   beyond"): both are steps over spans of keys, so the graph may be of any size. Every node tells its neighbours which
   is the smallest among them; in O(log^2 n) rounds, a handful in practice, each component is a star around its
   smallest node.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.clean.characters import Array
from pipeline.core.kernels import kernel
from pipeline.core.shard_map import Counts
from pipeline.dedup.spill.plan import KeyTask
from pipeline.dedup.spill.rows import EDGE, LABEL, fill
from pipeline.dedup.spill.runs import RunWriter, distinct, distinct_ids, firsts, with_carry

HALVES = ("high", "low")
UNITE_ROW_BYTES = 200  # of memory per edge, at most
MAX_ROUNDS = 64
EDGE_STEPS = ("captures", "texts", "compare", "verify")


# ---- 1: in one task ------------------------------------------------------------------------------------------------


def unite(task: KeyTask, folder: Path) -> Counts:
    """LABEL of every document of a cluster, the smallest included."""
    plan = task.plan
    edges = plan.runs(EDGE, *EDGE_STEPS).all()
    ids, node = distinct_ids(*(np.concatenate([edges[half], edges[f"other_{half}"]]) for half in HALVES))
    label = roots(len(ids), node.reshape(2, -1).T)
    with RunWriter(folder, LABEL, plan.budget) as labels:
        labels.append(fill(LABEL, ids["high"], ids["high"][label], ids["low"], ids["low"][label]))
    return {"rows": len(ids), "clusters": int((label == np.arange(len(ids))).sum())}


def roots(num_nodes: int, edges: Array) -> Array:
    """int64 [num_nodes]: the smallest node of each node's component. `edges` is [n, 2]."""
    parent = np.arange(num_nodes)
    _union_all(parent, np.ascontiguousarray(edges[:, 0]), np.ascontiguousarray(edges[:, 1]))
    return parent


@kernel
def _find(parent, node):  # type: ignore[no-untyped-def]
    """The root, with path halving."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@kernel
def _union_all(parent, left, right):  # type: ignore[no-untyped-def]
    for k in range(len(left)):
        one, other = _find(parent, left[k]), _find(parent, right[k])
        if one < other:
            parent[other] = one
        elif other < one:
            parent[one] = other
    for node in range(len(parent)):
        parent[node] = _find(parent, node)


# ---- 2: in rounds over spans of keys -------------------------------------------------------------------------------


def both_ways(task: KeyTask, folder: Path) -> Counts:
    """EDGE from either end."""
    with RunWriter(folder, EDGE, task.plan.budget) as edges:
        for rows in task.plan.runs(EDGE, *EDGE_STEPS).pieces(task.plan.budget, task.span):
            _link_both(edges, rows)
    return {"rows": edges.num_rows}


def large_star(task: KeyTask, folder: Path) -> Counts:
    """Links the larger neighbours of a node to the smallest of them all. Nothing is `open` when all are stars."""
    num_open = 0
    with RunWriter(folder, EDGE, task.plan.budget) as edges:
        for rows, first, is_smaller, num_seen in _neighbours(task):
            own = np.arange(len(rows))
            new = own >= num_seen
            num_open += int((new & is_smaller[first] & (first != own)).sum())
            least = {half: np.where(is_smaller[first], rows[f"other_{half}"][first], rows[half]) for half in HALVES}
            linked = fill(EDGE, rows["other_high"], least["high"], rows["other_low"], least["low"])
            edges.append(linked[new & ~is_smaller])
    return {"rows": edges.num_rows, "open": num_open}


def small_star(task: KeyTask, folder: Path) -> Counts:
    """Links a node and its smaller neighbours, which are all that `large_star` leaves, to the smallest of these."""
    with RunWriter(folder, EDGE, task.plan.budget) as edges:
        for rows, first, _, num_seen in _neighbours(task):
            other = first != np.arange(len(rows))
            other[:num_seen] = False
            least = rows[first]
            linked = fill(EDGE, rows["other_high"], least["other_high"], rows["other_low"], least["other_low"])
            _link_both(edges, linked[other])
            _link_both(edges, rows[~other][num_seen:])
    return {"rows": edges.num_rows}


def labels_of_stars(task: KeyTask, folder: Path) -> Counts:
    """LABEL, from edges that `large_star` found to be stars."""
    num_clusters = 0
    with RunWriter(folder, LABEL, task.plan.budget) as labels:
        for rows, first, is_smaller, num_seen in _neighbours(task):
            new = first == np.arange(len(rows))
            new[:num_seen] = False
            label = {half: np.where(is_smaller, rows[f"other_{half}"], rows[half])[new] for half in HALVES}
            labels.append(fill(LABEL, rows["high"][new], label["high"], rows["low"][new], label["low"]))
            num_clusters += int((new & ~is_smaller).sum())
    return {"rows": labels.num_rows, "clusters": num_clusters}


def _neighbours(task: KeyTask) -> Iterator[tuple[Array, Array, Array, int]]:
    """(edges by node, row of its smallest neighbour, whether the row's neighbour is smaller than it, rows seen)"""
    pieces = task.plan.runs(EDGE, task.reads).pieces(task.plan.budget, task.span)
    for rows, num_seen in with_carry((distinct(piece, *EDGE.fields) for piece in pieces), "high", "low"):
        is_smaller = (rows["other_high"] < rows["high"]) | (
            (rows["other_high"] == rows["high"]) & (rows["other_low"] < rows["low"])
        )
        yield rows, firsts(rows, "high", "low"), is_smaller, num_seen


def _link_both(edges: RunWriter, rows: Array) -> None:
    edges.append(rows)
    edges.append(fill(EDGE, rows["other_high"], rows["high"], rows["other_low"], rows["low"]))
