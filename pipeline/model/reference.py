"""The definition of the model, in plain PyTorch on one device: tokens and whole weights in, logits out.

`decoder.py` computes the same with megatron-core's sharded layers; tests/model compares the two, values and gradients.
The weights are a mapping from the logical names of `weights.py`, where the packing of qkv and gate_up is written down.

Shapes: B batch, S sequence, H hidden size, N query heads, G key/value heads, D head size, V vocabulary (unpadded).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.model.config import ModelConfig
from pipeline.model.weights import split_qkv

Weights = Mapping[str, Tensor]


def logits(config: ModelConfig, weights: Weights, tokens_BS: Tensor, vocab_size: int) -> Tensor:
    """[B, S, V]: at each position the scores of the next token."""
    x_BSH = F.embedding(tokens_BS, weights["embedding.weight"])
    rotation_SD = rotary(config, tokens_BS.shape[1]).to(x_BSH.device)
    for i in range(config.num_layers):
        layer = f"layers.{i}"
        x_BSH = x_BSH + attention(
            config, weights, f"{layer}.attention", norm(config, weights, f"{layer}.attention_norm", x_BSH), rotation_SD
        )
        x_BSH = x_BSH + mlp(weights, f"{layer}.mlp", norm(config, weights, f"{layer}.mlp_norm", x_BSH))
    x_BSH = norm(config, weights, "final_norm", x_BSH)
    head_VH = weights["embedding.weight" if config.tied else "head.weight"][:vocab_size]
    return x_BSH @ head_VH.T


def loss(config: ModelConfig, weights: Weights, tokens_BS: Tensor, labels_BS: Tensor, vocab_size: int) -> Tensor:
    """Mean cross entropy over all tokens, in nats; `labels` are the tokens one position on."""
    scores_BSV = logits(config, weights, tokens_BS, vocab_size).float()
    return F.cross_entropy(scores_BSV.flatten(0, 1), labels_BS.flatten())


def norm(config: ModelConfig, weights: Weights, name: str, x: Tensor) -> Tensor:
    """RMSNorm over the last dimension."""
    weight = weights[f"{name}.weight"]
    return F.rms_norm(x, weight.shape, weight, config.norm_eps)


def attention(config: ModelConfig, weights: Weights, name: str, x_BSH: Tensor, rotation_SD: Tensor) -> Tensor:
    """Causal grouped-query attention: query head n attends with key/value head n // (N / G)."""
    q_BNSD, k_BGSD, v_BGSD = (
        (x_BSH @ weight.T).unflatten(-1, (-1, config.head_size)).transpose(1, 2)
        for weight in split_qkv(config, weights[f"{name}.qkv.weight"])
    )
    if config.qk_norm:
        q_BNSD = norm(config, weights, f"{name}.q_norm", q_BNSD)
        k_BGSD = norm(config, weights, f"{name}.k_norm", k_BGSD)
    q_BNSD, k_BGSD = rotate(q_BNSD, rotation_SD), rotate(k_BGSD, rotation_SD)
    o_BNSD = F.scaled_dot_product_attention(q_BNSD, k_BGSD, v_BGSD, is_causal=True, enable_gqa=True)
    return o_BNSD.transpose(1, 2).flatten(2) @ weights[f"{name}.output.weight"].T


def mlp(weights: Weights, name: str, x_BSH: Tensor) -> Tensor:
    """SwiGLU: down(silu(gate(x)) * up(x))."""
    gate, up = (x_BSH @ weights[f"{name}.gate_up.weight"].T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ weights[f"{name}.down.weight"].T


def rotary(config: ModelConfig, seq_len: int) -> Tensor:
    """Angles [S, D] of the rotary embedding (arXiv 2104.09864); the second half of a head repeats the first."""
    rate = config.rope_theta ** -(torch.arange(0, config.head_size, 2).float() / config.head_size)
    angles = torch.outer(torch.arange(seq_len).float(), rate)
    return torch.cat((angles, angles), dim=-1)


def rotate(x: Tensor, rotation_SD: Tensor) -> Tensor:
    """Turn each pair (x_i, x_(i + D/2)) by its angle."""
    first, second = x.chunk(2, dim=-1)
    return x * rotation_SD.cos().to(x.dtype) + torch.cat((-second, first), dim=-1) * rotation_SD.sin().to(x.dtype)
