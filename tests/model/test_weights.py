"""Counts in closed form, and the way to Hugging Face, checked against PyTorch's counter and transformers' models."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.model import reference
from pipeline.model.config import ModelConfig
from pipeline.model.flops import flops_per_token
from pipeline.model.weights import num_parameters, shapes, to_huggingface

VOCAB_SIZE, SEQ_LEN = 60, 24
SHAPE = {"num_layers": 2, "hidden_size": 48, "num_heads": 6, "num_kv_heads": 2, "ffn_size": 80, "vocab_multiple": 64}


def random_weights(config: ModelConfig) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(shape) * 0.2 + (len(shape) == 1) for name, shape in shapes(config, VOCAB_SIZE).items()}


@pytest.mark.parametrize(
    "changes", [{}, {"tied": True, "norm_eps": 1e-3}, {"qk_norm": True, "rope_theta": 1e6}], ids=str
)
def test_huggingface_computes_the_same(changes: dict[str, object]) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    config = ModelConfig.model_validate({**SHAPE, **changes})
    weights = random_weights(config)
    kinds = (Qwen3Config, Qwen3ForCausalLM) if config.qk_norm else (LlamaConfig, LlamaForCausalLM)
    theirs = kinds[1](
        kinds[0](
            vocab_size=VOCAB_SIZE,
            hidden_size=config.hidden_size,
            intermediate_size=config.ffn_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads,
            head_dim=config.head_size,
            rms_norm_eps=config.norm_eps,
            tie_word_embeddings=config.tied,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        )
    ).eval()
    missing, unexpected = theirs.load_state_dict(dict(to_huggingface(config, VOCAB_SIZE, weights.__getitem__)), False)
    assert not unexpected
    assert missing == (["lm_head.weight"] if config.tied else [])
    tokens = torch.randint(0, VOCAB_SIZE, (2, SEQ_LEN))
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(tokens).logits, reference.logits(config, weights, tokens, VOCAB_SIZE), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("tied", [False, True])
def test_flops_are_those_that_pytorch_counts(tied: bool) -> None:
    # multi-head, no padding: what the closed form and the counter both count in full
    config = ModelConfig.model_validate({**SHAPE, "num_kv_heads": 6, "vocab_multiple": 1, "tied": tied})
    weights = {name: w.requires_grad_() for name, w in random_weights(config).items()}
    tokens = torch.randint(0, VOCAB_SIZE, (3, SEQ_LEN))
    # The counter knows no fused attention on a CPU; the plain one it counts product by product.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        reference.loss(config, weights, tokens, tokens, VOCAB_SIZE).backward()
    assert counter.get_total_flops() / tokens.numel() == flops_per_token(config, VOCAB_SIZE, SEQ_LEN)


def test_parameters_of_known_models() -> None:
    mistral = ModelConfig(num_layers=32, hidden_size=4096, num_heads=32, num_kv_heads=8, ffn_size=14336)
    assert num_parameters(mistral, 32_000) == 7_241_732_096
    llama_2 = ModelConfig(num_layers=32, hidden_size=4096, num_heads=32, num_kv_heads=32, ffn_size=11008)
    assert num_parameters(llama_2, 32_000) == 6_738_415_616


def test_padding_does_not_depend_on_the_layout() -> None:
    config = ModelConfig.model_validate(SHAPE)
    assert [config.padded_vocab(size) for size in (1, 64, 65)] == [64, 64, 128]
