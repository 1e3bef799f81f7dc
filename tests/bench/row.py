"""What a bench says: a measured value, what it is compared with, and the bound that was promised."""

from dataclasses import dataclass


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
