"""The S-curve: with which probability two documents of a true similarity are linked, before any document is read.

A pair is a candidate when all `rows` entries of a band agree, in one of `bands` bands, and it is linked when, of all
entries, `min_jaccard` agree as well. Entries agree independently, each with the probability J: exact, no simulation.
"""

import math
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.dedup.config import DedupConfig

STEPS = tuple(step / 20 for step in range(6, 20))  # 0.3 .. 0.95


def candidates(jaccard: float, bands: int, rows: int) -> float:
    """Probability that a band is shared: 1 - (1 - J^rows)^bands."""
    return 1 - (1 - jaccard**rows) ** bands


def linked(jaccard: float, bands: int, rows: int, min_jaccard: float) -> float:
    """Probability that a band is shared and at least `min_jaccard` of all entries agree."""
    agree = np.array([math.comb(rows, k) * jaccard**k * (1 - jaccard) ** (rows - k) for k in range(rows + 1)])
    least = math.ceil(min_jaccard * bands * rows - 1e-9)
    torn = np.append(agree[:-1], 0.0)  # the band is not shared
    return float(_power(agree, bands)[least:].sum() - _power(torn, bands)[least:].sum())


def _power(distribution: np.ndarray, times: int) -> np.ndarray:
    """Of the sum of so many."""
    result = np.ones(1)
    for _ in range(times):
        result = np.convolve(result, distribution)
    return result


def table(config: DedupConfig, steps: Sequence[float] = STEPS) -> list[dict[str, float]]:
    bands, rows = config.bands, config.rows
    return [
        {"jaccard": jaccard, "candidate": candidates(jaccard, bands, rows),
         "linked": linked(jaccard, bands, rows, config.min_jaccard)}
        for jaccard in steps
    ]  # fmt: skip


def show(config: DedupConfig) -> None:
    title = f"{config.bands} bands of {config.rows} rows, min_jaccard {config.min_jaccard:g}"
    drawn = Table("Jaccard", "shares a band", "linked", "", title=title, title_justify="left")
    for row in table(config):
        bar = "█" * round(40 * row["linked"])
        drawn.add_row(f"{row['jaccard']:.2f}", f"{row['candidate']:.4f}", f"{row['linked']:.4f}", bar)
    Console().print(drawn)
