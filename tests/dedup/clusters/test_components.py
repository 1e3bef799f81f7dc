"""Connected components both ways, against a plain search."""

import itertools
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup import run as stage
from pipeline.dedup.clusters.components import UNITE_ROW_BYTES, roots
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.run import Steps
from pipeline.dedup.spill.rows import EDGE, LABEL
from tests.dedup.steps import lay, steps_over

Id = tuple[int, int]


def search(edges: list[tuple[Id, Id]]) -> dict[Id, Id]:
    """Of every node of an edge the smallest node of its component."""
    neighbours: dict[Id, set[Id]] = {}
    for one, other in edges:
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    smallest: dict[Id, Id] = {}
    for start in sorted(neighbours):
        stack = [start]
        while stack:
            node = stack.pop()
            if node not in smallest:
                smallest[node] = start
                stack += neighbours[node]
    return smallest


def graph(seed: int) -> list[tuple[Id, Id]]:
    """A long chain, a large star with a hub that is not the smallest, a clique, a tree, pairs; nodes at random."""
    rng = random.Random(seed)

    def nodes(count: int) -> list[Id]:
        return [(rng.getrandbits(64), rng.getrandbits(64)) for _ in range(count)]

    chain, star, clique, tree = nodes(200), nodes(3000), nodes(12), nodes(300)
    edges = list(itertools.pairwise(chain))
    edges += [(star[0], leaf) for leaf in star[1:]]
    edges += [(one, other) for one in clique for other in clique if one != other]
    edges += [(node, tree[rng.randrange(number)]) for number, node in enumerate(tree[1:], start=1)]
    edges += [tuple(nodes(2)) for _ in range(2500)]  # type: ignore[misc]
    edges += [((7, 1), (9, 1)), ((7, 2), (9, 2))]  # ids that differ in one half only
    rng.shuffle(edges)
    return [(other, one) if rng.random() < 0.5 else (one, other) for one, other in edges]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("memory_mb", [192, 1])
def test_both_ways_give_the_labels_of_a_plain_search(tmp_path: Path, memory_mb: int, seed: int) -> None:
    """With 1 MiB in rounds, where the hub's edges do not fit into one piece."""
    edges = graph(seed)
    steps = steps_over(tmp_path, DedupConfig(task_memory_mb=memory_mb))
    rows = np.array([(one[0], other[0], one[1], other[1]) for one, other in edges], dtype=EDGE.dtype)
    lay(steps, "compare", EDGE, rows[::2])
    lay(steps, "texts", EDGE, rows[1::2])
    assert (len(edges) * UNITE_ROW_BYTES > steps.plan.budget) == (memory_mb == 1)
    num_clusters = stage.cluster(steps, len(edges))
    found = steps.plan.runs(LABEL, "components").all()
    labels = {(row["high"], row["low"]): (row["label_high"], row["label_low"]) for row in found}
    expected = search(edges)
    assert labels == expected
    assert len(found) == len(expected), "one label a node"
    assert num_clusters == len(set(expected.values()))
    rounds = {path.name for path in steps.plan.scratch.glob("round-*")}
    assert (len(rounds) == 0) == (memory_mb == 192)
    assert max(Counter(expected.values()).values()) >= 3000
    if memory_mb == 1:  # as a run does that was killed later on
        assert stage.cluster(Steps(steps.plan, None), len(edges)) == num_clusters  # type: ignore[arg-type]


@given(edges=st.lists(st.tuples(st.integers(0, 49), st.integers(0, 49)), max_size=80), seed=st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_union_find_against_a_plain_search(edges: list[tuple[int, int]], seed: int) -> None:
    smallest = search([((left, 0), (right, 0)) for left, right in edges])
    random.Random(seed).shuffle(edges)
    found = roots(50, np.array(edges, dtype=np.int64).reshape(-1, 2))
    assert found.tolist() == [smallest.get((node, 0), (node, 0))[0] for node in range(50)]
