"""What lies in a checkpoint, and the arithmetic that makes it free of topology. No torch here.

    step_00000120/
        rank_00000.safetensors ...   1-D fp32 fragments "fp32/NAME", "exp_avg/NAME", "exp_avg_sq/NAME", logical names
        index.json                   where every fragment lies, sha256 and size of every file, and what the run needs

The folder exists when it is whole: it is written as step_00000120.tmp, hashed and fsynced, the index last, and renamed.
Nothing in it can execute: raw numbers behind JSON headers, no pickle.

Geometry. A weight of shape [.., D, ..] that tensor parallelism splits along dimension `d` in `stride` parts (2 for
gate_up: the halves are split separately) is, flattened, a matrix [rows, width] with rows = prod(shape[:d]) * stride and
width = numel / rows; shard i of n is its i-th block of width / n columns, flattened. A weight that is not split is one
row and one shard. A fragment is a range [start, start + length) of one flattened shard: what one rank's ZeRO partition
owns. So to load one layout from another is to intersect ranges of rows and columns; no pattern, no gathered tensor.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from pipeline.core.config import Config
from pipeline.core.errors import ArtifactError

Kind = Literal["fp32", "exp_avg", "exp_avg_sq"]

FORMAT = 1
INDEX = "index.json"
KINDS: tuple[Kind, ...] = ("fp32", "exp_avg", "exp_avg_sq")  # master weight, Adam's first and second moment
TEMPORARY = ".tmp"
DAMAGED = "damaged_"  # before the name of a folder that is no checkpoint any more


@dataclass(frozen=True)
class Place:
    """A range of one parameter: elements [start, start + length) of flattened shard `tp_index` of `tp`."""

    name: str
    shape: tuple[int, ...]
    """Of the whole parameter."""
    rows: int
    width: int
    tp: int
    tp_index: int
    start: int
    length: int

    @property
    def shard_size(self) -> int:
        return self.rows * self.width // self.tp


class File(Config):
    name: str = Field(pattern=r"^rank_\d{5,}\.safetensors$")  # no path leads out of the checkpoint
    sha256: str
    num_bytes: int


class Part(Config):
    """A fragment in the file of `rank`."""

    rank: int
    tp_index: int
    start: int
    length: int


class Parameter(Config):
    shape: tuple[int, ...]
    rows: int
    width: int
    tp: int
    parts: tuple[Part, ...]


class Index(Config):
    files: tuple[File, ...]
    """By rank."""
    parameters: dict[str, Parameter]
    extra: dict[str, Any]
    """What the run needs beside weights; pipeline.train.state says what that is."""
    format: int = FORMAT


def folder_name(step: int) -> str:
    return f"step_{step:08d}"


def step_of(folder: Path) -> int | None:
    """The step of a checkpoint folder; None for temporary and foreign folders."""
    match = re.fullmatch(r"step_(\d{8,})", folder.name)
    return int(match[1]) if match else None


def steps(folder: Path) -> list[int]:
    """Steps with a checkpoint folder that claims to be whole, oldest first."""
    found = (step_of(path.parent) for path in folder.glob(f"step_*/{INDEX}"))
    return sorted(step for step in found if step is not None)


def encode(index: Index) -> bytes:
    """index.json, with a checksum of its own body: a flipped byte anywhere in it is found."""
    body = json.dumps(index.model_dump(mode="json"), separators=(",", ":"), sort_keys=True)
    return f'{{"sha256":"{hashlib.sha256(body.encode()).hexdigest()}","index":{body}}}\n'.encode()


def read_index(checkpoint: Path) -> Index:
    """The index of a checkpoint folder, proven whole and consistent; raises ArtifactError naming the file."""
    path = checkpoint / INDEX
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{checkpoint} is not a checkpoint: it has no {INDEX}") from None
    try:
        body = json.loads(raw)["index"]
        form = body["format"]
        if form != FORMAT:
            raise ArtifactError(f"{path}: checkpoint format {form}, this version reads {FORMAT}")
        index = Index.model_validate(body)
    except (ValueError, KeyError, TypeError, ValidationError):
        raise ArtifactError(f"{path} is damaged: it is no checkpoint index") from None
    if encode(index) != raw:
        raise ArtifactError(f"{path} is damaged: its checksum does not match")
    for name, parameter in index.parameters.items():
        _check_complete(path, name, parameter)
    return index


def _check_complete(path: Path, name: str, parameter: Parameter) -> None:
    """The fragments of each shard lie end to end, without gap or overlap."""
    shard_size = parameter.rows * parameter.width // parameter.tp
    if math.prod(parameter.shape) != parameter.rows * parameter.width:
        raise ArtifactError(
            f"{path}: {name} has shape {parameter.shape}, but {parameter.rows} x {parameter.width} elements"
        )
    for tp_index in range(parameter.tp):
        at = 0
        for part in in_order(parameter.parts, tp_index):
            if part.start != at:
                raise ArtifactError(f"{path}: {name} has a gap or an overlap at element {at} of shard {tp_index}")
            at += part.length
        if at != shard_size:
            raise ArtifactError(f"{path}: {name} has {at} of {shard_size} elements of shard {tp_index}")


def in_order(parts: Iterable[Part], tp_index: int) -> list[Part]:
    return sorted((part for part in parts if part.tp_index == tp_index), key=lambda part: part.start)
