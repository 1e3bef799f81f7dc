"""Damage in any artifact is a line that names the file, and the rest is checked all the same."""

import os
from pathlib import Path

import pytest
import torch

from pipeline.checkpoint.layout import INDEX, KINDS, Place
from pipeline.checkpoint.save import Fragment, Save
from pipeline.core.errors import ArtifactError
from pipeline.core.files import checksum
from pipeline.core.manifest import Manifest, write_manifest
from pipeline.verify import verify


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with two checkpoints of one file each, and one that was being written when the run was killed."""
    for step in (1, 2):
        place = Place("norm.weight", (8,), 1, 8, 1, 0, 0, 8)
        fragments = [Fragment(place, {kind: torch.full((8,), float(step)) for kind in KINDS})]
        Save(tmp_path / "run" / "checkpoints", step, iter(fragments), {}).commit()
    (tmp_path / "run" / "checkpoints" / "step_00000003.tmp").mkdir()
    return tmp_path / "run"


def flip(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[-2] ^= 1
    file.write_bytes(raw)


def test_a_whole_run(run: Path) -> None:
    assert verify(run) == ([], 4)
    assert verify(run / "checkpoints" / "step_00000002") == ([], 2)


def test_damage_in_a_checkpoint(run: Path) -> None:
    first, second = sorted((run / "checkpoints").glob("step_*[0-9]"))
    flip(first / "rank_00000.safetensors")
    flip(second / INDEX)
    [tensors, index], num_files = verify(run)
    assert tensors == f"{first / 'rank_00000.safetensors'} is damaged: its sha256 is not that of the index"
    assert index.startswith(f"{second / INDEX} is damaged")
    assert num_files == 3
    (first / "rank_00000.safetensors").unlink()
    (second / INDEX).unlink()
    bad, _ = verify(run)
    assert bad[0].startswith(f"{first / 'rank_00000.safetensors'} is missing")
    assert bad[1] == f"{second} is not a checkpoint: it has no {INDEX}"


def test_a_folder_in_place_of_a_rank_file_does_not_end_the_check(run: Path) -> None:
    first, second = sorted((run / "checkpoints").glob("step_*[0-9]"))
    (first / "rank_00000.safetensors").unlink()
    (first / "rank_00000.safetensors").mkdir()
    flip(second / "rank_00000.safetensors")
    bad, _ = verify(run)
    assert bad[0] == f"{first / 'rank_00000.safetensors'} cannot be read: Is a directory"
    assert bad[1].startswith(f"{second / 'rank_00000.safetensors'} is damaged")


def test_what_cannot_be_read_in_a_stage(tmp_path: Path) -> None:
    """A folder of the size that the manifest says, a link that leads to itself, a file that is gone."""
    for name in "abcd":
        (tmp_path / name).write_text(name)
    files = [checksum(tmp_path / name) for name in "abcd"]
    for name in "abc":
        (tmp_path / name).unlink()
    (tmp_path / "a").mkdir()
    files[0] = files[0]._replace(num_bytes=(tmp_path / "a").stat().st_size)
    os.symlink("b", tmp_path / "b")
    write_manifest(tmp_path, Manifest("clean", 1, "0" * 32, {}, {}, {}, tuple(files)))
    assert verify(tmp_path) == (
        [
            f"{tmp_path / 'a'}: cannot be read (Is a directory)",
            f"{tmp_path / 'b'}: cannot be read (Too many levels of symbolic links)",
            f"{tmp_path / 'c'}: missing",
        ],
        4,
    )


def test_a_folder_that_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no manifest\.json, no index\.json and no checkpoints"):
        verify(tmp_path)
