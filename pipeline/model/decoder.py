"""The model of `reference.py` as megatron-core tensor-parallel layers; each class here is one pipeline layer.

1. Embedding   tokens [B, S]          -> [S, B, H]
2. Block x L   [S, B, H]              -> [S, B, H]
3. FinalNorm   [S, B, H]              -> [S, B, H]
4. Head        [S, B, H]              -> logits [S, B, V/tp]    (tied: the embedding again)

Under sequence parallelism S is S/tp from 1 to 3. A layer takes one tensor and gives one, as a pipeline wants it.

What must hold, and is tested: the same numbers at any tp, pp and dp. So the initial weights are drawn whole and then
cut; and a weight that every tensor rank holds (a norm), but which saw only some of the tokens or heads there, has its
gradient summed over the ranks: DeepSpeed does not run megatron-core's finalize_model_grads, and nothing would complain.

Shapes: S sequence, B micro batch, H hidden size, N heads, G key/value heads, D head size, V padded vocabulary.
"""

import re
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.core.seeds import derive
from pipeline.model.config import ModelConfig
from pipeline.model.topology import importing_megatron

with importing_megatron():
    from megatron.core import parallel_state, tensor_parallel
    from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
    from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
    from megatron.core.tensor_parallel.mappings import (
        copy_to_tensor_model_parallel_region,
        gather_from_tensor_model_parallel_region,
    )
    from megatron.core.transformer import TransformerConfig
    from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
    from megatron.core.transformer.enums import AttnMaskType
    from megatron.core.transformer.identity_op import IdentityOp
    from megatron.core.transformer.mlp import MLP, MLPSubmodules
    from megatron.core.transformer.spec_utils import ModuleSpec
    from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules


def transformer_config(config: ModelConfig, tp: int, sequence_parallel: bool, dtype: torch.dtype) -> TransformerConfig:
    """What megatron-core's layers want to know. pipeline_model_parallel_size stays 1: DeepSpeed numbers the layers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="full scope is deprecated")  # about its own default
        return TransformerConfig(
            num_layers=config.num_layers,
            hidden_size=config.hidden_size,
            num_attention_heads=config.num_heads,
            num_query_groups=config.num_kv_heads,
            ffn_hidden_size=config.ffn_size,
            normalization="RMSNorm",
            layernorm_epsilon=config.norm_eps,
            gated_linear_unit=True,
            activation_func=F.silu,
            add_bias_linear=False,
            init_method_std=config.init_std,
            tensor_model_parallel_size=tp,
            sequence_parallel=sequence_parallel,
            # Draw the whole weight and cut it: the same numbers at any tp.
            use_cpu_initialization=True,
            perform_initialization=True,
            # Dropout would need megatron-core's CUDA random number tracker.
            hidden_dropout=0.0,
            attention_dropout=0.0,
            params_dtype=dtype,
            pipeline_dtype=dtype,
            bf16=dtype is torch.bfloat16,
            attention_softmax_in_fp32=False,
            # Kernels of Transformer Engine, Apex and CUDA.
            bias_activation_fusion=False,
            bias_dropout_fusion=False,
            masked_softmax_fusion=False,
            apply_rope_fusion=False,
            gradient_accumulation_fusion=False,
            persist_layer_norm=False,
        )


def seed_layer(seed: int, index: int) -> None:
    """Called before layer `index` is built: initial weights depend on the run's seed and the layer alone."""
    torch.manual_seed(derive(seed, "layer", index))


class RMSNorm(nn.Module):
    """megatron-core's WrappedTorchNorm refuses sequence parallelism; and see "What must hold" above."""

    partial_over_heads = False

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        self.eps, self.shape = eps, (hidden_size,)
        self.sum_gradient = config.sequence_parallel or self.partial_over_heads

    def forward(self, x: Tensor) -> Tensor:
        # identity forward, all-reduce over tp backward
        weight = copy_to_tensor_model_parallel_region(self.weight) if self.sum_gradient else self.weight
        return F.rms_norm(x, self.shape, weight, self.eps)


class HeadRMSNorm(RMSNorm):
    """Over one head of q or k. Every tensor rank has its own heads, so the gradient is always partial."""

    partial_over_heads = True


class Attention(nn.Module):
    """Causal attention of one rank's heads; megatron-core's own forks a CUDA random state even without dropout."""

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        softmax_scale: float | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self.scale = softmax_scale

    def forward(self, q_SBND: Tensor, k_SBGD: Tensor, v_SBGD: Tensor, *_: Any, **__: Any) -> Tensor:
        q_BNSD, k_BGSD, v_BGSD = (t.permute(1, 2, 0, 3) for t in (q_SBND, k_SBGD, v_SBGD))
        grouped = q_BNSD.shape[1] != k_BGSD.shape[1]
        o_BNSD = F.scaled_dot_product_attention(
            q_BNSD, k_BGSD, v_BGSD, is_causal=True, scale=self.scale, enable_gqa=grouped
        )
        return o_BNSD.permute(2, 0, 1, 3).flatten(2)


def block_parts(qk_norm: bool) -> TransformerLayerSubmodules:
    """The modules of one decoder layer, without Transformer Engine and Apex."""
    head_norm = HeadRMSNorm if qk_norm else IdentityOp
    attention = SelfAttentionSubmodules(
        linear_qkv=tensor_parallel.ColumnParallelLinear,
        core_attention=Attention,
        linear_proj=tensor_parallel.RowParallelLinear,
        q_layernorm=head_norm,
        k_layernorm=head_norm,
    )
    mlp = MLPSubmodules(linear_fc1=tensor_parallel.ColumnParallelLinear, linear_fc2=tensor_parallel.RowParallelLinear)
    return TransformerLayerSubmodules(
        input_layernorm=RMSNorm,
        self_attention=ModuleSpec(SelfAttention, params={"attn_mask_type": AttnMaskType.causal}, submodules=attention),
        self_attn_bda=get_bias_dropout_add,
        pre_mlp_layernorm=RMSNorm,
        mlp=ModuleSpec(MLP, submodules=mlp),
        mlp_bda=get_bias_dropout_add,
    )


