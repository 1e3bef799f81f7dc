"""The parameters by their logical names: which there are, their shapes, and what they are called in Hugging Face.

A logical name says what a weight does and nothing about where it lies: not its pipeline stage, not its tensor-parallel
shard, not the library that computes with it. Checkpoints store logical names; `reference.py` computes with them.

    name                               shape                         initial value
    embedding.weight                   [V, H]                        normal(init_std)
    layers.3.attention_norm.weight     [H]                           1
    layers.3.attention.qkv.weight      [G (Q + 2) D, H]              normal(init_std)
    layers.3.attention.q_norm.weight   [D]        with qk_norm       1
    layers.3.attention.k_norm.weight   [D]        with qk_norm       1
    layers.3.attention.output.weight   [H, N D]                      normal(init_std / sqrt(2 L))
    layers.3.mlp_norm.weight           [H]                           1
    layers.3.mlp.gate_up.weight        [2 F, H]                      normal(init_std)
    layers.3.mlp.down.weight           [H, F]                        normal(init_std / sqrt(2 L))
    final_norm.weight                  [H]                           1
    head.weight                        [V, H]     unless tied        normal(init_std)

V vocabulary, padded; H hidden size; L layers; N query heads; G key/value heads; Q = N / G; D = H / N; F MLP width.

Two weights are packed as megatron-core computes with them:
- qkv: one group of rows per key/value head, [q_0 .. q_(Q-1), k, v], each D rows. Query head g Q + j is q_j of group g.
  A plain split of its rows is the tensor-parallel split.
- gate_up: F rows of gate above F rows of up. Tensor parallelism splits the two halves separately.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline.model.config import ModelConfig

if TYPE_CHECKING:
    from torch import Tensor


def shapes(config: ModelConfig, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Every parameter and its whole shape, from input to output; `vocab_size` is the tokenizer's (unpadded)."""
    hidden, head, vocab = config.hidden_size, config.head_size, config.padded_vocab(vocab_size)
    found: dict[str, tuple[int, ...]] = {"embedding.weight": (vocab, hidden)}
    for i in range(config.num_layers):
        layer = f"layers.{i}"
        found[f"{layer}.attention_norm.weight"] = (hidden,)
        found[f"{layer}.attention.qkv.weight"] = ((config.num_heads + 2 * config.num_kv_heads) * head, hidden)
        if config.qk_norm:
            found[f"{layer}.attention.q_norm.weight"] = (head,)
            found[f"{layer}.attention.k_norm.weight"] = (head,)
        found[f"{layer}.attention.output.weight"] = (hidden, config.num_heads * head)
        found[f"{layer}.mlp_norm.weight"] = (hidden,)
        found[f"{layer}.mlp.gate_up.weight"] = (2 * config.ffn_size, hidden)
        found[f"{layer}.mlp.down.weight"] = (hidden, config.ffn_size)
    found["final_norm.weight"] = (hidden,)
    if not config.tied:
        found["head.weight"] = (vocab, hidden)
    return found


def num_parameters(config: ModelConfig, vocab_size: int) -> int:
    """All of them, the padding of the vocabulary included."""
    return sum(math.prod(shape) for shape in shapes(config, vocab_size).values())


def split_qkv(config: ModelConfig, qkv: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
    """The packed weight [G (Q + 2) D, H] as those of queries [N D, H], keys and values [G D, H], heads in order."""
    groups, per_group = config.num_kv_heads, config.num_heads // config.num_kv_heads
    grouped = qkv.view(groups, per_group + 2, config.head_size, qkv.shape[-1])
    q, k, v = grouped[:, :per_group], grouped[:, per_group], grouped[:, per_group + 1]
    return tuple(part.reshape(-1, qkv.shape[-1]) for part in (q, k, v))  # type: ignore[return-value]


def to_huggingface(
    config: ModelConfig, vocab_size: int, tensor: "Callable[[str], Tensor]"
) -> "Iterator[tuple[str, Tensor]]":
    """The weights as `LlamaForCausalLM` (`Qwen3ForCausalLM` with qk_norm) names and shapes them, one at a time.

    `tensor(name)` gives a whole parameter by its logical name. Rows of the vocabulary beyond `vocab_size` are dropped;
    a tied head has no weight of its own. RoPE needs no change: both rotate the two halves of a head.
    """
    yield "model.embed_tokens.weight", tensor("embedding.weight")[:vocab_size]
    for i in range(config.num_layers):
        ours, theirs = f"layers.{i}", f"model.layers.{i}"
        yield f"{theirs}.input_layernorm.weight", tensor(f"{ours}.attention_norm.weight")
        q, k, v = split_qkv(config, tensor(f"{ours}.attention.qkv.weight"))
        yield f"{theirs}.self_attn.q_proj.weight", q
        yield f"{theirs}.self_attn.k_proj.weight", k
        yield f"{theirs}.self_attn.v_proj.weight", v
        if config.qk_norm:
            yield f"{theirs}.self_attn.q_norm.weight", tensor(f"{ours}.attention.q_norm.weight")
            yield f"{theirs}.self_attn.k_norm.weight", tensor(f"{ours}.attention.k_norm.weight")
        yield f"{theirs}.self_attn.o_proj.weight", tensor(f"{ours}.attention.output.weight")
        yield f"{theirs}.post_attention_layernorm.weight", tensor(f"{ours}.mlp_norm.weight")
        gate, up = tensor(f"{ours}.mlp.gate_up.weight").chunk(2)
        yield f"{theirs}.mlp.gate_proj.weight", gate
        yield f"{theirs}.mlp.up_proj.weight", up
        yield f"{theirs}.mlp.down_proj.weight", tensor(f"{ours}.mlp.down.weight")
    yield "model.norm.weight", tensor("final_norm.weight")
    if not config.tied:
        yield "lm_head.weight", tensor("head.weight")[:vocab_size]
