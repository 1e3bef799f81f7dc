"""What a source is: a plugin that turns raw files into DOCUMENTs, one range of one file at a time.

    pipeline/sources/NAME.py holds
        class Config(SourceConfig)                              what its YAML section may say
        def splits(config, file) -> list[Range]                 ranges that can be read independently, in order
        def read(config, part) -> Iterator[Document | Rejected] every record of the range, once

Promises of every source:
- a record that cannot be read is one `Rejected(kind="error")`, and the records around it are read all the same;
- a record that is not wanted (a redirect, a 404) is one `Rejected(kind="quality")`;
- so is a record over which a library stumbles: "failed", with the exception; the counts tell if they are many;
- a missing library is an exception at the first document, never an error record, and so is an error of the disk, which
  may pass: the split is tried again;
- `origin` is "file:offset": the file relative to the input folder, and the byte of it where the raw record begins.
  Inside a compressed file it is "file:A+B": B bytes into what decompresses from byte A.
"""

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol, cast

from pydantic import BeforeValidator, Field, SerializeAsAny

from pipeline.core.plugins import PluginConfig, load, parse
from pipeline.core.schema import Document, Kind, Rejected, document_id
from pipeline.core.tables import DOCUMENTS_FILE

PACKAGE = "pipeline.sources"
SPLIT_BYTES = 32 << 20  # of raw input, compressed or not: minutes of work, so that a retry is cheap


class SourceConfig(PluginConfig):
    """Base of every source's section."""

    paths: tuple[str, ...] = Field(min_length=1)
    """Files: globs (`**` too), folders or names, relative to the input folder or absolute."""

    label: str = Field("", pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*)?$")
    """Name of the source in documents, ledger and mixtures; default: the plugin's name."""

    license: str = ""
    """SPDX identifier to write into every document."""

    max_error_rate: float = Field(0.01, ge=0, le=1)
    """More unreadable records than this share (and more than three) fail the stage. A raised one resumes it."""

    @property
    def source(self) -> str:
        return self.label or self.name


Sources = Annotated[
    list[Annotated[SerializeAsAny[SourceConfig], BeforeValidator(partial(parse, PACKAGE))]], Field(min_length=1)
]


@dataclass(frozen=True)
class InputFile:
    """A raw file that a glob of the config found."""

    path: Path
    name: str  # relative to the input folder: what `origin` says
    key: str  # relative to the fixed prefix of the glob: `bookcorpus/**` names a book "austen/emma.txt"
    num_bytes: int
    mtime_ns: int
    not_a_file: str = ""  # what it is instead: "a pipe", "a link to nothing"
    url: str = ""  # of a remote file: `path` is its copy, in the worker that reads it
    version: str = ""  # what the other side calls these bytes: an ETag, a time


@dataclass(frozen=True)
class Range:
    """The part of a file that one split reads. `start` and `end` are in the plugin's own unit; None is the end."""

    file: InputFile
    num_bytes: int  # of raw input, about
    start: int = 0
    end: int | None = None


class Source(Protocol):
    """A source plugin, as `run.py` sees its module."""

    def splits(self, config: SourceConfig, file: InputFile) -> list[Range]: ...

    def read(self, config: SourceConfig, part: Range) -> Iterator[Document | Rejected]: ...


def plugin(config: SourceConfig) -> Source:
    return cast(Source, load(PACKAGE, config.name))


def reject(
    config: SourceConfig, key: str, raw: bytes, reason: str, detail: str = "", kind: Kind = "quality"
) -> Rejected:
    """The verdict on a record that does not become a document."""
    return Rejected(
        document_id(config.source, key, raw), config.source, key, kind, reason, detail[:500], num_bytes=len(raw)
    )


def broken(config: SourceConfig, key: str, raw: bytes, reason: str, detail: object = "") -> Rejected:
    """The verdict on a record that could not be read."""
    return reject(config, key, raw, reason, str(detail), kind="error")


def failed(config: SourceConfig, key: str, raw: bytes, error: Exception, where: str = "") -> Rejected:
    """The verdict on a record over which a library stumbled, for `except Exception`; raises what is not its fault."""
    if not in_the_data(error):
        raise error
    return broken(config, key, raw, "failed", f"{describe(error)} in {where or key}")


def placed(record: Document | Rejected, origin: str) -> Document | Rejected:
    """The same record; a rejected one says where it lies, as a document does."""
    return replace(record, origin=origin) if isinstance(record, Rejected) else record


def in_the_data(error: Exception) -> bool:
    """Whether the raw data may be to blame: not a library that is missing, nor memory, nor the disk."""
    if isinstance(error, OSError):
        return error.errno in (None, errno.EINVAL)  # EINVAL: a seek to before the file, as damaged archives ask for
    return not isinstance(error, (ImportError, MemoryError))


def describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def source_of(documents: Path) -> str:
    """The label in "<label>-00003.documents.parquet"."""
    return documents.name.removesuffix(DOCUMENTS_FILE).rpartition("-")[0]


def group(sizes: Sequence[int], limit: int = SPLIT_BYTES) -> Iterator[tuple[int, int]]:
    """Consecutive runs [start, end) of items whose sizes add up to about `limit`; an item is never divided."""
    start = total = 0
    for number, size in enumerate(sizes):
        if number > start and total + size > limit:
            yield start, number
            start, total = number, 0
        total += size
    if sizes:
        yield start, len(sizes)
