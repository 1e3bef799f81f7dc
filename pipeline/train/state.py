"""What a checkpoint holds beside weights and moments, and whether a config may go on from it.

Nothing in here depends on the number of ranks. Random numbers are drawn when the weights are initialised and never
again (no dropout; the order of the data is a function of its seed), so one generator's state stands for all ranks.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError

from pipeline.core.config import Config
from pipeline.core.errors import ArtifactError, UserError
from pipeline.train.config import PretrainConfig


class RunState(Config):
    """`extra` of the checkpoint's index."""

    step: int
    """Optimizer updates done."""
    position: int
    """Samples taken from the order of the data; the next step begins with this one."""
    tokens: int
    """Tokens trained on."""
    vocab_size: int
    """Of the tokenizer, without padding."""
    tokenizer_sha256: str
    data_fingerprint: str
    """Of shards, split, seq_len, order seed and mixture."""
    order: dict[str, Any]
    """The loader's own words for the position."""
    schedule: dict[str, Any]
    """The learning rate of the step just done, and what it followed from."""
    rng: dict[Literal["torch_cpu"], str]
    """State of torch's CPU generator, in hex."""
    num_threads: int
    """Of each rank; another number changes the rounding."""
    config: PretrainConfig

    @classmethod
    def of(
        cls, config: PretrainConfig, step: int, lr: float, order: dict[str, Any], facts: dict[str, Any], rng: bytes
    ) -> Self:
        """`facts`: vocab_size, tokenizer_sha256, data_fingerprint, num_threads."""
        settings = {"optim": config.optim.model_dump(mode="json"), **config.schedule.model_dump(mode="json")}
        return cls(
            step=step,
            position=step * config.batch.global_batch,
            tokens=step * config.batch.global_batch * config.data.seq_len,
            order=order,
            schedule={"lr": lr, "steps": config.steps, **settings},
            rng={"torch_cpu": rng.hex()},
            config=config,
            **facts,
        )

    @classmethod
    def read(cls, checkpoint: Path, extra: Mapping[str, Any]) -> Self:
        """From the `extra` of a checkpoint's index; raises ArtifactError if another version wrote another one."""
        try:
            return cls.model_validate(extra)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ArtifactError(f"{checkpoint}: its index was another version's: {where}: {first['msg']}") from None


def refuse_contradiction(
    state: RunState, config: PretrainConfig, vocab_size: int, tokenizer_sha256: str, data_fingerprint: str
) -> None:
    """UserError naming every fact of the run that this config or its data would change.

    What may change: the layout (parallel, cluster, micro_batch), precision, learning rate and its schedule, steps,
    and how often to validate, save and log.
    """
    before = state.config
    pairs: list[tuple[str, Any, Any]] = [
        (f"model.{name}", getattr(before.model, name), getattr(config.model, name))
        for name in type(config.model).model_fields
        if name not in ("vocab_size", "init_std")  # the first is compared with the tokenizer, the second is history
    ]
    pairs += [
        ("seed", before.seed, config.seed),
        ("data.seq_len", before.data.seq_len, config.data.seq_len),
        ("data.seed", before.data.seed, config.data.seed),
        ("data.mixture", before.data.mixture, config.data.mixture),
        ("batch.global_batch", before.batch.global_batch, config.batch.global_batch),
        ("the size of the vocabulary", state.vocab_size, vocab_size),
        ("the tokenizer (sha256)", state.tokenizer_sha256[:16], tokenizer_sha256[:16]),
    ]
    said = _differences(pairs)
    if not said and state.data_fingerprint != data_fingerprint:
        said = [f"the data (fingerprint) was {state.data_fingerprint[:16]}, now {data_fingerprint[:16]}"]
    if config.steps < state.step:
        said.append(f"steps is {config.steps}, but {state.step} are done already")
    if said:
        raise UserError(
            f"the run in --out is at step {state.step} and cannot go on with this config:\n"
            + "\n".join(said)
            + "\nrestore these, or name another --out"
        )


def deciding(config: PretrainConfig) -> dict[str, Any]:
    """By dotted key, what decides the result of a run: not how it is computed, saved and shown, nor where the data lies
    (its fingerprint says what it is, and which vocabulary it has)."""
    how: Any = {"parallel": True, "cluster": True, "checkpoint": True, "log_every_steps": True,
                "batch": {"micro_batch"}, "data": {"path"}, "model": {"vocab_size"}}  # fmt: skip
    found: dict[str, Any] = {}
    for name, value in config.model_dump(mode="json", exclude=how).items():
        found |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return found


def refuse_another(run: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError naming every deciding fact that is not what the finished run was trained with."""
    said = _differences((name, before.get(name), now.get(name)) for name in sorted({*before, *now}))
    if said:
        raise UserError(f"{run} is finished, with another config:\n" + "\n".join(said) + "\nname another --out")


def _differences(pairs: Iterable[tuple[str, Any, Any]]) -> list[str]:
    return [f"{name} was {old}, now {new}" for name, old, new in pairs if old != new]
