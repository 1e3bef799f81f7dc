"""What a bench says: a measured value, what it is compared with, and the bound that was promised; its real corpora."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REAL_DATA


@dataclass(frozen=True)
class Row:
    what: str
    value: float
    unit: str  # "x": a ratio against the peer, same work, same run; else "MB/s", "ms", "GiB", ...
    bound: float
    at_most: bool = False  # the bound is an upper one: memory, overhead
    peer: str = ""  # who was measured beside us, with its version
    detail: str = ""  # both sides in absolute figures, the data, the number of rounds

    @property
    def holds(self) -> bool:
        return self.value <= self.bound if self.at_most else self.value >= self.bound


class NoRealData(Exception):
    """A bench cannot run here; says why."""


def real_data() -> Path:
    """The folder of real corpora; raises NoRealData."""
    folder = os.environ.get(REAL_DATA, "")
    if not Path(folder or "/dev/null").is_dir():
        raise NoRealData(f"{REAL_DATA}={folder} is not a folder" if folder else f"{REAL_DATA} is not set")
    return Path(folder)
