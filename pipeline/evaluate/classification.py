"""Task: how often a fine-tuned classifier is right.

In:  a folder of `penstock finetune` (task sequence_classification) and labelled JSON lines.
Out: accuracy, F1, the report per class and the confusion matrix, beside always answering the most frequent label.

The rows are those that fine-tuning from the same file would have tested on: split 'test', or without such a column the
tenth that the hash of the text decides. `split: all` takes every row.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from rich.table import Table

from pipeline.core.errors import UserError
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
    text_field: str = "text"
    """Column of the text."""
    label_field: str = "label"
    """Column of the label."""
    split_field: str = "split"
    """Column of the split."""
    batch_size: int = Field(default=32, gt=0)
    """Texts at once."""


def run(config: Config, model: Path, data: Path) -> dict[str, Any]:
    """The figures of finetune/scores.py; raises UserError."""
    classifier = sequence_classification.Classifier.load(model)
    task = sequence_classification.Config(name="sequence_classification", text_field=config.text_field,
                                          label_field=config.label_field)  # fmt: skip
    given = DataConfig(path=data, split_field=config.split_field)
    key = partial(sequence_classification.key, task)
    test, train = read_test(given, sequence_classification.columns(task), key, all_rows=config.split == "all")
    texts = [sequence_classification.text_of(row, config.text_field) for row in test]
    gold = [sequence_classification.label_of(row, config.label_field) for row in test]
    for row, label in zip(test, gold, strict=True):
        if label not in classifier.labels:
            known = ", ".join(classifier.labels[:20])
            raise UserError(f"{row.where}: label '{label}' is not among the labels of {model}: {known}")
    rows = classifier.predict(texts, config.batch_size)
    predicted = [classifier.labels[max(range(len(row)), key=row.__getitem__)] for row in rows]
    # What one would always answer is learnt where the model learnt, if the file has those rows.
    seen = [sequence_classification.label_of(row, config.label_field) for row in train] or gold
    return classification_scores(gold, predicted, classifier.labels, majority_label(seen))


def tables(scores: dict[str, Any]) -> list[Table]:
    labels = scores["confusion_matrix"]["labels"]
    confusion = Table(title="Confusion (row: true label, column: answer)", title_justify="left")
    confusion.add_column("")
    for number in range(1, len(labels) + 1):
        confusion.add_column(str(number), justify="right")
    for number, (label, counts) in enumerate(zip(labels, scores["confusion_matrix"]["rows"], strict=True), start=1):
        confusion.add_row(f"{number} {label}", *(str(count) if count else "·" for count in counts))
    return [report_table(scores), confusion]
