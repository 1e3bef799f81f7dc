"""What a run writes about itself, and when it must stop."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

from pipeline.core.errors import PenstockError, UnhealthyNode, UserError
from pipeline.train.health import diverged, lost_rank
from pipeline.train.metrics import EVENTS, METRICS, Events, Metrics, read
from pipeline.train.validate import unigram_entropy


def metrics(folder: Path, first_step: int = 0) -> Metrics:
    return Metrics(folder, first_step, num_steps=10, step_tokens=100, log_every_steps=5, rank=0)


def test_lines_and_formulas(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    written = metrics(tmp_path)
    loss = 0.1 + 0.2  # 0.30000000000000004: written to the last bit
    for step in range(1, 6):
        written.step(step, loss, 2.0, 1e-3, seconds=0.5)
    written.validation(5, math.log(8))
    lines = read(tmp_path / METRICS)
    assert lines[1] == {"step": 2, "loss": loss, "grad_norm": 2.0, "lr": 1e-3, "tokens": 200, "tokens_per_s": 200.0,
                        "seconds": 0.5}  # fmt: skip
    assert lines[5] == {"step": 5, "validation_loss": math.log(8), "validation_perplexity": pytest.approx(8)}
    assert caplog.messages == [
        "step  5/10  loss 0.3000  grad norm 2.000  lr 1.00e-03  200 tokens/s  0.50 s",
        "step  5/10  validation loss 2.0794  perplexity 8.00",
    ]


def test_a_resume_cuts_what_will_be_trained_again(tmp_path: Path) -> None:
    first = metrics(tmp_path)
    for step in range(1, 8):
        first.step(step, 1.0, 1.0, 1.0, 1.0)
        if step % 3 == 0:
            first.validation(step, float(step))
    with open(tmp_path / METRICS, "a") as file:
        file.write('{"step": 8, "lo')  # killed in the middle of a line
    again = metrics(tmp_path, first_step=5)
    assert [line["step"] for line in read(tmp_path / METRICS)] == [1, 2, 3, 3, 4, 5]
    assert again.last_validation == (3, 3.0)
    again.step(6, 1.0, 1.0, 1.0, 1.0)
    assert [line["step"] for line in read(tmp_path / METRICS)] == [1, 2, 3, 3, 4, 5, 6]


def test_only_rank_0_writes(tmp_path: Path) -> None:
    Metrics(tmp_path, 0, 10, 100, 5, rank=1).step(1, 1.0, 1.0, 1.0, 1.0)
    Events(tmp_path, rank=1).record("start")
    assert not list(tmp_path.iterdir())
    Events(tmp_path, rank=0).record("start", step=0)
    event = json.loads((tmp_path / "events.jsonl").read_text())
    assert (event["event"], event["step"]) == ("start", 0)


def test_an_event_after_a_cut_line_is_whole(tmp_path: Path) -> None:
    (tmp_path / EVENTS).write_text('{"event": "start"}\n{"event": "sa')  # the disk was full
    Events(tmp_path, rank=0).record("resume")
    assert [line["event"] for line in read(tmp_path / EVENTS)] == ["start", "resume"]


def test_a_run_that_has_diverged_says_what_to_do() -> None:
    error = diverged(3, math.nan, 1.0, 0.1, 2)
    assert isinstance(error, UserError)
    assert str(error) == (
        "loss nan and gradient norm 1.0 at step 3 (learning rate 1.00e-01): the run has diverged; the newest "
        "checkpoint is that of step 2. Lower optim.lr, or lengthen schedule.warmup_steps"
    )
    assert "there is no checkpoint" in str(diverged(3, math.nan, 1.0, 0.1, None))


def test_a_lost_rank_is_told_from_a_bug() -> None:
    gloo = "[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:62609"
    error = lost_rank(RuntimeError(gloo))
    assert isinstance(error, UnhealthyNode)
    assert str(error) == (
        "another rank died or hangs (connection closed by peer); the same command goes on from the newest checkpoint"
    )
    assert isinstance(lost_rank(RuntimeError("Timed out waiting 4000ms for recv operation to complete")), UnhealthyNode)
    store = lost_rank(dist.DistNetworkError("Failed to recv, got 0 bytes. Connection was likely closed."))
    assert "another rank died or hangs (it does not answer)" in str(store)
    assert lost_rank(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert lost_rank(PenstockError(gloo)) is None


def test_unigram_entropy() -> None:
    assert unigram_entropy(np.array([5, 5, 0, 5, 5])) == pytest.approx(math.log(4))
    assert unigram_entropy(np.array([7, 0])) == 0.0
    assert unigram_entropy(np.array([1, 3])) == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))
