"""One documents file in, its token shards out.

    document -> ids + </s> -> checked by decoding -> split by hash of doc_id -> <split>.<n>.tokens.arrow
                                                                                <split>.<n>.docs.arrow

The tokens of a document never lie in two record batches. Record batch i of the documents file describes record batch
i of the tokens file. Same documents, same bytes: fixed batch sizes, plain columns, no clock.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.core.config import Config
from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.schema import DOC_TABLE, LEDGER, Document, tokens_schema
from pipeline.core.seeds import derive, keep_fraction
from pipeline.core.shard_map import Counts
from pipeline.core.tables import RowWriter, read_documents
from pipeline.shards.read import DOCS_FILE, TOKENIZER_KEY, TOKENS_FILE
from pipeline.sources.base import source_of
from pipeline.tokenizer.tokenizer import Tokenizer

LARGEST_UINT16_VOCAB = 1 << 16


class ShardsConfig(Config):
    validation_fraction: float = Field(0.01, ge=0)
    """Share of the documents that are never trained on; 0 to 1."""
    test_fraction: float = Field(0.0, ge=0)
    """Share of the documents kept apart for the last evaluation; 0 to 1."""
    seed: int = 0
    """Which documents these are: a function of seed and doc_id."""
    batch_tokens: int = Field(1 << 20, ge=1)
    """Most tokens of a record batch (a longer document has one of its own)."""
    max_shard_bytes: int = Field(256 << 20, ge=1)
    """Most bytes of tokens in a file."""
    verify_round_trip: bool = True
    """Decode every document and compare: about a tenth of the stage's time."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction ({self.validation_fraction:g}) and test_fraction ({self.test_fraction:g}) "
                "leave nothing to train on"
            )
        return self

    def split_of(self, doc_id: bytes) -> str:
        at = keep_fraction(doc_id, derive(self.seed, "split"))
        if at < self.validation_fraction:
            return "validation"
        return "test" if at < self.validation_fraction + self.test_fraction else "train"


@dataclass(frozen=True)
class EncodeTask:
    documents: Path
    tokenizer: Path
    config: ShardsConfig


def dtype_of(vocab_size: int) -> str:
    return "uint16" if vocab_size <= LARGEST_UINT16_VOCAB else "int32"


def encode_file(task: EncodeTask, folder: Path) -> Counts:
    """All shards of one documents file, and a ledger row that says where each document went."""
    tokenizer = Tokenizer.load(task.tokenizer)
    source = source_of(task.documents)
    writers: dict[str, SplitWriter] = {}
    counts = {"in": 0, "kept": 0, "bytes_in": 0}
    with RowWriter(folder / "ledger.parquet", LEDGER) as ledger:
        for document in read_documents(task.documents):
            if document.source != source:
                raise ArtifactError(f"{task.documents} holds a document of source '{document.source}'")
            ids = encode(document, tokenizer, task.config.verify_round_trip)
            split = task.config.split_of(document.doc_id)
            if split not in writers:
                writers[split] = SplitWriter(folder, split, tokenizer, task.config)
            detail = writers[split].append(document.doc_id, ids)
            num_bytes = len(document.text.encode())
            ledger.append((document.doc_id, source, document.key, "", "shards", "kept", "", "", detail, num_bytes))
            counts["in"] += 1
            counts["kept"] += 1
            counts["bytes_in"] += num_bytes
            _add(counts, f"{split}.bytes", num_bytes)
    for writer in writers.values():
        counts |= writer.close()
    return counts


def encode(document: Document, tokenizer: Tokenizer, verify: bool) -> np.ndarray:
    """The document's ids and the closing </s>."""
    ids = tokenizer.encode(document.text)
    if verify and tokenizer.decode(ids) != document.text:
        raise UserError(
            f"document {document.doc_id.hex()} ({document.source}: {document.key}) does not survive the tokenizer: "
            "its tokens decode to another text; train the tokenizer again, or set verify_round_trip to false"
        )
    if len(ids) >= 1 << 32:
        raise UserError(f"document {document.doc_id.hex()} ({document.key}) has {len(ids):,} tokens; the most is 2^32")
    return np.array([*ids, tokenizer.eos_id], dtype=dtype_of(tokenizer.vocab_size))


class SplitWriter:
    """The files of one split: a file is closed before it passes max_shard_bytes, a batch before batch_tokens."""

    def __init__(self, folder: Path, split: str, tokenizer: Tokenizer, config: ShardsConfig) -> None:
        self.folder, self.split, self.config = folder, split, config
        schema = tokens_schema(dtype_of(tokenizer.vocab_size))  # type: ignore[arg-type]
        self._schema = schema.with_metadata({TOKENIZER_KEY: tokenizer.sha256})
        self._max_tokens = max(1, config.max_shard_bytes // (schema.field(0).type.bit_width // 8))
        self._counts: dict[str, int] = {}
        self._number = 0
        self._file: _File | None = None
        self._start = 0  # of the next document in the current file

    def append(self, doc_id: bytes, ids: np.ndarray) -> str:
        """Where it went, for people: "train.00:<first token>+<number of tokens>"."""
        if self._file is not None and self._start + len(ids) > self._max_tokens:
            self._close_file()
        if self._file is None:
            self._file = _File(self.folder / self._name, self._schema, self.config.batch_tokens)
        self._file.append(doc_id, self._start, ids)
        place = f"{self._name}:{self._start}+{len(ids)}"
        self._start += len(ids)
        _add(self._counts, f"{self._name}.tokens", len(ids))
        _add(self._counts, f"{self._name}.documents", 1)
        return place

    def close(self) -> dict[str, int]:
        """Tokens and documents per file."""
        if self._file is not None:
            self._close_file()
        return self._counts

    @property
    def _name(self) -> str:
        return f"{self.split}.{self._number:02d}"

    def _close_file(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file, self._start, self._number = None, 0, self._number + 1


class _File:
    """A TOKENS file and its DOC_TABLE."""

    def __init__(self, path: Path, schema: pa.Schema, batch_tokens: int) -> None:
        self._schema, self._batch_tokens = schema, batch_tokens
        self._tokens = pa.ipc.new_file(f"{path}{TOKENS_FILE}", schema)
        self._docs = pa.ipc.new_file(f"{path}{DOCS_FILE}", DOC_TABLE)
        self._ids: list[np.ndarray] = []
        self._rows: list[tuple[bytes, int, int]] = []
        self._num_ids = 0

    def append(self, doc_id: bytes, start: int, ids: np.ndarray) -> None:
        if self._num_ids + len(ids) > self._batch_tokens:
            self._flush()
        self._ids.append(ids)
        self._num_ids += len(ids)
        self._rows.append((doc_id, start, len(ids)))

    def close(self) -> None:
        self._flush()
        self._tokens.close()
        self._docs.close()

    def _flush(self) -> None:
        if self._ids:
            self._tokens.write_batch(pa.record_batch([pa.array(np.concatenate(self._ids))], schema=self._schema))
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, type=kind) for column, kind in zip(columns, DOC_TABLE.types, strict=True)]
            self._docs.write_batch(pa.record_batch(arrays, schema=DOC_TABLE))
        self._ids, self._rows, self._num_ids = [], [], 0


def _add(counts: dict[str, int], key: str, number: int) -> None:
    counts[key] = counts.get(key, 0) + number
