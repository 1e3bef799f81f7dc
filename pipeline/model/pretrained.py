"""Open a Hugging Face folder with transformers: offline, silent, and never with weights that came from nowhere.

In:  a folder that `penstock export` or `penstock finetune` wrote (any LlamaForCausalLM or Qwen3ForCausalLM will do).
Out: its configuration, tokenizer or model, in fp32 unless told otherwise.

transformers gives weights that a file lacks random values and says so in a warning. Here that is an ArtifactError.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import ArtifactError
from pipeline.core.manifest import is_done, verify

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DECODERS = ("LlamaForCausalLM", "Qwen3ForCausalLM")
CLASSIFIERS = ("LlamaForSequenceClassification", "Qwen3ForSequenceClassification")


def offline() -> None:
    """Call before transformers is imported: no network, no progress bars, no advice on standard error."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE",
                 "HF_HUB_DISABLE_TELEMETRY", "TRANSFORMERS_NO_ADVISORY_WARNINGS"):  # fmt: skip
        os.environ[name] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # it would warn after every fork
    import torch
    import transformers

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # accelerate loads DeepSpeed, which warns while guessing
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder that is whole: weights and tokenizer are there."""
    path = folder / "config.json"
    if not path.exists():
        raise ArtifactError(f"{folder} is not a model folder: it has no config.json (penstock export writes one)")
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: {error}") from None
    if not isinstance(config, dict):
        raise ArtifactError(f"{path} is damaged: it is no mapping")
    _require_proven(folder)
    if not any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise ArtifactError(f"{folder} has no model.safetensors")
    if not (folder / "tokenizer.json").exists():
        raise ArtifactError(f"{folder} has no tokenizer.json; a model is of no use without its tokenizer")
    return config


@cache
def _require_proven(folder: Path) -> None:
    """A folder that Penstock wrote has a manifest: every byte is compared with it, once per process."""
    if is_done(folder) and (bad := verify(folder)):
        raise ArtifactError("\n".join(bad))


def architecture(folder: Path) -> str:
    return (read_config(folder).get("architectures") or ["unknown"])[0]


def require(folder: Path, known: tuple[str, ...], remedy: str) -> None:
    """Raises ArtifactError unless the folder holds one of the `known` architectures."""
    found = architecture(folder)
    if found not in known:
        raise ArtifactError(f"{folder} holds a {found}; this needs a {' or '.join(known)}: {remedy}")


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    size = read_config(folder)["vocab_size"]  # first: a folder that is no model is said to be none
    offline()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if len(tokenizer) > size:
        raise ArtifactError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model {size}")
    return tokenizer


def load_decoder(folder: Path, device: str = "cpu") -> Any:
    """The language model, ready to evaluate."""
    require(folder, DECODERS, "name a folder that penstock export wrote")
    return load_model(folder, "AutoModelForCausalLM", device)


def load_model(
    folder: Path,
    auto_class: str,
    device: str = "cpu",
    new: tuple[str, ...] = (),
    unused: tuple[str, ...] = (),
    **changes: Any,
) -> "PreTrainedModel":
    """Weights that start with `new` may be missing (a fresh head), those with `unused` may be left over."""
    offline()
    import torch
    import transformers

    read_config(folder)
    model, report = getattr(transformers, auto_class).from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, output_loading_info=True, **changes
    )
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(new or "\0"))
    extra = sorted(name for name in report["unexpected_keys"] if not name.startswith(unused or "\0"))
    wrong = sorted(str(entry[0]) for entry in report["mismatched_keys"])
    for what, names in (("lacks", missing), ("has unknown", extra), ("has misshapen", wrong)):
        if names:
            raise ArtifactError(f"{folder} {what} weights, e.g. {names[0]} ({len(names)} in all)")
    model.eval()
    model.to(device)
    return model


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def context_size(folder: Path) -> int:
    """Tokens the model was trained to see at once."""
    return int(read_config(folder)["max_position_embeddings"])
