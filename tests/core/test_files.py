import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import UserError
from pipeline.core.files import LOCK, checksum, exclusive, matches, write_json
from tests.processes import ROOT, not_tested


def test_a_second_process_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    hold = f"""
from pathlib import Path
from pipeline.core.files import exclusive
with exclusive(Path({str(tmp_path)!r})):
    print("holding", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"holding\n"
        with pytest.raises(UserError, match="another process is at work"), exclusive(tmp_path):
            pass
        other.kill()
    with exclusive(tmp_path):  # the kernel dropped the lock of the killed process
        pass


WITHOUT_LOCKS = """
import ctypes, struct, sys
from pathlib import Path
from pipeline.core.errors import UserError
from pipeline.core.files import exclusive
folder, flock, answer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
load, equal, end = 0x20, 0x15, 0x06
steps = [(load, 0, 0, 0), (equal, 0, 1, flock), (end, 0, 0, 0x50000 | answer), (end, 0, 0, 0x7FFF0000)]
lines = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(lines))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
try:
    with exclusive(Path(folder)):
        print("locked")
except UserError as error:
    print(error)
"""
FLOCK = {"x86_64": 73, "aarch64": 32}  # the number of the system call


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(answer: int, tmp_path: Path) -> None:
    """The kernel answers as for a file on such a one: a seccomp filter tells it to."""
    if platform.machine() not in FLOCK:
        not_tested(f"flock has no number here for {platform.machine()}: a file system without locks is NOT tested")
    folder = tmp_path / "new" / "folder"
    command = [sys.executable, "-c", WITHOUT_LOCKS, str(folder), str(FLOCK[platform.machine()])]
    refused = f"{folder} is on a file system without locks ({os.strerror(answer)})"
    for number, said in ((answer, refused), (0, "locked")):
        done = subprocess.run([*command, str(number)], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(said)
        assert len(done.stdout.splitlines()) == 1
        assert list(tmp_path.iterdir()) == []


def test_who_is_refused_leaves_the_lock_of_the_other(tmp_path: Path) -> None:
    class Unseen(type(tmp_path)):  # it began before the other had made the folder
        def exists(self) -> bool:
            return False

    folder = tmp_path / "new"
    with exclusive(folder):
        with pytest.raises(UserError), exclusive(Unseen(folder)):
            pass
        assert (folder / LOCK).exists()


def test_a_folder_in_which_nothing_was_made_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert not (tmp_path / "a").exists()
    with exclusive(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert (tmp_path / "a" / "b" / "file").exists()


def test_a_flipped_bit_does_not_match(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"water" * 1000)
    entry = checksum(path)
    assert matches(path, entry)
    path.write_bytes(b"wateR" + b"water" * 999)
    assert not matches(path, entry)


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