class Embedding(nn.Module):
    """Tokens (integers) -> hidden; when tied also hidden (floats) -> logits. `vocab` is padded."""

    def __init__(self, config: TransformerConfig, vocab: int) -> None:
        super().__init__()
        self.config = config
        self.word = tensor_parallel.VocabParallelEmbedding(
            vocab,
            config.hidden_size,
            init_method=config.init_method,
            config=config,
            reduce_scatter_embeddings=config.sequence_parallel,
        )

    @property
    def weight(self) -> Tensor:  # the attribute that TiedLayerSpec shares between stages
        return self.word.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) if x.is_floating_point() else self.embed(x)

    def embed(self, tokens_BS: Tensor) -> Tensor:
        hidden = self.word(tokens_BS)  # sequence parallel: reduce-scattered, already [S/tp, B, H]
        return hidden if self.config.sequence_parallel else hidden.transpose(0, 1).contiguous()

    def head(self, x_SBH: Tensor) -> Tensor:
        sequence_parallel = self.config.sequence_parallel
        return tensor_parallel.linear_with_grad_accumulation_and_async_allreduce(
            x_SBH.contiguous(),
            self.weight,
            None,
            False,
            sequence_parallel=sequence_parallel,
            allreduce_dgrad=self.config.tensor_model_parallel_size > 1 and not sequence_parallel,
            tp_group=parallel_state.get_tensor_model_parallel_group(),
        )


class Block(nn.Module):
    """One decoder layer. The rotary embedding sits inside, so that the layer needs one input only."""

    def __init__(self, config: TransformerConfig, number: int, seq_len: int, rope_theta: float, qk_norm: bool) -> None:
        super().__init__()
        self.layer = TransformerLayer(config, block_parts(qk_norm), layer_number=number)  # counts from 1
        self.rope = RotaryEmbedding(config.kv_channels, 1.0, rotary_base=rope_theta, use_cpu_initialization=True)
        self.seq_len = seq_len

    def forward(self, x_SBH: Tensor) -> Tensor:
        return self.layer(x_SBH, attention_mask=None, rotary_pos_emb=self.rope(self.seq_len))[0]


class FinalNorm(RMSNorm):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config, config.hidden_size, config.layernorm_epsilon)


class Head(nn.Module):
    """The output head of an untied model; `vocab` is padded."""

    def __init__(self, config: TransformerConfig, vocab: int) -> None:
        super().__init__()
        self.proj = tensor_parallel.ColumnParallelLinear(
            config.hidden_size, vocab, config=config, init_method=config.init_method, bias=False, gather_output=False
        )

    def forward(self, x_SBH: Tensor) -> Tensor:
        return self.proj(x_SBH)[0]


def token_loss(logits_SBV: Tensor, labels_BS: Tensor, vocab_size: int) -> Tensor:
    """Mean cross entropy in nats over all tokens of the micro batch; the softmax runs over the tensor ranks.

    The rows that only pad the vocabulary are left out of the softmax: the exported model has no such rows, and its
    perplexity must be ours.
    """
    logits_SBV = logits_SBV.float()
    width = logits_SBV.shape[-1]
    real = vocab_size - parallel_state.get_tensor_model_parallel_rank() * width  # columns here that are tokens
    if real < width:
        padding_V = torch.arange(width, device=logits_SBV.device) >= real
        logits_SBV = logits_SBV.masked_fill(padding_V, float("-inf"))
    labels_SB = labels_BS.transpose(0, 1).contiguous()
    return tensor_parallel.vocab_parallel_cross_entropy(logits_SBV, labels_SB).mean()


def whole_logits(logits_SBV: Tensor, vocab_size: int) -> Tensor:
    """[B, S, vocab_size] on every tensor rank."""
    gathered = gather_from_tensor_model_parallel_region(logits_SBV)
    return gathered[..., :vocab_size].transpose(0, 1).contiguous()


_BLOCK_NAMES = {
    "layer.input_layernorm": "attention_norm",
    "layer.self_attention.linear_qkv": "attention.qkv",
    "layer.self_attention.q_layernorm": "attention.q_norm",
    "layer.self_attention.k_layernorm": "attention.k_norm",
    "layer.self_attention.linear_proj": "attention.output",
    "layer.pre_mlp_layernorm": "mlp_norm",
    "layer.mlp.linear_fc1": "mlp.gate_up",
    "layer.mlp.linear_fc2": "mlp.down",
}


def logical_name(module_name: str, num_layers: int) -> str:
    """The name in `weights.py` of a parameter of the layer stack, e.g. "1.layer.mlp.linear_fc2.weight".

    The stack (DeepSpeed's PipelineModule and our own) names layers by their position: 0 embedding, 1 .. L blocks,
    L + 1 final norm, L + 2 head; a tied embedding is "tied_modules.vocab".
    """
    if module_name.startswith("tied_modules.vocab."):
        return "embedding.weight"
    match = re.fullmatch(r"(\d+)\.(?:(.+)\.)?weight", module_name)
    assert match, f"unknown parameter {module_name}"
    position, inner = int(match[1]), match[2]
    if position == 0:
        return "embedding.weight"
    if position <= num_layers:
        return f"layers.{position - 1}.{_BLOCK_NAMES[inner]}.weight"
    return "final_norm.weight" if position == num_layers + 1 else "head.weight"
