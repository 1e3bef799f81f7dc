"""Task: one label for a whole text.

1. Read         {text, label} -> Lesson: every label known, every class in the training rows, texts as tokens
2. Train        the exported decoder with a new linear head over the text's last token
3. Save         FOLDER is the classifier (merged, if it was trained with an adapter); FOLDER/adapter the adapter
4. Test         the saved folder is loaded again and answers the test rows: the figures are those of the files

`AutoModelForSequenceClassification.from_pretrained(FOLDER)` loads it; config.json names the labels, and the tokenizer
knows the longest text it was trained on.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.plugins import PluginConfig
from pipeline.finetune.data import SPLITS, Row
from pipeline.finetune.job import Job
from pipeline.finetune.methods import Full, Lora, apply, count_trainable
from pipeline.finetune.scores import classification_scores, majority_label
from pipeline.finetune.trainer import fit
from pipeline.model.pretrained import (
    CLASSIFIERS,
    context_size,
    device,
    load_model,
    load_tokenizer,
    read_config,
    require,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

ADAPTER = "adapter"


class Config(PluginConfig):
    name: Literal["sequence_classification"] = "sequence_classification"
    text_field: str = "text"
    """Column of the text."""
    label_field: str = "label"
    """Column of the label: a string or an integer."""
    labels: tuple[str, ...] | None = Field(default=None, min_length=2)
    """All labels there are, in the order of the model's outputs. Default: those of the training rows, sorted."""


@dataclass(frozen=True)
class Examples:
    texts: list[str]
    labels: list[str]


@dataclass(frozen=True)
class Lesson:
    """What is to be learnt; nothing in it can be refused any more."""

    labels: list[str]
    """In the order of the model's outputs."""
    splits: dict[str, Examples]
    tokens: dict[str, list[list[int]]]
    """Of each text, cut to max_length."""
    num_cut: dict[str, int]
    tokenizer: "PreTrainedTokenizerBase"
    """Its model_max_length is the longest text."""

    def encoded(self, split: str) -> list[dict[str, Any]]:
        """Rows for the trainer."""
        pairs = zip(self.tokens[split], self.splits[split].labels, strict=True)
        return [{"input_ids": ids, "labels": self.labels.index(label)} for ids, label in pairs]


def columns(config: Config) -> list[str]:
    return [config.text_field, config.label_field]


def key(config: Config, row: Row) -> str:
    return text_of(row, config.text_field)


def read(config: Config, job: Job) -> Lesson:
    """Writes nothing. Raises UserError for rows, settings and models that cannot be used."""
    labels, splits = read_examples(config, job.splits)
    if read_config(job.model).get("pad_token_id") is None:
        raise ArtifactError(f"{job.model}/config.json has no pad_token_id; a classifier must know where a text ends")
    max_length = fit_length(job.training.max_length, context_size(job.model))
    tokenizer = load_tokenizer(job.model)
    tokenizer.model_max_length = max_length
    tokens, num_cut = {}, {}
    for name in SPLITS:
        tokens[name], num_cut[name] = _encode(tokenizer, splits[name].texts, max_length)
    if sum(num_cut.values()):
        logger.info("%d of %d rows are longer than %d tokens and were cut", sum(num_cut.values()),
                    sum(len(split.texts) for split in splits.values()), max_length)  # fmt: skip
    return Lesson(labels, splits, tokens, num_cut, tokenizer)


def run(lesson: Lesson, job: Job, folder: Path) -> dict[str, Any]:
    """The results; makes `folder` the model folder, with predictions.jsonl."""
    labels, splits = lesson.labels, lesson.splits
    whole = _with_head(job.model, labels, job.training.seed)
    num_parameters = sum(parameter.numel() for parameter in whole.parameters())
    model = apply(job.method, whole, "SEQ_CLS")
    trained = fit(job.training, model, lesson.tokenizer, lesson.encoded("train"), lesson.encoded("validation"), folder,
                  _measure, loss_is_mean_over_rows=True)  # fmt: skip
    num_trained = count_trainable(model)
    _save(trained.model, lesson.tokenizer, job.method, folder)

    classifier, test = Classifier.load(folder), splits["test"]
    probabilities = classifier.predict(test.texts, job.training.eval_batch_size)
    predicted = [labels[max(range(len(labels)), key=row.__getitem__)] for row in probabilities]
    _write_predictions(folder / "predictions.jsonl", test, predicted, probabilities)
    scores = classification_scores(test.labels, predicted, labels, majority_label(splits["train"].labels))
    return scores | {
        "num_rows_by_split": {name: len(split.texts) for name, split in splits.items()},
        "num_rows_cut": lesson.num_cut,
        "max_length": lesson.tokenizer.model_max_length,
        "num_parameters": num_parameters,
        "num_trained_parameters": num_trained,
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "num_steps": trained.num_steps,
        f"validation_{job.training.best_by}": trained.best_value,
    }


# ---- rows ------------------------------------------------------------------------------------------------------


