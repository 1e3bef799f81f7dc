"""What a stage tells while it runs: a bar or lines for people, and below OUT two files for programs.

    OUT/progress.json          now: splits, documents, bytes, rates, seconds to go, what runs; replaced every second
    OUT/events/<stage>.jsonl   every attempt: started, committed (where), failed (why, and whether it is tried again)

Rates are of this run alone: what an earlier one committed is in `done`, not in the rates. Neither file is part of an
artifact: they hold clocks.
"""

import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pipeline.core.progress import Bar
from pipeline.core.splits import Failure, Receipt, Split

PROGRESS, EVENTS = "progress.json", "events"
WRITE_EVERY_S = 1.0


class StageLog:
    """`with StageLog("clean", todo, num_done=3, folder=out) as log: log.started(split, 1)`; no folder, no files."""

    def __init__(self, label: str, todo: Sequence[Split], num_done: int, folder: Path | None) -> None:
        self._label, self._folder = label, folder
        self._file: IO[str] | None = None
        self._bar = Bar(label, total=num_done + len(todo), unit="splits", done=num_done)
        self._todo = {split.id: split.num_bytes for split in todo}
        self._bytes_left = sum(self._todo.values())
        self._running: dict[str, tuple[float, int]] = {}  # since when, which attempt
        self._splits, self._documents, self._bytes, self._failed, self._retries = num_done, 0, 0, 0, 0
        self._begun, self._written = time.monotonic(), 0.0

    def __enter__(self) -> "StageLog":
        self._bar.__enter__()
        if self._folder is not None:
            (self._folder / EVENTS).mkdir(exist_ok=True)
            name = re.sub(r"\W+", "-", self._label)
            path = self._folder / EVENTS / f"{name}.jsonl"
            self._file = open(path, "a", encoding="utf-8", buffering=1)
        self._write()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._write()
        finally:
            if self._file is not None:
                self._file.close()
            self._bar.__exit__(kind, error, at)

    def started(self, split: Split, attempt: int) -> None:
        self._running[split.id] = (time.monotonic(), attempt)
        self._event("started", split, attempt=attempt)

    def committed(self, split: Split, receipt: Receipt, node: str) -> None:
        since, attempt = self._running.pop(split.id)
        documents = receipt.counts.get("in", 0)
        self._splits += 1
        self._documents += documents
        num_bytes = self._todo.pop(split.id)
        self._bytes += num_bytes
        self._bytes_left -= num_bytes
        self._event("committed", split, attempt=attempt, node=node, seconds=_since(since), documents=documents)
        self._bar.advance(note=self._note())
        self.tick()

    def failed(self, split: Split, failure: Failure, node: str, again: bool) -> None:
        since, attempt = self._running.pop(split.id)
        self._retries += again
        self._failed += not again
        self._event("failed", split, attempt=attempt, node=node, seconds=_since(since), message=failure.message,
                    again=again)  # fmt: skip

    def tick(self) -> None:
        """Call it now and then: progress.json is written at most once a second."""
        if time.monotonic() - self._written >= WRITE_EVERY_S:
            self._write()

    def told(self) -> dict[str, Any]:
        """What progress.json says. `eta_s` goes by bytes, or by splits where no split says its size."""
        passed = max(1e-9, time.monotonic() - self._begun)
        left = self._bytes_left
        done, rest = (self._bytes, left) if self._bytes + left else (self._splits, len(self._todo))
        return {
            "stage": self._label,
            "splits": self._splits + len(self._todo),
            "done": self._splits,
            "failed": self._failed,
            "retries": self._retries,
            "documents": self._documents,
            "documents_per_s": round(self._documents / passed, 1),
            "bytes": self._bytes,
            "bytes_left": left,
            "mb_per_s": round(self._bytes / passed / 1e6, 3),
            "seconds": round(passed, 1),
            "eta_s": round(rest * passed / done, 1) if done else None,
            "running": {name: {"attempt": n, "seconds": _since(at)} for name, (at, n) in sorted(self._running.items())},
            "time": time.time(),
        }

    def _note(self) -> str:
        told = self.told()
        rates = [f"{told['documents_per_s']:,.0f} documents/s"] if told["documents"] else []
        rates += [f"{told['mb_per_s']:,.1f} MB/s"] if told["bytes"] else []
        rates += [f"{told['eta_s']:,.0f} s to go"] if told["eta_s"] is not None else []
        return "  ".join(rates)

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._folder is not None:  # not synced: who reads it wants it soon, not for ever
            new = self._folder / f".{PROGRESS}"
            try:
                new.write_text(json.dumps(self.told(), indent=1) + "\n", encoding="utf-8")
                os.replace(new, self._folder / PROGRESS)
            finally:
                new.unlink(missing_ok=True)

    def _event(self, event: str, split: Split, **facts: Any) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"time": time.time(), "event": event, "split": split.id} | facts) + "\n")


def _since(moment: float) -> float:
    return round(time.monotonic() - moment, 3)
