"""`penstock pretrain`: one rank of a run, from the first step or from wherever the run in `out` has got to.

In:  the config, prepared data, and the launcher's RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.
Out: RUN/checkpoints/step_00000120/    topology-free (pipeline.checkpoint.layout)
     RUN/metrics.jsonl, events.jsonl   (pipeline.train.metrics)
     RUN/run.json                      config, versions, threads of the latest start
     RUN/logs/rank_0000.log, .out      per rank: our log; what libraries print
     RUN/summary.json                  written last: the run is finished, and how well

The same command again goes on from the newest checkpoint that verifies, in any layout; a finished run is left alone,
and refuses another config unless that has more steps.
"""

import importlib.metadata
import json
import logging
import os
import platform
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import ArtifactError, StoppedOnPurpose, UserError, storage_error
from pipeline.core.files import exclusive, matches, write_json
from pipeline.core.log import setup_logging
from pipeline.core.ports import free_port
from pipeline.model.perplexity import perplexity
from pipeline.train.config import PretrainConfig
from pipeline.train.data import TRAIN, VALIDATION, data_facts
from pipeline.train.plan import Plan, plan
from pipeline.train.state import RunState, deciding, refuse_another, refuse_contradiction

if TYPE_CHECKING:
    from pipeline.model.topology import Topology
    from pipeline.train.loop import Run

logger = logging.getLogger(__name__)

SUMMARY, RUN, CHECKPOINTS = "summary.json", "run.json", "checkpoints"


def pretrain(config: PretrainConfig, out: Path) -> None:
    """Train to the last step. Raises StoppedOnPurpose, UserError, UnhealthyNode (exit codes: core/errors.py)."""
    rank, world_size = _place(config)
    made = plan(config, world_size)
    _own_output(out, rank)
    if is_finished(config, out):
        logger.info("%s is finished: step %d of %d; nothing to do", out, config.steps, config.steps)
        return
    with exclusive(out) if rank == 0 else nullcontext():
        _run_rank(config, out, made)


def _run_rank(config: PretrainConfig, out: Path, made: Plan) -> None:
    """Join the other ranks, train, leave together. From here on the heavy libraries."""
    import torch.distributed as dist

    from pipeline.model.topology import start
    from pipeline.train.health import lost_rank

    try:
        topology = start(config.parallel.tp, config.parallel.pp, config.cluster.timeout_s)
        _train(config, out, made, topology)
        dist.barrier()
    except OSError as error:
        raise storage_error(error) or error from None
    except RuntimeError as error:
        raise lost_rank(error) or error from None
    except StoppedOnPurpose:
        dist.barrier()  # nobody leaves, and so breaks a connection, before all have written
        raise
    dist.destroy_process_group()


