"""Candidate pairs from buckets of equal band hashes, and which of them are linked."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.dedup.clusters import compare, join
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.spill.rows import EDGE, ENTRY, PAIR, facts
from pipeline.dedup.spill.runs import COPIES
from tests.dedup.steps import lay, steps_over

Pair = tuple[int, int]


def pairs_in(tmp_path: Path, entries: list[tuple[int, int, bool]], memory_mb: int = 192) -> set[Pair]:
    """Of (hash, document, known) the pairs of documents."""
    steps = steps_over(tmp_path, DedupConfig(task_memory_mb=memory_mb))
    lay(steps, "bands", ENTRY, np.array([(h, d, d, k) for h, d, k in entries], dtype=ENTRY.dtype))
    steps.by_key(join.join_bands, "join", len(entries), ENTRY.row_bytes)
    found = steps.plan.runs(PAIR, "join").all()
    assert (found["low"] == found["high"]).all()
    assert (found["other_low"] == found["other_high"]).all()
    return {(int(row["high"]), int(row["other_high"])) for row in found}


def test_all_documents_of_a_bucket_are_paired_and_others_are_not(tmp_path: Path) -> None:
    bucket = [(10, document, False) for document in (5, 3, 8)]
    others = [(11, 3, False), (11, 6, False), (12, 7, False), (12, 7, False)]
    assert pairs_in(tmp_path, bucket + others) == {(3, 5), (3, 8), (5, 8), (3, 6)}


def test_what_an_earlier_run_has_judged_is_not_judged_again(tmp_path: Path) -> None:
    bucket = [(10, 1, True), (10, 2, True), (10, 3, False), (10, 4, True)]
    assert pairs_in(tmp_path, bucket) == {(1, 3), (2, 3), (3, 4)}


@pytest.mark.parametrize("memory_mb", [192, 1])
def test_in_a_large_bucket_each_is_paired_with_those_before_it(tmp_path: Path, memory_mb: int) -> None:
    """The same pairs when the bucket does not fit into the memory of the task."""
    count = 9000 if memory_mb == 1 else 300
    assert (count * ENTRY.row_bytes * COPIES > memory_mb << 20) == (memory_mb == 1)
    found = pairs_in(tmp_path, [(10, document, False) for document in range(count)], memory_mb)
    assert found == {(one, other) for other in range(count) for one in range(max(0, other - join.WINDOW), other)}


@pytest.mark.parametrize("min_jaccard", [0.0, 0.5, 0.51, 1.0])
def test_pairs_are_linked_by_the_similarity_of_their_signatures(tmp_path: Path, min_jaccard: float) -> None:
    config = DedupConfig(bands=4, rows=2, min_jaccard=min_jaccard)
    steps = steps_over(tmp_path, config)
    kind = facts(config)
    documents = kind.empty(3)
    documents["high"] = documents["low"] = [1, 2, 3]
    documents["signature"] = [[0] * 8, [0] * 4 + [1] * 4, [9, 8, 7, 6, 5, 4, 3, 2]]  # 1 and 2: 4 of 8
    lay(steps, "sign", kind, documents)
    lay(steps, "join", PAIR, np.array([(1, 2, 1, 2)] * 3 + [(1, 3, 1, 3), (2, 3, 2, 3)], dtype=PAIR.dtype))
    attached = steps.by_key(compare.attach, "attach", 5, 100, reads="join")
    assert attached[0].counts["rows"] == 3, "a pair that several bands found is compared once"
    steps.by_key(compare.compare_candidates, "compare", 3, 100, reads="attach")
    found = {(row["high"], row["other_high"]) for row in steps.plan.runs(EDGE, "compare").all()}
    expected = {0.0: {(1, 2), (1, 3), (2, 3)}, 0.5: {(1, 2)}}
    assert found == expected.get(min_jaccard, set())
