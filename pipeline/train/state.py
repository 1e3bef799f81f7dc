"""What a checkpoint holds beside weights and moments, and whether a config may go on from it.

Nothing in here depends on the number of ranks. Random numbers are drawn when the weights are initialised and never
again (no dropout; the order of the data is a function of its seed), so one generator's state stands for all ranks.
"""

from typing import Any, Literal, Self

from pipeline.core.config import Config
from pipeline.core.errors import UserError
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
    config: dict[str, Any]
    """The whole PretrainConfig."""

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
            config=config.model_dump(mode="json"),
            **facts,
        )


def refuse_contradiction(
    state: RunState, config: PretrainConfig, vocab_size: int, tokenizer_sha256: str, data_fingerprint: str
) -> None:
    """UserError naming every fact of the run that this config or its data would change.

    What may change: the layout (parallel, cluster, micro_batch), precision, learning rate and its schedule, steps,
    and how often to validate, save and log.
    """
    before = PretrainConfig.model_validate(state.config)
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
    said = [f"{name} was {old}, now {new}" for name, old, new in pairs if old != new]
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
