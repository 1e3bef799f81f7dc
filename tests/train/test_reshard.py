"""One checkpoint, carried through layouts: what each loads and saves again is what the first one saved, bit for bit."""

import shutil
from pathlib import Path

import pytest
import torch

from pipeline.checkpoint.layout import KINDS
from pipeline.checkpoint.load import Reader
from pipeline.model.weights import shapes
from pipeline.train.plan import REFUSALS, Layout
from tests.ranks import RanksFailed, run
from tests.train.layouts import VOCAB_SIZE, Curve, config_for, load_only, save_and_go_on

CHAINS = {  # trained and saved in the first layout; each later one loads what the one before it saved
    "fp32": [
        Layout(tp=2, pp=2),
        Layout(dp=3, zero=3),  # shards that do not divide: padded
        Layout(tp=2, zero=2, sequence_parallel=True),
        Layout(dp=2, zero=0),
        Layout(pp=2, zero=0),
        Layout(),
        Layout(tp=2, pp=2),
    ],
    "tied": [
        Layout(pp=2, tied=True),
        Layout(dp=2, zero=3, tied=True),
        Layout(tp=2, zero=0, tied=True),
        Layout(pp=2, tied=True),
    ],
    "bf16": [
        Layout(tp=2, precision="bf16"),
        Layout(dp=2, zero=3, precision="bf16"),
        Layout(pp=2, precision="bf16"),
        Layout(tp=2, precision="bf16"),
    ],
}
TOLERANCE = {"fp32": 2e-5, "tied": 2e-5, "bf16": 5e-3}


@pytest.mark.parametrize("name", CHAINS)
def test_a_checkpoint_goes_through_every_layout(name: str, tmp_path: Path) -> None:
    chain = CHAINS[name]
    curves: list[Curve] = []
    for number, layout in enumerate(chain):
        source = tmp_path / str(number - 1) if number else None
        curves.append(run(layout.world_size, save_and_go_on, layout, source, tmp_path / str(number))[0])
        check_same(tmp_path / "0" / "step_00000003", tmp_path / str(number) / "step_00000003", layout)
        loss, _ = curves[-1].distance(curves[0])
        assert loss < TOLERANCE[name], layout  # and training goes on as in the first
    assert chain[-1] == chain[0]
    assert curves[-1] == curves[0]  # in the same layout bit for bit


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_a_resume_in_the_same_layout_is_bit_for_bit(zero: int, precision: str, tmp_path: Path) -> None:
    layout = Layout(dp=2, zero=zero, precision=precision)  # type: ignore[arg-type]
    if any(refusal.when(layout) for refusal in REFUSALS):
        assert (zero, precision) == (0, "bf16")
        return
    first = run(2, save_and_go_on, layout, None, tmp_path / "a")[0]
    assert run(2, save_and_go_on, layout, tmp_path / "a", tmp_path / "b")[0] == first


def check_same(first: Path, second: Path, layout: Layout) -> None:
    """The same parameters, of the model's own names and shapes, and the same bits of each."""
    a, b = Reader(first), Reader(second)
    assert a.extra == b.extra == {"step": 3}
    expected = shapes(config_for(layout).model, VOCAB_SIZE)
    assert {name: parameter.shape for name, parameter in b.index.parameters.items()} == expected
    for name in expected:
        for kind in KINDS:
            assert torch.equal(a.tensor(name, kind), b.tensor(name, kind)), (layout, name, kind)
    moved = b.tensor("layers.0.mlp.down.weight", "exp_avg_sq")
    assert moved.count_nonzero() == moved.numel()  # they are moments of real training, not zeros


def test_damage_is_refused_on_every_rank_and_the_checkpoint_before_it_is_used(tmp_path: Path) -> None:
    layout = Layout(dp=2, zero=2)
    run(2, save_and_go_on, layout, None, tmp_path)
    whole, damaged = tmp_path / "step_00000003", tmp_path / "step_00000009"
    shutil.copytree(whole, damaged)
    flip(damaged / "rank_00001.safetensors", -3)  # rank 1 looks at this one, rank 0 does not
    run(2, load_only, layout, tmp_path)  # falls back to step 3
    shutil.rmtree(whole)
    with pytest.raises(RanksFailed, match=r"step_00000009/rank_00001.safetensors is damaged: its sha256") as refused:
        run(2, load_only, layout, tmp_path)
    assert "ArtifactError" in str(refused.value)


def flip(path: Path, at: int) -> None:
    """One bit."""
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
