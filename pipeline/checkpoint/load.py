"""Read a checkpoint into any layout: `Reader(folder).range(place, kind)` gives the values of any range of any shard.

Held at once: one parameter's rows. Files are memory-mapped; only the bytes asked for are read.
"""

import bisect
import functools
import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline.checkpoint.agree import agreed
from pipeline.checkpoint.layout import Kind, Place, folder_name, in_order, read_index, steps
from pipeline.core.errors import ArtifactError, UserError

logger = logging.getLogger(__name__)


class Reader:
    """An open checkpoint; `folder` is one step's folder. Opening proves the index, `verify` the tensors.

    Its files stay mapped, and on the disk even when they are removed, until `close`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = read_index(folder)
        self.extra = self.index.extra
        self._open = functools.lru_cache(maxsize=64)(self._open_file)
        self._parts = functools.cache(self._in_order)

    def close(self) -> None:
        self._open.cache_clear()

    def verify(self, rank: int = 0, world_size: int = 1) -> None:
        """Every `world_size`-th file, from `rank` on, has the size and sha256 of the index; else ArtifactError."""
        for file in self.index.files[rank::world_size]:
            path = self.folder / file.name
            try:
                with open(path, "rb") as opened:
                    sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            except FileNotFoundError:
                raise ArtifactError(f"{path} is missing, though {self.folder.name} lists it") from None
            if path.stat().st_size != file.num_bytes or sha256 != file.sha256:
                raise ArtifactError(f"{path} is damaged: its sha256 is not that of the index")

    def range(self, place: Place, kind: Kind) -> Tensor:
        """The values of `place`, 1-D fp32, whatever layout they were saved in; raises ArtifactError.

        At most three reads: the end of a first row, whole rows, the beginning of a last row.
        """
        saved = self.index.parameters.get(place.name)
        if saved is None:
            raise ArtifactError(f"{self.folder} has no parameter {place.name}; it is another model's")
        if saved.shape != place.shape or (saved.tp > 1 and place.tp > 1 and saved.rows != place.rows):
            raise ArtifactError(
                f"{self.folder}: {place.name} has shape {list(saved.shape)}, the model {list(place.shape)}"
            )
        rows = saved.rows if saved.tp > 1 else place.rows  # an unsplit shard is the same bytes for any rows
        width = saved.rows * saved.width // rows // place.tp
        few_rows = rows <= 4  # long rows: read exact columns, row by row
        start, stop, found = place.start, place.start + place.length, []
        while start < stop:
            row, column = divmod(start, width)
            whole_rows = (stop - start) // width if column == 0 and not few_rows else 0
            end_row, end = (row + whole_rows, width) if whole_rows else (row + 1, min(width, column + stop - start))
            left = place.tp_index * width
            block = self._block(kind, place.name, rows, (row, end_row), (left + column, left + end))
            found.append(block.reshape(-1))
            start += (end_row - row) * (end - column)
        return found[0] if len(found) == 1 else torch.cat(found) if found else torch.empty(0)

    def tensor(self, name: str, kind: Kind = "fp32") -> Tensor:
        """A whole parameter in its own shape, for export and tests."""
        saved = self.index.parameters.get(name)
        if saved is None:
            raise ArtifactError(f"{self.folder} has no parameter {name}")
        size = saved.rows * saved.width
        whole = Place(name, saved.shape, saved.rows, saved.width, tp=1, tp_index=0, start=0, length=size)
        return self.range(whole, kind).view(saved.shape)

    def _block(self, kind: Kind, name: str, rows: int, row: tuple[int, int], column: tuple[int, int]) -> Tensor:
        """Rows [row) x columns [column) of the whole matrix with `rows` rows."""
        saved = self.index.parameters[name]
        shard_width = saved.rows * saved.width // rows // saved.tp
        found = []
        for tp_index in range(column[0] // shard_width, -(-column[1] // shard_width)):  # shards with these columns
            first = max(column[0] - tp_index * shard_width, 0)
            last = min(column[1] - tp_index * shard_width, shard_width)
            if row[1] - row[0] == 1:
                at = row[0] * shard_width
                found.append(self._flat(kind, name, tp_index, at + first, at + last)[None])
            else:
                flat = self._flat(kind, name, tp_index, row[0] * shard_width, row[1] * shard_width)
                found.append(flat.view(row[1] - row[0], shard_width)[:, first:last])
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def _flat(self, kind: Kind, name: str, tp_index: int, start: int, stop: int) -> Tensor:
        """Elements [start, stop) of the saved shard `tp_index`."""
        parts = self._parts(name, tp_index)
        at = bisect.bisect_right(parts, start, key=lambda part: part.start) - 1
        found = []
        while start < stop:
            part = parts[at]
            end = min(stop, part.start + part.length)
            stored = self._open(part.rank).get_slice(f"{kind}/{name}")
            found.append(stored[start - part.start : end - part.start])
            start, at = end, at + 1
        return found[0] if len(found) == 1 else torch.cat(found)

    def _in_order(self, name: str, tp_index: int) -> list[Any]:
        return in_order(self.index.parameters[name].parts, tp_index)

    def _open_file(self, rank: int) -> Any:
        path = self.folder / self.index.files[rank].name
        try:
            return safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise ArtifactError(f"{path} cannot be read: {error}") from None


def newest(root: Path) -> Reader | None:
    """The newest checkpoint under `root` that verifies, or None if there is none. A collective.

    There is no pointer that could lie: the folders are looked at, newest first. One that is damaged is passed over
    loudly. If all are, that is an error: to start from nothing silently would throw the run away.
    """
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    refused = []
    for step in reversed(_same_on_all(steps(root))):
        try:
            with agreed():
                reader = Reader(root / folder_name(step))
                reader.verify(rank, world_size)
        except UserError as told:
            refused.append(str(told))
            logger.error("%s; trying the checkpoint before it", told)
            continue
        return reader
    if refused:
        raise ArtifactError("no checkpoint can be used:\n" + "\n".join(refused))
    return None


def _same_on_all(found: list[int]) -> list[int]:
    """Rank 0's list on every rank: a network file system may show others an older folder."""
    if not dist.is_initialized():
        return found
    length = torch.tensor(len(found))
    dist.broadcast(length, src=0)
    listed = torch.tensor(found) if dist.get_rank() == 0 else torch.zeros(int(length.item()), dtype=torch.int64)
    if len(listed):
        dist.broadcast(listed, src=0)
    return [int(step) for step in listed]
