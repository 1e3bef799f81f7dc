"""kill -9 of the driver and of Ray's head: the prepare ends, and the same command goes on from what is committed."""

from pathlib import Path

import pytest

from tests.faults.prepare import MOMENTS, Undisturbed, go_on, kill_at_a_moment, require_same
from tests.ray_cluster import RayCluster

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.mark.parametrize("seed", MOMENTS)
def test_the_driver(seed: int, real_data: Path, undisturbed: Undisturbed, cluster: RayCluster,
                    hits: dict[str, list[str]], tmp_path: Path) -> None:  # fmt: skip
    out = tmp_path / "data"
    killed = kill_at_a_moment("driver", seed, real_data, undisturbed, cluster, out)
    hits["driver"].append(killed.hit)
    go_on(real_data, cluster, out)
    require_same(out, undisturbed, cluster)


@pytest.mark.parametrize("seed", MOMENTS)
def test_the_head(seed: int, real_data: Path, undisturbed: Undisturbed, cluster: RayCluster,
                    hits: dict[str, list[str]], tmp_path: Path) -> None:  # fmt: skip
    out = tmp_path / "data"
    killed = kill_at_a_moment("head", seed, real_data, undisturbed, cluster, out)
    hits["head"].append(killed.hit)
    if killed.exit_code != 0:  # else it was done before anyone missed the head
        assert killed.exit_code == 76, killed.said
        assert "the same command goes on from what is committed" in killed.said
        go_on(real_data, cluster, out)
    require_same(out, undisturbed, cluster)
