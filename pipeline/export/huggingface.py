"""A checkpoint as a folder that transformers, peft, vLLM, llama.cpp and lm-eval load.

    OUT/config.json             LlamaForCausalLM, with qk_norm Qwen3ForCausalLM
    OUT/model.safetensors       without the rows that pad the vocabulary; tied: without a head
    OUT/tokenizer.*             as the prepare folder has them, byte for byte
    OUT/generation_config.json, README.md (model card), penstock.json (where it comes from, parity), manifest.json

1. Open      the checkpoint, all files proven; the data's tokenizer, which must be the one it was trained with
2. Write     into .OUT.tmp/FINGERPRINT beside OUT; weights that are not finite are refused
3. Prove     load the folder and compare its logits with the training engine's (parity.py)
4. Rename    to OUT; after any failure nothing is left
"""

import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.files import write_json
from pipeline.core.manifest import Manifest, fingerprint
from pipeline.export import parity
from pipeline.export.card import write_card
from pipeline.export.publish import already_done, publish, room_for, scratch
from pipeline.export.source import TOKENIZER_FILES, Source, open_data, open_source
from pipeline.model import weights

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

STAGE, VERSION = "export", 2
DTYPES = ("float32", "bfloat16", "float16")


def export(
    checkpoint: Path, out: Path, *, format: str = "hf", dtype: str = "float32", data: Path | None = None
) -> Path:
    """`out`, done. `checkpoint`: a checkpoint or a run folder; `data`: where the prepare folder lies, if it was moved.

    Raises ArtifactError for what cannot be exported, ParityError if the result is not the model that was trained.
    """
    if format != "hf":
        raise UserError(f"format {format}: this version writes hf")
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype}: choose one of {', '.join(DTYPES)}")
    source = open_source(checkpoint)
    section, inputs = {"format": format, "dtype": dtype}, {"checkpoint": source.mark}
    mark = fingerprint(STAGE, VERSION, section, inputs)
    if already_done(out, mark, STAGE):
        return out
    read = open_data(source, data)
    with scratch(out, mark) as temporary:
        _write_weights(source, temporary / "model.safetensors", dtype)
        write_json(temporary / "config.json", model_config(source, dtype))
        write_json(temporary / "generation_config.json", _TOKENS)
        for name in TOKENIZER_FILES:
            shutil.copyfile(read.tokenizer / name, temporary / name)
        found = parity.check(temporary, source, dtype)
        (temporary / "README.md").write_text(write_card(source, read, found, dtype), encoding="utf-8")
        write_json(temporary / "penstock.json", _origin(source, dtype, found))
        publish(temporary, out, Manifest(STAGE, VERSION, mark, section, inputs, {"step": source.state.step}, ()))
    logger.info("%s: step %d, %s", out, source.state.step, found.describe())
    return out


_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}  # of every tokenizer we train: <s> </s> <pad>


def model_config(source: Source, dtype: str) -> dict[str, Any]:
    """config.json. head_dim and pad_token_id always: Qwen3's default is 128, and classifiers need the other."""
    model = source.model
    shape = {
        "vocab_size": source.state.vocab_size,
        "hidden_size": model.hidden_size,
        "intermediate_size": model.ffn_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": source.config.data.seq_len,
        "rms_norm_eps": model.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": model.init_std,
        "tie_word_embeddings": model.tied,
        "use_cache": True,
        **_TOKENS,
        "dtype": dtype,
    }
    if model.qk_norm:
        return {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **shape}
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **shape, "mlp_bias": False}


def _write_weights(source: Source, path: Path, dtype: str) -> None:
    import torch
    from safetensors.torch import save_file

    def tensor(name: str) -> "Tensor":
        weight = source.reader.tensor(name)
        if not bool(torch.isfinite(weight).all()):
            bad = int((~torch.isfinite(weight)).sum())
            raise ArtifactError(f"{source.folder}: {name} has {bad} values that are NaN or infinite; it is of no use")
        return weight

    named = weights.to_huggingface(source.model, source.state.vocab_size, tensor)
    rounded = {name: weight.to(getattr(torch, dtype)).contiguous() for name, weight in named}
    for name, weight in rounded.items():
        if not bool(torch.isfinite(weight).all()):
            raise ArtifactError(f"{source.folder}: {name} is too large for {dtype}; export bfloat16 or float32")
    with room_for(path):
        save_file(rounded, path, metadata={"format": "pt"})


def _origin(source: Source, dtype: str, found: parity.Parity) -> dict[str, Any]:
    return {
        "checkpoint": str(source.folder),
        "checkpoint_index_xxh3_128": source.mark,
        "step": source.state.step,
        "tokens": source.state.tokens,
        "tokenizer_sha256": source.state.tokenizer_sha256,
        "data_fingerprint": source.state.data_fingerprint,
        "dtype": dtype,
        "parity": asdict(found) | {"against": f"megatron-core layers, one rank, fp32, weights of {dtype}"},
        "model": source.model.model_dump(mode="json"),
    }
