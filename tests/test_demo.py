"""The whole way, as `make demo` runs it: real ranks killed and resumed, a real export, a real fine-tuned model."""

import json
import re
from pathlib import Path

import pytest

from tests.processes import penstock

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(folder, what it printed)"""
    out = tmp_path_factory.mktemp("demo") / "demo"
    done = penstock("demo", "--out", out, timeout_s=900, COLUMNS="200")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out, done.stdout + done.stderr


def test_a_rank_is_killed_and_the_run_goes_on_in_another_layout(demo: tuple[Path, str]) -> None:
    out, printed = demo
    events = [json.loads(line) for line in (out / "run" / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] != "save"] == ["start", "resume", "finish"]
    start, resume = (event for event in events if event["event"] in ("start", "resume"))
    assert start["layout"].startswith("tp 2 x pp 1")
    assert resume["layout"].startswith("tp 1 x pp 2")
    assert resume["step"] > 0
    assert "$ kill -9 " in printed
    metrics = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics if "loss" in line] == list(range(1, 201)), "each step once"


def test_the_loss_ends_clearly_below_the_unigram_entropy(demo: tuple[Path, str]) -> None:
    summary = json.loads((demo[0] / "run" / "summary.json").read_text())
    assert summary["validation_loss"] < summary["unigram_entropy"] - 0.5


def test_the_classifier_beats_the_majority(demo: tuple[Path, str]) -> None:
    results = json.loads((demo[0] / "classification" / "results.json").read_text())["tasks"]["classification"]
    assert results["accuracy"] > 2 * results["majority_accuracy"]


def test_the_table_names_every_stage(demo: tuple[Path, str]) -> None:
    table = demo[1].rpartition("The whole way")[2]
    stages = [
        "sample",
        "prepare",
        "pretrain tp=2",
        "pretrain pp=2",
        "export",
        "finetune",
        "evaluate",
        "generate",
        "total",
    ]
    assert [stage for stage in stages if f"│ {stage} " not in table] == []


def test_a_second_demo_skips_what_is_done(demo: tuple[Path, str]) -> None:
    again = penstock("demo", "--out", demo[0], timeout_s=300)
    assert again.returncode == 0, again.stderr
    skipped = re.findall(r"^(\w+) +done already", again.stderr, flags=re.MULTILINE)
    assert skipped == ["sources", "clean", "dedup", "tokenizer", "shards"]
    assert "is finished: step 200 of 200" in again.stderr
    assert "kill -9" not in again.stdout


def test_fresh_removes_nothing_but_a_demo(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    refused = penstock("demo", "--out", tmp_path, "--fresh")
    assert refused.returncode == 2
    assert "is not an earlier demo" in refused.stderr
    assert (tmp_path / "thesis.txt").exists()
