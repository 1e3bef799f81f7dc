"""A function over input splits, on Ray: skip what is committed, run the rest, retry a bounded number of times.

    with Workers(num_workers=8) as workers:
        receipts = workers.map(clean_split, splits, folder, label="clean")

A split's function gets `(task, folder)`, writes files into that private folder and returns counts. Then, in the worker:

1. every file is hashed and fsynced,
2. renamed into the stage's folder as "<split id>.<name>",
3. `receipts/<split id>.json` (counts and checksums) is written last: the split is committed.

Two attempts at one split may overlap (a worker outlives its driver by seconds): each has a folder of its own, equal
input gives equal bytes, and the last rename wins. Ray starts when the first split has work to do, not before.
Facts behind the choices: what Ray does when a worker, the driver or the disk fails was measured, not read.
"""

import json
import logging
import os
import pickle
import shutil
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.core.errors import PenstockError, Unreachable, UserError, missing_package, storage_error
from pipeline.core.files import FileEntry, checksum, sync, write_json
from pipeline.core.progress import Bar

logger = logging.getLogger(__name__)

Counts = dict[str, int]
SplitFunction = Callable[[Any, Path], Counts]


@dataclass(frozen=True)
class Split:
    """The unit of work and of retry. Its output depends on `task` alone: not on worker, order, clock or load."""

    id: str  # unique in the stage, safe as a file name; outputs sort by it
    task: Any  # what the function receives: picklable, small
    num_bytes: int = 0  # of input: large splits start first


