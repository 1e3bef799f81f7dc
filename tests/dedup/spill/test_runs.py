"""Sorted runs: order, spans, budgets and look-ups, against plain Python."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clean.characters import Array
from pipeline.dedup.spill.rows import ENTRY, PAIR
from pipeline.dedup.spill.runs import (
    ALL,
    COPIES,
    PARTS,
    Runs,
    RunWriter,
    distinct,
    firsts,
    places,
    sort_order,
    spans,
    start_of,
    with_carry,
)


def pairs(*rows: tuple[int, int, int, int]) -> Array:
    return np.array(list(rows), dtype=PAIR.dtype)


def some_pairs(count: int, seed: int, largest: int = 2**64 - 1) -> list[tuple[int, int, int, int]]:
    rng = random.Random(seed)
    return [tuple(rng.randint(0, largest) for _ in range(4)) for _ in range(count)]  # type: ignore[misc]


def runs_of(folder: Path, rows: list[tuple[int, int, int, int]], num_files: int, budget: int = 1 << 20) -> Runs:
    """Written by as many tasks."""
    for number in range(num_files):
        private = folder / f"{number}"
        private.mkdir()
        with RunWriter(private, PAIR, budget) as writer:
            for row in rows[number::num_files]:
                writer.append(pairs(row))
        for path in private.iterdir():
            path.rename(folder / f"{number}.{path.name}")
    return Runs(PAIR, sorted(folder.glob("*.arrow")))


@pytest.mark.parametrize("largest", [2**64 - 1, 7, 1])
@pytest.mark.parametrize("budget", [1 << 20, COPIES * 32 * 5, 1])
def test_pieces_are_all_rows_in_order_whatever_the_budget(tmp_path: Path, largest: int, budget: int) -> None:
    rows = some_pairs(500, 1, largest)
    runs = runs_of(tmp_path, rows, 3, budget=PARTS * 32 * 20)
    assert len(runs.files) > 3, "none of the writers had to write twice"
    pieces = list(runs.pieces(budget))
    assert [tuple(row) for piece in pieces for row in piece.tolist()] == sorted(rows)
    fits = max(1, budget // COPIES // 32)
    for piece in pieces:
        assert len(piece) <= fits or len(set(piece.tolist())) == 1
    for one, other in itertools.pairwise(pieces):  # a key is divided only where it does not fit
        for num_fields in (1, 2, 3):
            if (key := one[-1].tolist()[:num_fields]) == other[0].tolist()[:num_fields]:
                assert sum(row[:num_fields] == key for row in rows) > fits


@pytest.mark.parametrize("num_equal", [1, 2, 3])
def test_rows_that_are_equal_in_all_fields_but_the_last_are_divided(tmp_path: Path, num_equal: int) -> None:
    """As the exact copies of a text from one source are: one cluster, one preference."""
    rows = [(7,) * num_equal + (row,) * (4 - num_equal) for row in range(200)] + some_pairs(100, 4)
    pieces = list(runs_of(tmp_path, rows, 3).pieces(COPIES * 32 * 9))
    assert [tuple(row) for piece in pieces for row in piece.tolist()] == sorted(rows)
    assert max(map(len, pieces)) <= 9
    assert len(pieces) < 100


def test_a_span_may_end_within_a_key(tmp_path: Path) -> None:
    rows = [(key, order, group, 0) for key in (1, 9) for order in range(5) for group in (0, 1)]
    runs = runs_of(tmp_path, rows, 2)
    for first, end in (((1,), (9,)), ((1, 2), (9, 3)), ((1, 2, 1), (1, 4)), ((0,), (9, 4, 1, 1)), ((9, 5), (2**64,))):
        span = start_of(*first), start_of(*end)
        inside = [row for row in sorted(rows) if first <= row and row < end]
        assert runs.all(span).tolist() == inside
        assert runs.count(span) == len(inside)


def test_spans_divide_the_rows_and_depend_on_rows_and_budget_alone(tmp_path: Path) -> None:
    rows = some_pairs(1000, 2)
    runs = runs_of(tmp_path, rows, 2)
    cut = spans(1000, 32, COPIES * 32 * 100)
    assert len(cut) == 10
    assert [cut[0][0], cut[-1][1]] == list(ALL)
    found = [row for span in cut for piece in runs.pieces(1 << 20, span) for row in piece.tolist()]
    assert found == sorted(rows)
    assert sum(runs.count(span) for span in cut) == runs.count() == 1000
    sizes = [runs.count(span) for span in cut]
    assert max(sizes) < 150, "hashes fill spans of equal width equally"
    assert spans(0, 32, 100) == [ALL]


def test_rows_that_share_no_key_may_be_left_out_and_no_others(tmp_path: Path) -> None:
    rows = some_pairs(3000, 3) + [(5, k, k, k) for k in range(40)] + [(2**64 - 1, 1, 1, 1), (2**64 - 1, 2, 2, 2)]
    runs = runs_of(tmp_path, rows, 4)
    for budget in (1 << 20, COPIES * 32 * 10, COPIES * 32):
        found = [row for piece in runs.pieces(budget, shared=True) for row in piece.tolist()]
        assert found == sorted(found)
        assert set(found) >= {row for row in rows if row[0] in (5, 2**64 - 1)}
        assert len(found) < 1500


def test_a_key_that_goes_on_is_seen_again_with_its_first_or_last_rows(tmp_path: Path) -> None:
    rows = [(key, order, group, 0) for key in (1, 9) for order in range(50) for group in (0, 1)]
    runs = runs_of(tmp_path, rows, 1)
    budget = COPIES * 32 * 8
    for last in (0, 3):
        told: list[tuple[int, ...]] = []
        for part, num_seen in with_carry(runs.pieces(budget), "high", "low", last=last):
            if num_seen:
                seen = [tuple(row) for row in part[:num_seen].tolist()]
                same_key = [row for row in told if row[0] == seen[0][0]]
                assert seen == (same_key[-3:] if last else same_key[:2])
            told += [tuple(row) for row in part[num_seen:].tolist()]
        assert told == sorted(rows)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(2**64 - 2, 2**64 - 1))))
@settings(max_examples=100, deadline=None)
def test_sort_order_is_that_of_tuples(keys: list[tuple[int, int, int]]) -> None:
    columns = np.array(keys, dtype=np.uint64).reshape(-1, 3).T
    assert sort_order(list(columns)).tolist() == sorted(range(len(keys)), key=lambda row: keys[row])


def test_ids_are_found_by_both_halves(tmp_path: Path) -> None:
    """Also where the first halves of two ids are equal."""
    rows = [(1, 0, 5, 0), (1, 0, 3, 0), (2, 0, 2**64 - 1, 0), (2**64 - 1, 7, 0, 0)]
    runs = Runs(ENTRY, [])
    assert runs.lookup(np.zeros(1, dtype=[("high", "u8"), ("low", "u8")]), ("hash",))[1].tolist() == [True]
    ids = np.array([(1, 3), (1, 5), (2, 0), (2**64 - 1, 0)], dtype=[("high", "u8"), ("low", "u8")])
    with RunWriter(tmp_path, by_id := PAIR, 1 << 20) as writer:
        writer.append(pairs(*rows))
    found, missing = Runs(by_id, sorted(tmp_path.iterdir())).lookup(ids, ("other_high",))
    assert missing.tolist() == [False, False, True, False]
    assert found["other_high"].tolist() == [0, 0, 0, 7]
    with RunWriter(tmp_path, by_id, 1 << 20) as writer:
        writer.append(pairs((1, 1, 5, 0), (1, 2, 5, 0)))
    found, _ = Runs(by_id, [max(tmp_path.iterdir())]).lookup(ids, ("other_high",))
    assert found["other_high"].tolist() == [0, 1, 0, 0], "of two rows with one id not the first"
    asked = np.array([(1, 5), (3, 3), (2**64 - 1, 0)], dtype=ids.dtype)
    assert places(ids, asked).tolist() == [1, -1, 3]


def test_first_and_distinct_rows_of_groups() -> None:
    rows = pairs((1, 0, 8, 0), (1, 0, 8, 0), (1, 0, 9, 0), (1, 1, 8, 0), (2, 1, 8, 0))
    assert firsts(rows, "high", "low").tolist() == [0, 0, 2, 0, 4], "two groups may share the first half"
    assert distinct(rows, *PAIR.fields).tolist() == [rows.tolist()[k] for k in (0, 2, 3, 4)]
    assert len(distinct(PAIR.empty(), *PAIR.fields)) == 0


def mapped_bytes() -> int:
    """Pages of files that count as memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssFile"))


