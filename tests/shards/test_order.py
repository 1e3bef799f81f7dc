"""The order: bijections, exact shares, nothing repeated, nothing skipped."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import UserError
from pipeline.shards.order import MIN_BLOCK, QUOTAS, Order, Stage, feistel, proportional


@given(n=st.integers(1, 5000), key=st.integers(0, 2**64 - 1))
@settings(max_examples=150, deadline=None)
def test_feistel_is_a_bijection(n: int, key: int) -> None:
    permuted = feistel(np.arange(n), n, np.full(n, key, dtype=np.uint64))
    assert np.array_equal(np.sort(permuted), np.arange(n))


def test_feistel_of_a_huge_range_is_injective_and_evaluated_point_by_point() -> None:
    n = 2_500_000_000_003
    index = np.arange(10**12, 10**12 + 20_000)
    key = np.full(len(index), 7, dtype=np.uint64)
    permuted = feistel(index, n, key)
    assert len(np.unique(permuted)) == len(index)
    assert permuted.min() >= 0
    assert permuted.max() < n
    assert np.array_equal(feistel(index[123:124], n, key[:1]), permuted[123:124])
    assert abs(permuted.mean() / n - 0.5) < 0.01  # spread over the whole range
    assert abs(np.corrcoef(index, permuted)[0, 1]) < 0.03


def test_keys_give_different_permutations() -> None:
    orders = {feistel(np.arange(100), 100, np.full(100, key, dtype=np.uint64)).tobytes() for key in range(50)}
    assert len(orders) == 50


def weights_of(parts: list[int]) -> dict[str, float]:
    return {f"source{number}": part / sum(parts) for number, part in enumerate(parts)}


@given(parts=st.lists(st.integers(1, 2000), min_size=1, max_size=6), blocks=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_shares_are_exact_after_every_block(parts: list[int], blocks: int) -> None:
    weights = weights_of(parts)
    order = Order(dict.fromkeys(weights, 10**9), 3, [Stage(0, weights)])
    positions = np.arange(blocks * MIN_BLOCK)
    sources = order.locate(positions).source
    applied = np.array([order.stages[0].weights[name] for name in order.sources])
    for end in range(MIN_BLOCK, len(positions) + 1, MIN_BLOCK):
        counts = np.bincount(sources[:end], minlength=len(parts))
        if min(parts) * MIN_BLOCK >= 2 * sum(parts):  # else the order chose larger blocks
            assert np.abs(counts - applied * end).max() < 1


@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=4), parts=st.lists(st.integers(1, 9), min_size=4))
@settings(max_examples=40, deadline=None)
def test_every_sample_once_per_epoch(sizes: list[int], parts: list[int]) -> None:
    num_samples = {f"source{number}": size for number, size in enumerate(sizes)}
    order = Order(num_samples, 11, [Stage(0, weights_of(parts[: len(sizes)]))])
    places = order.locate(np.arange(4 * MIN_BLOCK))
    for number, name in enumerate(order.sources):
        of_source = places.source == number
        seen, n = places.sample[of_source], num_samples[name]
        assert np.array_equal(places.epoch[of_source], np.arange(len(seen)) // n)
        for epoch in range(len(seen) // n):
            assert np.array_equal(np.sort(seen[epoch * n : (epoch + 1) * n]), np.arange(n))


def test_epochs_differ_and_seeds_differ() -> None:
    one, other = (Order({"a": 512}, seed, [Stage(0, {"a": 1.0})]) for seed in (1, 2))
    first, second = np.split(one.locate(np.arange(1024)).sample, 2)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other.locate(np.arange(512)).sample)


def test_any_subset_of_positions_gives_the_same_places() -> None:
    order = Order({"a": 700, "b": 90, "c": 5000}, 5, [Stage(0, {"a": 0.5, "b": 0.3, "c": 0.2})])
    everything = order.locate(np.arange(5000))
    shuffled = np.random.default_rng(0).permutation(5000)[:1000]
    for whole, part in zip(everything, order.locate(shuffled), strict=True):
        assert np.array_equal(whole[shuffled], part)


def test_a_changed_mixture_neither_repeats_nor_skips() -> None:
    sizes = {"a": 10**6, "b": 10**6}
    order = Order(sizes, 5, [Stage(0, {"a": 0.9, "b": 0.1})])
    changed = order.with_mixture(1500, {"a": 0.2, "b": 0.8}).with_mixture(4000, {"a": 0.0, "b": 1.0})
    assert [stage.start for stage in changed.stages] == [0, 1500, 4000]
    before, after = order.locate(np.arange(6000)), changed.locate(np.arange(6000))
    assert np.array_equal(before.sample[:1500], after.sample[:1500])
    assert (after.source[1500:4000] == 1).mean() > 0.78
    assert (after.source[4000:] == 1).all()
    for number, name in enumerate(order.sources):  # the same walk through each source, only sooner or later
        seen = after.sample[after.source == number]
        alone = Order(sizes, 5, [Stage(0, {name: 1.0})]).locate(np.arange(len(seen))).sample
        assert np.array_equal(seen, alone)


def test_state_is_small_and_reads_back_to_the_same_order() -> None:
    weights = {f"source-number-{number}": 1 / 7 for number in range(7)}
    sizes = dict.fromkeys(weights, 12345)
    order = Order(sizes, 2**63 + 5, [Stage(0, weights)])
    text = json.dumps(order.state(10**13))
    assert len(text) < 1024
    state = json.loads(text)
    again = Order(sizes, state["seed"], [Stage(**stage) for stage in state["stages"]])
    positions = np.arange(10**13, 10**13 + 5000)
    for one, other in zip(order.locate(positions), again.locate(positions), strict=True):
        assert np.array_equal(one, other)


def test_a_tiny_source_gets_its_share_of_larger_blocks() -> None:
    sizes = {"large": 10**9, "tiny": 30}
    order = Order(sizes, 1, [Stage(0, proportional(sizes))])
    share = order.stages[0].weights["tiny"]
    assert 2 / QUOTAS <= share < 1e-4
    tiny = order.locate(np.arange(2_000_000)).source == 1
    assert abs(tiny.sum() - share * 2_000_000) <= 8  # within one block


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 0.5, "x": 0.5}, "mixture names source 'x', but the data holds a, b"),
        ({"a": 0.5, "b": 0.6}, "must be 0 or more and sum to 1, not to 1.1: a 0.5, b 0.6"),
        ({"a": 1.5, "b": -0.5}, "must be 0 or more"),
        ({"a": float("nan"), "b": 1.0}, "must be 0 or more"),
        ({"a": 1e-7, "b": 1.0}, "mixture weight 1e-07 of 'a' is too small; the least is 1.9e-06"),
    ],
)
def test_weights_that_make_no_mixture(weights: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Order({"a": 10, "b": 10}, 1, [Stage(0, weights)])
