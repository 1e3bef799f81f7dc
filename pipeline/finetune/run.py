"""Fine-tune an exported decoder for a task: labelled rows in, a model folder with its figures out.

    OUT/model.safetensors, config.json, tokenizer*    loadable by transformers; with LoRA, the merged model
    OUT/adapter/                                      with LoRA: the adapter alone, for peft
    OUT/results.json                                  figures on the test rows, and what was done
    OUT/predictions.jsonl                             the answer to each test row
    OUT/metrics.jsonl                                 losses and validations as training went on
    OUT/manifest.json                                 config, inputs and checksums

OUT appears when all is done: until then the work lies in .OUT.tmp/FINGERPRINT beside it, where a run that was killed is
continued. The fingerprint is that of the config, the data's bytes and the base model; a finished OUT with the same one
is left as it is, one with another is refused.

A task is a module of this package: `task: sequence_classification` IS finetune/sequence_classification.py. It holds
`Config`, `columns(config)`, `key(config, row)`, `read(config, job) -> lesson`, which refuses what cannot be learnt
before anything is written, and `run(lesson, job, folder) -> results`, which writes the model into `folder`.
"""

import logging
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from pipeline.core import plugins
from pipeline.core.files import checksum, write_json
from pipeline.core.manifest import Manifest, fingerprint
from pipeline.export.publish import already_done, model_mark, publish, room_for, scratch
from pipeline.finetune.data import DataConfig, read_splits
from pipeline.finetune.job import Job
from pipeline.finetune.methods import Full, Method
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
    job = Job(config.model, splits, config.method, config)
    lesson = task.read(config.task, job)
    counts = ", ".join(f"{len(rows):,} {name}" for name, rows in splits.items())
    logger.info("finetune: %s of %s (%s), %s rows", config.task.name, config.model, config.method.name, counts)
    with scratch(out, mark, go_on=True) as folder:
        with room_for(folder):
            results = task.run(lesson, job, folder)
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
        manifest = Manifest("finetune", VERSION, mark, section, inputs, {"accuracy": results["accuracy"]}, ())
        publish(folder, out, manifest, unlisted=(RESULTS, METRICS))
    logger.info("%s: %s in %.0f s", out, summary(results), results["seconds"])
    return out


def _section(config: FinetuneConfig) -> dict[str, Any]:
    """What decides the result, without the places where the inputs happen to lie."""
    return config.model_dump(mode="json", exclude={"model": True, "data": {"path", "train", "validation", "test"}})


def _inputs(config: FinetuneConfig) -> dict[str, str]:
    """Role -> what the input's bytes are."""
    data = {role: checksum(path).xxh3_128 for role, path in config.data.files().items()}
    return {"model": model_mark(config.model), **data}
