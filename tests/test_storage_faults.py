"""Prepare on real files while storage fails: the disk of OUT fills up, an input file is damaged while it is read, loses
its permissions, or lies on a disk that cannot be read from the file's middle on.

Each ends with one line that names the place, and exit code 2. When that is mended, the same command ends with the bytes
of an undisturbed run, every document has one verdict, and neither processes nor temporary files are left.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.core.ledger import Ledger
from pipeline.core.manifest import stage_folders
from tests.faults.prepare import ATTEMPTS, prepare_command
from tests.processes import ROOT, descendants, found, not_tested, started, title, wait_for, with_environment
from tests.test_prepare import tree

pytestmark = [pytest.mark.real, pytest.mark.slow]

MARK = "PENSTOCK_TEST_STORAGE"  # in the environment of all processes of a prepare
READ = ["books/h-g-wells_the-time-machine.epub", "books/pg36-war-of-the-worlds.epub", "books/botchan.txt.gz",
        "dedup/plagiarism_articles_1000.jsonl.gz"]  # fmt: skip
VICTIM = READ[-1]


@pytest.fixture(scope="module")
def corpus(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of tests/faults, in a folder whose files can be damaged."""
    folder = tmp_path_factory.mktemp("corpus")
    for name in READ:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy2(real_data / name, folder / name)
        (folder / name).chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "data"
    done = prepare(corpus, out)
    assert done.returncode == 0, done.stderr
    return out


