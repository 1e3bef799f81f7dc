"""Durable files: temporary name, fsync, rename. A reader sees the whole file or none."""

import errno
import fcntl
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import xxhash

from pipeline.core.errors import UserError

PIECE_BYTES = 4 << 20
TEMPORARY = ".tmp"
RECEIPTS = "receipts"  # sub-folder of a stage: a file for each split that is committed
SCRATCH = "scratch"  # sub-folder of a stage for intermediate files; gone when the stage is done
STAGE_FOLDER = re.compile(r"^\w+-[0-9a-f]{12}$")  # as `run_stage` names them
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of a file system, for flock
LOCK = ".lock"  # of the process that works in a folder; it stays there


class FileEntry(NamedTuple):
    """A file of an artifact and what its bytes must be."""

    name: str
    num_bytes: int
    xxh3_128: str
    sha256: str


def checksum(path: Path, name: str | None = None) -> FileEntry:
    with open(path, "rb") as file:
        return checksum_of(file, name or path.name)


def checksum_of(file: IO[bytes], name: str) -> FileEntry:
    """Both hashes in one pass: xxh3 to verify at memory speed, sha256 to compare with the world."""
    fast, strong, num_bytes = xxhash.xxh3_128(), hashlib.sha256(), 0
    while piece := file.read(PIECE_BYTES):
        fast.update(piece)
        strong.update(piece)
        num_bytes += len(piece)
    return FileEntry(name, num_bytes, fast.hexdigest(), strong.hexdigest())


def matches(path: Path, entry: FileEntry) -> bool:
    """Whether the file still has the bytes it was committed with (size, then xxh3_128)."""
    if path.stat().st_size != entry.num_bytes:
        return False
    fast = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while piece := file.read(PIECE_BYTES):
            fast.update(piece)
    return fast.hexdigest() == entry.xxh3_128


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Only one process at a time works in `folder`, which is made if need be; raises UserError in the second, and
    where the file system has no locks.

    The kernel drops the lock when the process ends, however it ends. Folders that were made and stayed empty go again.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None
    lock = folder / LOCK
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is at work in {folder}; wait for it, or name another folder") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            _remove_unused(made, lock)
            raise UserError(
                f"{folder} is on a file system without locks ({error.strerror}), which keep a second process out; "
                "mount it with flock (Lustre: -o flock; NFS: without nolock), or name a folder elsewhere"
            ) from None
        try:
            yield
        finally:
            _remove_unused(made, lock)


def _remove_unused(made: Sequence[Path], lock: Path) -> None:
    if made and list(lock.parent.iterdir()) == [lock]:
        lock.unlink()
        for path in made:
            path.rmdir()


def remove_temporaries(folder: Path) -> None:
    """What `write_json` leaves behind when it is killed; call it when nobody else writes there."""
    for path in folder.rglob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Atomic and durable; keys keep their order, so equal values are equal bytes."""
    write_bytes(path, f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode())


def write_bytes(path: Path, body: bytes) -> None:
    """Atomic and durable."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")  # hosts may share a process id
    try:
        with open(temporary, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
