"""One model, two DeepSpeed engines, any tp x pp x dp x ZeRO: micro batches in, loss and an optimizer step out.

pp > 1: PipelineModule, ZeRO 0 or 1.  pp = 1: DeepSpeedEngine, ZeRO 0 to 3.  Both run the layers of `model/decoder.py`
in the same order, from the same seeds, under the same names; so a layout changes the rounding and nothing else, and one
checkpoint serves them all. What DeepSpeed gets wrong or leaves out is mended here, each with its reason.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from pipeline.checkpoint.layout import KINDS, Kind, Place
from pipeline.checkpoint.save import Fragment
from pipeline.model import decoder
from pipeline.model.topology import Topology, assert_same_groups, importing_megatron
from pipeline.train.config import PretrainConfig
from pipeline.train.optim import adamw

with importing_megatron():
    import deepspeed
    from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
    from deepspeed.runtime.pipe.topology import PipelineParallelGrid, PipeModelDataParallelTopology
    from deepspeed.utils import (
        safe_get_local_fp32_param,
        safe_get_local_optimizer_state,
        safe_set_local_fp32_param,
        safe_set_local_optimizer_state,
    )
    from megatron.core import parallel_state

MicroBatch = tuple[Tensor, Tensor]  # tokens and labels, integers [micro_batch, seq_len]


class Engine:
    """This rank's part of the model, its optimizer, and the way to the other ranks. Every method is a collective."""

    def __init__(self, config: PretrainConfig, vocab_size: int, topology: Topology) -> None:
        self.topology, self.vocab_size = topology, vocab_size
        self.num_layers = config.model.num_layers
        loss = functools.partial(decoder.token_loss, vocab_size=vocab_size)
        layers = layer_specs(config, vocab_size)
        axes = PipeModelDataParallelTopology(num_pp=topology.pp, num_mp=topology.tp, num_dp=topology.dp)
        seed_layer = functools.partial(_seed_layer, config.seed)
        options: dict[str, Any] = {}
        if topology.pp > 1:
            module = PipelineModule(
                layers,
                topology=axes,
                loss_fn=loss,
                partition_method="type:Block",  # the same number of blocks in each stage
                activation_checkpoint_interval=int(config.parallel.recompute),
                checkpointable_layers=["Block"],
                seed_layers=True,
                base_seed=0,
                seed_fn=seed_layer,
            )
            grid = module._grid  # it brings its own
        else:
            module = Stack(layers, loss, seed_layer, config.parallel.recompute)
            grid = options["mpu"] = PipelineParallelGrid(axes)
        assert_same_groups(grid)
        optimizer = adamw(module.named_parameters(), config.optim)
        self.engine, *_ = deepspeed.initialize(
            model=module, optimizer=optimizer, config=deepspeed_config(config, topology), **options
        )
        if config.precision == "fp32" and config.parallel.zero == 0:
            self.engine.clip_fp32_gradients = functools.partial(clip_once, self.engine)
        _ensure_moments(self.engine)

    # ---- steps

    def train_step(self, micro_batches: Sequence[MicroBatch], lr: float) -> float:
        """One optimizer update on this rank's share of the global batch; gives its mean loss, the same on all ranks."""
        for group in _wrapped(self.engine)[0].param_groups:
            group["lr"] = lr
        if self.topology.pp > 1:
            return float(self.engine.train_batch(iter(micro_batches)))
        self.engine.train()
        total = torch.zeros((), device=self.engine.device)
        for tokens, labels in micro_batches:
            loss = self.engine(tokens.to(self.engine.device), labels.to(self.engine.device))
            self.engine.backward(loss)
            self.engine.step()  # updates after the last one
            total += loss.detach()
        return self._mean(total / len(micro_batches))

    def eval_loss(self, micro_batches: Sequence[MicroBatch]) -> float:
        """The mean loss of a global batch, nothing learnt from it."""
        if self.topology.pp > 1:
            return float(self.engine.eval_batch(iter(micro_batches), num_micro_batches=len(micro_batches)))
        self.engine.eval()
        total = torch.zeros((), device=self.engine.device)
        with torch.no_grad():
            for tokens, labels in micro_batches:
                total += self.engine(tokens.to(self.engine.device), labels.to(self.engine.device))
        return self._mean(total / len(micro_batches))

    def _mean(self, loss: Tensor) -> float:
        """Over the data-parallel ranks."""
        dist.all_reduce(loss, group=parallel_state.get_data_parallel_group())
        return float(loss / self.topology.dp)

    @property
    def grad_norm(self) -> float:
        """Euclidean norm of the last step's gradient over all parameters, before it was clipped."""
        return float(self.engine.get_global_grad_norm())

    def logits(self, tokens_BS: Tensor) -> Tensor:
        """[micro_batch, seq_len, vocab_size] for tokens [micro_batch, seq_len], on every rank."""
        if self.topology.pp == 1:
            self.engine.eval()
            with torch.no_grad():
                return decoder.whole_logits(self.engine(tokens_BS.to(self.engine.device)), self.vocab_size)
        _, local = self.engine.eval_batch(
            iter([(tokens_BS, tokens_BS)]),
            return_logits=True,
            compute_loss=False,
            bcast_loss=False,
            reduce_output=None,
            num_micro_batches=1,
        )
        last = self.topology.pp_rank == self.topology.pp - 1
        empty = torch.empty(*tokens_BS.shape, self.vocab_size, device=self.engine.device)
        scores = decoder.whole_logits(local, self.vocab_size).float() if last else empty
        group = parallel_state.get_pipeline_model_parallel_group()
        dist.broadcast(scores, src=dist.get_process_group_ranks(group)[-1], group=group)
        return scores

    # ---- state

    def fragments(self) -> Iterator[Fragment]:
        """What this rank writes into a checkpoint: of equal copies, one rank's. Tensors are views where possible."""
        for name, parameter in self._named_parameters():
            if _is_written(parameter):
                place = _owned(self.engine, name, parameter)
                values = {kind: _values(self.engine, parameter, place, kind) for kind in KINDS if place.length}
                yield Fragment(place, values)

    @torch.no_grad()
    def load(self, read: Callable[[Place, Kind], Tensor], num_updates: int) -> None:
        """Take master weights and moments from `read`, Adam's count of updates from `num_updates`."""
        base, tensors = _wrapped(self.engine)
        for tensor in tensors:
            base.state[tensor]["step"].fill_(num_updates)
        for name, parameter in self._named_parameters():
            place = _owned(self.engine, name, parameter, to_load=True)
            for kind in KINDS:
                _accept(self.engine, parameter, place, kind, read)
        _refresh_training_copy(self.engine)

    def _named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, parameter in self.engine.module.named_parameters():
            yield decoder.logical_name(name, self.num_layers), parameter


