"""The passages stage while its processes are killed with -9, and while its disk is full: the rerun has the same bytes.

The stage stands alone here, on a local Ray of two workers, over documents in which each of its three filters finds
something; tests/faults does the like to the whole of prepare.
"""

import json
import random
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core.ledger import Ledger
from pipeline.core.manifest import verify
from tests.dedup.documents import docstrings, documents, write_stage
from tests.processes import ROOT, found, kill, not_tested, started, wait_for
from tests.ray_cluster import workers_below

pytestmark = pytest.mark.slow

MOMENTS = 3
NUM_SPLITS = 3 * (6 + 1) + 6  # of three first passes with a merge each, and of the stage
NOTICE = "This story was produced by the agency and may not be published elsewhere."
SCRIPT = """
import json, sys
from pathlib import Path
from pipeline.core.errors import PenstockError
from pipeline.core.shard_map import Workers
from pipeline.dedup.passages.run import PassagesConfig, run
config, before, root = PassagesConfig.model_validate(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
try:
    with Workers(2) as workers:
        run(config, before, root, workers)
except PenstockError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dedup folder of six files; every text has the notice, two of three share passages, one has an item."""
    root, rng = tmp_path_factory.mktemp("before"), random.Random(0)
    texts = list(docstrings(400)) * 2
    rng.shuffle(texts)
    rows = documents("web", [f"{number} {text}\n\n{NOTICE}" for number, text in enumerate(texts)])
    return write_stage(root, {f"web-{number:05d}": rows[number::6] for number in range(6)}, "dedup")


@pytest.fixture(scope="module")
def undisturbed(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(command(before, root), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder_in(root)


def command(before: Path, root: Path) -> list[str]:
    quiz = before.parent / "quiz.jsonl"
    if not quiz.exists():
        quiz.write_text(json.dumps({"ask": " ".join(docstrings(400)[0].split()[:40])}))
    section = {"decontaminate": {"sets": [str(quiz)]}, "lines": {"keep": "none"}, "substrings": {}}
    return [sys.executable, "-c", SCRIPT, json.dumps(section), str(before), str(root)]


def folder_in(root: Path) -> Path:
    (folder,) = root.glob("passages-*")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def require_same(root: Path, undisturbed: Path, before: Path) -> None:
    folder = folder_in(root)
    assert tree(folder) == tree(undisturbed)
    assert verify(folder) == []
    fates = Ledger({"dedup": before, "passages": folder}).fates()
    assert len(fates) == len({fate.doc_id for fate in fates}) == 2 * len(docstrings(400))
    assert not [path for path in folder.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]


def test_each_filter_has_work(undisturbed: Path, before: Path) -> None:
    fates = Ledger({"dedup": before, "passages": undisturbed}).fates()
    told = " ".join(f"{fate.reason} {fate.detail}" for fate in fates)
    assert all(name in told for name in ("decontaminated", "repeated_lines", "repeated_passages")), told[:500]


@pytest.mark.parametrize("seed", range(MOMENTS))
@pytest.mark.parametrize("victim", ["worker", "driver"])
def test_killed_at_a_random_moment(victim: str, seed: int, undisturbed: Path, before: Path, tmp_path: Path) -> None:
    """A moment is so many committed splits and a part of the next one: load plays no part."""
    rng = random.Random(f"{victim} {seed}")
    num_committed = rng.randrange(NUM_SPLITS - 2)
    with started(command(before, tmp_path), tmp_path / "log") as driver:
        wait_for(lambda: len(found(tmp_path, "**/receipts/*.json")) >= num_committed, 120, "so many splits")
        wait_for(lambda: found(tmp_path, "**/.attempt-*"), 120, "an attempt")
        time.sleep(rng.uniform(0, 0.05))
        assert driver.poll() is None
        assert kill(driver.pid if victim == "driver" else rng.choice(workers_below(driver.pid)))
        ended = driver.wait(timeout=200)
    if victim == "worker":
        assert ended == 0, (tmp_path / "log").read_text()
    else:
        again = subprocess.run(command(before, tmp_path), cwd=ROOT, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
    require_same(tmp_path, undisturbed, before)


def test_full_disk_is_one_line_and_the_rerun_completes(undisturbed: Path, before: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        not_tested("no user namespaces here: a full disk in passages is NOT tested in this run")
    root, whole = tmp_path / "small", tmp_path / "whole"
    root.mkdir()
    run = shlex.join(command(before, root))
    script = f"""
        mount -t tmpfs -o size=100k none {root} && {run}; code=$?
        find {root} -name '.attempt*'
        mount -o remount,size=200m {root} && {run} && cp -r {root} {whole} && exit $code
    """
    separate = ["unshare", "-Urm", "sh", "-c", script]
    done = subprocess.run(separate, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no room left on the disk" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    require_same(whole, undisturbed, before)
