"""Score a model: tasks in, OUT/results.json and a table out.

A task is a module of this package: `perplexity` IS evaluate/perplexity.py. It holds `Config`, `run(config, model, data)
-> scores` and `tables(scores)`.
"""

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
from pipeline.core.files import write_json
from pipeline.core.manifest import is_done, read_manifest
from pipeline.export.publish import model_mark
from pipeline.model.pretrained import read_config

logger = logging.getLogger(__name__)

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
    if out.is_file():
        raise UserError(f"--out {out} is a file; name a folder")
    if is_done(out):
        raise UserError(f"--out {out} holds a finished {read_manifest(out).stage}; name another folder")
    read_config(model)
    scores: dict[str, Any] = {}
    for task in config.tasks:
        where = getattr(task, "data", None) or data
        if where is None:
            raise UserError(f"{task.name}: no data to score on; give --data")
        if not where.exists():
            raise UserError(f"{task.name}: {where} does not exist")
        logger.info("evaluate: %s of %s on %s", task.name, model, where)
        found = plugins.load(PACKAGE, task.name).run(task, model, where)
        scores[task.name] = {"data": str(where), **found}
    results = {"model": str(model), "model_fingerprint": model_mark(model), "tasks": scores}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RESULTS, results)
    return results


def print_results(results: dict[str, Any]) -> None:
    console = Console()
    for name, scores in results["tasks"].items():
        for table in plugins.load(PACKAGE, name).tables(scores):
            console.print(table)
