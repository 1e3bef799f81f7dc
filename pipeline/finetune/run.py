"""Fine-tune an exported decoder for a task: labelled rows in, a model folder with its figures out.

    OUT/model.safetensors, config.json, tokenizer*    loadable by transformers; with LoRA, the merged model
    OUT/adapter/                                      with LoRA: the adapter alone, for peft
    OUT/results.json                                  figures on the test rows, and what was done
    OUT/predictions.jsonl                             the answer to each test row
    OUT/metrics.jsonl                                 losses and validations as training went on
    OUT/manifest.json                                 config, inputs and checksums

OUT appears when all is done: until then the work lies in .OUT.FINGERPRINT.tmp beside it, where a run that was killed is
continued. The fingerprint is that of the config, the data's bytes and the base model; a finished OUT with the same one
is left as it is, one with another is refused.

A task is a module of this package: `task: sequence_classification` IS finetune/sequence_classification.py. It holds
`Config`, `columns(config)`, `key(config, row)` and `run(config, job) -> results`.
"""

import logging
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from pipeline.core import plugins
from pipeline.core.errors import UserError
from pipeline.core.files import checksum, sync, write_json
from pipeline.core.manifest import MANIFEST, Manifest, fingerprint, is_done, read_manifest, write_manifest
from pipeline.finetune.data import DataConfig, read_splits
from pipeline.finetune.job import Job
from pipeline.finetune.methods import Full, Lora, Method
from pipeline.finetune.scores import summary
from pipeline.finetune.trainer import CHECKPOINTS, METRICS, TrainingConfig
from pipeline.model.pretrained import DECODERS, require

logger = logging.getLogger(__name__)

VERSION = 1
RESULTS = "results.json"


class FinetuneConfig(TrainingConfig):
    task: Annotated[SerializeAsAny[plugins.PluginConfig], BeforeValidator(partial(plugins.parse, "pipeline.finetune"))]
    """What to learn: a task's name, or a mapping with `name` and its settings."""
    model: Path
    """Folder of an exported decoder (penstock export)."""
    data: DataConfig
    """The labelled rows: a JSONL file, or a mapping."""
    method: Method = Full()
    """full, or lora: a name, or a mapping with `name` and its settings."""


def finetune(config: FinetuneConfig, out: Path) -> Path:
    """`out`, done; raises UserError for bad input."""
    start = time.monotonic()
    require(config.model, DECODERS, "name a folder that penstock export wrote")
    task = plugins.load("pipeline.finetune", config.task.name)
    splits = read_splits(config.data, task.columns(config.task), partial(task.key, config.task))
    section, inputs = _section(config), _inputs(config)
    mark = fingerprint("finetune", VERSION, section, inputs)
    if already_done(out, mark, "finetune"):
        return out
    folder = out.with_name(f".{out.name}.{mark[:12]}.tmp")
    folder.mkdir(parents=True, exist_ok=True)
    counts = ", ".join(f"{len(rows):,} {name}" for name, rows in splits.items())
    logger.info("finetune: %s of %s (%s), %s rows", config.task.name, config.model, config.method.name, counts)
    results = task.run(config.task, Job(config.model, splits, config.method, config, folder))
    results = {
        "task": config.task.name,
        "method": config.method.model_dump(),
        "model": str(config.model),
        "data": {role: str(path) for role, path in config.data.files().items()},
        "seed": config.seed,
        "fingerprint": mark,
        **results,
        "seconds": round(time.monotonic() - start, 2),
    }
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    write_json(folder / RESULTS, results)
    _publish(folder, out, Manifest("finetune", VERSION, mark, section, inputs, {"accuracy": results["accuracy"]}, ()))
    logger.info("%s: %s in %.0f s", out, summary(results), results["seconds"])
    return out


def already_done(out: Path, mark: str, stage: str) -> bool:
    """Whether `out` holds the result with this fingerprint; raises UserError if it holds anything else."""
    if not out.exists():
        return False
    if is_done(out):
        found = read_manifest(out)
        if (found.stage, found.fingerprint) == (stage, mark):
            logger.info("%s is done already: %s", stage, out)
            return True
        raise UserError(f"{out} holds the result of another {found.stage}; name another folder, or remove it")
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
        return False
    raise UserError(f"{out} exists and is not a finished {stage}; name another folder, or remove it")


def _section(config: FinetuneConfig) -> dict[str, Any]:
    """What decides the result, without the places where the inputs happen to lie."""
    return config.model_dump(mode="json", exclude={"model": True, "data": {"path", "train", "validation", "test"}})


def _inputs(config: FinetuneConfig) -> dict[str, str]:
    """Role -> what the input's bytes are."""
    data = {role: checksum(path).xxh3_128 for role, path in config.data.files().items()}
    return {"model": model_mark(config.model), **data}


def model_mark(folder: Path) -> str:
    """Of a folder that Penstock wrote, its manifest's fingerprint; else a hash over its files."""
    if is_done(folder):
        return read_manifest(folder).fingerprint
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
    return fingerprint("model", 1, {path.name: checksum(path).xxh3_128 for path in files}, {})


def _publish(folder: Path, out: Path, manifest: Manifest) -> None:
    """The manifest last, then one rename. Files that hold clocks are not listed: equal inputs give equal manifests."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = [name for name in found if name not in (MANIFEST, RESULTS, METRICS)]
    files = tuple(checksum(folder / name, name) for name in names)
    write_manifest(folder, Manifest(**{**vars(manifest), "files": files}))
    os.rename(folder, out)
    sync(out.parent)


__all__ = ["FinetuneConfig", "Full", "Lora", "finetune"]
