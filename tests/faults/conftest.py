"""A Ray of two nodes for the tests of a file, and what a prepare on it writes when nothing is killed."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.prepare import MAX_MISSES, Undisturbed, prepare_undisturbed
from tests.processes import wait_for
from tests.ray_cluster import RayCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(num_nodes=2) as cluster:
        yield cluster
        wait_for(lambda: not cluster.strays(), 120, f"the end of {cluster.strays()}")


@pytest.fixture(scope="module")
def hits() -> Iterator[dict[str, list[str]]]:
    """By victim what was hit at each moment, "" for nothing; the file fails if that was so at too many."""
    hits: dict[str, list[str]] = defaultdict(list)
    yield hits
    for victim, hit in hits.items():
        assert hit.count("") <= MAX_MISSES, f"{victim}: of {len(hit)} moments {hit.count('')} killed nothing that lived"


@pytest.fixture(scope="module")
def undisturbed(real_data: Path, cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return prepare_undisturbed(real_data, cluster, tmp_path_factory.mktemp("undisturbed") / "data")
