"""A function over input splits, on Ray: skip what is committed, run the rest, retry a bounded number of times.

    with Workers(num_workers=8, log=out) as workers:
        receipts = workers.map(clean_split, splits, folder, label="clean")

What a worker does with a split is in splits.py, which split comes next in schedule.py, what is told in stage_log.py.
Here is Ray: a pool that starts when the first split has work to do; on a cluster the one in RAY_ADDRESS. `map` returns
when every split is committed, and raises otherwise. A Ray of our own whose node dies is started again; a cluster whose
head is gone ends the process (exit 76).
"""

import logging
import os
import pickle
import secrets
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

from pipeline.core.errors import PenstockError, StoppedOnPurpose, UnhealthyNode, UserError
from pipeline.core.schedule import Schedule
from pipeline.core.splits import (
    RECEIPTS,
    Counts,
    Failure,
    Receipt,
    Split,
    SplitFunction,
    attempt,
    read_receipt,
    remove_leftovers,
)
from pipeline.core.stage_log import StageLog

__all__ = ["Counts", "Receipt", "Split", "SplitsFailed", "Workers"]

logger = logging.getLogger(__name__)

WORKER_MEMORY = 1 << 30  # bytes; what stages promise to stay below, whatever the input's size
SURVEY_EVERY_S = 5.0  # which nodes are alive
HEAD_SILENT_S = 10.0
NO_NODE_S = 60.0
STOP_S = 10.0  # for workers to end
STOPPED = "stopped as told; the same command goes on from what is committed"
NODE_DIED = Failure("the node died", retry=True, died=True)
NODE_GONE = Failure("the node was gone", begun=False)
HOME_DIED = Failure("the node of the driver died", retry=True, died=True)
OBJECT_STORE = 200 << 20  # bytes; receipts are small


class SplitsFailed(PenstockError):
    """Some splits failed for good; the rest is committed, so that a rerun tries only these."""


