"""Whether a layout can run, and what it needs, before anything is queued: a config in, a Plan out, or a UserError.

Neither torch nor megatron is imported: this runs on the login node in the blink of an eye.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.core.errors import UserError
from pipeline.model.config import ModelConfig
from pipeline.model.flops import flops_per_token
from pipeline.model.weights import num_parameters, shapes
from pipeline.shards.order import quotas
from pipeline.train.config import PretrainConfig
from pipeline.train.data import TRAIN, VALIDATION, DataFacts, data_facts


@dataclass(frozen=True)
class Layout:
    """What the support table speaks about."""

    tp: int = 1
    pp: int = 1
    dp: int = 1
    zero: int = 1
    sequence_parallel: bool = False
    recompute: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    tied: bool = False

    @property
    def world_size(self) -> int:
        return self.tp * self.pp * self.dp


@dataclass(frozen=True)
class Refusal:
    """A combination that does not work, why, and what to do instead; `{}` fields are those of Layout."""

    when: Callable[[Layout], bool]
    reason: str


# What cannot run. All that is left can: tests/train/test_parity.py compares it with one process.
REFUSALS = (
    Refusal(
        lambda x: x.pp > 1 and x.zero > 1,
        "parallel.zero {zero} does not go with pp {pp}: the pipeline adds up the gradients of several micro batches, "
        "which ZeRO 2 and 3 would have to gather each time; set zero: 1, or pp: 1",
    ),
    Refusal(
        lambda x: x.precision == "bf16" and x.zero == 0,
        "parallel.zero 0 does not go with bf16: DeepSpeed then sums gradients in bf16; set zero: 1",
    ),
    Refusal(
        lambda x: x.sequence_parallel and x.tp == 1,
        "parallel.sequence_parallel splits activations over tensor-parallel ranks, but tp is 1; set it to false",
    ),
)


@dataclass(frozen=True)
class Plan:
    world_size: int
    nodes: int
    ranks_per_node: int
    tp: int
    pp: int
    dp: int
    zero: int
    micro_batches: int
    """Per step and data-parallel rank."""
    tokens_per_step: int
    num_steps: int
    epochs: float | None
    """How often the run sees the training data; None while there is no data."""
    vocab_size: int
    padded_vocab_size: int
    num_parameters: int
    parameters_per_rank: int
    """Of the rank with the most: first or last pipeline stage."""
    flops_per_token: int
    bubble: float
    """Share of a step in which a pipeline stage waits: (pp - 1) / (micro batches + pp - 1)."""
    memory_bytes: dict[str, int]
    """Estimate for the fullest rank, by part."""

    @property
    def total_memory_bytes(self) -> int:
        return sum(self.memory_bytes.values())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"total_memory_bytes": self.total_memory_bytes}

    def describe(self) -> str:
        """For people, a fact per line."""
        epochs = f" = {self.epochs:.2f} epochs" if self.epochs is not None else ""
        layout = f"tp {self.tp} x pp {self.pp} x dp {self.dp}, ZeRO {self.zero}, on {self.nodes} node(s)"
        in_all = self.flops_per_token * self.tokens_per_step * self.num_steps
        rows = [
            ("ranks", f"{self.world_size} = {layout}"),
            ("parameters", f"{self.num_parameters:,} ({self.parameters_per_rank:,} on the fullest rank)"),
            ("vocabulary", f"{self.vocab_size:,}, padded to {self.padded_vocab_size:,}"),
            ("step", f"{self.tokens_per_step:,} tokens in {self.micro_batches} micro batch(es) per rank"),
            ("steps", f"{self.num_steps:,}{epochs}"),
            ("compute", f"{self.flops_per_token:.3e} FLOP per token, {in_all:.3e} in all"),
            ("bubble", f"{100 * self.bubble:.0f} % of a step"),
            ("memory", f"{_size(self.total_memory_bytes)} per rank, estimated:"),
            *((f"  {part}", _size(num_bytes)) for part, num_bytes in self.memory_bytes.items()),
        ]  # fmt: skip
        return "\n".join(f"{name:<14} {text}" for name, text in rows)


def plan(config: PretrainConfig, world_size: int | None = None) -> Plan:
    """The plan for `world_size` ranks (default: what `cluster` says); raises UserError listing every obstacle."""
    ranks = world_size or config.cluster.world_size
    facts = data_facts(config.data.path)
    vocab_size = _vocab_size(config.model, config.data.path, facts)
    parallel, batch = config.parallel, config.batch
    _refuse(_world_size_problems(parallel.tp, parallel.pp, ranks))
    layout = layout_of(config, ranks)
    _refuse(
        [
            *_layout_problems(layout),
            *_model_problems(config, vocab_size),
            *_batch_problems(config, layout.dp),
            *_data_problems(config, facts),
        ]
    )
    micro_batches = batch.global_batch // (layout.dp * batch.micro_batch)
    stages = _parameters_by_stage(config.model, vocab_size, layout)
    return Plan(
        world_size=ranks,
        nodes=config.cluster.nodes
        if ranks == config.cluster.world_size
        else -(-ranks // config.cluster.ranks_per_node),
        ranks_per_node=config.cluster.ranks_per_node if ranks >= config.cluster.ranks_per_node else ranks,
        tp=layout.tp,
        pp=layout.pp,
        dp=layout.dp,
        zero=layout.zero,
        micro_batches=micro_batches,
        tokens_per_step=batch.global_batch * config.data.seq_len,
        num_steps=config.steps,
        epochs=config.steps * batch.global_batch / facts.num_samples(TRAIN, config.data.seq_len) if facts else None,
        vocab_size=vocab_size,
        padded_vocab_size=config.model.padded_vocab(vocab_size),
        num_parameters=num_parameters(config.model, vocab_size),
        parameters_per_rank=max(stages),
        flops_per_token=flops_per_token(config.model, vocab_size, config.data.seq_len),
        bubble=(layout.pp - 1) / (micro_batches + layout.pp - 1),
        memory_bytes=_memory(config, layout, max(stages), vocab_size, micro_batches),
    )


def layout_of(config: PretrainConfig, world_size: int) -> Layout:
    parallel = config.parallel
    return Layout(
        tp=parallel.tp,
        pp=parallel.pp,
        dp=world_size // (parallel.tp * parallel.pp),
        zero=parallel.zero,
        sequence_parallel=parallel.sequence_parallel,
        recompute=parallel.recompute,
        precision=config.precision,
        tied=config.model.tied,
    )


# ---- obstacles


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UserError("\n".join(problems))


def _world_size_problems(tp: int, pp: int, world_size: int) -> list[str]:
    if world_size % (tp * pp) == 0:
        return []
    fits = [
        f"tp={t}, pp={p}"
        for t in (tp, *_powers_of_two(tp))
        for p in (pp, *_powers_of_two(pp))
        if world_size % (t * p) == 0
    ]
    near = -(-world_size // (tp * pp)) * tp * pp
    return [
        f"world size {world_size} does not divide by tp {tp} x pp {pp} = {tp * pp}; "
        f"try {near} ranks (cluster.nodes x cluster.ranks_per_node), or {fits[0]}"
    ]


def _powers_of_two(below: int) -> list[int]:
    return [2**k for k in range(below.bit_length(), -1, -1) if 2**k < below]


def _layout_problems(layout: Layout) -> Iterator[str]:
    for refusal in REFUSALS:
        if refusal.when(layout):
            yield refusal.reason.format(**asdict(layout))


def _model_problems(config: PretrainConfig, vocab_size: int) -> Iterator[str]:
    model, tp, pp = config.model, config.parallel.tp, config.parallel.pp
    split = {
        "heads": model.num_heads,
        "ffn_size": model.ffn_size,
        "padded vocabulary": model.padded_vocab(vocab_size),
    }

    def fits(tp: int) -> bool:
        return all(number % tp == 0 for number in split.values()) and _kv_heads_fit(model, tp)

    smaller = next(t for t in range(tp, 0, -1) if fits(t))
    for what, number in split.items():
        if number % tp:
            yield f"{what} ({number}) must divide by tp ({tp}); try tp={smaller}"
    if not _kv_heads_fit(model, tp):
        yield f"kv heads ({model.num_kv_heads}) and tp ({tp}): one must divide the other; try tp={smaller}"
    if model.num_layers % pp:
        fewer = next(p for p in range(pp, 0, -1) if model.num_layers % p == 0)
        yield (
            f"layers ({model.num_layers}) must divide by pp ({pp}), as every stage gets the same number; try pp={fewer}"
        )
    if config.parallel.sequence_parallel and config.data.seq_len % tp:
        yield f"seq_len ({config.data.seq_len}) must divide by tp ({tp}) for sequence_parallel"


def _kv_heads_fit(model: ModelConfig, tp: int) -> bool:
    """megatron-core gives each tensor rank whole key/value heads, or several ranks the same one."""
    return model.num_kv_heads % tp == 0 or tp % model.num_kv_heads == 0


def _batch_problems(config: PretrainConfig, dp: int) -> Iterator[str]:
    batch = config.batch
    at_once = dp * batch.micro_batch
    if batch.global_batch % at_once:
        near = max(at_once, round(batch.global_batch / at_once) * at_once)
        yield (
            f"global_batch ({batch.global_batch}) must divide by dp {dp} x micro_batch {batch.micro_batch} = "
            f"{at_once}; try global_batch={near}"
        )


def _data_problems(config: PretrainConfig, facts: DataFacts | None) -> Iterator[str]:
    seq_len = config.data.seq_len
    for split in (TRAIN, VALIDATION) if facts else ():
        if facts and facts.num_samples(split, seq_len) == 0:
            longest = max(facts.shard_tokens.get(split, [0]))
            yield (
                f"data.seq_len ({seq_len}) is too long for the {split} split of {config.data.path}: its longest shard "
                f"has {longest} tokens, one more than seq_len is needed; use a shorter seq_len, more data, or a larger "
                "shards.validation_fraction in prepare"
            )
    if facts and config.data.mixture is not None:
        try:
            quotas(facts.sources, config.data.mixture)
        except UserError as error:
            yield f"data.{error}"


def _vocab_size(model: ModelConfig, path: Path, facts: DataFacts | None) -> int:
    if facts is None:
        if model.vocab_size is None:
            raise UserError(
                f"data.path ({path}) {'is not' if path.exists() else 'does not exist, so it is not'} a finished "
                "`penstock prepare` folder: the size of the vocabulary is unknown; name one, or give model.vocab_size"
            )
        return model.vocab_size
    if model.vocab_size not in (None, facts.vocab_size):
        raise UserError(
            f"model.vocab_size ({model.vocab_size}) is not the tokenizer's ({facts.vocab_size}); leave it out"
        )
    return facts.vocab_size


# ---- estimates


def _parameters_by_stage(model: ModelConfig, vocab_size: int, layout: Layout) -> list[int]:
    """Parameters of a rank, by pipeline stage; norms are whole on each tensor rank, a tied embedding on both ends."""
    named = shapes(model, vocab_size)
    own = {name: math.prod(shape) // (layout.tp if len(shape) > 1 else 1) for name, shape in named.items()}
    per_stage = model.num_layers // layout.pp
    stages = [0] * layout.pp
    for name, number in own.items():
        where, _, rest = name.partition(".")
        stages[int(rest.split(".")[0]) // per_stage if where == "layers" else 0 if where == "embedding" else -1] += (
            number
        )
    if model.tied and layout.pp > 1:
        stages[-1] += own["embedding.weight"]
    return stages


def _memory(
    config: PretrainConfig, layout: Layout, parameters: int, vocab_size: int, micro_batches: int
) -> dict[str, int]:
    """Bytes by part. Weights, gradients and optimizer are counted; activations are estimated after arXiv 2205.05198
    (34 s b h per layer without attention scores, which the fused kernel does not keep), 2 bytes each, 4 in fp32."""
    model, seq_len, micro_batch = config.model, config.data.seq_len, config.batch.micro_batch
    wide = 4 if layout.precision == "fp32" else 2
    share = {0: (1, 1, 1), 1: (1, 1, layout.dp), 2: (1, layout.dp, layout.dp), 3: (layout.dp,) * 3}[layout.zero]
    master = 0 if layout.precision == "fp32" and layout.zero == 0 else 4
    tokens = seq_len * micro_batch
    in_flight = min(layout.pp, micro_batches)  # the first stage keeps this many micro batches (1F1B)
    per_layer = tokens * model.hidden_size * wide
    if not layout.recompute:
        kept = 34 / 2 * wide
        unsplit = 0 if layout.sequence_parallel else 10 / 2 * wide
        per_layer = round(tokens * model.hidden_size * ((kept - unsplit) / layout.tp + unsplit))
    logits = tokens * model.padded_vocab(vocab_size) // layout.tp * 4 * 2
    return {
        "weights": parameters * wide // share[0],
        "gradients": parameters * 4 // share[1],
        "optimizer": parameters * (8 + master) // share[2],
        "activations": per_layer * (model.num_layers // layout.pp) * in_flight + logits,
    }


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**29 else f"{num_bytes / 2**20:.1f} MiB"