def text_of(row: Row, field: str) -> str:
    text = row.values[field]
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{row.where}: '{field}' must be a text that is not empty, found {text!r:.60}")
    return text


def label_of(row: Row, field: str) -> str:
    label = row.values[field]
    if not isinstance(label, (str, int)) or label == "":
        raise UserError(f"{row.where}: '{field}' must be a string or an integer, found {label!r:.60}")
    return str(label)


def read_examples(config: Config, splits: dict[str, list[Row]]) -> tuple[list[str], dict[str, Examples]]:
    """(labels in the order of the model's outputs, texts and labels by split)."""
    seen = {label_of(row, config.label_field) for row in splits["train"]}
    labels = list(config.labels) if config.labels else sorted(seen, key=_natural)
    source = "labels of the config" if config.labels else "labels of the training rows"
    for name in SPLITS:
        for row in splits[name]:
            label = label_of(row, config.label_field)
            if label not in labels:
                shown = ", ".join(labels[:20])
                raise UserError(f"{row.where}: label '{label}' ({name}) is not among the {source}: {shown}")
    without = [label for label in labels if label not in seen]
    if without:
        raise UserError(f"label '{without[0]}' has no training row; remove it from labels, or give it rows")
    if len(labels) < 2:
        raise UserError(f"all training rows have the label '{labels[0]}'; there is nothing to learn")
    return labels, {
        name: Examples([text_of(row, config.text_field) for row in rows],
                       [label_of(row, config.label_field) for row in rows])
        for name, rows in splits.items()
    }  # fmt: skip


def _natural(label: str) -> tuple[bool, int, str]:
    """Integers by value, before other labels."""
    return (False, int(label), "") if label.lstrip("-").isdecimal() else (True, 0, label)


def fit_length(wanted: int | None, context: int) -> int:
    if wanted and wanted > context:
        raise UserError(f"max_length ({wanted}) is beyond the {context} tokens that the model sees; try {context}")
    return wanted or context


def _encode(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_length: int) -> tuple[list[list[int]], int]:
    """(tokens of each text, how many texts were cut)."""
    found: list[list[int]] = tokenizer(list(texts))["input_ids"]
    longer = [number for number, ids in enumerate(found) if len(ids) > max_length]
    for number in longer:  # again, and by the tokenizer, which may want a special token at the end
        found[number] = tokenizer(texts[number], truncation=True)["input_ids"]
    return found, len(longer)


# ---- model -----------------------------------------------------------------------------------------------------


def _with_head(folder: Path, labels: Sequence[str], seed: int) -> "PreTrainedModel":
    from transformers import set_seed

    set_seed(seed)  # the head's first weights
    return load_model(
        folder,
        "AutoModelForSequenceClassification",
        new=("score.",),
        unused=("lm_head.",),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )


def _measure(evaluated: Any) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    predicted = evaluated.predictions.argmax(-1)
    return {
        "accuracy": float(accuracy_score(evaluated.label_ids, predicted)),
        "macro_f1": float(f1_score(evaluated.label_ids, predicted, average="macro", zero_division=0)),
    }


def _save(model: Any, tokenizer: "PreTrainedTokenizerBase", method: Full | Lora, folder: Path) -> None:
    """The classifier, whole, as `folder`; in it the adapter, if there is one."""
    if not isinstance(method, Full):
        model.save_pretrained(folder / ADAPTER)
        (folder / ADAPTER / "README.md").unlink(missing_ok=True)  # peft's empty form
        model = model.merge_and_unload()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class Classifier:
    """A fine-tuned folder, loaded."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    labels: list[str]

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        require(folder, CLASSIFIERS, "fine-tune the model first (task: sequence_classification)")
        model = load_model(folder, "AutoModelForSequenceClassification", device())
        names: Any = model.config.id2label
        return cls(model, load_tokenizer(folder), [names[i] for i in range(len(names))])

    def predict(self, texts: Sequence[str], batch_size: int = 32) -> list[list[float]]:
        """Probabilities [text][label]; texts of like length share a batch."""
        import torch

        found: dict[int, list[float]] = {}
        for numbers in _by_length(texts, batch_size):
            inputs = self.tokenizer([texts[i] for i in numbers], truncation=True, padding=True, return_tensors="pt")
            with torch.inference_mode():
                logits = self.model(
                    input_ids=inputs["input_ids"].to(self.model.device),
                    attention_mask=inputs["attention_mask"].to(self.model.device),
                ).logits
            found.update(zip(numbers, logits.float().softmax(-1).tolist(), strict=True))
        return [found[i] for i in range(len(texts))]


def _by_length(texts: Sequence[str], batch_size: int) -> Iterator[list[int]]:
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _write_predictions(
    path: Path, test: Examples, predicted: Sequence[str], probabilities: Sequence[list[float]]
) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for text, label, guess, row in zip(test.texts, test.labels, predicted, probabilities, strict=True):
            line = {"text": text, "label": label, "predicted": guess, "probability": round(max(row), 6)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
