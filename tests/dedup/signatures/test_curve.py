"""The S-curve against its formula, against what it is made of, and as the command shows it."""

import json
import math

import numpy as np
import pytest

from pipeline.dedup.signatures.curve import candidates, linked
from tests.processes import penstock


def test_known_points() -> None:
    assert candidates(0.8, 14, 8) == pytest.approx(0.9235, abs=1e-4)
    assert candidates(0.5, 14, 8) == pytest.approx(0.0533, abs=1e-4)
    assert candidates((1 / 14) ** (1 / 8), 14, 8) == pytest.approx(1 - (1 - 1 / 14) ** 14)


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (20, 5), (1, 1), (450, 20)])
def test_without_a_bound_every_candidate_is_linked(bands: int, rows: int) -> None:
    for jaccard in (0.0, 0.3, 0.7, 0.95, 1.0):
        assert linked(jaccard, bands, rows, 0) == pytest.approx(candidates(jaccard, bands, rows), abs=1e-9)
        assert linked(jaccard, bands, rows, 1) == pytest.approx(jaccard ** (bands * rows), abs=1e-9)


@pytest.mark.parametrize("min_jaccard", [0.6, 0.7])
def test_linked_pairs_are_as_many_as_drawn_entries_give(min_jaccard: float) -> None:
    rng = np.random.default_rng(0)
    for jaccard in (0.6, 0.7, 0.75, 0.85):
        agree = rng.random((20_000, 14, 8)) < jaccard
        drawn = agree.all(axis=2).any(axis=1) & (agree.mean(axis=(1, 2)) >= min_jaccard)
        expected = linked(jaccard, 14, 8, min_jaccard)
        assert abs(drawn.mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / len(drawn)) + 1e-4


def test_the_command_shows_the_curve_of_its_settings() -> None:
    shown = penstock("dedup", "curve", "--set", "bands=20", "--set", "rows=5", "--set", "min_jaccard=0")
    assert "20 bands of 5 rows, min_jaccard 0" in shown.stdout
    assert "0.80" in shown.stdout
    assert f"{candidates(0.8, 20, 5):.4f}" in shown.stdout
    told = json.loads(penstock("dedup", "curve", "--json").stdout)
    assert {row["jaccard"]: row["linked"] for row in told}[0.8] == pytest.approx(linked(0.8, 14, 8, 0.7))
