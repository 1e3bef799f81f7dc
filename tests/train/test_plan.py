"""What cannot run is refused with the numbers and the remedy; what is planned is what the real model has."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.core.config import load, merge
from pipeline.core.errors import ConfigError, UserError
from pipeline.train.config import PretrainConfig
from pipeline.train.plan import Layout, Plan, plan
from tests.processes import ROOT
from tests.ranks import run
from tests.train.layouts import VOCAB_SIZE, start

MODEL = {"num_layers": 4, "hidden_size": 96, "num_heads": 12, "num_kv_heads": 4, "ffn_size": 250, "vocab_size": 1000}
BASE: dict[str, Any] = {
    "model": MODEL,
    "data": {"path": "nowhere", "seq_len": 30},
    "batch": {"global_batch": 8, "micro_batch": 2},
    "optim": {"lr": 1e-3},
    "steps": 10,
}


def config(**sections: Any) -> PretrainConfig:
    return PretrainConfig.model_validate(merge(BASE, sections))


@pytest.mark.parametrize(
    ("sections", "world_size", "message"),
    [
        (
            {"parallel": {"tp": 2, "pp": 2}},
            6,
            "world size 6 does not divide by tp 2 x pp 2 = 4; try 8 ranks (cluster.nodes x cluster.ranks_per_node), "
            "or tp=2, pp=1",
        ),
        ({"parallel": {"tp": 8}}, 8, "heads (12) must divide by tp (8); try tp=2"),
        ({"parallel": {"tp": 4}}, 4, "ffn_size (250) must divide by tp (4); try tp=2"),
        ({"parallel": {"tp": 6}}, 6, "kv heads (4) and tp (6): one must divide the other; try tp=2"),
        (
            {"parallel": {"tp": 3}, "model": {"ffn_size": 300, "num_kv_heads": 3, "vocab_multiple": 8}},
            3,
            "padded vocabulary (1000) must divide by tp (3); try tp=1",
        ),
        (
            {"parallel": {"pp": 3}},
            3,
            "layers (4) must divide by pp (3), as every stage gets the same number; try pp=2",
        ),
        ({"parallel": {"pp": 8}}, 8, "layers (4) must divide by pp (8), as every stage gets the same number; try pp=4"),
        (
            {"parallel": {"tp": 4, "sequence_parallel": True}, "model": {"ffn_size": 256}},
            4,
            "seq_len (30) must divide by tp (4) for sequence_parallel",
        ),
        (
            {"batch": {"micro_batch": 3}},
            2,
            "global_batch (8) must divide by dp 2 x micro_batch 3 = 6; try global_batch=6",
        ),
        ({"parallel": {"pp": 2, "zero": 3}}, 2, "parallel.zero 3 does not go with pp 2: the pipeline adds up"),
        ({"parallel": {"zero": 0}, "precision": "bf16"}, 1, "parallel.zero 0 does not go with bf16"),
        ({"parallel": {"sequence_parallel": True}}, 1, "parallel.sequence_parallel splits activations"),
        (
            {"model": {"vocab_size": None}},
            1,
            "data.path (nowhere) does not exist, so it is not a finished `penstock prepare` folder",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_run_is_refused(sections: dict[str, Any], world_size: int, message: str) -> None:
    with pytest.raises(UserError) as refused:
        plan(config(**sections), world_size)
    assert message in str(refused.value)


def test_every_obstacle_is_named_at_once() -> None:
    with pytest.raises(UserError) as refused:
        plan(config(parallel={"tp": 8, "zero": 0}, precision="bf16", batch={"micro_batch": 3}), 8)
    assert [line.split(" (")[0].split(" 0")[0] for line in str(refused.value).splitlines()] == [
        "parallel.zero",
        "heads",
        "ffn_size",
        "global_batch",
    ]


def test_the_data_decides_the_vocabulary_and_the_longest_sequence(shards: Path) -> None:
    data = {"path": str(shards)}
    made = plan(config(data=data, model={"vocab_size": None}))
    assert (made.vocab_size, made.padded_vocab_size) == (60, 128)
    assert made.epochs == pytest.approx(10 * 8 * 30 / 24_000, rel=0.01)
    with pytest.raises(UserError, match=r"model.vocab_size \(1000\) is not the tokenizer's \(60\); leave it out"):
        plan(config(data=data))
    with pytest.raises(
        UserError, match=r"data.seq_len \(5000\) is too long for the validation split of .*: its longest"
    ):
        plan(config(data={**data, "seq_len": 5000}, model={"vocab_size": None}))
    for mixture, said in (({"lefd": 1.0}, "mixture names source 'lefd', but the data holds left, right"),
                          ({"left": 0.5}, "mixture weights must be 0 or more and sum to 1, not to 0.5")):  # fmt: skip
        with pytest.raises(UserError, match=f"^data.{said}"):
            plan(config(data={**data, "mixture": mixture}, model={"vocab_size": None}))


@pytest.mark.parametrize(
    ("section", "mistake"),
    [({"optim": {"betas": [1.0, 2.0]}}, "less_than"), ({"optim": {"lr": float("inf")}}, "finite_number"),
     ({"cluster": {"timeout_s": float("inf")}}, "finite_number")],
)  # fmt: skip
def test_numbers_that_no_optimizer_takes(section: dict[str, Any], mistake: str) -> None:
    with pytest.raises(ValidationError) as refused:
        config(**section)
    assert {error["type"] for error in refused.value.errors()} == {mistake}


def model_parameters(layout: Layout) -> int:
    """On this rank, as PyTorch counts them."""
    return sum(parameter.numel() for parameter in start(layout).engine.engine.module.parameters())


@pytest.mark.parametrize("layout", [Layout(), Layout(tp=2), Layout(pp=2), Layout(pp=2, tied=True)], ids=str)
def test_parameter_counts_are_those_of_the_real_model(layout: Layout) -> None:
    made = plan_of(layout)
    counted = run(layout.world_size, model_parameters, layout)
    assert made.parameters_per_rank == max(counted)
    if layout.world_size == 1:
        assert made.num_parameters == counted[0]


def plan_of(layout: Layout) -> Plan:
    from tests.train.layouts import config_for

    small = config_for(layout)
    return plan(small.model_copy(update={"model": small.model.model_copy(update={"vocab_size": VOCAB_SIZE})}))


def test_memory_falls_with_what_is_shared() -> None:
    def parts(zero: int) -> dict[str, int]:
        return plan(config(parallel={"zero": zero}, precision="fp32"), 4).memory_bytes

    parameters = plan(config(), 1).num_parameters
    assert parts(0) == {**parts(0), "weights": 4 * parameters, "gradients": 4 * parameters, "optimizer": 8 * parameters}
    assert parts(1)["optimizer"] == 12 * parameters // 4
    assert parts(2)["gradients"] == parameters
    assert parts(3)["weights"] == parameters


def test_the_shelves_can_be_planned() -> None:
    seven = load(PretrainConfig, ROOT / "configs/pretrain/7b.yaml", ["model.vocab_size=32000"])
    made = plan(seven)
    assert made.num_parameters == 7_241_732_096  # Mistral 7B
    assert made.bubble == 1 / (128 + 1)
    assert "ranks          64 = tp 4 x pp 2 x dp 8, ZeRO 1, on 8 node(s)" in made.describe()
    assert made.to_dict()["world_size"] == 64
    tiny = load(PretrainConfig, ROOT / "configs/pretrain/tiny.yaml", ["model.vocab_size=4096"])
    for settings in ({"tp": 2}, {"pp": 2}):
        assert plan(tiny.model_copy(update={"parallel": type(tiny.parallel)(**settings)})).world_size == 2


def test_the_plan_imports_nothing_heavy() -> None:
    code = "import sys, pipeline.train.plan; print([m for m in ('torch', 'megatron', 'deepspeed') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"hidden_size": 100}}, "hidden_size (100) must divide by 2 x num_heads (12)"),
        ({"model": {"num_kv_heads": 5}}, "num_heads (12) must divide by num_kv_heads (5)"),
        ({"schedule": {"warmup_steps": 11}}, "warmup_steps (11) and decay_steps (0) do not fit into steps (10)"),
        ({"schedule": {"name": "wsd"}}, "decay_steps is the length of the fall of wsd"),
        ({"optim": {"min_lr": 1}}, "min_lr (1.0) is above lr (0.001)"),
        ({"parallel": {"tp": 0}}, "parallel.tp: expected more than 0, found 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_config_that_contradicts_itself(sections: dict[str, Any], message: str, tmp_path: Path) -> None:
    import yaml

    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(merge(BASE, sections)))
    with pytest.raises(ConfigError) as refused:
        load(PretrainConfig, file)
    assert message in str(refused.value)