# ---- building


def layer_specs(config: PretrainConfig, vocab_size: int) -> list[LayerSpec]:
    """The pipeline layers in order; DeepSpeed builds those of this rank's stage."""
    model, parallel = config.model, config.parallel
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    shape = decoder.transformer_config(model, parallel.tp, parallel.sequence_parallel, dtype)
    vocab = model.padded_vocab(vocab_size)
    if model.tied:
        first = last = TiedLayerSpec("vocab", decoder.Embedding, shape, vocab, tied_weight_attr="weight")
    else:
        first, last = LayerSpec(decoder.Embedding, shape, vocab), LayerSpec(decoder.Head, shape, vocab)
    blocks = [
        LayerSpec(decoder.Block, shape, i + 1, config.data.seq_len, model.rope_theta, model.qk_norm)
        for i in range(model.num_layers)
    ]
    return [first, *blocks, LayerSpec(decoder.FinalNorm, shape), last]


def _seed_layer(seed: int, index: int) -> None:
    decoder.seed_layer(seed, int(index))  # DeepSpeed counts with a numpy.int64 here


def deepspeed_config(config: PretrainConfig, topology: Topology) -> dict[str, Any]:
    """DeepSpeed's dictionary, derived; there is no second file."""
    batch, parallel = config.batch, config.parallel
    # Splitting the activations that travel between stages over tp is silently wrong if they are split already.
    split = parallel.tp > 1 and not parallel.sequence_parallel
    derived: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": batch.micro_batch,
        "gradient_accumulation_steps": batch.global_batch // (batch.micro_batch * topology.dp),
        "train_batch_size": batch.global_batch,
        "gradient_clipping": config.optim.grad_clip,
        "zero_optimization": {"stage": parallel.zero},
        "zero_allow_untested_optimizer": True,  # torch's AdamW
        "steps_per_print": None,
        "pipeline": {
            "pipe_partitioned": split,
            "grad_partitioned": split,
            "use_reentrant": False,  # reentrant recomputation fails at the embedding, whose input has no gradient
        },
    }
    if config.precision == "bf16":
        derived["bf16"] = {"enabled": True}
        derived["data_types"] = {"grad_accum_dtype": "fp32"}  # else gradients are summed in bf16
    return derived


