"""Which split is tried next, and which is given up: large ones first, failed ones after a pause, suspects alone.

A worker that dies takes the truth with it: its split may have killed it, or the memory of its neighbours, or a node
that went away. So the last try of such a split is made while nothing else runs. One that kills its worker even then is
poison: given up and named, while all others are done.
"""

import heapq
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace

from pipeline.core.splits import Failure, Split

TRIES = 4
PAUSE_S, MAX_PAUSE_S = 0.2, 30.0  # before the second try; doubled for each further one


class Schedule:
    """The caller tells the time, starts what `next` returns, and says how each attempt ended."""

    def __init__(self, splits: Iterable[Split], tries: int = TRIES) -> None:
        self.attempts: Counter[str] = Counter()
        self.given_up: dict[str, Failure] = {}
        self._tries = tries
        self._waiting = deque(sorted(splits, key=lambda split: (-split.num_bytes, split.id)))
        self._resting: list[tuple[float, str, Split]] = []  # a heap: when the pause is over
        self._suspects: deque[Split] = deque()
        self._running: set[str] = set()
        self._alone = False

    def next(self, now: float) -> Split | None:
        """The split to start now, if there is one; its attempt counts as begun."""
        if self._alone:
            return None
        split = None
        if self._resting and self._resting[0][0] <= now:
            split = heapq.heappop(self._resting)[2]
        elif self._waiting:
            split = self._waiting.popleft()
        elif self._suspects and not self._running and not self._resting:
            split, self._alone = self._suspects.popleft(), True
        if split is not None:
            self.attempts[split.id] += 1
            self._running.add(split.id)
        return split

    def committed(self, split: Split) -> None:
        self._ended(split)

    def failed(self, split: Split, failure: Failure, now: float) -> bool:
        """Whether it will be tried again."""
        self._ended(split)
        if not failure.begun:
            self.attempts[split.id] -= 1
            heapq.heappush(self._resting, (now + PAUSE_S, split.id, split))
            return True
        tried = self.attempts[split.id]
        if not failure.retry or tried >= self._tries:
            if failure.died:
                failure = replace(failure, message=f"{failure.message}, {tried} times, the last time alone")
            self.given_up[split.id] = failure
            if failure.user_mistake:  # a full disk fails every other split too
                for others in (self._waiting, self._resting, self._suspects):
                    others.clear()
            return False
        if failure.died and tried == self._tries - 1:
            self._suspects.append(split)
        else:
            heapq.heappush(self._resting, (now + min(MAX_PAUSE_S, PAUSE_S * 2 ** (tried - 1)), split.id, split))
        return True

    def is_done(self) -> bool:
        return not (self._waiting or self._resting or self._suspects or self._running)

    def _ended(self, split: Split) -> None:
        self._running.discard(split.id)
        self._alone = False
