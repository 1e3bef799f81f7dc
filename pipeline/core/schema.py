"""The records that cross stages, field by field. Stages meet on disk, and this is what lies there.

    sources   -> DOCUMENT + LEDGER      one row per document; one row per verdict
    clean     -> DOCUMENT + LEDGER
    dedup     -> DOCUMENT + LEDGER
    shards    -> TOKENS + DOC_TABLE + LEDGER

DOCUMENT and LEDGER are Parquet (zstd), TOKENS and DOC_TABLE Arrow IPC files, uncompressed, made to be memory-mapped.
"""

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import xxhash

Verdict = Literal["kept", "dropped", "edited"]
Kind = Literal["", "quality", "error"]

DOCUMENT = pa.schema(
    [
        ("doc_id", pa.binary(16)),  # xxh3_128 of (source, key, raw bytes)
        ("source", pa.string()),  # label of the source in the config, "wikipedia"
        ("key", pa.string()),  # the document's name in its source: page title, book file, URL
        ("origin", pa.string()),  # where the raw bytes lie: "file:offset", offset in bytes of the raw file
        ("url", pa.string()),  # "" where there is none
        ("title", pa.string()),
        ("language", pa.string()),  # ISO 639-1; "" until the language filter has seen it
        ("date", pa.string()),  # ISO 8601, "" if unknown
        ("license", pa.string()),  # SPDX id or "" if unknown
        ("text", pa.string()),  # UTF-8, NFC after clean, "\n" line ends
        ("meta", pa.map_(pa.string(), pa.string())),
    ]
)

LEDGER = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("source", pa.string()),
        ("key", pa.string()),
        ("origin", pa.string()),  # in the first stage: where the raw record lies, as in DOCUMENT; "" in later ones
        ("stage", pa.string()),
        ("verdict", pa.string()),  # kept | dropped | edited (edited documents are kept)
        ("kind", pa.string()),  # "" for kept; quality: a rule's verdict; error: could not be read
        ("reason", pa.string()),  # "" for kept; "gopher_short", "exact_duplicate", ...; edits joined by "+"
        ("detail", pa.string()),  # number and threshold, the survivor (JSON), the parser's message
        ("num_bytes", pa.int64()),  # UTF-8 bytes of the text that went in (raw bytes where there was no text)
    ]
)

DOC_TABLE = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("start", pa.uint64()),  # index of the document's first token in the TOKENS file beside it
        ("num_tokens", pa.uint32()),  # its tokens, the closing </s> counted
    ]
)


def tokens_schema(dtype: Literal["uint16", "int32"]) -> pa.Schema:
    """TOKENS: one flat column; uint16 when the vocabulary fits, else int32 (the bytes Megatron expects)."""
    return pa.schema([("tokens", {"uint16": pa.uint16(), "int32": pa.int32()}[dtype])])


@dataclass(frozen=True)
class Document:
    """One DOCUMENT row in memory."""

    doc_id: bytes
    source: str
    key: str
    origin: str
    text: str
    url: str = ""
    title: str = ""
    language: str = ""
    date: str = ""
    license: str = ""
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rejected:
    """A raw record that did not become a document: a redirect, a 404, a broken page."""

    doc_id: bytes
    source: str
    key: str
    kind: Kind
    reason: str
    detail: str = ""
    num_bytes: int = 0
    origin: str = ""  # as in DOCUMENT; "" where no more is known than the file


def document_id(source: str, key: str, raw: bytes) -> bytes:
    """16 bytes that name a document by its content; the same in every run, on every machine."""
    digest = xxhash.xxh3_128(source.encode())
    for part in (_key_bytes(key), raw):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _key_bytes(key: str) -> bytes:
    r"""A file name that is not UTF-8 as it is on disk; half a surrogate pair ("\ud83d", legal in JSON) as it stands."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return key.encode("utf-8", "surrogatepass")


def valid_text(text: str) -> str:
    r"""Half a surrogate pair ("\ud83d", legal in JSON; of a file name that is not UTF-8) becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