class Workers:
    """A pool of Ray workers, one CPU and `memory` bytes each; use as a context manager.

    num_workers: at most so many at once; default: as many as this process may use, on a cluster as many as fit.
    log: the folder for progress.json and events/, which must exist.
    """

    def __init__(self, num_workers: int | None = None, memory: int = WORKER_MEMORY, log: Path | None = None) -> None:
        self.num_workers = num_workers
        self.memory = memory
        self.log = log
        self._attempt: Any = None  # the remote function; set when Ray is up
        self._is_own = False  # of this process: started here, and not a cluster
        self._closing = threading.Event()
        self._handler_before: Any = None  # of SIGTERM
        self._mapping = self._stopped = False

    def __enter__(self) -> "Workers":
        if threading.current_thread() is threading.main_thread():
            self._handler_before = signal.signal(signal.SIGTERM, self._stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._shut_down()
        if self._handler_before is not None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN if self._stopped else self._handler_before)

    def map(self, function: SplitFunction, splits: Sequence[Split], out: Path, label: str) -> list[Receipt]:
        """Receipts in the order of `splits`; raises UserError or SplitsFailed when some could not be done."""
        (out / RECEIPTS).mkdir(parents=True, exist_ok=True)
        done = {split.id: receipt for split in splits if (receipt := read_receipt(out, split.id))}
        try:
            if todo := [split for split in splits if split.id not in done]:
                self._mapping = True
                self._start()
                with StageLog(label, todo, len(done), self.log) as log:
                    done |= self._run(function, todo, out, log)
        finally:
            self._mapping = False
            remove_leftovers(out)  # with nothing to do too: of a run that was killed when all was committed
        if self._stopped:  # as the last split was committed
            raise StoppedOnPurpose(STOPPED)
        return [done[split.id] for split in splits]

    def _run(self, function: SplitFunction, todo: list[Split], out: Path, log: StageLog) -> dict[str, Receipt]:
        schedule, cluster = Schedule(todo), _Cluster(self._attempt, self.memory, self.num_workers)
        done: dict[str, Receipt] = {}
        while not schedule.is_done():
            while cluster.has_room() and (split := schedule.next(time.monotonic())):
                log.started(split, schedule.attempts[split.id])
                cluster.start(split, pickle.dumps((function, split.task)), out)
            for split, node, outcome in cluster.ended():
                if isinstance(outcome, Receipt):
                    schedule.committed(split)
                    done[split.id] = outcome
                    log.committed(split, outcome, node)
                else:
                    again = schedule.failed(split, outcome, time.monotonic())
                    log.failed(split, outcome, node, again)
                    if again:
                        logger.warning("%s: attempt %d failed: %s", split.id, schedule.attempts[split.id],
                                       outcome.message)  # fmt: skip
            log.tick()
            if self._stopped:
                cluster.stop()
                raise StoppedOnPurpose(STOPPED)
            if cluster.is_cut_off:
                if not self._is_own:
                    raise UnhealthyNode(
                        "the Ray node of the driver died; the same command goes on from what is committed"
                    )
                logger.warning("the local Ray died and is started again")
                self._shut_down()
                self._start()
                cluster = _Cluster(self._attempt, self.memory, self.num_workers)
        if schedule.given_up:
            raise _error(schedule.given_up)
        return done

    def _start(self) -> None:
        """Ray as found in RAY_ADDRESS, else one of our own on this machine, without dashboard and usage reports."""
        if self._attempt is not None:
            return
        self._is_own = not os.environ.get("RAY_ADDRESS")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # else whoever reaches the ports may run code
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        try:
            if not self._is_own:
                ray.init(log_to_driver=False, logging_level=logging.ERROR)
            else:
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else it goes to the home folder
                cpus = self.num_workers or len(os.sched_getaffinity(0))
                # "local": else Ray joins whatever cluster it finds on this machine
                ray.init("local", num_cpus=cpus, include_dashboard=False, log_to_driver=False,
                         logging_level=logging.CRITICAL, object_store_memory=OBJECT_STORE)  # fmt: skip
        except SystemExit as ended:  # SIGTERM while Ray had put its own handler in the place of ours
            self._listen()  # first: schedulers repeat themselves
            self._stopped = True
            raise StoppedOnPurpose(STOPPED) from ended
        except Exception as error:  # Ray raises that very class when one of its processes dies
            first_line = str(error).partition("\n")[0]
            raise UnhealthyNode(f"Ray did not start: {type(error).__name__}: {first_line}") from error
        self._listen()
        self._closing = threading.Event()
        watch = [ray.get_runtime_context().gcs_address, self._closing]
        threading.Thread(target=_watch, args=watch, daemon=True).start()
        self._attempt = ray.remote(num_cpus=1, memory=self.memory, max_retries=0)(attempt)

    def _shut_down(self) -> None:
        if self._attempt is not None:
            import ray

            self._closing.set()
            ray.shutdown()
            self._attempt = None

    def _listen(self) -> None:
        if self._handler_before is not None:
            signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """On SIGTERM. What a handler raises while Ray waits becomes Ray's SystemError: there the loop asks.

        While Ray shuts down, about a second, SIGTERM has its default action: Ray's C++ code sets it.
        """
        told_before, self._stopped = self._stopped, True
        if not (self._mapping or told_before):
            raise StoppedOnPurpose(STOPPED)


def _watch(head: str, closing: threading.Event) -> None:
    """Ends the process when the head is gone: any call into Ray may wait for it for ever, and a minute later Ray
    itself ends the process, with a code that says it was a bug."""
    host, _, port = head.rpartition(":")
    heard = time.monotonic()
    while not closing.wait(HEAD_SILENT_S / 5):
        try:
            socket.create_connection((host, int(port)), timeout=2).close()
            heard = time.monotonic()
        except OSError as error:
            if time.monotonic() - heard > HEAD_SILENT_S:
                logger.error("penstock: the head of Ray at %s does not answer (%s); the same command goes on from "
                                 "what is committed", head, error)  # fmt: skip
                os._exit(UnhealthyNode.exit_code)


class _Node(NamedTuple):
    id: str  # Ray's
    name: str  # of the host


