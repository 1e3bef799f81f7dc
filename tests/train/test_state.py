"""What a resume may change and what it may not."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.config import merge
from pipeline.core.errors import ArtifactError, UserError
from pipeline.train.config import PretrainConfig
from pipeline.train.state import RunState, deciding, refuse_another, refuse_contradiction

BASE: dict[str, Any] = {
    "model": {"num_layers": 4, "hidden_size": 96, "num_heads": 12, "num_kv_heads": 4, "ffn_size": 250},
    "data": {"path": "nowhere", "seq_len": 30},
    "batch": {"global_batch": 8, "micro_batch": 2},
    "optim": {"lr": 1e-3},
    "steps": 100,
}
FACTS: dict[str, Any] = {"vocab_size": 60, "tokenizer_sha256": "a" * 64, "data_fingerprint": "b" * 32}


def check(changes: dict[str, Any], **facts: Any) -> None:
    before = PretrainConfig.model_validate(BASE)
    state = RunState.of(before, 50, 1e-3, {"position": 400}, FACTS | {"num_threads": 1}, b"\1\2")
    assert (state.position, state.tokens) == (400, 12_000)
    reread = RunState.model_validate_json(state.model_dump_json())
    refuse_contradiction(reread, PretrainConfig.model_validate(merge(BASE, changes)), **(FACTS | facts))


def test_the_checkpoint_of_another_version_is_refused_in_one_line() -> None:
    state = RunState.of(PretrainConfig.model_validate(BASE), 50, 1e-3, {}, FACTS | {"num_threads": 1}, b"")
    extra = state.model_dump(mode="json")
    assert RunState.read(Path("step"), extra) == state
    extra["config"]["optim"]["momentum"] = 0.9
    with pytest.raises(
        ArtifactError, match=r"^step: its index was another version's: config\.optim\.momentum: [^\n]*$"
    ):
        RunState.read(Path("step"), extra)


def test_what_decides_a_result() -> None:
    base = PretrainConfig.model_validate(BASE)

    def changed(**changes: Any) -> PretrainConfig:
        return PretrainConfig.model_validate(merge(BASE, changes))

    how = changed(
        parallel={"tp": 2}, cluster={"ranks_per_node": 2}, batch={"micro_batch": 4}, checkpoint={"keep_last": 9},
        log_every_steps=1, data={"path": "moved"}, model={"vocab_size": 60},
    )  # fmt: skip
    refuse_another(Path("run"), deciding(base), deciding(how))
    what = changed(optim={"lr": 2e-3}, schedule={"name": "linear"}, data={"mixture": {"a": 1.0}}, steps=90)
    with pytest.raises(UserError) as refused:
        refuse_another(Path("run"), deciding(base), deciding(what))
    assert str(refused.value).splitlines() == [
        "run is finished, with another config:",
        "data.mixture was None, now {'a': 1.0}",
        "optim.lr was 0.001, now 0.002",
        "schedule.name was cosine, now linear",
        "steps was 100, now 90",
        "name another --out",
    ]


def test_the_layout_and_the_schedule_may_change() -> None:
    check({})
    parallel = {"tp": 2, "pp": 2, "zero": 0}
    check({"parallel": parallel, "batch": {"micro_batch": 4}, "cluster": {"ranks_per_node": 4}, "steps": 200})
    check({"optim": {"lr": 5e-4}, "schedule": {"name": "linear"}, "precision": "fp32", "data": {"path": "moved"}})


@pytest.mark.parametrize(
    ("changes", "facts", "message"),
    [
        ({"model": {"num_layers": 8}}, {}, "model.num_layers was 4, now 8"),
        ({"model": {"tied": True}}, {}, "model.tied was False, now True"),
        ({"seed": 1}, {}, "seed was 0, now 1"),
        ({"data": {"seq_len": 60}}, {}, "data.seq_len was 30, now 60"),
        ({"data": {"seed": 5}}, {}, "data.seed was 0, now 5"),
        ({"data": {"mixture": {"a": 1.0}}}, {}, "data.mixture was None, now {'a': 1.0}"),
        ({"batch": {"global_batch": 16}}, {}, "batch.global_batch was 8, now 16"),
        ({}, {"vocab_size": 61}, "the size of the vocabulary was 60, now 61"),
        ({}, {"tokenizer_sha256": "c" * 64}, "the tokenizer (sha256) was aaaaaaaaaaaaaaaa, now cccccccccccccccc"),
        ({}, {"data_fingerprint": "d" * 32}, "the data (fingerprint) was bbbbbbbbbbbbbbbb, now dddddddddddddddd"),
        ({"steps": 40}, {}, "steps is 40, but 50 are done already"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_run_is_made_of_may_not(changes: dict[str, Any], facts: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        check(changes, **facts)
    lines = str(refused.value).splitlines()
    assert lines == [
        "the run in --out is at step 50 and cannot go on with this config:",
        message,
        "restore these, or name another --out",
    ]
