"""Which sample comes at which position of training: a pure function of (seed, mixture, position).

    position g -> stage of the mixture     the last one that starts at or before g
               -> block b, slot i          blocks of B positions, counted from the stage's start
               -> source s                 by exact integer counts: after b blocks, source s has had its ideal share
                                           of b * B positions, rounded; a permutation keyed by b mixes the slots
               -> rank r                   how many samples of s came before
               -> epoch r div n, sample Feistel(r mod n; seed, s, epoch)

Nothing is stored but {seed, stages, position}: under 1 KB for any corpus, free of world size, workers and batch size.
Ranks of a source run in the order of positions: its first n appearances are its n samples, each once. A changed
mixture is a further stage, from any position; ranks go on counting, so that nothing repeats and nothing is skipped.
Everything is vectorised over arrays of positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pipeline.core.errors import UserError
from pipeline.core.seeds import derive

QUOTA_BITS = 20
QUOTAS = 1 << QUOTA_BITS  # weights are resolved to this many parts: 1e-6; positions up to 2**53 stay exact in int64
MIN_BLOCK = 1024
MIN_SHARE = 2  # a source needs this many slots of a block: else rounding could hand it a negative count
ROUNDS = 6
KEEP_PATTERNS = 8  # blocks whose slots are worked out, oldest first out

Array = np.ndarray[Any, Any]
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ROUND_CONSTANTS = np.arange(1, ROUNDS + 1, dtype=np.uint64) * GOLDEN


def mix(x: Array) -> Array:
    """The finaliser of splitmix64: a bijection of 64-bit words that scatters every bit."""
    x = x + GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def feistel(index: Array, n: int, key: Array) -> Array:
    """A permutation of 0..n-1 for every 64-bit `key` (an array as long as `index`), evaluated at `index`.

    A balanced Feistel network permutes the next power of four; whatever leaves the range walks on along its cycle
    until it is back (fewer than four turns on average).
    """
    bits = max(2, (n - 1).bit_length())
    half = np.uint64((bits + 1) // 2)
    mask = (np.uint64(1) << half) - np.uint64(1)
    walking = np.arange(len(index))
    result = index.astype(np.uint64)
    keys = [mix(key ^ constant) for constant in ROUND_CONSTANTS]
    while walking.size:
        left, right = result[walking] >> half, result[walking] & mask
        for round_key in keys:
            left, right = right, left ^ (mix(right ^ round_key[walking]) & mask)
        result[walking] = (left << half) | right
        walking = walking[result[walking] >= np.uint64(n)]
    return result.astype(np.int64)


@dataclass(frozen=True)
class Stage:
    """From position `start` on, sources appear by `weights` (they sum to one)."""

    start: int
    weights: Mapping[str, float]


class Places(NamedTuple):
    """Where positions lead, one entry per position: index into `Order.sources`, epoch, sample of that source."""

    source: Array
    epoch: Array
    sample: Array


class Order:
    """The order of a split's samples; `num_samples` per source (names are sorted)."""

    def __init__(self, num_samples: Mapping[str, int], seed: int, stages: Sequence[Stage]) -> None:
        self.sources = tuple(sorted(num_samples))
        self.seed = seed
        self._num_samples = [num_samples[name] for name in self.sources]
        self._source_keys = np.array([derive(seed, "order", name) for name in self.sources], dtype=np.uint64)
        self._block_key = np.uint64(derive(seed, "blocks"))
        self._mixtures: list[_Mixture] = []
        for stage in stages:
            self._append(stage)

    @property
    def stages(self) -> list[Stage]:
        """As they are applied: weights in whole parts of QUOTAS, so that they read back to the same parts."""
        return [
            Stage(m.start, {name: int(part) / QUOTAS for name, part in zip(self.sources, m.parts, strict=True) if part})
            for m in self._mixtures
        ]

    def state(self, position: int) -> dict[str, Any]:
        """All that a checkpoint needs to go on from `position`."""
        stages = [{"start": stage.start, "weights": dict(stage.weights)} for stage in self.stages]
        return {"seed": self.seed, "stages": stages, "position": position}

    def with_mixture(self, position: int, weights: Mapping[str, float]) -> "Order":
        """The same order before `position`, `weights` from there on."""
        num_samples = dict(zip(self.sources, self._num_samples, strict=True))
        return Order(num_samples, self.seed, [*self.stages, Stage(position, weights)])

    def locate(self, positions: Array) -> Places:
        positions = np.asarray(positions, dtype=np.int64)
        source, rank = np.empty_like(positions), np.empty_like(positions)
        starts = [mixture.start for mixture in self._mixtures]
        stage_of = np.searchsorted(starts, positions, side="right") - 1
        for number in np.unique(stage_of):
            here = stage_of == number
            source[here], rank[here] = self._mixtures[number].locate(positions[here])
        epoch, sample = np.empty_like(positions), np.empty_like(positions)
        for number in np.unique(source):
            here = source == number
            epoch[here], within = np.divmod(rank[here], self._num_samples[number])
            key = mix(self._source_keys[number] ^ mix(epoch[here].astype(np.uint64)))
            sample[here] = feistel(within, self._num_samples[number], key)
        return Places(source, epoch, sample)

    def _append(self, stage: Stage) -> None:
        ranks = np.zeros(len(self.sources), dtype=np.int64)
        if self._mixtures:
            assert stage.start >= self._mixtures[-1].start, "stages are in order"
            ranks = self._mixtures[-1].ranks_before(stage.start)
        self._mixtures.append(_Mixture(stage.start, quotas(self.sources, stage.weights), ranks, self._block_key))


