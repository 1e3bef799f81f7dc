"""A save is whole or it is not there: killed, out of disk, failing on one rank."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.checkpoint.agree import agree
from pipeline.checkpoint.layout import KINDS, Place
from pipeline.checkpoint.load import newest
from pipeline.checkpoint.save import Fragment, Save, retain, set_aside
from pipeline.core.errors import ArtifactError, UserError
from tests.processes import ROOT, kill, wait_for
from tests.ranks import RanksFailed, run


def fragment(size: int, value: float) -> Fragment:
    place = Place("w", (size,), 1, size, 1, 0, 0, size)
    return Fragment(place, {kind: torch.full((size,), value + number) for number, kind in enumerate(KINDS)})


def save(root: Path, step: int, size: int = 100) -> Path:
    return Save(root, step, [fragment(size, float(step))], {"step": step}).commit()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    folder = save(tmp_path, 120)
    assert folder == tmp_path / "step_00000120"
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "rank_00000.safetensors"]
    reader = newest(tmp_path)
    assert reader
    assert reader.extra == {"step": 120}
    assert [reader.tensor("w", kind)[0].item() for kind in KINDS] == [120.0, 121.0, 122.0]
    assert newest(tmp_path / "empty") is None


def test_values_are_those_of_the_moment_of_the_save(tmp_path: Path) -> None:
    kept = fragment(1000, 1.0)
    begun = Save(tmp_path, 1, [kept], {})
    kept.tensors["fp32"].zero_()  # training goes on
    begun.commit()
    reader = newest(tmp_path)
    assert reader
    assert reader.tensor("w").unique().tolist() == [1.0]


def test_the_newest_that_verifies_is_used_and_the_others_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    (tmp_path / "step_00000003" / "index.json").write_text("{}")
    damaged = tmp_path / "step_00000002" / "rank_00000.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    reader = newest(tmp_path)
    assert reader
    assert reader.folder.name == "step_00000001"
    assert "step_00000003/index.json is damaged" in caplog.messages[0]
    assert "step_00000002/rank_00000.safetensors is damaged" in caplog.messages[1]
    (tmp_path / "step_00000001" / "index.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"no checkpoint can be used:\n(.*is damaged.*\n?){3}"):
        newest(tmp_path)


def read_newest(root: Path) -> str:
    """On a rank."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    reader = newest(root)
    assert reader
    set_aside(root, reader.extra["step"])
    return reader.folder.name


def save_on_ranks(root: Path, *steps: int) -> None:
    """Half of the parameter on each of two ranks."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    half = Place("w", (100,), 1, 100, 1, 0, 50 * dist.get_rank(), 50)
    for step in steps:
        Save(root, step, [Fragment(half, dict.fromkeys(KINDS, torch.ones(50)))], {"step": step}).commit()


def test_a_file_that_one_rank_cannot_read_sends_all_ranks_to_the_checkpoint_before_it(tmp_path: Path) -> None:
    run(2, save_on_ranks, tmp_path, 1, 2)
    unreadable = tmp_path / "step_00000002" / "rank_00001.safetensors"  # rank 1 looks at this one, rank 0 does not
    unreadable.unlink()
    unreadable.mkdir()  # open() raises an OSError, for root too
    assert run(2, read_newest, tmp_path) == ["step_00000001"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged_step_00000002", "step_00000001"]


def test_what_was_passed_over_makes_room_for_the_step_to_be_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for value in (1, 2):  # damaged twice
        for step in (10, 20, 30):
            if not (tmp_path / f"step_{step:08d}").exists():
                save(tmp_path, step, size=value)
        (tmp_path / "step_00000020" / "index.json").write_text("{}")
        (tmp_path / "step_00000030" / "index.json").unlink()
        reader = newest(tmp_path)
        assert reader
        set_aside(tmp_path, reader.extra["step"])
        found = sorted(path.name for path in tmp_path.iterdir())
        assert found == ["damaged_step_00000020", "damaged_step_00000030", "step_00000010"]
    assert "step_00000020 cannot be used and is now damaged_step_00000020" in caplog.text
    assert (tmp_path / "damaged_step_00000030" / "rank_00000.safetensors").stat().st_size < 300  # the later one
    assert verify_run(tmp_path) == ([], 2)


def verify_run(checkpoints: Path) -> tuple[list[str], int]:
    """As `penstock verify RUN`."""
    from pipeline.verify import verify

    run = checkpoints.with_name("run_of_" + checkpoints.name)
    run.mkdir()
    (run / "checkpoints").symlink_to(checkpoints)
    return verify(run)


def test_retention_killed_half_way_leaves_nothing_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(folder: Path) -> None:
        raise Killed

    save(tmp_path, 1)
    save(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", die)
        with pytest.raises(Killed):
            retain(tmp_path, keep_last=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000001.tmp", "step_00000002"]
    save(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000002", "step_00000003"]


def test_retention_keeps_the_newest(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        save(tmp_path, step)
    assert retain(tmp_path, keep_last=2) == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000002", "step_00000010"]
    assert retain(tmp_path, keep_last=2) == []


def test_a_checkpoint_is_never_overwritten(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with pytest.raises(UserError, match="step_00000001 exists already; a checkpoint is never overwritten"):
        save(tmp_path, 1)


SAVER = """
import sys
from pathlib import Path
from tests.checkpoint.test_save import save
save(Path(sys.argv[1]), 1)
save(Path(sys.argv[1]), 2, size=30_000_000)  # 360 MB: time to be killed
"""


def test_a_killed_save_leaves_the_one_before_it_as_the_newest(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SAVER, str(tmp_path)], cwd=ROOT)
    half = tmp_path / "step_00000002.tmp" / "rank_00000.safetensors"
    try:
        wait_for(lambda: half.exists() and half.stat().st_size > 1_000_000, 60, "the second save")
    finally:
        kill(process.pid)
    assert process.wait() == -9
    assert half.exists()
    reader = newest(tmp_path)
    assert reader
    assert reader.folder.name == "step_00000001"
    save(tmp_path, 2)  # the next save of any step clears the ruin
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000001", "step_00000002"]


def save_on_a_small_disk(root: Path, rank_with_limit: int) -> str:
    """On a rank: files may not grow beyond 1 MB, as on a full disk; what the save says."""
    if int(os.environ["RANK"]) == rank_with_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    import torch.distributed as dist

    dist.init_process_group("gloo")
    save(root, 1, size=100)
    with pytest.raises(UserError) as told:
        save(root, 2, size=1_000_000)
    return str(told.value)


def test_a_full_disk_on_one_rank_is_a_clear_message_on_all_and_leaves_nothing_behind(tmp_path: Path) -> None:
    said = run(2, save_on_a_small_disk, tmp_path, 1)
    assert said[0] == said[1]
    assert said[0].startswith(f"no room left on the disk while writing {tmp_path}/step_00000002.tmp/rank_00001")
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def disagree() -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo")
    agree(None)
    agree(ArtifactError("bad file Ü") if dist.get_rank() == 1 else None)


def be_wrong() -> str:
    import torch.distributed as dist

    dist.init_process_group("gloo")
    with pytest.raises((RuntimeError, ZeroDivisionError)) as told:
        agree(ZeroDivisionError("oh") if dist.get_rank() == 2 else None)
    return f"{type(told.value).__name__}: {told.value}"


def test_one_ranks_error_is_every_ranks() -> None:
    with pytest.raises(RanksFailed, match="ArtifactError: bad file Ü"):
        run(3, disagree)
    others = "RuntimeError: rank 2: ZeroDivisionError: oh"
    assert run(3, be_wrong) == [others, others, "ZeroDivisionError: oh"]
