"""Evaluation sets as files in; their texts out, each with the name by which a report calls it.

| file ends in  | an item is     | its name            | its fields |
|---------------|----------------|---------------------|------------|
| .jsonl        | a line         | its line, from 1    | every string in it; the name is the keys, dotted: "a.b" |
| .json         | a string       | keys and numbers    | one: the last key |
| .csv, .tsv    | a row          | its row, from 1     | the columns |
| .conll        | a sentence     | its first line      | "tokens": the first column, with blanks |
| .txt          | a line         | its line, from 1    | "text" |

Each may be packed (.gz). All in UTF-8.
"""

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from glob import glob
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import model_validator

from pipeline.core.config import Config
from pipeline.core.errors import UserError


class EvaluationSet(Config):
    """Files of one kind; just a path is short for all fields of it."""

    path: str
    """A file, or files by pattern: "eval/*.jsonl.gz"; relative to the folder where the command runs, or absolute."""
    fields: tuple[str, ...] = ()
    """Fields to read; none: all. Leave out what is no secret, as a passage of Wikipedia that a question is about."""

    @model_validator(mode="before")
    @classmethod
    def _of_path(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given


class Item(NamedTuple):
    file: str
    name: str
    field: str
    text: str


def inputs(sets: Iterable[EvaluationSet]) -> dict[str, str]:
    """Every file and the hash of its bytes."""
    return {str(path): hashlib.sha256(_read(path)).hexdigest() for one in sets for path in _files(one)}


def items(sets: Iterable[EvaluationSet]) -> Iterator[Item]:
    """Raises UserError for what cannot be read, for a file without texts, and for a field that none of them has."""
    for one in sets:
        for path in _files(one):
            missing, is_empty = set(one.fields), True
            for name, field, text in _texts(path):
                missing.discard(field)
                is_empty = False
                if not one.fields or field in one.fields:
                    yield Item(_printable(path.name), _printable(name), _printable(field), text)
            if is_empty:
                raise UserError(f"evaluation set {path} holds no text")
            if missing:
                raise UserError(f"evaluation set {path} has no field {', '.join(sorted(missing))}")


def _printable(name: str) -> str:
    """Without the halves of surrogates that JSON and file names may have and the ledger may not."""
    return name.encode("utf-8", "replace").decode()


def _files(one: EvaluationSet) -> list[Path]:
    found = sorted(Path(name) for name in glob(one.path, recursive=True))
    files = [path for path in found if path.is_file()]
    if not files:
        where = "" if Path(one.path).is_absolute() else f" in {Path.cwd()}, the folder where the command runs"
        raise UserError(f"no evaluation set at {one.path}{where}")
    return files


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read evaluation set {path}: {getattr(error, 'strerror', None) or error}") from None


def _texts(path: Path) -> Iterator[tuple[str, str, str]]:
    """Name, field and text of every item."""
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind not in _READERS:
        known = ", ".join(_READERS)
        raise UserError(f"evaluation set {path}: its name must end in one of {known}, or one of these and .gz")
    try:
        yield from _READERS[kind](_read(path).decode("utf-8-sig"))
    except (ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"evaluation set {path} is not {kind[1:]}: {error}") from None


def _jsonl(body: str) -> Iterator[tuple[str, str, str]]:
    for number, line in enumerate(body.split("\n"), 1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number}: {error}") from None
            for keys, text in _strings(value):
                yield str(number), ".".join(key for key in keys if not key.isdigit()), text


def _json(body: str) -> Iterator[tuple[str, str, str]]:
    for keys, text in _strings(json.loads(body)):
        yield ".".join(keys), next((key for key in reversed(keys) if not key.isdigit()), ""), text


def _strings(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(inner, (*keys, str(key)))


def _csv(body: str, delimiter: str = ",") -> Iterator[tuple[str, str, str]]:
    csv.field_size_limit(len(body) + 1)  # else 131,072 characters
    for number, row in enumerate(csv.DictReader(io.StringIO(body, newline=""), delimiter=delimiter), 1):
        for field, text in row.items():
            if isinstance(field, str) and text:
                yield str(number), field, text


def _tsv(body: str) -> Iterator[tuple[str, str, str]]:
    return _csv(body, "\t")


def _conll(body: str) -> Iterator[tuple[str, str, str]]:
    numbered = enumerate((line.split("\t")[0].strip() for line in body.split("\n")), 1)
    for filled, lines in groupby(numbered, key=lambda line: line[1] != ""):
        if filled:
            sentence = list(lines)
            yield str(sentence[0][0]), "tokens", " ".join(token for _, token in sentence)


def _txt(body: str) -> Iterator[tuple[str, str, str]]:
    return ((str(number), "text", line) for number, line in enumerate(body.split("\n"), 1))


_READERS = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _tsv, ".conll": _conll, ".txt": _txt}