def is_finished(config: PretrainConfig, out: Path) -> bool:
    """Whether the run in `out` is what this config asks for; UserError if it is finished and something else.

    Looks at two small files. A run may be made longer: then it is not finished, and `refuse_contradiction` judges.
    """
    try:
        summary = json.loads((out / SUMMARY).read_bytes())
        step, before = int(summary["step"]), dict(summary["decided_by"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{out / SUMMARY} is damaged ({error!r}); remove it to go on from the checkpoints"
        ) from None
    if step < config.steps:
        return False
    refuse_another(out, before, _decided_by(config))
    return True


def _decided_by(config: PretrainConfig) -> dict[str, Any]:
    data = data_facts(config.data.path)
    return deciding(config) | {"the data (fingerprint)": data.fingerprint if data else None}


# ---- the parts


def _train(config: PretrainConfig, out: Path, made: Plan, topology: "Topology") -> None:
    """Set up what one rank trains with, restore the newest checkpoint, train, sum up."""
    import torch

    from pipeline.checkpoint.load import newest
    from pipeline.checkpoint.save import set_aside
    from pipeline.shards.loader import Loader
    from pipeline.train.checkpoints import Checkpoints
    from pipeline.train.engine import Engine
    from pipeline.train.health import Watch
    from pipeline.train.loop import Run, train
    from pipeline.train.metrics import Events, Metrics

    watch = Watch(_log_file(out, topology.rank, "out"))
    data = config.data
    train_data = Loader(data.path, split=TRAIN, seq_len=data.seq_len, seed=data.seed, mixture=data.mixture)
    validation_data = Loader(data.path, split=VALIDATION, seq_len=data.seq_len, seed=data.seed)
    _verify_shards(data.path, topology)
    facts: dict[str, Any] = {
        "vocab_size": train_data.vocab_size,
        "tokenizer_sha256": train_data.tokenizer_sha256,
        "data_fingerprint": train_data.fingerprint,
    }
    reader = newest(out / CHECKPOINTS)
    state = RunState.read(reader.folder, reader.extra) if reader else None
    if state:
        refuse_contradiction(state, config, **facts)
    step = state.step if state else 0
    set_aside(out / CHECKPOINTS, step)
    facts["num_threads"] = torch.get_num_threads()

    engine = Engine(config, train_data.vocab_size, topology)
    if reader and state:
        engine.load(reader.range, step)
        torch.set_rng_state(torch.frombuffer(bytearray.fromhex(state.rng["torch_cpu"]), dtype=torch.uint8))
        reader.close()  # this run will remove its files in time

    def state_at(done: int, lr: float) -> RunState:
        order = train_data.state(done * config.batch.global_batch)
        return RunState.of(config, done, lr, order, facts, bytes(torch.get_rng_state().numpy()))

    events = Events(out, topology.rank)
    layout = f"tp {topology.tp} x pp {topology.pp} x dp {topology.dp}, ZeRO {config.parallel.zero}"
    events.record("resume" if reader else "start", step=step, layout=layout, world_size=topology.world_size)
    logger.info(
        "%s step %d of %d: %s parameters, %s, %d thread(s) per rank",
        "resuming after" if reader else "starting at", step, config.steps, f"{made.num_parameters:,}", layout,
        torch.get_num_threads(),
    )  # fmt: skip
    if state and state.num_threads != facts["num_threads"]:
        logger.warning(
            "the checkpoint was written with %d thread(s) per rank: losses may differ in their last bits; "
            "OMP_NUM_THREADS=%d gives the same ones",
            state.num_threads, state.num_threads,
        )  # fmt: skip
    if topology.rank == 0:
        write_json(out / RUN, _run_facts(config, made, torch.get_num_threads()))
    checkpoints = Checkpoints(out / CHECKPOINTS, config.checkpoint.keep_last, engine, state_at, events, step or None)
    metrics = Metrics(out, step, config.steps, made.tokens_per_step, config.log_every_steps, topology.rank)
    run = Run(config, out, engine, train_data, validation_data, checkpoints, metrics, events, watch)
    train(run, step)
    _finish(run)


def _verify_shards(data: Path, topology: "Topology") -> None:
    """Every byte that will be trained or validated on is the manifest's, else ArtifactError. A collective: the ranks
    share the reading, which also warms the page cache."""
    from pipeline.checkpoint.agree import agreed
    from pipeline.shards.loader import shards_folder
    from pipeline.shards.read import read_shards_manifest

    with agreed():
        folder = shards_folder(data)
        manifest = read_shards_manifest(folder)
        read = {shard["name"] for shard in manifest.counts["shards"] if shard["split"] in (TRAIN, VALIDATION)}
        entries = [entry for entry in manifest.files if entry.name in read]
        for entry in entries[topology.rank :: topology.world_size]:
            if not matches(folder / entry.name, entry):
                raise ArtifactError(
                    f"{folder / entry.name} is damaged: its bytes do not match the manifest's checksum; "
                    f"delete {folder} and run penstock prepare again"
                )


def _finish(run: "Run") -> None:
    """The summary, written last. A run that was killed just before it is validated again."""
    import torch.distributed as dist

    from pipeline.train.loop import validate
    from pipeline.train.metrics import METRICS, read
    from pipeline.train.validate import label_counts, unigram_entropy

    config, rank = run.config, run.engine.topology.rank
    steps = config.steps
    known = run.metrics.last_validation  # rank 0 keeps it
    if _any_rank(rank == 0 and (known is None or known[0] != steps)):
        run.metrics.validation(steps, validate(run))
    if rank == 0:
        assert run.metrics.last_validation
        loss = run.metrics.last_validation[1]
        losses = [record["loss"] for record in read(run.folder / METRICS) if "loss" in record]
        held_out = label_counts(
            run.validation_data,
            num_batches=config.validation.num_batches,
            global_batch=config.batch.global_batch,
        )
        entropy = unigram_entropy(held_out)
        summary = {
            "step": steps,
            "tokens": steps * run.metrics.step_tokens,
            "train_loss": losses[-1] if losses else None,
            "validation_loss": loss,
            "validation_perplexity": perplexity(loss),
            "unigram_entropy": entropy,
            "checkpoint": f"{CHECKPOINTS}/step_{run.checkpoints.newest_step:08d}",
            "decided_by": _decided_by(config),
        }
        write_json(run.folder / SUMMARY, summary)
        run.events.record("finish", step=steps)
        logger.info(
            "done: validation loss %.4f nats per token, perplexity %.2f; knowing only token frequencies: %.4f",
            loss, summary["validation_perplexity"], entropy,
        )  # fmt: skip
    dist.barrier()


def _any_rank(flag: bool) -> bool:
    import torch
    import torch.distributed as dist

    told = torch.tensor(int(flag))
    dist.all_reduce(told, op=dist.ReduceOp.MAX)
    return bool(told)


def _place(config: PretrainConfig) -> tuple[int, int]:
    """(rank, world size) from the launcher: its five variables are the one thing read from the environment.

    Without a launcher a run of one rank starts itself; DeepSpeed wants all five variables.
    """
    if "RANK" not in os.environ:
        if config.cluster.world_size > 1:
            raise UserError(
                f"this run has {config.cluster.world_size} ranks (cluster.nodes x cluster.ranks_per_node), and nothing "
                "started them; use launch/pretrain.sh"
            )
        port = str(free_port())
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def _own_output(out: Path, rank: int) -> None:
    """Rank 0 speaks to people on stderr; what libraries print, and whatever other ranks say, goes to files."""
    (out / "logs").mkdir(parents=True, exist_ok=True)
    printed = os.open(_log_file(out, rank, "out"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    os.dup2(printed, 1)
    if rank > 0:
        sys.stderr.flush()
        os.dup2(printed, 2)
    setup_logging(rank, _log_file(out, rank, "log"))


def _log_file(out: Path, rank: int, kind: str) -> Path:
    return out / "logs" / f"rank_{rank:04d}.{kind}"


def _run_facts(config: PretrainConfig, made: Plan, num_threads: int) -> dict[str, Any]:
    libraries = ("penstock", "torch", "deepspeed", "megatron-core", "numpy")
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": config.model_dump(mode="json"),
        "plan": made.to_dict(),
        "num_threads": num_threads,
        "versions": {"python": platform.python_version(), **{n: importlib.metadata.version(n) for n in libraries}},
    }
