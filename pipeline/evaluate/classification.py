"""Task: how often a fine-tuned classifier is right.

In:  a folder of `penstock finetune` (task sequence_classification) and labelled JSON lines.
Out: accuracy, F1, the report per class and the confusion matrix, beside always answering the most frequent label.

The rows are those that fine-tuning from the same file tested on: split 'test', or without such a column the part that
the hash of the text decides, cut as the classifier's manifest says. `split: all` takes every row.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from rich.table import Table

from pipeline.core.errors import UserError
from pipeline.core.manifest import is_done, read_manifest
from pipeline.core.plugins import PluginConfig
from pipeline.finetune import sequence_classification
from pipeline.finetune.data import DataConfig, read_test
from pipeline.finetune.scores import classification_scores, majority_label, report_table

logger = logging.getLogger(__name__)


class Config(PluginConfig):
    name: Literal["classification"] = "classification"
    data: Path | None = None
    """JSONL file; default: the command's --data."""
    split: Literal["test", "all"] = "test"
    """Which rows."""
    text_field: str | None = None
    """Column of the text; default: as in fine-tuning."""
    label_field: str | None = None
    """Column of the label; default: as in fine-tuning."""
    split_field: str | None = None
    """Column of the split; default: as in fine-tuning."""
    batch_size: int = Field(default=32, gt=0)
    """Texts at once."""


def run(config: Config, model: Path, data: Path) -> dict[str, Any]:
    """The figures of finetune/scores.py; raises UserError."""
    classifier = sequence_classification.Classifier.load(model)
    task, given = _as_trained(config, model, data)
    key = partial(sequence_classification.key, task)
    test, train = read_test(given, sequence_classification.columns(task), key, all_rows=config.split == "all")
    texts = [sequence_classification.text_of(row, task.text_field) for row in test]
    gold = [sequence_classification.label_of(row, task.label_field) for row in test]
    for row, label in zip(test, gold, strict=True):
        if label not in classifier.labels:
            known = ", ".join(classifier.labels[:20])
            raise UserError(f"{row.where}: label '{label}' is not among the labels of {model}: {known}")
    rows = classifier.predict(texts, config.batch_size)
    predicted = [classifier.labels[max(range(len(row)), key=row.__getitem__)] for row in rows]
    # What one would always answer is learnt where the model learnt, if the file has those rows.
    seen = [sequence_classification.label_of(row, task.label_field) for row in train] or gold
    return classification_scores(gold, predicted, classifier.labels, majority_label(seen))


def _as_trained(config: Config, model: Path, data: Path) -> tuple[sequence_classification.Config, DataConfig]:
    """Columns and cut: what `config` says, else what fine-tuning said in the model's manifest, else the defaults."""
    trained = read_manifest(model).config if is_done(model) else {}
    columns = {"text_field": config.text_field, "label_field": config.label_field}
    split = {"split_field": config.split_field}
    return (
        sequence_classification.Config.model_validate(
            {"name": "sequence_classification"} | trained.get("task", {}) | _given(columns)
        ),
        DataConfig.model_validate(trained.get("data", {}) | _given(split) | {"path": data}),
    )


def _given(settings: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if value is not None}


def tables(scores: dict[str, Any]) -> list[Table]:
    labels = scores["confusion_matrix"]["labels"]
    confusion = Table(title="Confusion (row: true label, column: answer)", title_justify="left")
    confusion.add_column("")
    for number in range(1, len(labels) + 1):
        confusion.add_column(str(number), justify="right")
    for number, (label, counts) in enumerate(zip(labels, scores["confusion_matrix"]["rows"], strict=True), start=1):
        confusion.add_row(f"{number} {label}", *(str(count) if count else "·" for count in counts))
    return [report_table(scores), confusion]
