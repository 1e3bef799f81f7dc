import json
import logging
from pathlib import Path

import pytest

from pipeline.core import progress
from pipeline.core.splits import Failure, Receipt, Split
from pipeline.core.stage_log import StageLog


def test_progress_and_events_say_what_happened(tmp_path: Path) -> None:
    splits = [Split("a", None, 3_000_000), Split("b", None, 1_000_000)]
    with StageLog("dedup: sign", splits, num_done=2, folder=tmp_path) as log:
        assert read(tmp_path)["eta_s"] is None, "nothing is known yet"
        for split in splits:
            log.started(split, 1)
        log.failed(splits[0], Failure("the worker died"), "", again=True)
        log.started(splits[0], 2)
        log.committed(splits[1], Receipt("b", {"in": 40}, ()), "node1")
        told = log.told()
        assert {name: told[name] for name in ("splits", "done", "failed", "retries", "documents", "bytes")} == {
            "splits": 4, "done": 3, "failed": 0, "retries": 1, "documents": 40, "bytes": 1_000_000
        }  # fmt: skip
        assert told["eta_s"] == pytest.approx(3 * told["seconds"], abs=0.3), "three times the bytes are left"
        assert list(told["running"]) == ["a"]
        assert told["running"]["a"]["attempt"] == 2
        log.committed(splits[0], Receipt("a", {"in": 2}, ()), "node1")
    assert read(tmp_path)["done"] == 4
    lines = (tmp_path / "events" / "dedup-sign.jsonl").read_text().splitlines()
    assert [(event["event"], event["split"], event["attempt"]) for event in map(json.loads, lines)] == [
        ("started", "a", 1), ("started", "b", 1), ("failed", "a", 1), ("started", "a", 2), ("committed", "b", 1),
        ("committed", "a", 2),
    ]  # fmt: skip
    assert not list(tmp_path.glob(".*"))


def test_lines_tell_rates_and_the_time_to_go(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    caplog.set_level(logging.INFO)
    splits = [Split("a", None, 3_000_000), Split("b", None, 1_000_000)]
    with StageLog("clean", splits, num_done=0, folder=None) as log:
        log.started(splits[1], 1)
        log.committed(splits[1], Receipt("b", {"in": 40}, ()), "node1")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("clean: 1 of 2 splits")
    assert "documents/s" in line
    assert "MB/s" in line
    assert line.endswith("s to go")


def read(folder: Path) -> dict:
    return json.loads((folder / "progress.json").read_text())
