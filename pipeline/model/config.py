"""The shape of the decoder: what `LlamaForCausalLM` (or, with qk_norm, `Qwen3ForCausalLM`) can load.

Imports neither torch nor megatron: `penstock plan` reads it on the login node.
"""

from typing import Self

from pydantic import Field, model_validator

from pipeline.core.config import Config


class ModelConfig(Config):
    num_layers: int = Field(gt=0)
    """Decoder layers."""
    hidden_size: int = Field(gt=0)
    """Width of the residual stream."""
    num_heads: int = Field(gt=0)
    """Query heads; each is hidden_size / num_heads wide."""
    num_kv_heads: int = Field(gt=0)
    """Key and value heads (grouped-query attention); equal to num_heads for plain multi-head attention."""
    ffn_size: int = Field(gt=0)
    """Width of the gated MLP (SwiGLU)."""
    vocab_size: int | None = Field(default=None, gt=0)
    """Size of the tokenizer. Left out, it is the data's; given, it must be the data's."""
    vocab_multiple: int = Field(default=128, gt=0)
    """The embedding has a multiple of this many rows, whatever tp is; those beyond vocab_size take part in nothing."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary position embedding."""
    norm_eps: float = Field(default=1e-5, gt=0)
    """Epsilon of every RMSNorm."""
    tied: bool = False
    """The output head is the embedding."""
    qk_norm: bool = False
    """RMSNorm over each query and key head (Qwen3)."""
    init_std: float = Field(default=0.02, gt=0)
    """Weights start normal with this deviation; output and down projections with a smaller one (weights.py)."""

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    def padded_vocab(self, vocab_size: int) -> int:
        """Rows of the embedding: `vocab_size` rounded up to vocab_multiple."""
        return -(-vocab_size // self.vocab_multiple) * self.vocab_multiple

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must divide by 2 x num_heads ({self.num_heads}), "
                "as the width of a head is even"
            )
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must divide by num_kv_heads ({self.num_kv_heads})")
        return self
