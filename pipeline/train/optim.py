"""The optimizer: AdamW, with weight decay on matrices only."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from pipeline.train.config import OptimConfig


def param_groups(named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norm weights do not, as that would pull a layer's output to 0. Empty groups are left out."""
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for _, parameter in named:
        (vectors if parameter.dim() == 1 else matrices).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def adamw(named: Iterable[tuple[str, nn.Parameter]], config: OptimConfig) -> torch.optim.Optimizer:
    """torch's own, which DeepSpeed then wraps: its "AdamW" would be compiled on first use (44 s, needs ninja)."""
    groups = param_groups(named, config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
