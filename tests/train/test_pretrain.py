"""Whole runs by launch/pretrain.sh on real ranks, killed in every way; and resumed as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.checkpoint.layout import KINDS, steps
from pipeline.checkpoint.load import Reader
from pipeline.shards.loader import Loader
from pipeline.train.metrics import read
from pipeline.train.validate import unigram_entropy
from tests.processes import ROOT, descendants, kill, penstock, started, title, wait_for

STEPS, SAVE_EVERY = 60, 10
TOLERANCE = 2e-5
ESTABLISHED = "01"  # in /proc/net/tcp


@pytest.fixture(scope="module", autouse=True)
def interpreter() -> Iterator[None]:
    """Of the launch scripts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_PYTHON", sys.executable)
        yield


@pytest.fixture(scope="module")
def config(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "run.yaml"
    sections = {
        "model": {"num_layers": 2, "hidden_size": 32, "num_heads": 4, "num_kv_heads": 2, "ffn_size": 64},
        "data": {"path": str(shards), "seq_len": 32},
        "cluster": {"ranks_per_node": 2},
        "batch": {"global_batch": 8, "micro_batch": 2},
        "optim": {"lr": 1e-2, "min_lr": 1e-3},
        "steps": STEPS,
        "precision": "fp32",
        "validation": {"every_steps": 25, "num_batches": 3},
        "checkpoint": {"every_steps": SAVE_EVERY, "keep_last": 10},
    }
    file.write_text(yaml.safe_dump(sections))
    return file


def command(config: Path, out: Path, *settings: str) -> list[str]:
    chosen = [part for setting in settings for part in ("--set", setting)]
    return [str(ROOT / "launch" / "pretrain.sh"), str(config), "--out", str(out), *chosen]


def launch(config: Path, out: Path, *settings: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(config, out, *settings),
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def finish(config: Path, out: Path, *settings: str, **variables: str) -> str:
    done = launch(config, out, *settings, **variables)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def undisturbed(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    said = finish(config, out)
    assert said.splitlines()[0] == (
        "starting at step 0 of 60: 26,784 parameters, tp 1 x pp 1 x dp 2, ZeRO 1, 1 thread(s) per rank"
    )
    assert not [line for line in said.splitlines() if not line.startswith(("st", "done"))]  # our own lines only
    return out


def losses(out: Path) -> list[tuple[int, float, float, float]]:
    """Per line of the metrics what must not depend on interruptions: to the last bit."""
    return [
        (line["step"], line["loss"], line["grad_norm"], line["lr"]) if "loss" in line else
        (line["step"], line["validation_loss"], line["validation_perplexity"], 0.0)
        for line in read(out / "metrics.jsonl")
    ]  # fmt: skip


def interrupt(
    config: Path, out: Path, at_step: int, strike: Callable[[subprocess.Popen[bytes]], None]
) -> tuple[int, float]:
    """Start the run, strike once it has passed `at_step` and has a checkpoint; gives (exit code, seconds from the
    strike to the end)."""
    with started(command(config, out), out.parent / f"{out.name}.log") as process:
        wait_for(
            lambda: (_last_step(out) >= at_step and steps(out / "checkpoints")) or process.poll() is not None,
            60,
            f"step {at_step}",
        )
        assert process.poll() is None, "the run was over before it could be disturbed"
        start = time.monotonic()
        strike(process)
        code = process.wait(timeout=60)
        return code, time.monotonic() - start


def _last_step(out: Path) -> int:
    return max((line["step"] for line in read(out / "metrics.jsonl")), default=0)


def ranks(process: subprocess.Popen[bytes]) -> list[int]:
    return [pid for pid in descendants(process.pid) if "-m pipeline pretrain" in title(pid)]


def kill_one_rank(process: subprocess.Popen[bytes]) -> None:
    kill(max(ranks(process)))


def kill_rank_0(process: subprocess.Popen[bytes]) -> None:
    kill(min(ranks(process)))


def kill_everything(process: subprocess.Popen[bytes]) -> None:
    for pid in [process.pid, *descendants(process.pid)]:
        kill(pid)


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)


def events(out: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in read(out / "events.jsonl") if event["event"] == name]


@pytest.mark.slow
def test_a_run_killed_in_every_way_has_the_losses_of_one_that_was_not(
    config: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code, seconds = interrupt(config, out, 13, kill_one_rank)
    assert code == 76  # requeue
    assert seconds < 20  # the other rank did not wait for a time-out
    left_behind = [steps(out / "checkpoints")[-1]]
    said = (tmp_path / "run.log").read_text()
    assert said.count("penstock: another rank died or hangs (connection ") == 1
    assert "Traceback" not in said

    code, _ = interrupt(config, out, 26, ask_to_stop)
    assert code == 75  # a checkpoint is written
    [stop] = events(out, "stop")
    left_behind.append(stop["step"])
    assert (out / f"checkpoints/step_{stop['step']:08d}/index.json").exists()
    assert "as told; a checkpoint is written" in (tmp_path / "run.log").read_text()

    code, _ = interrupt(config, out, 32, kill_rank_0)
    assert code == 76
    left_behind.append(steps(out / "checkpoints")[-1])
    assert "penstock: rank 0 was killed (KILL); the same command goes on" in (tmp_path / "run.log").read_text()

    code, _ = interrupt(config, out, 45, kill_everything)
    assert code == -9
    left_behind.append(steps(out / "checkpoints")[-1])

    finish(config, out)
    assert [event["step"] for event in events(out, "resume")] == left_behind
    assert left_behind[3] >= 30
    assert losses(out) == losses(undisturbed)
    assert [step for step, *_ in losses(out)] == sorted([*range(1, STEPS + 1), 25, 50, 60])
    a, b = (Reader(folder / "checkpoints" / f"step_{STEPS:08d}") for folder in (out, undisturbed))
    assert all((a.tensor(name, kind) == b.tensor(name, kind)).all() for name in a.index.parameters for kind in KINDS)


def test_a_run_goes_on_in_another_layout(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    (out / "summary.json").unlink()
    for folder in (out / "checkpoints").iterdir():
        if folder.name > "step_00000030":
            shutil.rmtree(folder)
    said = finish(config, out, "parallel.pp=2", "batch.micro_batch=4", "parallel.zero=0", OMP_NUM_THREADS="2")
    assert "resuming after step 30 of 60" in said
    assert "the checkpoint was written with 1 thread(s) per rank: losses may differ in their last bits" in said
    here, there = losses(out), losses(undisturbed)
    assert here[:30] == there[:30]
    assert here != there  # it is another layout: another rounding
    assert max(abs(a[1] - b[1]) for a, b in zip(here, there, strict=True) if b[3]) < TOLERANCE


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_before_the_first_step_is_no_lost_node(config: Path, tmp_path: Path, told: signal.Signals) -> None:
    # a shell that started the tests in the background has made all of its children deaf to SIGINT
    launcher = ["env", "--default-signal=INT", *command(config, tmp_path / "run")]
    with started(launcher, tmp_path / "log") as process:
        wait_for(lambda: len(ranks(process)) == 2, 60, "two ranks")
        process.send_signal(told)
        assert process.wait(timeout=60) == 75
        assert not descendants(process.pid)
    assert "penstock: stopped as told, before the next checkpoint" in (tmp_path / "log").read_text()


def test_rank_0_killed_while_the_ranks_meet_is_a_lost_rank(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_GRACE_S", "5")  # rank 2 looks for rank 0 as long as it is let
    with started(command(config, tmp_path / "run", "cluster.ranks_per_node=3", "batch.global_batch=6"),
                 tmp_path / "log") as process:  # fmt: skip
        wait_for(lambda: len(ranks(process)) == 3, 60, "three ranks")
        first, _, last = sorted(ranks(process))
        os.kill(last, signal.SIGSTOP)  # the slowest node: the others wait for it
        wait_for(lambda: connected_to_the_store(process), 60, "ranks that wait")
        kill(first)
        os.kill(last, signal.SIGCONT)
        assert process.wait(timeout=60) == 76
    assert "rank 0 was killed (KILL)" in (tmp_path / "log").read_text()


def connected_to_the_store(process: subprocess.Popen[bytes]) -> bool:
    """Whether rank 1 holds an open connection: it has come to the meeting of the ranks."""
    rank_1 = sorted(ranks(process))[1]
    held = {read_link(path) for path in Path(f"/proc/{rank_1}/fd").iterdir()}
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return any(row[3] == ESTABLISHED and f"socket:[{row[9]}]" in held for row in rows)


def read_link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def test_the_files_of_a_loaded_checkpoint_are_let_go(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    settings = ("steps=100000", "checkpoint.every_steps=5", "checkpoint.keep_last=1", "schedule.warmup_steps=0")
    with started(command(config, out, *settings), tmp_path / "log") as process:
        wait_for(lambda: min(steps(out / "checkpoints"), default=0) > STEPS, 60, "a newer checkpoint")
        maps = [Path(f"/proc/{pid}/maps").read_text() for pid in ranks(process)]
        assert len(maps) == 2
        assert not any("step_" in held for held in maps)


def test_torchrun_starts_the_same_run(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    rank = ["-m", "pipeline", "pretrain", "--config", str(config), "--out", str(tmp_path / "run")]
    done = subprocess.run([*torchrun, *rank], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == losses(undisturbed)


def test_what_a_finished_run_leaves(config: Path, undisturbed: Path) -> None:
    summary = json.loads((undisturbed / "summary.json").read_bytes())
    facts = json.loads((undisturbed / "run.json").read_bytes())
    assert summary["step"] == STEPS
    assert summary["tokens"] == STEPS * 8 * 32
    assert summary["validation_loss"] < summary["unigram_entropy"] - 1  # it has learnt what frequencies do not tell
    held_out = Loader(Path(facts["config"]["data"]["path"]), split="validation", seq_len=32, seed=0)
    batches = [held_out.micro_batches(8 * k, global_batch=8, micro_batch=8, dp_rank=0, dp_size=1) for k in range(3)]
    labels = np.concatenate([batch.numpy().ravel() for [(_, batch)] in batches])
    assert summary["unigram_entropy"] == pytest.approx(unigram_entropy(np.bincount(labels)), abs=1e-12)
    assert facts["num_threads"] == 1
    assert facts["config"]["steps"] == STEPS
    assert facts["versions"]["torch"].startswith("2.13")
    extra = Reader(undisturbed / summary["checkpoint"]).extra
    assert (extra["step"], extra["position"], extra["tokens"]) == (STEPS, STEPS * 8, STEPS * 8 * 32)
    assert extra["order"]["position"] == STEPS * 8
    said = finish(config, undisturbed)
    assert said == f"{undisturbed} is finished: step 60 of 60; nothing to do\n"

    done = launch(config, undisturbed, "optim.lr=0.02", "checkpoint.keep_last=1")
    assert (done.returncode, done.stderr.splitlines()) == (2, [
        f"penstock: {undisturbed} is finished, with another config:",
        "penstock: optim.lr was 0.01, now 0.02",
        "penstock: name another --out",
    ])  # fmt: skip


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before_it(
    config: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    (out / "summary.json").unlink()
    flip(out / "checkpoints" / "step_00000060" / "rank_00001.safetensors")
    said = finish(config, out)
    assert "step_00000060/rank_00001.safetensors is damaged" in said
    assert "step_00000060 cannot be used and is now damaged_step_00000060" in said
    assert "resuming after step 50 of 60" in said
    assert losses(out) == losses(undisturbed)
    assert steps(out / "checkpoints")[-1] == 60
    assert "all as written" in penstock("verify", out).stdout


def test_a_damaged_shard_stops_the_run_before_its_first_step(config: Path, shards: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(shards, data)
    shard = next(data.glob("*right*.validation.*.tokens.arrow"))
    flip(shard)
    done = launch(config, tmp_path / "run", f"data.path={data}")
    assert done.returncode == 2
    assert done.stderr == (
        f"penstock: {shard} is damaged: its bytes do not match the manifest's checksum; "
        f"delete {shard.parent} and run penstock prepare again\n"
    )
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_second_run_in_the_same_folder_is_refused_within_seconds(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(command(config, out, "steps=100000"), tmp_path / "run.log"):
        wait_for(lambda: _last_step(out) >= 1, 60, "the first step")
        start = time.monotonic()
        done = launch(config, out)
        assert time.monotonic() - start < 30  # not the minute that a rank gets to write its checkpoint
    assert (done.returncode, done.stderr) == (
        2, f"penstock: another process is at work in {out}; wait for it, or name another folder\n"
    )  # fmt: skip


def test_mistakes_end_before_any_rank_starts(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    def mistake(*settings: str, out: Path = tmp_path / "out") -> str:
        done = launch(config, out, *settings)
        assert done.returncode == 2, done.stderr
        return done.stderr

    assert "penstock: heads (4) must divide by tp (8); try tp=4" in mistake("parallel.tp=8", "cluster.ranks_per_node=8")
    assert "optim.lrr: unknown key; did you mean 'lr'?" in mistake("optim.lrr=1")
    assert "on one machine set cluster.nodes=1" in mistake("cluster.nodes=2")
    missing = ("data.path=nowhere", "model.vocab_size=60")
    assert mistake(*missing) == "pretrain.sh: data.path is not a finished 'penstock prepare' folder\n"
    (tmp_path / "file").touch()
    assert mistake(out=tmp_path / "file") == f"pretrain.sh: --out {tmp_path / 'file'} is a file; name a folder\n"
    assert not (tmp_path / "out").exists()
    for arguments, said in ((["--out"], "--out needs a folder"), (["--set"], "--set needs key=value")):
        script = [str(ROOT / "launch" / "pretrain.sh"), str(config), *arguments]
        done = subprocess.run(script, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.splitlines()[0] == f"pretrain.sh: {said}"
        assert "launch/pretrain.sh configs/pretrain/tiny.yaml" in done.stderr
    alone = [sys.executable, "-m", "pipeline", "pretrain", "--config", str(config), "--out", str(tmp_path / "out")]
    done = subprocess.run(alone, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "penstock: this run has 2 ranks (cluster.nodes x cluster.ranks_per_node), and nothing started them; "
        "use launch/pretrain.sh\n",
    )


def test_a_run_that_contradicts_its_checkpoint_or_diverges_is_refused_once(
    config: Path, undisturbed: Path, tmp_path: Path
) -> None:
    done = launch(config, undisturbed, "steps=80", "seed=1", "cluster.ranks_per_node=1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-3:] == [
        "penstock: the run in --out is at step 60 and cannot go on with this config:",
        "penstock: seed was 0, now 1",
        "penstock: restore these, or name another --out",
    ]
    done = launch(config, tmp_path / "wild", "optim.lr=1e30", "cluster.ranks_per_node=1", "optim.grad_clip=1e30")
    assert done.returncode == 2
    assert "the run has diverged; there is no checkpoint. Lower optim.lr" in done.stderr.splitlines()[-1]
