"""Real Ray, real deaths."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import UserError
from pipeline.core.shard_map import Split, SplitsFailed, Workers
from tests.processes import penstock


def shout(task: dict[str, Any], folder: Path) -> dict[str, int]:
    """Writes a file; before that it fails in the way the task asks for, as long as its marker file is absent."""
    marker = Path(task["marker"]) if "marker" in task else None
    if marker is not None and not marker.exists():
        marker.touch()
        (folder / "half.txt").write_text("half")
        if task["how"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.EIO, "the disk hiccups")
    match task.get("how"):
        case "broken disk":
            raise OSError(errno.EIO, "Input/output error", "in.txt")
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device", "out.txt")
        case "bug":
            raise ZeroDivisionError("always")
        case "user":
            raise UserError("the file is empty")
    (folder / "out.txt").write_text(task["text"].upper())
    return {"letters": len(task["text"])}


def committed(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.txt"))}


def test_outputs_are_committed_under_the_split_and_counted(workers: Workers, tmp_path: Path) -> None:
    splits = [Split("a", {"text": "one"}), Split("b", {"text": "three"}, num_bytes=9)]
    receipts = workers.map(shout, splits, tmp_path, "shout")
    assert [receipt.split for receipt in receipts] == ["a", "b"]
    assert [receipt.counts["letters"] for receipt in receipts] == [3, 5]
    assert committed(tmp_path) == {"a.out.txt": "ONE", "b.out.txt": "THREE"}


def test_committed_splits_are_not_run_again(workers: Workers, tmp_path: Path) -> None:
    workers.map(shout, [Split("a", {"text": "one"})], tmp_path, "shout")
    receipts = workers.map(shout, [Split("a", {"how": "bug"}), Split("b", {"text": "two"})], tmp_path, "shout")
    assert committed(tmp_path) == {"a.out.txt": "ONE", "b.out.txt": "TWO"}
    assert receipts[0].counts == {"letters": 3}


def test_a_split_whose_file_is_gone_or_cut_short_is_done_again(workers: Workers, tmp_path: Path) -> None:
    splits = [Split("a", {"text": "one"}), Split("b", {"text": "two"})]
    workers.map(shout, splits, tmp_path, "shout")
    (tmp_path / "a.out.txt").unlink()
    (tmp_path / "b.out.txt").write_text("T")
    workers.map(shout, splits, tmp_path, "shout")
    assert committed(tmp_path) == {"a.out.txt": "ONE", "b.out.txt": "TWO"}


@pytest.mark.parametrize(
    "receipt", ["[]", '{"split": "a"}', '{"split": "b", "counts": {}, "files": []}',
                '{"split": "a", "counts": {}, "files": [["../a.out.txt", 3, "", ""]]}']
)  # fmt: skip
def test_a_split_with_a_receipt_that_is_none_of_it_is_done_again(
    workers: Workers, tmp_path: Path, receipt: str
) -> None:
    splits = [Split("a", {"text": "one"})]
    workers.map(shout, splits, tmp_path / "stage", "shout")
    (tmp_path / "a.out.txt").write_text("ONE")
    (tmp_path / "stage" / "receipts" / "a.json").write_text(receipt)
    (tmp_path / "stage" / "a.out.txt").unlink()
    workers.map(shout, splits, tmp_path / "stage", "shout")
    assert committed(tmp_path / "stage") == {"a.out.txt": "ONE"}


def test_leftovers_of_a_dead_attempt_go_when_nothing_is_left_to_do(workers: Workers, tmp_path: Path) -> None:
    splits = [Split("a", {"text": "one"})]
    workers.map(shout, splits, tmp_path, "shout")
    (tmp_path / ".attempt-a-0").mkdir()
    workers.map(shout, splits, tmp_path, "shout")
    assert not list(tmp_path.glob(".attempt-*"))


def test_files_have_the_mode_that_the_umask_gives_them(workers: Workers, tmp_path: Path) -> None:
    workers.map(shout, [Split("a", {"text": "one"})], tmp_path, "shout")
    (tmp_path / "mine").touch()
    assert (tmp_path / "a.out.txt").stat().st_mode == (tmp_path / "mine").stat().st_mode


@pytest.mark.parametrize("how", ["kill", "raise"])
def test_killed_worker_and_disk_hiccup_are_retried_and_leave_nothing(
    workers: Workers, tmp_path: Path, how: str
) -> None:
    out = tmp_path / "out"
    task = {"text": "one", "how": how, "marker": str(tmp_path / "marker")}
    workers.map(shout, [Split("a", task)], out, "shout")
    assert sorted(path.name for path in out.iterdir()) == ["a.out.txt", "receipts"]


def test_a_bug_is_not_retried_and_the_other_splits_are_kept(workers: Workers, tmp_path: Path) -> None:
    splits = [Split("bad", {"how": "bug"}, num_bytes=5), Split("good", {"text": "two"})]
    with pytest.raises(SplitsFailed, match="1 splits failed, first bad: ZeroDivisionError: always"):
        workers.map(shout, splits, tmp_path, "shout")
    assert committed(tmp_path) == {"good.out.txt": "TWO"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("full", "no room left on the disk"),
        ("user", "the file is empty"),
        ("broken disk", "in.txt: Input/output error, of a disk or a network file system; see to it and rerun"),
    ],
)
def test_the_users_mistake_stays_one_line(workers: Workers, tmp_path: Path, how: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        workers.map(shout, [Split("a", {"how": how})], tmp_path, "shout")
    assert committed(tmp_path) == {}


def test_a_library_that_is_not_there_is_named_and_stops_the_rest(workers: Workers, tmp_path: Path) -> None:
    splits = [Split(f"{number}", {"text": "one", "need": number == 0}, num_bytes=-number) for number in range(20)]
    with pytest.raises(UserError) as raised:
        workers.map(import_and_shout, splits, tmp_path, "shout")
    assert str(raised.value) == (
        "split 0 cannot import 'no_such_library' (No module named 'no_such_library'); install it "
        "wherever workers run: pip install no-such-library"
    )
    assert "0.out.txt" not in committed(tmp_path)
    assert len(committed(tmp_path)) < 19, "splits were begun after the first had failed"
    assert not list(tmp_path.glob(".attempt-*"))


def import_and_shout(task: dict[str, Any], folder: Path) -> dict[str, int]:
    (folder / "half.txt").write_text("half")
    if task["need"]:
        import no_such_library  # noqa: F401
    time.sleep(0.05)
    return shout(task, folder)


def test_a_split_that_kills_its_worker_every_time_is_given_up(tmp_path: Path, workers: Workers) -> None:
    with pytest.raises(SplitsFailed, match="WorkerCrashedError: the worker died, 4 times, the last time alone"):
        workers.map(die, [Split("a", {})], tmp_path, "die")


def die(task: dict[str, Any], folder: Path) -> dict[str, int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def test_a_local_ray_that_dies_is_started_again(tmp_path: Path) -> None:
    """In a process of its own: there is one Ray in each."""
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", OWN_RAY, tmp_path], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the local Ray died and is started again" in done.stderr
    assert committed(tmp_path / "out") == {f"{name}.out.txt": name.upper() for name in "abcd"}
    assert not list((tmp_path / "out").glob(".attempt-*"))


OWN_RAY = """
import sys
from pathlib import Path
from pipeline.core.shard_map import Split, Workers
from tests.core.test_shard_map import kill_the_raylet_once
folder = Path(sys.argv[1])
splits = [Split(name, {"text": name, "once": str(folder / "once")}) for name in "abcd"]
with Workers(num_workers=2) as workers:
    workers.map(kill_the_raylet_once, splits, folder / "out", "shout")
