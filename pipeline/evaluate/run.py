"""Score a model: tasks in, OUT/results.json and a table out.

    OUT/results.json      figures by task, and of what
    OUT/manifest.json     tasks, fingerprints of the model and the data, checksum

A finished OUT of the same tasks, model and data is read, not scored again; one of others is refused.

A task is a module of this package: `perplexity` IS evaluate/perplexity.py. It holds `Config`, `run(config, model, data)
-> scores` and `tables(scores)`.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError
from rich.console import Console

from pipeline.core import plugins
from pipeline.core.config import Config, describe
from pipeline.core.errors import ConfigError, UserError
from pipeline.core.files import checksum, write_json
from pipeline.core.manifest import Manifest, fingerprint, read_manifest
from pipeline.export.publish import already_done, model_mark, publish, scratch
from pipeline.model.pretrained import read_config

logger = logging.getLogger(__name__)

STAGE, VERSION = "evaluate", 1
PACKAGE = "pipeline.evaluate"
RESULTS = "results.json"

Task = Annotated[SerializeAsAny[plugins.PluginConfig], BeforeValidator(partial(plugins.parse, PACKAGE))]


class EvaluateConfig(Config):
    tasks: tuple[Task, ...]
    """Names of tasks, or mappings with `name` and its settings."""
    data: Path | None = None
    """What the tasks are scored on, unless one names its own."""


def evaluate(
    model: Path, tasks: Sequence[str | plugins.PluginConfig], out: Path, data: Path | None = None
) -> dict[str, Any]:
    """The results, also written to OUT/results.json: {"model", "model_fingerprint", "tasks": {name: scores}}."""
    try:
        config = EvaluateConfig(tasks=tuple(tasks), data=data)
    except ValidationError as error:
        raise ConfigError("\n".join(describe(error, EvaluateConfig))) from None
    if not config.tasks:
        raise UserError(f"no task to score; known: {', '.join(plugins.names(PACKAGE))}")
    read_config(model)
    places = {task.name: _place(task, config.data) for task in config.tasks}
    section = {"tasks": [task.model_dump(mode="json", exclude={"data"}) for task in config.tasks]}
    inputs = {"model": model_mark(model)} | {f"{name} data": _data_mark(path) for name, path in places.items()}
    mark = fingerprint(STAGE, VERSION, section, inputs)
    if already_done(out, mark, STAGE):
        return dict(json.loads((out / RESULTS).read_bytes()))
    scores: dict[str, Any] = {}
    for task in config.tasks:
        place = places[task.name]
        logger.info("evaluate: %s of %s on %s", task.name, model, place)
        found = plugins.load(PACKAGE, task.name).run(task, model, place)
        scores[task.name] = {"data": str(place), **found}
    results = {"model": str(model), "model_fingerprint": inputs["model"], "tasks": scores}
    with scratch(out, mark) as folder:
        write_json(folder / RESULTS, results)
        publish(folder, out, Manifest(STAGE, VERSION, mark, section, inputs, {"tasks": len(scores)}, ()))
    return results


def _place(task: plugins.PluginConfig, data: Path | None) -> Path:
    """Where the task's data lies; raises UserError."""
    place = getattr(task, "data", None) or data
    if place is None:
        raise UserError(f"{task.name}: no data to score on; give --data")
    if not place.exists():
        raise UserError(f"{task.name}: {place} does not exist")
    return place


def _data_mark(place: Path) -> str:
    """Stands for the bytes of a file, or of the folder of a stage."""
    return read_manifest(place).fingerprint if place.is_dir() else checksum(place).xxh3_128


def print_results(results: dict[str, Any]) -> None:
    console = Console()
    for name, scores in results["tasks"].items():
        for table in plugins.load(PACKAGE, name).tables(scores):
            console.print(table)
