"""The checkpoints of a run: when one is being written, when it counts, which are kept."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.checkpoint.save import Save, retain
from pipeline.train.engine import Engine
from pipeline.train.metrics import Events
from pipeline.train.state import RunState

logger = logging.getLogger(__name__)


class Checkpoints:
    """At most one is in the making. `state(step, lr)` says what goes into it beside the engine's fragments."""

    def __init__(
        self,
        root: Path,
        keep_last: int,
        engine: Engine,
        state: Callable[[int, float], RunState],
        events: Events,
        newest_step: int | None,
    ) -> None:
        self.root, self.keep_last, self.engine, self.state, self.events = root, keep_last, engine, state, events
        self.newest_step = newest_step
        self._save: Save | None = None
        self._step, self._started = 0, 0.0

    @property
    def is_writing(self) -> bool:
        """Whether this rank's thread is still at work."""
        return self._save is not None and not self._save.is_written()

    def start(self, step: int, lr: float) -> None:
        """Copy what this rank owns and let a thread write it. A collective."""
        self.commit()
        self._step, self._started = step, time.perf_counter()
        self._save = Save(self.root, step, self.engine.fragments(), self.state(step, lr).model_dump(mode="json"))

    def commit(self) -> None:
        """Wait for the one in the making, if any; then it exists, and old ones are removed. A collective."""
        if self._save is None:
            return
        save, self._save = self._save, None
        folder = save.commit()
        self.newest_step = self._step
        seconds = round(time.perf_counter() - self._started, 3)
        logger.info("step %d  checkpoint %s  %.1f s", self._step, folder, seconds)
        removed = self._remove_old() if self.engine.topology.rank == 0 else []
        self.events.record("save", step=self._step, seconds=seconds, removed=removed)

    def _remove_old(self) -> list[int]:
        try:
            return retain(self.root, self.keep_last)
        except OSError as error:  # housekeeping: the next save tries again
            logger.warning("old checkpoints in %s cannot be removed: %s", self.root, error)
            return []