@pytest.mark.parametrize("shared", [False, True])
def test_pages_of_files_do_not_pile_up(shared: bool, tmp_path: Path) -> None:
    """Not even of those that are searched for a few rows: the kernel maps 64 KiB around each place."""
    rng = np.random.default_rng(0)
    for number in range(50):
        with RunWriter(tmp_path, ENTRY, 1 << 40) as writer:
            writer.append(ENTRY.sort(rows_of_hashes(rng.integers(0, 2**63, 40_000).astype(np.uint64))))
        (tmp_path / "entry-000.arrow").rename(tmp_path / f"{number}.arrow")
    runs, num_rows, peak = Runs(ENTRY, sorted(tmp_path.glob("*.arrow"))), 0, 0
    list(Runs(ENTRY, runs.files[:1]).pieces(1 << 20, shared=shared))  # kernels are compiled, libraries mapped
    before = mapped_bytes()
    for rows in runs.pieces(8 << 20, shared=shared):
        num_rows += len(rows)
        peak = max(peak, mapped_bytes() - before)
    assert shared or num_rows == 2_000_000
    assert peak < 4 << 20, f"{peak >> 20} of {sum(file.stat().st_size for file in runs.files) >> 20} MiB"


def rows_of_hashes(hashes: Array) -> Array:
    rows = ENTRY.empty(len(hashes))
    rows["hash"] = hashes
    return rows