class Stack(nn.Module):
    """PipelineModule's layers, order, seeds and parameter names without a pipeline, for the plain engine."""

    def __init__(
        self,
        layers: Sequence[LayerSpec],
        loss: Callable[[Tensor, Tensor], Tensor],
        seed_layer: Callable[[int], None],
        recompute_blocks: bool,
    ) -> None:
        super().__init__()
        self.loss, self.recompute_blocks = loss, recompute_blocks
        self.tied_modules = nn.ModuleDict()
        self.order: list[str] = []
        for i, spec in enumerate(layers):
            seed_layer(i)
            if isinstance(spec, TiedLayerSpec):
                if spec.key not in self.tied_modules:
                    self.tied_modules[spec.key] = spec.build()
                self.order.append(f"tied_modules.{spec.key}")
            else:
                self.add_module(str(i), spec.build())
                self.order.append(str(i))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The loss if there are labels, else logits."""
        for path in self.order:
            layer = self.get_submodule(path)
            if self.recompute_blocks and self.training and isinstance(layer, decoder.Block):
                x = recompute(layer, x, use_reentrant=False)
            else:
                x = layer(x)
        return x if labels is None else self.loss(x, labels)


def clip_once(engine: Any) -> None:
    """Replaces engine.clip_fp32_gradients (fp32 with ZeRO 0 only).

    DeepSpeed's counts a tied weight once per stage, leaves out the norm weights of all stages but the first, and does
    not set the norm it reports.
    """
    tp_rank0 = parallel_state.get_tensor_model_parallel_rank() == 0
    with_gradient = [p for p in engine.module.parameters() if p.grad is not None]
    mine = [
        p
        for p in with_gradient
        if not getattr(p, "ds_pipe_replicated", False) and (tp_rank0 or getattr(p, "tensor_model_parallel", False))
    ]
    squares = [p.grad.float().pow(2).sum() for p in mine] or [torch.zeros((), device=engine.device)]
    total = torch.stack(squares).sum()
    dist.all_reduce(total, group=parallel_state.get_model_parallel_group())  # over tp x pp
    norm = total.sqrt()
    scale = (engine.gradient_clipping() / (norm + 1e-6)).clamp(max=1.0)
    for p in with_gradient:
        p.grad.mul_(scale)
    engine._global_grad_norm = norm


# ---- state, wherever DeepSpeed keeps it. ZeRO 0 in fp32 ("bare") keeps the parameters themselves; ZeRO 1, 2 and bf16
# keep flat partitions, to which p._hp_mapping leads; ZeRO 3 keeps partitions of each parameter (p.ds_tensor).


def _wrapped(engine: Any) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """torch's optimizer and the tensors it updates."""
    wrapper = engine.optimizer
    flat_partitions = (
        "fp32_partitioned_groups_flat",  # ZeRO 3
        "single_partition_of_fp32_groups",  # ZeRO 1, 2
        "fp32_groups_flat_partition",  # BF16_Optimizer: ZeRO 1 with gradients summed in fp32
    )
    for attribute in flat_partitions:
        if hasattr(wrapper, attribute):
            return wrapper.optimizer, list(getattr(wrapper, attribute))
    return wrapper, [p for group in wrapper.param_groups for p in group["params"]]


def _is_bare(engine: Any) -> bool:
    return _wrapped(engine)[0] is engine.optimizer


def _ensure_moments(engine: Any) -> None:
    """A fresh engine has no Adam moments: make them as the first step would, and link them to the parameters.

    Before the first step, not at it: DeepSpeed links all groups after stepping the first one, and so the others, which
    have no moments yet, to nothing.
    """
    base, tensors = _wrapped(engine)
    for tensor in tensors:
        if not base.state.get(tensor):
            base.state[tensor] = {
                "step": torch.zeros((), dtype=torch.float32, device=tensor.device),
                "exp_avg": torch.zeros_like(tensor),
                "exp_avg_sq": torch.zeros_like(tensor),
            }
    if hasattr(engine.optimizer, "_lazy_init_hp_params_optimizer_state"):  # private, needed
        engine.optimizer._lazy_init_hp_params_optimizer_state()


