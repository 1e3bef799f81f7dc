"""The megatron-core layers compute what reference.py defines: values, gradients, names, shapes."""

import math

import pytest
import torch

from pipeline.core.config import merge
from pipeline.model import reference
from pipeline.model.config import ModelConfig
from pipeline.model.weights import num_parameters, shapes
from pipeline.train.plan import Layout
from tests.ranks import run

VOCAB_SIZE, SEQ_LEN = 60, 16
SHAPE = {"num_layers": 2, "hidden_size": 48, "num_heads": 6, "num_kv_heads": 2, "ffn_size": 80, "vocab_multiple": 64}


def compare(changes: dict[str, object]) -> dict[str, float]:
    """On a rank: largest differences between the two, relative to the largest value."""
    from pipeline.model import decoder
    from tests.train import layouts

    config = ModelConfig.model_validate(merge(SHAPE, changes))
    small = layouts.config_for(Layout(zero=0)).model_copy(update={"model": config})
    layouts.config_for = lambda *_: small  # the model of this test
    engine = layouts.start(Layout(zero=0)).engine
    module = engine.engine.module
    ours = {decoder.logical_name(name, config.num_layers): p for name, p in module.named_parameters()}
    assert {name: tuple(p.shape) for name, p in ours.items()} == shapes(config, VOCAB_SIZE)
    assert sum(p.numel() for p in ours.values()) == num_parameters(config, VOCAB_SIZE)
    for name, p in ours.items():
        if name.endswith("norm.weight"):  # ones would hide a norm that is not applied
            torch.nn.init.uniform_(p, 0.5, 1.5)
    theirs = {name: p.detach().clone().requires_grad_() for name, p in ours.items()}
    tokens, labels = torch.randint(0, VOCAB_SIZE, (2, 6, SEQ_LEN))
    loss = module(tokens, labels)
    loss.backward()
    expected = reference.loss(config, theirs, tokens, labels, VOCAB_SIZE)
    expected.backward()
    scores = reference.logits(config, theirs, tokens, VOCAB_SIZE)
    found = engine.logits(tokens)
    return {
        "loss": abs(loss.item() - expected.item()),
        "logits": float((found - scores).abs().max() / scores.abs().max()),
        "gradients": max(relative(ours[name].grad, theirs[name].grad) for name in ours),
    }


def relative(found: torch.Tensor | None, expected: torch.Tensor | None) -> float:
    assert found is not None
    assert expected is not None
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied": True},
        {"qk_norm": True},
        {"num_kv_heads": 1, "rope_theta": 500.0, "norm_eps": 1e-2},
        {"num_kv_heads": 6, "vocab_multiple": 1},
    ],
    ids=str,
)
def test_decoder_equals_reference(changes: dict[str, object]) -> None:
    differences = run(1, compare, changes)[0]
    assert differences["loss"] < 2e-6
    assert differences["logits"] < 1e-5
    assert differences["gradients"] < 1e-5


def spread(seed: int) -> dict[str, tuple[float, float]]:
    """On a rank: mean and deviation of each weight of a fresh model."""
    from pipeline.model import decoder
    from tests.train import layouts

    config = layouts.config_for(Layout())
    wide = config.model.model_copy(update={"hidden_size": 256, "ffn_size": 512, "num_layers": 8})
    layouts.config_for = lambda *_: config.model_copy(update={"seed": seed, "model": wide})
    named = layouts.start(Layout()).engine.engine.module.named_parameters()
    return {decoder.logical_name(name, 8): (p.mean().item(), p.std().item()) for name, p in named}


def test_initial_weights_have_the_deviation_that_is_written_down() -> None:
    first, other = run(1, spread, 1)[0], run(1, spread, 2)[0]
    for name, (mean, deviation) in first.items():
        if name.endswith("norm.weight"):
            assert (mean, deviation) == (1.0, 0.0)
            continue
        writes_to_residual = name.endswith(("output.weight", "down.weight"))
        expected = 0.02 / math.sqrt(2 * 8) if writes_to_residual else 0.02
        assert deviation == pytest.approx(expected, rel=0.02)
        assert mean != other[name][0]  # the seed matters
    assert first["layers.0.attention.qkv.weight"] != first["layers.1.attention.qkv.weight"]  # and the layer
