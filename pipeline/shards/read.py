"""Token shards, memory-mapped: tokens by position, documents by token, and refusal of what does not match.

    corpora = open_corpora(folder, "train")              # {source: Corpus}
    tokens = corpora["wikipedia"].sample(7, seq_len=1024)   # 1,025 tokens, across record batches
    spans = corpora["wikipedia"].documents(7, seq_len=1024)

A file is refused (ArtifactError) when its size, dtype, tokenizer or number of tokens is not what the manifest says.
Its bytes are compared with the manifest's checksum on request: `verify=True`, or `penstock verify`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.files import FileEntry, matches
from pipeline.core.manifest import Manifest, read_manifest
from pipeline.core.schema import DOC_TABLE

Array = np.ndarray[Any, Any]
STAGE = "shards"
TOKENS_FILE = ".tokens.arrow"
DOCS_FILE = ".docs.arrow"
TOKENIZER_KEY = b"tokenizer_sha256"  # in the schema's metadata, so that a shard that got lost still names its tokenizer


@dataclass(frozen=True)
class Shard:
    """One TOKENS file as the manifest describes it."""

    name: str
    source: str
    split: str
    num_tokens: int
    num_documents: int


@dataclass(frozen=True)
class Span:
    """A part of a sample that one document fills."""

    source: str
    doc_id: bytes
    first_token: int  # of the document
    num_tokens: int


class TokenFile:
    """One shard. `read` copies nothing when the range lies in one record batch."""

    def __init__(self, path: Path, *, num_tokens: int, dtype: str, tokenizer_sha256: str) -> None:
        self.path = path
        try:
            with pa.memory_map(str(path)) as mapped:
                reader = pa.ipc.open_file(mapped)
                schema = reader.schema
                columns = [reader.get_batch(number).column(0) for number in range(reader.num_record_batches)]
        except FileNotFoundError:
            raise ArtifactError(f"{path} is missing") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise ArtifactError(f"{path} is damaged or truncated: {error}") from None
        found = str(schema.field(0).type)
        if schema.names != ["tokens"] or found != dtype:
            raise ArtifactError(f"{path} holds {schema.names} of {found}, but its manifest says tokens of {dtype}")
        made_by = (schema.metadata or {}).get(TOKENIZER_KEY, b"").decode()
        if made_by != tokenizer_sha256:
            raise ArtifactError(
                f"{path} was written with tokenizer {made_by[:12] or 'unknown'}, "
                f"but its manifest says {tokenizer_sha256[:12]}"
            )
        self._batches: list[Array] = [column.to_numpy(zero_copy_only=True) for column in columns]
        self._ends = np.cumsum([len(batch) for batch in self._batches], dtype=np.int64)
        if len(self) != num_tokens:
            raise ArtifactError(f"{path} holds {len(self):,} tokens, but its manifest says {num_tokens:,}")

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def batches(self) -> Sequence[Array]:
        return self._batches

    def read(self, start: int, length: int) -> Array:
        """Tokens start..start+length-1: a read-only view, or a copy where the range crosses record batches."""
        if not 0 <= start <= start + length <= len(self):
            raise IndexError(f"tokens {start}..{start + length - 1} of {self.path.name}, which has {len(self)}")
        number = int(np.searchsorted(self._ends, start, side="right"))
        parts: list[Array] = []
        while length > 0:
            batch = self._batches[number]
            first = start - int(self._ends[number]) + len(batch)
            parts.append(batch[first : first + length])
            length -= len(parts[-1])
            start += len(parts[-1])
            number += 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, np.int64)

    @cached_property
    def _documents(self) -> tuple[Array, pa.ChunkedArray]:
        """(start of each document, their ids) from the DOC_TABLE beside this file."""
        path = self.path.with_name(self.path.name.removesuffix(TOKENS_FILE) + DOCS_FILE)
        try:
            with pa.memory_map(str(path)) as mapped:
                table = pa.ipc.open_file(mapped).read_all()
        except FileNotFoundError:
            raise ArtifactError(f"{path} is missing") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise ArtifactError(f"{path} is damaged or truncated: {error}") from None
        if table.schema.remove_metadata() != DOC_TABLE:
            raise ArtifactError(f"{path} holds {table.schema.names}, but a document table has {DOC_TABLE.names}")
        return table["start"].to_numpy(), table["doc_id"]

    def documents(self, start: int, length: int) -> list[tuple[bytes, int, int]]:
        """(doc_id, first token of the document, tokens) of all documents in a range of tokens, in order."""
        starts, ids = self._documents
        spans = []
        number = int(np.searchsorted(starts, start, side="right")) - 1
        while length > 0:
            end = int(starts[number + 1]) if number + 1 < len(starts) else len(self)
            taken = min(length, end - start)
            spans.append((ids[number].as_py(), start - int(starts[number]), taken))
            start, length, number = start + taken, length - taken, number + 1
        return spans


class Corpus:
    """The shards of one source in one split, in the manifest's order; files are opened when first read."""

    def __init__(self, folder: Path, shards: Sequence[Shard], *, dtype: str, tokenizer_sha256: str) -> None:
        self.source = shards[0].source
        self.num_tokens = sum(shard.num_tokens for shard in shards)
        self._folder, self._shards = folder, shards
        self._promise = {"dtype": dtype, "tokenizer_sha256": tokenizer_sha256}
        self._open: dict[int, TokenFile] = {}

    def num_samples(self, seq_len: int) -> int:
        """Sample k of a file is its tokens k*seq_len .. k*seq_len + seq_len, the last one a label only."""
        return int(self._sample_ends(seq_len)[-1])

    def sample(self, number: int, seq_len: int) -> Array:
        """seq_len + 1 tokens."""
        file, start = self._find(number, seq_len)
        return self._file(file).read(start, seq_len + 1)

    def documents(self, number: int, seq_len: int) -> list[Span]:
        """The documents that sample consists of."""
        file, start = self._find(number, seq_len)
        return [Span(self.source, *span) for span in self._file(file).documents(start, seq_len + 1)]

    def batches(self) -> "list[Array]":
        """All record batches, in order, as views."""
        return [batch for number in range(len(self._shards)) for batch in self._file(number).batches]

    def _find(self, number: int, seq_len: int) -> tuple[int, int]:
        ends = self._sample_ends(seq_len)
        file = int(np.searchsorted(ends, number, side="right"))
        return file, (number - (int(ends[file - 1]) if file else 0)) * seq_len

    def _sample_ends(self, seq_len: int) -> Array:
        if seq_len not in self._ends_of:
            counts = [max(0, (shard.num_tokens - 1) // seq_len) for shard in self._shards]
            self._ends_of[seq_len] = np.cumsum(counts, dtype=np.int64)
        return self._ends_of[seq_len]

    @cached_property
    def _ends_of(self) -> dict[int, Array]:
        return {}

    def _file(self, number: int) -> TokenFile:
        if number not in self._open:
            shard = self._shards[number]
            self._open[number] = TokenFile(self._folder / shard.name, num_tokens=shard.num_tokens, **self._promise)
        return self._open[number]


def open_corpora(folder: Path, split: str, *, verify: bool = False) -> dict[str, Corpus]:
    """The corpora of one split by source; raises ArtifactError or UserError.

    `verify` compares every file of the split with its checksum (it reads them once, at the speed of the disk).
    """
    manifest = read_shards_manifest(folder)
    shards = [Shard(**entry) for entry in manifest.counts["shards"]]
    splits = sorted({shard.split for shard in shards})
    wanted = [shard for shard in shards if shard.split == split]
    if not wanted:
        raise UserError(f"{folder.name} has no split '{split}'; it has {', '.join(splits) or 'no documents'}")
    entries = {entry.name: entry for entry in manifest.files}
    by_source: dict[str, list[Shard]] = {}
    for shard in wanted:
        _check(folder, shard.name, entries, verify)
        by_source.setdefault(shard.source, []).append(shard)
    promise = {key: manifest.counts[key] for key in ("dtype", "tokenizer_sha256")}
    return {source: Corpus(folder, by_source[source], **promise) for source in sorted(by_source)}


def read_shards_manifest(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if manifest.stage != STAGE:
        raise ArtifactError(f"{folder} was made by stage '{manifest.stage}', not by '{STAGE}'")
    return manifest


def _check(folder: Path, name: str, entries: Mapping[str, FileEntry], verify: bool) -> None:
    for file in (name, name.removesuffix(TOKENS_FILE) + DOCS_FILE):
        path = folder / file
        if not path.exists():
            raise ArtifactError(f"{path} is missing")
        if path.stat().st_size != entries[file].num_bytes:
            raise ArtifactError(
                f"{path} has {path.stat().st_size:,} bytes, its manifest says {entries[file].num_bytes:,}: "
                f"truncated or edited; delete {folder} and run penstock prepare again"
            )
        if verify and not matches(path, entries[file]):
            raise ArtifactError(f"{path} is damaged: its bytes do not match the manifest's checksum")