class _Cluster:
    """Attempts on the nodes that are alive, which are asked for every few seconds: Ray says nothing when none has room.

    Each is sent to a node of our choice, so that it is known what is lost with a node: Ray calls one without power dead
    after a minute, but waits for answers from there for five.
    """

    def __init__(self, attempt: Any, memory: int, num_workers: int | None) -> None:
        import ray

        self.is_cut_off = False  # from all nodes: that of this process died
        self._home = ray.get_runtime_context().get_node_id()
        self._attempt, self._memory, self._num_workers = attempt, memory, num_workers
        self._running: dict[Any, tuple[Split, _Node]] = {}
        self._dead: set[_Node] = set()  # also where Ray has not noticed yet
        self._surveyed = self._had_room = time.monotonic()
        nodes = _alive()
        self._slots = self._fit(nodes)
        if not self._slots:
            largest = max(nodes.values(), key=lambda node: (node.get("memory", 0), node.get("CPU", 0)), default={})
            raise UserError(
                f"a worker needs 1 CPU and {memory / 2**30:.1f} GiB; the largest of {len(nodes)} Ray nodes has "
                f"{largest.get('CPU', 0):g} CPUs and {largest.get('memory', 0) / 2**30:.1f} GiB"
            )

    def has_room(self) -> bool:
        """Raises UnhealthyNode when no node has had any for NO_NODE_S."""
        self._survey()
        num_slots = sum(self._slots.values())
        return len(self._running) < min(num_slots, self._num_workers or num_slots)

    def start(self, split: Split, work: bytes, out: Path) -> None:
        """`work` is not left to Ray to pickle: see splits.attempt."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        room = Counter(self._slots)
        room.subtract(node for _, node in self._running.values() if node in room)
        node = max(room, key=lambda node: room[node])
        there = NodeAffinitySchedulingStrategy(node.id, soft=False)
        reference = self._attempt.options(scheduling_strategy=there).remote(work, split.id, str(out))
        self._running[reference] = split, node

    def ended(self) -> list[tuple[Split, str, Receipt | Failure]]:
        """Attempts that ended, waited for a moment: of what, on which node, how."""
        import ray

        if not self._running:
            time.sleep(0.05)  # all that is left rests
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=0.2)
        outcomes = [(*self._running.pop(reference), _outcome(reference)) for reference in ready]
        for _, node, outcome in outcomes:
            if outcome in (NODE_DIED, NODE_GONE):
                self._dead.add(node)
                self._slots.pop(node, None)
            self.is_cut_off |= outcome is HOME_DIED or self._home in {node.id for node in self._dead}
        if self.is_cut_off:
            self._slots.clear()
        lost = [reference for reference, (_, node) in self._running.items() if node not in self._slots]
        outcomes += [(*self._running.pop(reference), NODE_DIED) for reference in lost]
        return [(split, node.name, outcome) for split, node, outcome in outcomes]

    def stop(self) -> None:
        """All that run: else they write on."""
        import ray

        for reference in self._running:
            ray.cancel(reference, force=True)
        ray.wait(list(self._running), num_returns=max(1, len(self._running)), timeout=STOP_S)

    def _survey(self) -> None:
        now = time.monotonic()
        if now - self._surveyed > SURVEY_EVERY_S:
            alive = _alive()
            self._surveyed, self._slots = now, self._fit(alive)
            self.is_cut_off |= self._home not in {node.id for node in alive}
            if self._slots:
                self._had_room = now
            elif now - self._had_room > NO_NODE_S:
                raise UnhealthyNode("no Ray node is left that has room for a worker; the same command goes on from "
                                    "what is committed")  # fmt: skip

    def _fit(self, nodes: dict[_Node, dict[str, float]]) -> dict[_Node, int]:
        fit = {node: int(min(has.get("CPU", 0), has.get("memory", 0) // self._memory)) for node, has in nodes.items()}
        return {node: number for node, number in fit.items() if number and node not in self._dead}


def _alive() -> dict[_Node, dict[str, float]]:
    """Nodes and what they have."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    return {_Node(node["NodeID"], node["NodeManagerHostname"]): node["Resources"] for node in alive}


def _outcome(reference: Any) -> Receipt | Failure:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # not ours: `attempt` returns its failures
        return Failure(str(error.cause or error).partition("\n")[0], str(error))
    except ray.exceptions.NodeDiedError:
        return NODE_DIED
    except ray.exceptions.TaskUnschedulableError:
        return NODE_GONE
    except ray.exceptions.LocalRayletDiedError:
        return HOME_DIED
    except ray.exceptions.RayError as error:  # killed, out of memory
        return Failure(f"{type(error).__name__}: the worker died", str(error), retry=True, died=True)


def _error(failed: dict[str, Failure]) -> PenstockError:
    mistakes = [failure.message for failure in failed.values() if failure.user_mistake]
    if mistakes:
        return UserError(mistakes[0])
    for split, failure in failed.items():
        logger.error("%s failed:\n%s", split, failure.trace or failure.message)
    first = next(iter(failed.items()))
    return SplitsFailed(f"{len(failed)} splits failed, first {first[0]}: {first[1].message}; the others are committed")
