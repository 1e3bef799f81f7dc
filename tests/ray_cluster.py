"""A real Ray of several nodes on this machine, whose processes can be killed."""

import os
import random
import secrets
import uuid
from types import TracebackType
from typing import Any

from tests.processes import descendants, kill, title, with_environment

MARK = "PENSTOCK_TEST_CLUSTER"  # in the environment of all its processes
WORKERS = ("ray::attempt", "ray::IDLE")
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


class RayCluster:
    """A head without CPUs, and nodes of one CPU each."""

    def __init__(self, num_nodes: int) -> None:
        self.num_nodes = num_nodes
        self._mark = uuid.uuid4().hex

    def __enter__(self) -> "RayCluster":
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._cluster.shutdown()

    @property
    def environment(self) -> dict[str, str]:
        """Of a driver that is to use it."""
        return {"RAY_ADDRESS": self._cluster.address, "RAY_AUTH_MODE": "token"}

    def kill(self, victim: str, rng: random.Random) -> str:
        """`worker`: one that has a split, if there is one; `raylet`: of a node; `head`: all processes of the head.

        Returns the title of what it hit, "" for nothing that lives.
        """
        if victim == "worker":
            workers = workers_below(*self._raylets())
            return kill(rng.choice(workers)) if workers else ""
        if victim == "raylet":
            return kill(rng.choice(self._raylets()))
        return "".join([kill(pid) for pid in _pids(self._cluster.head_node)])

    def mend(self) -> None:
        """All nodes are there again."""
        if self._cluster.head_node.all_processes["gcs_server"][0].process.poll() is not None:
            self._cluster.shutdown()
            self._start()
            return
        for node in list(self._cluster.worker_nodes):
            if node.all_processes["raylet"][0].process.poll() is not None:
                self._cluster.remove_node(node, allow_graceful=False)
                self._cluster.add_node(num_cpus=1)

    def strays(self) -> list[str]:
        """Titles of processes of this cluster, or of an earlier start of it, that no living node has."""
        own = {pid for node in (self._cluster.head_node, *self._cluster.worker_nodes) for pid in _pids(node)}
        own |= {pid for parent in own for pid in descendants(parent)} | {os.getpid()}
        return [title(pid) for pid in with_environment(f"{MARK}={self._mark}") if pid not in own and title(pid)]

    def orphans(self) -> list[str]:
        """The strays among the workers and raylets. Ray's agents of a killed node end by themselves, a minute later."""
        return [stray for stray in self.strays() if not stray.startswith(AGENTS)]

    def _start(self) -> None:
        os.environ["RAY_AUTH_MODE"] = "token"
        # Ray reads it once a process: that of a local Ray, which a later test in this process starts, must be the same
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ[MARK] = self._mark
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(self.num_nodes):
            self._cluster.add_node(num_cpus=1)
        del os.environ[MARK]

    def _raylets(self) -> list[int]:
        return [node.all_processes["raylet"][0].process.pid for node in self._cluster.worker_nodes]


def workers_below(*pids: int) -> list[int]:
    """Workers that have a split, else all. Not agents, whose titles begin alike: a raylet dies with its own."""
    titles = {worker: title(worker) for pid in pids for worker in descendants(pid)}
    busy, idle = ([pid for pid, name in titles.items() if name.startswith(kind)] for kind in WORKERS)
    return busy or idle


def _pids(node: Any) -> list[int]:
    return [process.process.pid for kind in node.all_processes.values() for process in kind]
