"""Every layout computes what one process computes: losses, gradient norms, evaluation; and the check can fail."""

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
import torch
from _pytest.mark.structures import ParameterSet

from pipeline.train.plan import REFUSALS, Layout
from tests.ranks import run
from tests.train.layouts import BREAKAGES, Curve, logits, train, train_broken

LOSS_TOLERANCE, NORM_TOLERANCE = 2e-5, 1e-3  # fp32 rounding, amplified by five steps of Adam at a large rate
FIRST_NORM_TOLERANCE = 1e-5  # not amplified yet: shows even a norm weight that is counted twice
BF16_TOLERANCE = 5e-3
BF16_NORM_TOLERANCE = 2e-2  # rounding alone gives 8e-3; unreduced norm weights 3e-2


def slow(layout: Layout) -> ParameterSet:
    """A cross of features that are also compared one by one."""
    return pytest.param(layout, marks=pytest.mark.slow)


FP32 = [
    Layout(zero=0),
    Layout(tp=2),
    Layout(tp=2, zero=0),
    Layout(pp=2),
    Layout(pp=2, zero=0),
    Layout(dp=2),
    Layout(dp=2, zero=0),
    Layout(dp=2, zero=2),
    Layout(dp=2, zero=3, recompute=True),
    Layout(tp=2, zero=2, sequence_parallel=True, recompute=True),
    Layout(tp=2, pp=2, sequence_parallel=True, recompute=True),
    Layout(tp=2, pp=2),
    Layout(tp=2, tied=True),
    Layout(pp=2, zero=0, tied=True),
    Layout(pp=2, tied=True),
    Layout(dp=2, zero=3, tied=True),
    Layout(tp=2, dp=2),
    Layout(tp=2, dp=2, zero=2),
    Layout(tp=2, dp=2, zero=3),
    Layout(pp=2, dp=2),
    slow(Layout(pp=2, dp=2, zero=0)),
    slow(Layout(tp=2, zero=3, sequence_parallel=True)),
    slow(Layout(tp=2, zero=3, sequence_parallel=True, recompute=True, tied=True)),
]
BF16 = [
    Layout(dp=2, precision="bf16"),
    Layout(dp=2, zero=2, precision="bf16"),
    Layout(dp=2, zero=3, precision="bf16"),
    Layout(tp=2, precision="bf16"),
    Layout(pp=2, precision="bf16"),
    slow(Layout(pp=2, precision="bf16", tied=True)),
    slow(Layout(tp=2, precision="bf16", sequence_parallel=True)),
    slow(Layout(dp=2, zero=3, precision="bf16", recompute=True, tied=True)),
]
LAYOUTS = [entry if isinstance(entry, Layout) else entry.values[0] for entry in FP32 + BF16]


@cache
def one_process(tied: bool, precision: str) -> Curve:
    layout = Layout(tied=tied, precision=precision)  # type: ignore[arg-type]
    return run(1, train, layout)[0]


@pytest.mark.parametrize("layout", FP32, ids=str)
def test_layout_equals_one_process(layout: Layout) -> None:
    curves = run(layout.world_size, train, layout)
    assert all(curve == curves[0] for curve in curves)  # every rank reports the same numbers
    expected = one_process(layout.tied, "fp32")
    loss, norm = curves[0].distance(expected)
    assert abs(curves[0].norms[0] - expected.norms[0]) < FIRST_NORM_TOLERANCE
    assert loss < LOSS_TOLERANCE
    assert norm < NORM_TOLERANCE


@pytest.mark.parametrize("layout", BF16, ids=str)
def test_bf16_layout_equals_one_process_but_for_rounding(layout: Layout) -> None:
    loss, norm = run(layout.world_size, train, layout)[0].distance(one_process(layout.tied, "bf16"))
    assert loss < BF16_TOLERANCE
    assert norm < BF16_NORM_TOLERANCE


def test_more_tensor_ranks_than_key_value_heads() -> None:
    loss, norm = run(2, train, Layout(tp=2), 1)[0].distance(run(1, train, Layout(), 1)[0])
    assert loss < LOSS_TOLERANCE
    assert norm < NORM_TOLERANCE


@pytest.mark.parametrize(
    ("layout", "breakage"),
    [
        (Layout(tp=2, sequence_parallel=True), "norm gradients not summed"),
        (Layout(tp=2), "norm gradients not summed"),  # of queries and keys
        (Layout(pp=2, zero=0, tied=True), "stock clipping"),
        (Layout(tp=2), "padding in the softmax"),
    ],
    ids=str,
)
def test_the_check_sees_what_the_engine_mends(layout: Layout, breakage: str) -> None:
    """Negative controls: without each remedy the difference is far more than is allowed."""
    assert breakage in BREAKAGES
    loss, norm = run(layout.world_size, train_broken, layout, breakage)[0].distance(one_process(layout.tied, "fp32"))
    assert loss > 3 * LOSS_TOLERANCE or norm > 3 * NORM_TOLERANCE, (loss, norm)


def test_logits_are_the_same_in_every_layout_on_every_rank() -> None:
    expected = torch.tensor(run(1, logits, Layout())[0])
    assert expected.shape == (6, 16, 60)
    for layout in (Layout(tp=2), Layout(pp=2)):
        for found in run(2, logits, layout):
            torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-5, atol=1e-6)


def test_what_is_compared_is_what_is_allowed() -> None:
    """The support table refuses none of the layouts above, and every refusal says what to do."""

    def refused(layout: Layout) -> bool:
        return any(refusal.when(layout) for refusal in REFUSALS)

    assert not any(refused(layout) for layout in LAYOUTS)
    tested = {(x.zero, x.pp > 1, x.precision) for x in LAYOUTS}
    for precision in ("fp32", "bf16"):
        features = [x for x in LAYOUTS if x.precision == precision]
        assert any(x.sequence_parallel for x in features)
        assert any(x.recompute for x in features)
        assert any(x.tied for x in features)
    for zero, pp, precision in product(range(4), (1, 2), ("fp32", "bf16")):
        layout = Layout(pp=pp, dp=2, zero=zero, precision=precision)  # type: ignore[arg-type]
        if not refused(layout):
            assert (zero, pp > 1, precision) in tested, f"{layout} is allowed, but nobody compared it"
    assert refused(replace(Layout(), sequence_parallel=True))
