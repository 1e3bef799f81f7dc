"""A split of a stage, and what a worker promises: its files appear in the stage's folder whole, receipt last, or not.

A split's function gets `(task, folder)`, writes files into that private folder and returns counts. Then

1. every file is hashed and fsynced,
2. renamed into the stage's folder as "<split id>.<name>",
3. `receipts/<split id>.json` (counts and checksums) is written last: the split is committed.

In the work folder of a URL (mirror.py) files and receipt are uploaded before 3, and a split whose receipt is there is
fetched instead of made.

Two attempts at one split may overlap (a node that is cut off works on while the split is tried again): each has a
folder of its own, equal input gives equal bytes, and the last rename wins.
"""

import ctypes
import json
import os
import pickle
import shutil
import signal
import socket
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import ArtifactError, Unreachable, UserError, missing_package, storage_error
from pipeline.core.files import RECEIPTS, FileEntry, checksum, sync, write_json
from pipeline.core.mirror import Mirror, fetch

Counts = dict[str, int]
SplitFunction = Callable[[Any, Path], Counts]
PR_SET_PDEATHSIG = 1  # of prctl(2)
BAD_RECEIPT = (ValueError, TypeError, KeyError, AttributeError)


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
    trace: str = ""
    user_mistake: bool = False
    retry: bool = False
    died: bool = False  # the worker: killed, crashed, out of memory, or its node was lost
    begun: bool = True  # else it was still on its way to a node that is gone


def attempt(work: bytes, split: str, out: str) -> Receipt | Failure:
    """Runs in the worker. `work` is unpickled here, as that may need a library which is not there."""
    private = Path(out) / f".attempt-{split}-{uuid.uuid4().hex[:8]}"
    _die_with_parent()
    try:
        _make(private)
        mirror = Mirror.of(Path(out))
        counts = _fetch(mirror, split, Path(out), private) if mirror else None
        if counts is not None:
            return _commit(private, Path(out), split, counts)
        function, task = pickle.loads(work)
        return _commit(private, Path(out), split, function(task, private), mirror)
    except UserError as error:
        return Failure(str(error), user_mistake=True, retry=isinstance(error, Unreachable))
    except ImportError as error:
        missing = missing_package(error, f"split {split}")
        shown = str(missing or f"{type(error).__name__}: {error}")
        # not there for this split, not there for any: the user's mistake, so that no other one is begun
        return Failure(shown, traceback.format_exc(), user_mistake=missing is not None)
    except OSError as error:
        mistake = storage_error(error, Path(out))
        shown = str(mistake or f"{type(error).__name__}: {error}")
        retry = mistake is None or isinstance(mistake, Unreachable)
        return Failure(shown, traceback.format_exc(), user_mistake=mistake is not None, retry=retry)
    except Exception as error:  # noqa: BLE001  (text crosses the process boundary, exceptions may not)
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _die_with_parent() -> None:
    """When the raylet is killed, so is its worker: else it would work on, unseen, for a minute and longer."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _make(private: Path) -> None:
    """Not with its parents: the driver made them, and a node that does not see them would write to its own disk."""
    try:
        private.mkdir()
    except FileNotFoundError:
        raise UserError(
            f"node {socket.gethostname()} does not see {private.parent}: "
            f"the output folder must lie on a file system that all nodes of the cluster share"
        ) from None


def _fetch(mirror: Mirror, split: str, out: Path, private: Path) -> Counts | None:
    """The counts of a split that is committed behind the URL, its files in `private`; None if it is not."""
    name = mirror.name(_receipt_path(out, split))
    body = mirror.far.read(name)
    if body is None:
        return None
    try:
        receipt = _parse(body, split)
    except BAD_RECEIPT as error:
        raise ArtifactError(f"{mirror.far.locate(name)} is damaged ({error}); remove it and rerun") from None
    for entry in receipt.files:
        fetch(mirror.far, mirror.name(out), entry, private)
        (private / entry.name).rename(private / entry.name.removeprefix(f"{split}."))
    return receipt.counts


def _commit(private: Path, out: Path, split: str, counts: Counts, mirror: Mirror | None = None) -> Receipt:
    files = []
    for path in sorted(private.iterdir()):
        name = f"{split}.{path.name}"
        files.append(checksum(path, name))
        sync(path)
        os.replace(path, out / name)
    sync(out)
    receipt = Receipt(split, counts, tuple(files))
    written, final = private / f"{split}.json", _receipt_path(out, split)
    write_json(written, {"split": split, "counts": counts, "files": files})
    if mirror:
        for entry in files:
            mirror.create(out / entry.name)
        mirror.create(written, final)
    os.replace(written, final)
    sync(final.parent)
    return receipt


def read_receipt(out: Path, split: str) -> Receipt | None:
    """None if the split is not committed, or if a file of it is gone or was cut short: then it is done again."""
    try:
        receipt = _parse(_receipt_path(out, split).read_bytes(), split)
        whole = all((out / entry.name).stat().st_size == entry.num_bytes for entry in receipt.files)
    except (FileNotFoundError, *BAD_RECEIPT):
        return None
    return receipt if whole else None


def _receipt_path(out: Path, split: str) -> Path:
    return out / RECEIPTS / f"{split}.json"


def _parse(receipt: bytes, split: str) -> Receipt:
    """Raises BAD_RECEIPT for what is none of this split; its files lie beside each other."""
    body = json.loads(receipt)
    parsed = Receipt(body["split"], body["counts"], tuple(FileEntry(*entry) for entry in body["files"]))
    names = [entry.name for entry in parsed.files]
    if parsed.split != split or not all(name.startswith(f"{split}.") and "/" not in name for name in names):
        raise ValueError(f"it is of split {parsed.split} and files {', '.join(names)}")
    return parsed


def remove_leftovers(out: Path) -> None:
    """Private folders of workers that died; call it when no attempt runs any more."""
    for leftover in out.glob(".attempt-*"):
        shutil.rmtree(leftover, ignore_errors=True)
