"""Real processes for tests that kill them: the command, its descendants, and waiting for what it does."""

import glob
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent


def penstock(
    *arguments: str | Path, timeout_s: float = 300, max_file_kib: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end. `max_file_kib`: a longer file is an error of the system, as on a full disk."""
    limit = [] if max_file_kib is None else ["bash", "-c", f'ulimit -f {max_file_kib} && exec "$@"', "bash"]
    command = [*limit, sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def hiding(package: str, folder: Path, where: str = "") -> dict[str, str]:
    """An environment in which no Python process imports `package`; `where`: none with this in its command."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {package!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        f"if {where!r} in ' '.join(sys.orig_argv):\n"
        "    sys.meta_path.insert(0, Hidden())\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])}


@contextmanager
def started(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process group of its own, which is killed at the end whatever happens.

    Ctrl-C reaches it, even if these tests run behind an `&`, where shells have it ignored.
    """
    command = ["env", "--default-signal=INT", *command]
    with open(log, "ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=output, stderr=output,
                                   start_new_session=True)  # fmt: skip
    try:
        yield process
    finally:
        for pid in [process.pid, *descendants(process.pid)]:
            kill(pid)
        process.wait(timeout=30)


def kill(pid: int) -> str:
    """SIGKILL, unless the process is gone already; the title of what it hit, "" for nothing that lives."""
    hit = title(pid)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return ""
    return hit


def descendants(pid: int) -> list[int]:
    """Living children, grandchildren, ... of a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
    found = [child for child, parent in parents.items() if parent == pid]
    for child in found:
        found += [grandchild for grandchild, parent in parents.items() if parent == child]
    return found


def title(pid: int) -> str:
    """Command line of a process, "" when it is gone."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def with_environment(setting: str) -> list[int]:
    """Processes that have it in their environment, as their children do: "NAME=value"."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if setting.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {timeout_s} s")
        time.sleep(0.02)


def found(folder: Path, pattern: str) -> list[str]:
    """Paths in a folder in which others work: what vanishes meanwhile is not there (Path.glob would raise)."""
    return glob.glob(pattern, root_dir=folder, recursive=True, include_hidden=True)


def not_tested(why: str) -> NoReturn:
    """The test needs what this machine lacks: skipped, and said; under CI, which has all of it, a failure."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