class _Mixture:
    """One stage. Its sources lie side by side on a line of QUOTAS parts; the ends of their intervals, scaled to b * B
    positions and rounded down, share out the positions of the first b blocks."""

    def __init__(self, start: int, parts: Array, first_ranks: Array, key: np.uint64) -> None:
        self.start, self._first_ranks, self._key = start, first_ranks, key
        self._cumulative = np.concatenate([[0], np.cumsum(parts)])  # [sources + 1]
        self.block = MIN_BLOCK
        while self.block * int(parts[parts > 0].min()) < MIN_SHARE * QUOTAS:
            self.block *= 2
        self._shift = QUOTA_BITS - self.block.bit_length() + 1
        self._patterns: dict[int, tuple[Array, Array]] = {}

    @property
    def parts(self) -> Array:
        return np.diff(self._cumulative)

    def locate(self, positions: Array) -> tuple[Array, Array]:
        """(source, rank) of positions in this stage."""
        blocks, slots = np.divmod(positions - self.start, self.block)
        source, rank = np.empty_like(positions), np.empty_like(positions)
        for block in np.unique(blocks).tolist():
            here = blocks == block
            sources, ranks = self._pattern(block)
            source[here] = sources[slots[here]]
            rank[here] = ranks[slots[here]] + np.diff(self._cut(block))[source[here]]
        return source, rank + self._first_ranks[source]

    def ranks_before(self, position: int) -> Array:
        """[sources]: samples of each source before `position`."""
        block, slot = divmod(position - self.start, self.block)
        inside = np.bincount(self._pattern(block)[0][:slot], minlength=len(self._first_ranks))
        return self._first_ranks + np.diff(self._cut(block)) + inside

    def _cut(self, block: int) -> Array:
        """[sources + 1]: how the positions before `block` are shared out."""
        return (block * self._cumulative) >> self._shift

    def _pattern(self, block: int) -> tuple[Array, Array]:
        """(source of each slot, how many of that source come before it in the block)."""
        if block not in self._patterns:
            ends = self._cut(block + 1) - self._cut(block)
            # Keyed by the block's position in the run: stages that follow each other share no permutation.
            place = np.full(self.block, self.start + block * self.block, dtype=np.uint64)
            slots = feistel(np.arange(self.block), self.block, mix(self._key ^ mix(place)))
            sources = np.searchsorted(ends[1:], slots, side="right").astype(np.int32)
            ranks = np.empty(self.block, dtype=np.int32)
            in_order = np.argsort(sources, kind="stable")
            ranks[in_order] = np.arange(self.block) - ends[sources[in_order]]
            if len(self._patterns) >= KEEP_PATTERNS:
                self._patterns.pop(next(iter(self._patterns)))
            self._patterns[block] = sources, ranks
        return self._patterns[block]


def quotas(sources: Sequence[str], weights: Mapping[str, float]) -> Array:
    """Whole parts of QUOTAS per source, by largest remainder; raises UserError on weights that make no mixture."""
    unknown = sorted(set(weights) - set(sources))
    if unknown:
        raise UserError(f"mixture names source '{unknown[0]}', but the data holds {', '.join(sources) or 'none'}")
    given = np.array([weights.get(name, 0.0) for name in sources], dtype=np.float64)
    total = float(given.sum())
    if not np.isfinite(total) or (given < 0).any() or abs(total - 1) > 1e-3:
        shown = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
        raise UserError(f"mixture weights must be 0 or more and sum to 1, not to {total:g}: {shown}")
    ideal = given / total * QUOTAS
    parts = np.floor(ideal).astype(np.int64)
    largest_first = np.argsort(parts - ideal, kind="stable")
    parts[largest_first[: QUOTAS - int(parts.sum())]] += 1
    for name, weight, part in zip(sources, given, parts, strict=True):
        if weight > 0 and part < MIN_SHARE:
            raise UserError(
                f"mixture weight {weight:g} of '{name}' is too small; the least is {MIN_SHARE / QUOTAS:.1e}"
            )
    return parts


def proportional(num_samples: Mapping[str, int]) -> dict[str, float]:
    """Weights by size, each at least the smallest a mixture can hold."""
    total = sum(num_samples.values())
    raised = {name: max(number / total, 4 * MIN_SHARE / QUOTAS) for name, number in num_samples.items()}
    return {name: weight / sum(raised.values()) for name, weight in raised.items()}
