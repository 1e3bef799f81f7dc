"""The rows that cross the steps of dedup, field by field. run.py says which step writes and which reads them.

A document is (high, low), the two halves of its doc_id. Rows are sorted by their keys, the fields listed first; the
first key is a hash, so that spans of keys hold equal shares, or the number of a documents file, for what goes back to
the file.
"""

from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.clean.characters import Array
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.spill.runs import Kind, kind

KNOWN_FILE = 2**64 - 1  # "number of the file" of a document that an earlier run has seen
NEW = np.uint64(1 << 63)  # set in `order` and `preference` of all others: they come after those
OLD_CAPTURE = np.uint64(1 << 62)  # set in `preference` of an older capture of a page
MAX_SOURCES = 128  # their ranks lie below it, in seven bits


class Fate(IntEnum):
    """What becomes of a document; all but `keep` are reasons in the ledger."""

    keep = 0
    same_record = 1  # one record of a source that was read twice
    same_url = 2  # an older capture of a page
    exact_duplicate = 3  # its text is the survivor's, but for case and white space
    near_duplicate = 4


def facts(config: DedupConfig) -> Kind:
    """All that is known of a document before it is compared with others."""
    return kind("facts", ["high", "low"], *_facts(config))


def known(config: DedupConfig) -> Kind:
    """Of an index: facts of an earlier run's document, and what became of it."""
    more = [("survivor_high", "u8"), ("survivor_low", "u8"), ("cluster_size", "u8"), ("alone", "?")]
    return kind("known", ["high", "low"], *_facts(config), *more)


def _facts(config: DedupConfig) -> list[tuple[Any, ...]]:
    return [
        ("file", "u8"),  # number of the documents file it is in
        ("preference", "u8"),  # the smallest of a cluster survives
        ("exact_high", "u8"), ("exact_low", "u8"),  # exact_hash of the text
        ("page_high", "u8"), ("page_low", "u8"),  # of a crawled page: xxh3_128 of what its captures share, else 0
        ("crawled", "i8"),  # when it was captured, as YYYYMMDDhhmmss; 0: nobody knows
        ("num_ngrams", "i8"),  # equal ones counted each
        ("bands", "u8", (config.bands,)),
        ("signature", "u4", (config.bands * config.rows,)),
    ]  # fmt: skip


CAPTURE = kind("capture", ["key_high", "order", "newer_high", "newer_low"],
               ("key_low", "u8"), ("exact_high", "u8"), ("exact_low", "u8"), ("file", "u8"))  # fmt: skip
"""A document by its page (without one, by itself), the newest capture first; newer = ~id: the greatest id first."""

TEXT = kind("text", ["exact_high", "order", "high", "low"], ("exact_low", "u8"), ("file", "u8"))
"""A document by its text."""

EXCLUDED = kind("excluded", ["file", "high", "low"])
"""A document that takes no part in the comparison by n-grams: another one stands for it."""

REPEAT = kind("repeat", ["file", "high", "low"], ("first_file", "u8"))
"""A record that is in another file as well, or in an earlier run: what becomes of it is told there."""

OLD = kind("old", ["high", "low"])
"""An older capture."""

ENTRY = kind("entry", ["hash", "high", "low"], ("known", "?"))
"""A document by the hash of one of its bands."""

PAIR = kind("pair", ["high", "other_high", "low", "other_low"])
"""Two documents that are to be compared."""

SIGNED_FIELDS = ["other_high", "high", "other_low", "low"]


def signed(config: DedupConfig) -> Kind:
    """The same by the other one, with the first one's file, number of n-grams and signature."""
    return kind("signed", SIGNED_FIELDS, ("file", "u8"), ("signature", "u4", (config.bands * config.rows,)))


EDGE = kind("edge", ["high", "other_high", "low", "other_low"])
"""Two documents of one cluster."""

NEEDED = kind("needed", ["file", "high", "low"])
"""A document whose text is to be compared."""

NGRAM = kind("ngram", ["high", "low", "ngram"])
"""One of the distinct n-grams of a document."""

TRUTH = kind("truth", ["file", "high", "low"], ("jaccard", "f8"))
"""How alike the texts of a document and its survivor are."""

LABEL = kind("label", ["high", "label_high", "low", "label_low"])
"""A document and the smallest one of its cluster."""

MEMBER = kind("member", ["label_high", "preference", "high", "low"], ("label_low", "u8"), ("file", "u8"),
              ("exact_high", "u8"), ("exact_low", "u8"))  # fmt: skip
"""A document of a cluster, the preferred one first."""

VERDICT = kind("verdict", ["file", "high", "low"], ("fate", "u1"), ("survivor_high", "u8"), ("survivor_low", "u8"),
               ("cluster_size", "u8"))  # fmt: skip
"""What becomes of a document that is not alone."""


def evidence(config: DedupConfig) -> Kind:
    """How alike a document and its survivor are: the estimate, and whether they share each band."""
    return kind("evidence", ["file", "high", "low"], ("jaccard", "f8"), ("shared", "?", (config.bands,)))


def fill(kind: Kind, *columns: Any, **named: Any) -> Array:
    """Rows from columns: the first ones in the order of the fields, the others by name."""
    given = dict(zip(kind.dtype.names or (), columns, strict=False)) | named
    rows = kind.empty(len(next(iter(given.values()))))
    for name, column in given.items():
        rows[name] = column
    return rows


def from_ids(doc_ids: pa.Array) -> tuple[Array, Array]:
    """(high, low) of 16-byte ids; they sort as the bytes do."""
    data = np.frombuffer(doc_ids.buffers()[1], dtype=">u8").reshape(-1, 2)
    high, low = data[doc_ids.offset : doc_ids.offset + len(doc_ids)].astype(np.uint64).T
    return np.ascontiguousarray(high), np.ascontiguousarray(low)


def to_ids(high: Array, low: Array) -> pa.Array:
    data = pa.py_buffer(np.stack([high, low], axis=1).astype(">u8").tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(high), [None, data])