def _is_split(parameter: nn.Parameter) -> bool:
    """Over tensor ranks; set by megatron-core."""
    return getattr(parameter, "tensor_model_parallel", False)


def _is_written(parameter: nn.Parameter) -> bool:
    """Of norms on several tensor ranks, and tied weights on several stages, one rank's copy is saved."""
    first = _is_split(parameter) or parallel_state.get_tensor_model_parallel_rank() == 0
    return first and not getattr(parameter, "ds_pipe_replicated", False)


def _owned(engine: Any, name: str, parameter: Any, to_load: bool = False) -> Place:
    """The range of `parameter` that this rank keeps in fp32 (see Geometry in checkpoint/layout.py)."""
    shard_shape = list(getattr(parameter, "ds_shape", parameter.shape))  # ZeRO 3: the parameter itself is empty
    shard_size = math.prod(shard_shape)
    rows, tp, tp_index, whole_shape = 1, 1, 0, list(shard_shape)
    if _is_split(parameter):
        tp = parallel_state.get_tensor_model_parallel_world_size()
        tp_index = parallel_state.get_tensor_model_parallel_rank()
        rows = math.prod(shard_shape[: parameter.partition_dim]) * parameter.partition_stride
        whole_shape[parameter.partition_dim] *= tp
    if hasattr(parameter, "ds_id"):  # ZeRO 3: equal parts, the last ones padded
        size = parameter.ds_tensor.ds_numel
        start = min(dist.get_rank(parameter.ds_process_group) * size, shard_size)
        length = min(size, shard_size - start)
    elif _is_bare(engine):  # every data-parallel rank has all of it: they load it all and share the writing
        dp, dp_rank = parallel_state.get_data_parallel_world_size(), parallel_state.get_data_parallel_rank()
        start = 0 if to_load else shard_size * dp_rank // dp
        length = shard_size if to_load else shard_size * (dp_rank + 1) // dp - start
    else:
        mapping = parameter._hp_mapping  # None: nothing of it lies in this rank's partition
        address = mapping.lp_fragment_address if mapping else None
        start, length = (address.start, address.numel) if address else (0, 0)
    return Place(name, tuple(whole_shape), rows, shard_size * tp // rows, tp, tp_index, start, length)


def _values(engine: Any, parameter: Any, place: Place, kind: Kind) -> Tensor:
    """The owned range, 1-D fp32."""
    if hasattr(parameter, "ds_id"):
        get = safe_get_local_optimizer_state
        values = safe_get_local_fp32_param(parameter) if kind == "fp32" else get(parameter, kind)
        return values.detach()[: place.length]
    if _is_bare(engine):
        values = parameter.detach() if kind == "fp32" else engine.optimizer.state[parameter][kind]
        return values.reshape(-1)[place.start : place.start + place.length]
    return parameter._hp_mapping.get_hp_fragment(None if kind == "fp32" else kind).detach()


def _accept(engine: Any, parameter: Any, place: Place, kind: Kind, read: Callable[[Place, Kind], Tensor]) -> None:
    if hasattr(parameter, "ds_id"):
        values = torch.zeros(parameter.ds_tensor.ds_numel)  # with ZeRO 3's padding
        if place.length:
            values[: place.length] = read(place, kind)
        if kind == "fp32":
            safe_set_local_fp32_param(parameter, values)
        else:
            safe_set_local_optimizer_state(parameter, values, kind)
    elif place.length:
        if _is_bare(engine):
            target = parameter if kind == "fp32" else engine.optimizer.state[parameter][kind]
            target.copy_(read(place, kind).view(parameter.shape))
        else:
            _values(engine, parameter, place, kind).copy_(read(place, kind))


def _refresh_training_copy(engine: Any) -> None:
    """Weights that forward computes with, from the fp32 master weights."""
    wrapper = engine.optimizer
    if engine.zero_optimization_stage() == 3:
        for low, high in zip(wrapper.fp16_partitioned_groups_flat, wrapper.fp32_partitioned_groups_flat, strict=True):
            low.data.copy_(high.data)
        kept = wrapper.persistent_parameters  # small ones stay gathered: they still hold the old values
        if kept:
            kept[0].partition(kept)
            kept[0].all_gather(kept)
    elif not _is_bare(engine):
        wrapper.update_lp_params()  # ZeRO 1, 2, BF16_Optimizer: copy the own part, gather
