"""The learning rate at the corners of each schedule, and which parameters decay."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from pipeline.train.config import OptimConfig, ScheduleConfig
from pipeline.train.optim import adamw, param_groups
from pipeline.train.schedule import learning_rate

OPTIM = OptimConfig(lr=1.0, min_lr=0.1)


def curve(steps: int = 100, **schedule: object) -> list[float]:
    config = ScheduleConfig.model_validate(schedule)
    return [learning_rate(OPTIM, config, steps, step) for step in range(steps)]


@pytest.mark.parametrize("name", ["cosine", "linear", "constant", "wsd"])
def test_corners(name: str) -> None:
    decay = {"decay_steps": 20} if name == "wsd" else {}
    rates = curve(name=name, warmup_steps=10, **decay)
    assert rates[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert max(rates) == 1.0
    assert rates[-1] == pytest.approx(1.0 if name == "constant" else 0.1)
    assert all(a >= b for a, b in pairwise(rates[9:]))  # never rises after the warm-up


def test_shapes() -> None:
    assert curve(name="linear")[49] == pytest.approx(0.1 + 0.9 / 2)
    assert curve(name="cosine")[49] == pytest.approx(0.1 + 0.9 / 2)
    assert curve(name="cosine")[24] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    wsd = curve(name="wsd", decay_steps=20)
    assert wsd[:80] == [1.0] * 80
    assert wsd[80] == pytest.approx(1 - 0.9 / 20)
    assert curve(steps=1) == [0.1]
    assert curve(steps=3, warmup_steps=3) == pytest.approx([1 / 3, 2 / 3, 1])


def test_norms_do_not_decay() -> None:
    layer = nn.Sequential(nn.Linear(2, 3, bias=False), nn.RMSNorm(3))
    matrices, vectors = param_groups(layer.named_parameters(), 0.1)
    assert [tuple(p.shape) for p in matrices["params"]] == [(3, 2)]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert len(param_groups(layer[0].named_parameters(), 0.1)) == 1
    optimizer = adamw(layer.named_parameters(), OptimConfig(lr=0.5, weight_decay=0.1))
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)
    before = [p.detach().clone() for p in layer.parameters()]
    optimizer.step()
    after = list(layer.parameters())
    torch.testing.assert_close(after[0], before[0] * (1 - 0.5 * 0.1))
    assert torch.equal(after[1], before[1])
