"""`python -m tests.bench` where the real corpora are not."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REAL_DATA
from tests.processes import ROOT


@pytest.mark.parametrize(("folder", "why"), [("", "is not set"), ("/nowhere", "=/nowhere is not a folder")])
def test_benches_without_their_corpora_are_skipped_and_say_so(folder: str, why: str) -> None:
    told = (ROOT / "tests/bench/results.json").read_bytes()
    done = subprocess.run([sys.executable, "-m", "tests.bench", "pii", "wikipedia"], cwd=ROOT, capture_output=True,
                          text=True, check=True, env=os.environ | {REAL_DATA: folder})  # fmt: skip
    shown = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert [line.split(":")[0] for line in shown] == ["SKIPPED bench pii", "SKIPPED bench wikipedia"]
    assert all(REAL_DATA in line and why in line for line in shown)
    assert (ROOT / "tests/bench/results.json").read_bytes() == told
