"""Progress for people: a bar on a terminal, a plain line every few seconds elsewhere."""

import logging
import sys
import time
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger(__name__)

LINE_EVERY_S = 10.0


class Bar:
    """`with Bar("clean", total=12, unit="splits") as bar: bar.advance(1, note="4,211 documents")`."""

    def __init__(self, label: str, total: int, unit: str, done: int = 0) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, done
        self._last_line = time.monotonic()
        self._rich: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
                       TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
            self._rich = Progress(*columns, transient=True)
            self._task = self._rich.add_task(label, total=total, completed=done, note="")

    def __enter__(self) -> "Bar":
        if self._rich:
            self._rich.start()
        return self

    def advance(self, by: int = 1, note: str = "") -> None:
        self.done += by
        if self._rich:
            self._rich.update(self._task, completed=self.done, note=note)
        elif time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            logger.info("%s: %d of %d %s  %s", self.label, self.done, self.total, self.unit, note)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._rich:
            self._rich.stop()