"""


def kill_the_raylet_once(task: dict[str, Any], folder: Path) -> dict[str, int]:
    try:
        Path(task["once"]).touch(exist_ok=False)
    except FileExistsError:
        return shout(task, folder)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    return {}


def test_what_no_node_can_run_is_refused_at_once(workers: Workers, tmp_path: Path) -> None:
    workers.map(shout, [Split("a", {"text": "one"})], tmp_path, "shout")
    hungry = Workers(memory=1 << 50)
    hungry._attempt = workers._attempt  # one Ray for all tests
    with pytest.raises(
        UserError, match=r"a worker needs 1 CPU and 1048576.0 GiB; the largest of 1 Ray nodes has 2 CPU"
    ):
        hungry.map(shout, [Split("b", {"text": "two"})], tmp_path, "shout")


def test_a_node_that_does_not_see_the_folder_says_so(workers: Workers, tmp_path: Path) -> None:
    """As on a cluster without a shared file system: the folder is gone when the worker looks for it."""
    splits = [Split("a", {"gone": str(tmp_path / "out")}, 1), Split("b", {})]
    one_at_a_time = Workers(num_workers=1)
    one_at_a_time._attempt = workers._attempt
    with pytest.raises(UserError, match=r"node \S+ does not see .*/out: the output folder must lie on a file system"):
        one_at_a_time.map(remove_the_folder, splits, tmp_path / "out", "shout")
    assert not (tmp_path / "out").exists()


def remove_the_folder(task: dict[str, Any], folder: Path) -> dict[str, int]:
    shutil.rmtree(task["gone"])
    raise OSError(errno.EIO, "the network hiccups")


def test_a_ray_that_does_not_start_is_said_in_one_line(tmp_path: Path) -> None:
    """Ray raises OSError, RuntimeError or Exception itself, by what of it is missing."""
    (tmp_path / "a.jsonl").write_text('{"text": "a document"}\n')
    (tmp_path / "mine.yaml").write_text("sources: [jsonl]\n")
    done = penstock("prepare", "--config", tmp_path / "mine.yaml", "--set", f"input={tmp_path}", "--out",
                    tmp_path / "out", RAY_TMPDIR="/proc/nowhere")  # fmt: skip
    assert done.returncode == 76
    assert done.stderr.splitlines()[-1].startswith("penstock: Ray did not start: FileNotFoundError: ")
    assert "Traceback" not in done.stderr
