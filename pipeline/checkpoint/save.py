"""Write a checkpoint while training goes on: fragments in, a whole folder or nothing out.

1. All ranks: STEP.tmp/ is made; the fragments this rank owns are copied to the host (12 bytes per own parameter).
2. A thread per rank writes rank_00000.safetensors, hashing and fsyncing; it calls no collective, so it needs no process
   group of its own. Training goes on.
3. All ranks, at a later step boundary, `commit()`: agree that all is well; rank 0 merges what the ranks own into
   index.json, fsyncs, and renames STEP.tmp to STEP. The rename is the moment at which the checkpoint exists.

If any rank fails in 1 or 2 (a full disk), all ranks raise in `commit()` and the temporary folder is removed.
"""

import hashlib
import json
import logging
import os
import shutil
import struct
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.checkpoint.agree import agree, agreed
from pipeline.checkpoint.layout import (
    DAMAGED,
    INDEX,
    KINDS,
    TEMPORARY,
    File,
    Index,
    Kind,
    Parameter,
    Part,
    Place,
    encode,
    folder_name,
    step_of,
    steps,
)
from pipeline.core.errors import UserError, storage_error
from pipeline.core.files import sync, write_json

logger = logging.getLogger(__name__)

PIECE_ELEMENTS = 1 << 21  # per write: 8 MiB of fp32


@dataclass(frozen=True)
class Fragment:
    """A range of one parameter that this rank owns, and its values; a range of length 0 only tells the name."""

    place: Place
    tensors: Mapping[Kind, Tensor]
    """1-D fp32, `place.length` elements; they may be views of what the optimizer holds."""


class Save:
    """`save = Save(root, step, fragments, extra)`; later, on all ranks, `save.commit()` gives the folder."""

    def __init__(self, root: Path, step: int, fragments: Iterable[Fragment], extra: Mapping[str, Any]) -> None:
        self.folder = root / folder_name(step)
        self.temporary = self.folder.with_name(self.folder.name + TEMPORARY)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.extra = dict(extra)
        self.error: Exception | None = None
        if self.rank == 0:
            self._attempt(self._begin)
        agree(self._told())
        self._places: list[Place] = []
        self._data: dict[str, Tensor] = {}
        for fragment in fragments:
            self._places.append(fragment.place)
            for kind in KINDS if fragment.place.length else ():
                self._data[f"{kind}/{fragment.place.name}"] = fragment.tensors[kind].to("cpu", copy=True)
        self._thread = threading.Thread(target=self._attempt, args=(self._write,), name="checkpoint", daemon=True)
        self._thread.start()

    def is_written(self) -> bool:
        """Whether this rank's part is on the disk (or has failed)."""
        return not self._thread.is_alive()

    def commit(self) -> Path:
        """Waits for the writers of all ranks; the checkpoint exists when this returns. A collective."""
        self._thread.join()
        try:
            agree(self._told())
            if self.rank == 0:
                self._attempt(self._publish)
            agree(self._told())
        except Exception:
            if self.rank == 0:
                shutil.rmtree(self.temporary, ignore_errors=True)
            raise
        return self.folder

    def _attempt(self, work: Any) -> None:
        """Errors wait for `commit`, where every rank sees them."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised by commit() on every rank
            self.error = error

    def _told(self) -> Exception | None:
        if isinstance(self.error, OSError):
            return storage_error(self.error) or self.error
        return self.error

    def _begin(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if self.folder.exists():
            raise UserError(f"{self.folder} exists already; a checkpoint is never overwritten")
        for left in self.folder.parent.glob(f"step_*{TEMPORARY}"):  # of saves that died
            logger.info("removing %s, which a killed save left behind", left)
            shutil.rmtree(left)
        self.temporary.mkdir()

    def _write(self) -> None:
        name = f"rank_{self.rank:05d}"
        file = write_tensors(self.temporary / f"{name}.safetensors", self._data)
        self._data.clear()
        own = {"file": file.model_dump(), "places": [asdict(place) for place in self._places]}
        write_json(self.temporary / f"{name}.json", own)

    def _publish(self) -> None:
        files: list[File] = []
        parameters: dict[str, Parameter] = {}
        world_size = dist.get_world_size() if dist.is_initialized() else 1
        for rank in range(world_size):
            path = self.temporary / f"rank_{rank:05d}.json"
            own = json.loads(path.read_bytes())
            files.append(File(**own["file"]))
            for place in (Place(**item) for item in own["places"]):
                known = parameters.get(place.name)
                parts = known.parts if known else ()
                if place.length:
                    parts = (*parts, Part(rank=rank, tp_index=place.tp_index, start=place.start, length=place.length))
                parameters[place.name] = Parameter(
                    shape=place.shape, rows=place.rows, width=place.width, tp=place.tp, parts=parts
                )
            path.unlink()
        with open(self.temporary / INDEX, "wb") as out:
            out.write(encode(Index(files=tuple(files), parameters=parameters, extra=self.extra)))
            out.flush()
            os.fsync(out.fileno())
        sync(self.temporary)
        os.rename(self.temporary, self.folder)
        sync(self.folder.parent)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> File:
    """A safetensors file of 1-D fp32 tensors: u64 header length, JSON header, raw little-endian numbers.

    By hand, because it streams: no second copy in memory, hashed on the way (both release the GIL), fsynced.
    """
    header, at = {}, 0
    for name, tensor in tensors.items():
        end = at + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": [tensor.numel()], "data_offsets": [at, end]}
        at = end
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    digest = hashlib.sha256()
    with open(path, "wb") as out:
        try:
            for piece in _pieces(struct.pack("<Q", len(head)) + head, tensors):
                digest.update(piece)
                out.write(piece)
            num_bytes = out.tell()
            out.flush()
            os.fsync(out.fileno())
        except OSError as error:
            error.filename = error.filename or str(path)  # write() does not say which file
            raise
    return File(name=path.name, sha256=digest.hexdigest(), num_bytes=num_bytes)


def _pieces(head: bytes, tensors: Mapping[str, Tensor]) -> Iterable[memoryview | bytes]:
    yield head
    for tensor in tensors.values():
        assert tensor.dtype is torch.float32
        assert tensor.dim() == 1
        for piece in tensor.split(PIECE_ELEMENTS):
            yield memoryview(piece.cpu().contiguous().numpy()).cast("B")


def retain(root: Path, keep_last: int) -> list[int]:
    """Remove all but the newest `keep_last` checkpoints (rank 0 calls it); gives the steps removed.

    Renamed first: should this be killed half way, the next save removes the rest.
    """
    old = steps(root)[:-keep_last]
    for step in old:
        folder = root / folder_name(step)
        shutil.rmtree(folder.rename(folder.with_name(folder.name + TEMPORARY)))
    return old


def set_aside(root: Path, step: int) -> None:
    """Rename what `newest` passed over, the folders of steps after `step`: training will write these again.

    A collective; kept until the same step is damaged again, for whoever wants to know what happened to the disk.
    """
    with agreed():
        rank = dist.get_rank() if dist.is_initialized() else 0
        for folder in sorted(root.glob("step_*")) if rank == 0 else ():
            if (step_of(folder) or 0) > step:
                aside = folder.with_name(DAMAGED + folder.name)
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
                logger.error("%s cannot be used and is now %s", folder, aside.name)