def prepare(corpus: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """On two workers of its own Ray."""
    return subprocess.run(told(corpus, out), cwd=ROOT, env=os.environ | {MARK: str(out)}, capture_output=True,
                          text=True, timeout=200, check=False)  # fmt: skip


def told(corpus: Path, out: Path) -> list[str]:
    return [*prepare_command(corpus, out), "--set", "num_workers=2"]


def assert_mended(corpus: Path, out: Path, undisturbed: Path) -> None:
    again = prepare(corpus, out)
    assert again.returncode == 0, again.stderr
    assert tree(out) == tree(undisturbed)
    fates = Ledger.of(out).fates()
    assert len(fates) == len({fate.doc_id for fate in fates}) == len(Ledger.of(undisturbed).fates())
    assert_nothing_left(out)


def assert_nothing_left(out: Path) -> None:
    assert [path for path in out.rglob(".*") if path.name != ".lock"] == []
    wait_for(lambda: not any(map(title, with_environment(f"{MARK}={out}"))), 60, "the end of all processes")


@contextmanager
def tmpfs(folder: Path, num_bytes: int) -> Iterator[None]:
    """A disk of that size at `folder`."""
    folder.mkdir()
    with mounted("penstock-test", folder, "-t", "tmpfs", "-o", f"size={num_bytes}"):
        yield


@contextmanager
def mounted(device: str | Path, folder: Path, *options: str) -> Iterator[None]:
    mount = ["mount", *options, str(device), str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        not_tested(f"cannot mount here ({done.stderr.strip()}): full and broken disks are NOT tested in this run")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("stage", ["sources", "dedup", "shards"])
def test_the_disk_of_the_output_fills_up(stage: str, corpus: Path, undisturbed: Path, tmp_path: Path) -> None:
    """There is room for what was written before `stage`, and for half of what that writes."""
    sizes = {name: num_bytes(folder) for name, folder in stage_folders(undisturbed).items()}
    before = list(sizes)[: list(sizes).index(stage)]
    room = sum(sizes[name] for name in before) + sizes[stage] // 2
    with tmpfs(tmp_path / "disk", room):
        out = tmp_path / "disk" / "data"
        full = prepare(corpus, out)
        assert full.returncode == 2, full.stderr
        last = full.stderr.splitlines()[-1]
        assert last.startswith("penstock: no room left on the disk while writing ")
        assert str(out) in last
        assert last.endswith("free some and rerun")
        assert "Traceback" not in full.stderr
        assert not (out / "manifest.json").exists()
        assert_nothing_left(out)
        subprocess.run(["mount", "-o", "remount,size=1G", str(tmp_path / "disk")], check=True)
        assert_mended(corpus, out, undisturbed)


def num_bytes(folder: Path) -> int:
    """On a disk of whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def remove(file: Path) -> None:
    file.unlink()


def replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [truncate, remove, replace_by_a_folder])
def test_an_input_is_damaged_while_it_is_read(
    damage: Callable[[Path], None], corpus: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """A worker has it open and has read a part of it: it is halted there for as long as the damage takes."""
    out, log, victim, kept = tmp_path / "data", tmp_path / "log", corpus / VICTIM, tmp_path / "kept"
    shutil.copy2(victim, kept)
    try:
        with started(told(corpus, out), log, **{MARK: str(out)}) as driver:
            wait_for(lambda: halted_reader(driver.pid, victim) or driver.poll() is not None, 120, "a reader")
            reader = halted_reader(driver.pid, victim)
            assert reader, log.read_text()
            damage(victim)
            os.kill(reader, signal.SIGCONT)
            ended = driver.wait(timeout=200)
        last = log.read_text().splitlines()[-1]
        assert ended == 2, log.read_text()
        assert last.startswith(f"penstock: {victim} ")
        assert "Run it again" in last
        assert "Traceback" not in log.read_text()
        assert_nothing_left(out)
    finally:
        if victim.is_dir():
            victim.rmdir()
        shutil.copy2(kept, victim)
    assert_mended(corpus, out, undisturbed)


def halted_reader(driver: int, file: Path) -> int:
    """The worker that has read a part of `file`, halted; 0 if there is none."""
    for pid in descendants(driver):
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                if os.readlink(descriptor) != str(file):
                    continue
                os.kill(pid, signal.SIGSTOP)
                position = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text().split()[1]
            except OSError:
                continue
            if int(position) > 0:
                return pid
            os.kill(pid, signal.SIGCONT)
    return 0


def test_an_input_loses_its_permissions(corpus: Path, undisturbed: Path, tmp_path: Path) -> None:
    """It has been listed, and the one worker reads the books before it."""
    out, log, victim = tmp_path / "data", tmp_path / "log", corpus / VICTIM
    command = [*without_override(), *told(corpus, out), "--set", "num_workers=1"]
    try:
        with started(command, log, **{MARK: str(out)}) as driver:
            wait_for(lambda: found(out, ATTEMPTS) or driver.poll() is not None, 120, "the first attempt")
            victim.chmod(0)
            ended = driver.wait(timeout=200)
        assert_refused(ended, log, out, f"penstock: no permission for {victim}: Permission denied")
    finally:
        victim.chmod(0o600)
    assert_mended(corpus, out, undisturbed)


def without_override() -> list[str]:
    """Permissions are nothing to root, unless it gives up that it may override them."""
    if os.geteuid():
        return []
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if not shutil.which(prefix[0]) or subprocess.run([*prefix, "true"], check=False).returncode:
        not_tested("root cannot drop a capability here: an input without permissions is NOT tested in this run")
    return prefix


def test_a_disk_cannot_be_read_from_the_middle_of_an_input_on(corpus: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Its device ends there: the kernel answers EIO, as of a bad sector, until the rest of the device is back."""
    out, log, victim, image = tmp_path / "data", tmp_path / "log", corpus / VICTIM, tmp_path / "image"
    body = victim.read_bytes()
    make_disk(image, victim, tmp_path / "filled")
    with mounted(image, victim.parent, "-o", "loop,ro"):
        whole = image.read_bytes()
        middle = len(body) // 8192 * 4096
        os.truncate(image, whole.index(body[middle : middle + 4096]))
        with started(told(corpus, out), log, **{MARK: str(out)}) as driver:
            ended = driver.wait(timeout=200)
        told_of = "Input/output error, of a disk or a network file system; see to it and rerun"
        assert_refused(ended, log, out, f"penstock: {victim}: {told_of}")
        image.write_bytes(whole)
        assert_mended(corpus, out, undisturbed)


def make_disk(image: Path, file: Path, folder: Path) -> None:
    """An image of a file system that holds `file`; `folder`: where it is mounted for a moment."""
    with open(image, "wb") as empty:
        empty.truncate(8 << 20)
    if not shutil.which("mkfs.ext4") or not Path("/dev/loop-control").exists():
        pytest.skip("no mkfs.ext4 or no loop devices here: a broken disk is NOT tested in this run")
    subprocess.run(["mkfs.ext4", "-q", "-I", "256", str(image)], check=True)  # inodes with room for nanoseconds
    folder.mkdir()
    with mounted(image, folder, "-o", "loop"):
        shutil.copy2(file, folder)


def assert_refused(ended: int, log: Path, out: Path, said: str) -> None:
    assert ended == 2, log.read_text()
    assert log.read_text().splitlines()[-1] == said
    assert "Traceback" not in log.read_text()
    assert_nothing_left(out)
