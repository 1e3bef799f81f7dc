"""kill -9 of a worker and of a raylet: the prepare goes on by itself, on what is left."""

from pathlib import Path

import pytest

from tests.faults.prepare import MOMENTS, Undisturbed, kill_at_a_moment, require_same
from tests.ray_cluster import RayCluster

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.mark.parametrize("seed", MOMENTS)
@pytest.mark.parametrize("victim", ["worker", "raylet"])
def test_the_prepare_ends_as_if_nothing_had_been(
    victim: str, seed: int, real_data: Path, undisturbed: Undisturbed, cluster: RayCluster,
    hits: dict[str, list[str]], tmp_path: Path,
) -> None:  # fmt: skip
    out = tmp_path / "data"
    killed = kill_at_a_moment(victim, seed, real_data, undisturbed, cluster, out)
    hits[victim].append(killed.hit)
    assert killed.exit_code == 0, killed.said
    require_same(out, undisturbed, cluster)
