import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import UserError
from pipeline.core.files import LOCK, checksum, exclusive, matches, write_json


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
