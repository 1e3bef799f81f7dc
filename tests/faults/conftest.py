"""A Ray of two nodes for the tests of a file, and what a prepare on it writes when nothing is killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.prepare import Undisturbed, prepare_undisturbed
from tests.processes import wait_for
from tests.ray_cluster import RayCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(num_nodes=2) as cluster:
        yield cluster
        wait_for(lambda: not cluster.strays(), 120, f"the end of {cluster.strays()}")


@pytest.fixture(scope="module")
def undisturbed(real_data: Path, cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return prepare_undisturbed(real_data, cluster, tmp_path_factory.mktemp("undisturbed") / "data")
