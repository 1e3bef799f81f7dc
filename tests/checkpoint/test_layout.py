"""The format: every flipped bit of the index is found, ranges are read across any two layouts, nonsense is refused."""

import json
import random
from pathlib import Path

import pytest
import torch

from pipeline.checkpoint.layout import INDEX, File, Index, Parameter, Part, Place, encode, read_index, steps
from pipeline.checkpoint.load import Reader
from pipeline.checkpoint.save import write_tensors
from pipeline.core.errors import ArtifactError

SHAPE, STRIDE = (12, 10), 2  # split along the first dimension in two halves, as gate_up is


def write(folder: Path, values: torch.Tensor, tp: int, cuts: list[int], rows: int) -> None:
    """A checkpoint of one parameter: each of its `tp` shards cut at `cuts`, one file per fragment."""
    folder.mkdir()
    shards = values.reshape(rows, tp, -1).transpose(0, 1).reshape(tp, -1)
    files, parts = [], []
    for tp_index, shard in enumerate(shards):
        for start, stop in zip([0, *cuts], [*cuts, len(shard)], strict=True):
            parts.append(Part(rank=len(files), tp_index=tp_index, start=start, length=stop - start))
            path = folder / f"rank_{len(files):05d}.safetensors"
            files.append(write_tensors(path, {"fp32/w": shard[start:stop].clone()}))
    parameter = Parameter(shape=tuple(values.shape), rows=rows, width=values.numel() // rows, tp=tp, parts=tuple(parts))
    index = Index(files=tuple(files), parameters={"w": parameter}, extra={"step": 3, "note": "é"})
    (folder / INDEX).write_bytes(encode(index))


def test_any_range_of_any_shard_from_any_layout(tmp_path: Path) -> None:
    draw = random.Random(0)
    for case in range(40):
        first, second = draw.choice([((12, 10), 2), ((12, 10), 1), ((6, 20), 6), ((64, 4), 64)]), draw.choice([1, 2])
        shape, rows = first
        values = torch.randn(shape)
        tp = draw.choice([1, 2])
        size = values.numel() // tp
        cuts = sorted(draw.sample(range(1, size), draw.choice([0, 1, 3])))
        folder = tmp_path / str(case)
        write(folder, values, tp, cuts, rows)
        reader = Reader(folder)
        reader.verify()
        assert torch.equal(reader.tensor("w"), values)
        wanted = values.reshape(rows, second, -1).transpose(0, 1).reshape(second, -1)
        for _ in range(20):
            tp_index, start = draw.randrange(second), draw.randrange(wanted.shape[1])
            length = draw.randint(0, wanted.shape[1] - start)
            place = Place("w", tuple(shape), rows, values.numel() // rows, second, tp_index, start, length)
            assert torch.equal(reader.range(place, "fp32"), wanted[tp_index, start : start + length])


def test_every_flipped_bit_of_the_index_is_found(tmp_path: Path) -> None:
    write(tmp_path / "c", torch.randn(SHAPE), 2, [7], STRIDE)
    path = tmp_path / "c" / INDEX
    whole = path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"index.json"):
            read_index(path.parent)
    path.write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match=r"index.json is damaged"):
        read_index(path.parent)


def test_every_kind_of_damaged_tensor_file_is_found(tmp_path: Path) -> None:
    write(tmp_path / "c", torch.randn(SHAPE), 1, [50], STRIDE)
    path = tmp_path / "c" / "rank_00001.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole + b"\0", b"\1" + whole[1:], whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"c/rank_00001.safetensors is damaged: its sha256 is not that of"):
            Reader(path.parent).verify()
    path.unlink()
    with pytest.raises(ArtifactError, match=r"c/rank_00001.safetensors is missing"):
        Reader(path.parent).verify()


def rewrite(folder: Path, **changes: object) -> None:
    """A consistent index that says something else."""
    body = json.loads((folder / INDEX).read_bytes())["index"]
    body["parameters"]["w"] |= changes
    (folder / INDEX).write_bytes(encode(Index.model_validate(body)))


def test_fragments_must_lie_end_to_end(tmp_path: Path) -> None:
    part = {"rank": 0, "tp_index": 0}
    for name, parts, message in (
        (
            "gap",
            [{**part, "start": 0, "length": 50}, {**part, "start": 51, "length": 69}],
            "gap or an overlap at element 50",
        ),
        (
            "overlap",
            [{**part, "start": 0, "length": 50}, {**part, "start": 49, "length": 71}],
            "an overlap at element 50",
        ),
        ("short", [{**part, "start": 0, "length": 119}], "w has 119 of 120 elements of shard 0"),
    ):
        write(tmp_path / name, torch.randn(SHAPE), 1, [50], STRIDE)
        rewrite(tmp_path / name, parts=parts)
        with pytest.raises(ArtifactError, match=message):
            Reader(tmp_path / name)


def test_foreign_indexes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "c", torch.randn(SHAPE), 1, [], STRIDE)
    path = tmp_path / "c" / INDEX
    with pytest.raises(ArtifactError, match=r"is not a checkpoint: it has no index.json"):
        read_index(tmp_path)
    body = json.loads(path.read_bytes())["index"]
    path.write_bytes(encode(Index.model_validate(body | {"format": 7})))
    with pytest.raises(ArtifactError, match="checkpoint format 7, this version reads 1"):
        read_index(path.parent)
    with pytest.raises(ValueError, match="string_pattern_mismatch"):
        File(name="../../etc/passwd", sha256="", num_bytes=0)


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "c", torch.randn(SHAPE), 2, [], STRIDE)
    reader = Reader(tmp_path / "c")
    with pytest.raises(ArtifactError, match=r"has no parameter head.weight; it is another model's"):
        reader.range(Place("head.weight", SHAPE, 2, 60, 1, 0, 0, 120), "fp32")
    with pytest.raises(ArtifactError, match=r"w has shape \[12, 10\], the model \[10, 12\]"):
        reader.range(Place("w", (10, 12), 2, 60, 1, 0, 0, 120), "fp32")


def test_only_whole_folders_count(tmp_path: Path) -> None:
    for name in ("step_00000010", "step_00000002", "step_00000030.tmp", "step_9", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / INDEX).touch()
    (tmp_path / "step_00000040").mkdir()  # no index: not a checkpoint
    assert steps(tmp_path) == [2, 10]