@dataclass(frozen=True)
class Receipt:
    """Proof that a split is committed."""

    split: str
    counts: Counts
    files: tuple[FileEntry, ...]


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed; plain text, since not every exception survives pickling."""

    message: str
    trace: str
    user_mistake: bool
    retry: bool


class SplitsFailed(PenstockError):
    """Some splits failed for good; the rest is committed, so that a rerun tries only these."""


class Workers:
    """A pool of Ray workers, one CPU each; use as a context manager."""

    def __init__(self, num_workers: int | None = None, tries: int = 3) -> None:
        self.num_workers = num_workers or len(os.sched_getaffinity(0))
        self.tries = tries
        self._attempt: Any = None  # the remote function; set when Ray is up

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._attempt is not None:
            import ray

            ray.shutdown()
            self._attempt = None

    def map(self, function: SplitFunction, splits: Sequence[Split], out: Path, label: str) -> list[Receipt]:
        """Receipts in the order of `splits`; raises UserError or SplitsFailed when some could not be done."""
        (out / "receipts").mkdir(parents=True, exist_ok=True)
        done = {split.id: receipt for split in splits if (receipt := _read_receipt(out, split.id))}
        todo = sorted((s for s in splits if s.id not in done), key=lambda s: (-s.num_bytes, s.id))
        if todo:
            self._start()
            with Bar(label, total=len(splits), unit="splits", done=len(done)) as bar:
                done |= self._run(function, todo, out, bar)
        for leftover in out.glob(".attempt-*"):  # of workers that died; no attempt runs any more
            shutil.rmtree(leftover, ignore_errors=True)
        return [done[split.id] for split in splits]

    def _run(self, function: SplitFunction, todo: list[Split], out: Path, bar: Bar) -> dict[str, Receipt]:
        import ray

        waiting = deque(todo)
        running: dict[Any, Split] = {}
        attempts: dict[str, int] = {}
        done: dict[str, Receipt] = {}
        failed: dict[str, Failure] = {}
        while waiting or running:
            while waiting and len(running) < self.num_workers:
                split = waiting.popleft()
                attempts[split.id] = attempts.get(split.id, 0) + 1
                work = pickle.dumps((function, split.task))  # not left to Ray: see _attempt
                running[self._attempt.remote(work, split.id, str(out))] = split
            ready, _ = ray.wait(list(running), num_returns=1, timeout=5)
            for reference in ready:
                split = running.pop(reference)
                outcome = _outcome(reference)
                if isinstance(outcome, Receipt):
                    done[split.id] = outcome
                    bar.advance()
                elif outcome.retry and attempts[split.id] < self.tries:
                    logger.warning("%s: attempt %d failed: %s", split.id, attempts[split.id], outcome.message)
                    time.sleep(0.1 * 2 ** attempts[split.id])
                    waiting.append(split)
                else:
                    failed[split.id] = outcome
                    if outcome.user_mistake:  # a full disk fails every other split too
                        waiting.clear()
        if failed:
            raise _error(failed)
        return done

    def _start(self) -> None:
        """Ray as found in RAY_ADDRESS, else one of our own on this machine, without dashboard and usage reports."""
        if self._attempt is not None:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # else whoever reaches the ports may run code
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        before = os.umask(0o077)  # Ray writes its token to the home folder
        try:
            if os.environ.get("RAY_ADDRESS"):
                ray.init(log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(num_cpus=self.num_workers, include_dashboard=False, log_to_driver=False,
                         logging_level=logging.CRITICAL, object_store_memory=200 << 20)  # fmt: skip
        finally:
            os.umask(before)
        self._attempt = ray.remote(num_cpus=1, max_retries=0)(_attempt)


def _outcome(reference: Any) -> Receipt | Failure:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # not ours: our function returns its failures
        return Failure(str(error.cause or error).splitlines()[0], str(error), user_mistake=False, retry=False)
    except ray.exceptions.RayError as error:  # killed, out of memory, its node gone
        return Failure(f"{type(error).__name__}: the worker died", str(error), user_mistake=False, retry=True)


def _attempt(work: bytes, split: str, out: str) -> Receipt | Failure:
    """Runs in the worker; `work` is unpickled here, as that may need a library which is not there."""
    private = Path(out) / f".attempt-{split}-{uuid.uuid4().hex[:8]}"
    try:
        private.mkdir(parents=True)
        function, task = pickle.loads(work)
        counts = function(task, private)
        return _commit(private, Path(out), split, counts)
    except UserError as error:
        return Failure(str(error), "", user_mistake=True, retry=isinstance(error, Unreachable))
    except ImportError as error:
        missing = missing_package(error, f"split {split}")
        shown = str(missing or f"{type(error).__name__}: {error}")
        # not there for this split, not there for any: the user's mistake, so that no other one is begun
        return Failure(shown, traceback.format_exc(), user_mistake=missing is not None, retry=False)
    except OSError as error:
        mistake = storage_error(error)
        shown = str(mistake or f"{type(error).__name__}: {error}")
        return Failure(shown, traceback.format_exc(), user_mistake=mistake is not None, retry=mistake is None)
    except Exception as error:  # noqa: BLE001  (text crosses the process boundary, exceptions may not)
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc(), user_mistake=False, retry=False)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _commit(private: Path, out: Path, split: str, counts: Counts) -> Receipt:
    files = []
    for path in sorted(private.iterdir()):
        name = f"{split}.{path.name}"
        files.append(checksum(path, name))
        sync(path)
        os.replace(path, out / name)
    sync(out)
    receipt = Receipt(split, counts, tuple(files))
    write_json(out / "receipts" / f"{split}.json", {"split": split, "counts": counts, "files": files})
    return receipt


def _read_receipt(out: Path, split: str) -> Receipt | None:
    """None if the split is not committed, or if a file of it is gone or was cut short: then it is done again."""
    try:
        body = json.loads((out / "receipts" / f"{split}.json").read_bytes())
        files = tuple(FileEntry(*entry) for entry in body["files"])
        whole = all((out / entry.name).stat().st_size == entry.num_bytes for entry in files)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return Receipt(body["split"], body["counts"], files) if whole else None


def _error(failed: dict[str, Failure]) -> PenstockError:
    mistakes = [failure.message for failure in failed.values() if failure.user_mistake]
    if mistakes:
        return UserError(mistakes[0])
    for split, failure in failed.items():
        logger.error("%s failed:\n%s", split, failure.trace or failure.message)
    first = next(iter(failed.items()))
    return SplitsFailed(f"{len(failed)} splits failed, first {first[0]}: {first[1].message}")
