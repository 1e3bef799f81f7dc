"""Occurrences on a disk that is full: the error says so, and is not one of ours."""

import errno
from pathlib import Path

import numpy as np
import pytest

from pipeline.dedup.passages import occurrences


@pytest.mark.parametrize("num_hashes", [1, 100_000])
def test_a_full_disk_is_named(num_hashes: int) -> None:
    with pytest.raises(OSError, match="No space left") as full:
        occurrences.survey([(bytes(16), np.arange(num_hashes, dtype=np.uint64))], Path("/dev/full"))
    assert full.value.errno == errno.ENOSPC
