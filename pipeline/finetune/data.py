"""Labelled rows for fine-tuning and evaluation: JSON lines in, rows by split out.

1. Files        *.jsonl or *.jsonl.gz, one JSON object per line
2. Rows         every needed column is there; else the file, the line and the columns found are named
3. Splits       from three files, or a column, or the hash of the row's text, so that equal texts stay together

The hash split does not depend on the order of the rows or the training seed; adding rows moves none.
"""

import contextlib
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO, cast

from pydantic import Field, model_validator

from pipeline.core.config import Config
from pipeline.core.errors import UserError
from pipeline.core.seeds import keep_fraction

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation",
               "dev": "validation", "test": "test"}  # fmt: skip


class DataConfig(Config):
    path: Path | None = None
    """One JSONL file (or .jsonl.gz) with all splits: told by `split_field`, else cut by the hash of the text."""
    train: Path | None = None
    """Instead of path: the training file; `test` then is needed too."""
    validation: Path | None = None
    """With train; left out, validation_fraction of the training rows is taken."""
    test: Path | None = None
    """With train."""
    split_field: str = "split"
    """Column that says train, validation (valid, val, dev) or test."""
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Part of the rows to validate on, where the data does not say."""
    test_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Part of the rows to test on, where the data does not say."""
    split_seed: int = 0
    """Another seed gives another cut by hash."""

    @model_validator(mode="before")
    @classmethod
    def _just_a_path(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, (str, Path)) else given

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.path is None and (self.train is None or self.test is None):
            raise ValueError("give either path (one file), or train and test (and, if you have it, validation)")
        if self.path is not None and (self.train or self.validation or self.test):
            raise ValueError("give either path (one file) or train, validation and test, not both")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on")
        return self

    def files(self) -> dict[str, Path]:
        """Role -> file."""
        named = {"data": self.path, "train": self.train, "validation": self.validation, "test": self.test}
        return {role: path for role, path in named.items() if path is not None}


@dataclass(frozen=True)
class Row:
    """One example and where it stands, for messages."""

    values: dict[str, Any]
    file: Path
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}: line {self.line}"


Key = Callable[[Row], str]
"""The text of a row that decides its split where a hash does."""


def read_splits(config: DataConfig, columns: Sequence[str], key: Key) -> dict[str, list[Row]]:
    """train, validation and test, none of them empty; raises UserError."""
    if config.path is not None:
        splits = _split(list(read_rows(config.path, columns)), config, key)
    else:
        splits = {
            name: list(read_rows(path, columns)) if path else []
            for name, path in zip(SPLITS, (config.train, config.validation, config.test), strict=True)
        }
    if not splits["validation"]:
        train = splits["train"]
        taken = [keep_fraction(key(row).encode(), config.split_seed) < config.validation_fraction for row in train]
        splits["validation"] = [row for row, take in zip(train, taken, strict=True) if take]
        splits["train"] = [row for row, take in zip(train, taken, strict=True) if not take]
    for name, rows in splits.items():
        if not rows:
            files = ", ".join(str(path) for path in config.files().values())
            counts = ", ".join(f"{split} {len(found)}" for split, found in splits.items())
            raise UserError(f"{files}: no rows to {'train on' if name == 'train' else name} ({counts})")
    return splits


def read_test(
    config: DataConfig, columns: Sequence[str], key: Key, all_rows: bool = False
) -> tuple[list[Row], list[Row]]:
    """(rows to test on, rows to train on) as `read_splits` cuts them; with `all_rows` every row is to test on."""
    path = config.test or config.path
    assert path is not None
    rows = list(read_rows(path, columns))
    if config.test or all_rows:
        test, train = rows, []
    else:
        splits = _split(rows, config, key)
        test, train = splits["test"], splits["train"]
    if not test:
        raise UserError(f"{path}: no rows to test on ({len(rows)} rows)")
    return test, train


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a JSONL file in order; every one has `columns`."""
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _row(path, number, line, columns)


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """A UTF-8 file, unpacked if it ends in .gz; what cannot be read is a UserError."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
            yield cast(TextIO, file)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _row(path: Path, number: int, line: str, columns: Sequence[str]) -> Row:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise UserError(f"{path}: line {number}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: line {number}: expected a JSON object, found a {type(values).__name__}")
    for column in columns:
        if column not in values:
            raise UserError(f"{path}: line {number}: no column '{column}'; found: {', '.join(values) or 'none'}")
    return Row(values, path, number)


def _split(rows: Sequence[Row], config: DataConfig, key: Key) -> dict[str, list[Row]]:
    splits: dict[str, list[Row]] = {name: [] for name in SPLITS}
    told = _has_split(rows, config.split_field)
    for row in rows:
        splits[split_of(row, config.split_field) if told else _hashed(key(row), config)].append(row)
    return splits


def _has_split(rows: Sequence[Row], split_field: str) -> bool:
    """Whether the rows name their split; all of them or none."""
    without = next((row for row in rows if split_field not in row.values), None)
    if without is not None and any(split_field in row.values for row in rows):
        raise UserError(f"{without.where}: no column '{split_field}', though other rows have it")
    return without is None


def split_of(row: Row, split_field: str) -> str:
    named = row.values[split_field]
    split = SPLIT_NAMES.get(named) if isinstance(named, str) else None
    if split is None:
        raise UserError(f"{row.where}: unknown {split_field} {named!r}; known: {', '.join(SPLIT_NAMES)}")
    return split


def _hashed(text: str, config: DataConfig) -> str:
    at = keep_fraction(text.encode(), config.split_seed)
    if at < config.test_fraction:
        return "test"
    return "validation" if at < config.test_fraction + config.validation_fraction else "train"
