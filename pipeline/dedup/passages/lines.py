"""Lines, or paragraphs, that many documents of the corpus have: notices of an agency, licences, calls to subscribe.

1. survey  per split: a hash of every line of `min_chars` or more, once per document             occurrences.py
2. merge   the hashes that `min_documents` documents or more have, and the first of these
3. judge   such a line is removed, from all documents or from all but the first

| edit           | detail                        | when |
|----------------|-------------------------------|------|
| repeated_lines | how many, and the first of it | at least one was removed |

A line is compared without the white space around it, as it is written (64-bit hashes). The first document is that of
the smallest doc_id. Menus and footers, which are short and the same on one site only, are for `site_lines` in `clean`.

Source: paragraphs as CCNet (arXiv 1911.00359) and Dolma (arXiv 2402.00159) remove them, which keep the first; both
remove what occurs twice. We wait for `min_documents`, as a sentence that is quoted twice is no boilerplate.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import xxhash
from pydantic import Field

from pipeline.clean.characters import Array
from pipeline.clean.verdict import Filter, Replace, Verdict
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.dedup.passages import occurrences

SHOWN_CHARS = 100
_BREAKS = {"line": re.compile(r"(\n+)"), "paragraph": re.compile(r"(\n{2,})")}


class Config(PluginConfig):
    """Lines that many documents have."""

    name: str = "lines"
    unit: Literal["line", "paragraph"] = "line"
    """What is compared; a paragraph ends at an empty line."""
    min_documents: int = Field(10, ge=2)
    """So many documents must have it."""
    min_chars: int = Field(40, ge=1)
    """Shorter ones stay: headings, verses, speakers."""
    keep: Literal["first", "none"] = "first"
    """Whether the first document keeps it."""


def survey(config: Config, documents: Iterable[Document], path: Path) -> None:
    found = ((document.doc_id, _hashes(config, document.text)) for document in documents)
    occurrences.survey(((doc_id, hashes[hashes != 0]) for doc_id, hashes in found), path)


def merge_on(config: Config, paths: Sequence[Path], out: Path, workers: Workers) -> None:
    occurrences.merge(paths, config.min_documents, out, workers)


def build(config: Config, merged: Path) -> Filter:
    table = occurrences.Table(merged)

    def strip(document: Document) -> Verdict:
        gone, owners = table.find(_hashes(config, document.text))
        if config.keep == "first":
            gone &= owners != occurrences.owner_of(document.doc_id)
        if not gone.any():
            return None
        parts = _BREAKS[config.unit].split(document.text)  # a line, what ends it, a line, ...
        first = parts[2 * int(np.argmax(gone))].strip()[:SHOWN_CHARS]
        pieces = [f"{line}{ends}" for line, ends, goes in zip(parts[::2], [*parts[1::2], ""], gone, strict=True)
                  if not goes]  # fmt: skip
        detail = json.dumps({config.unit + "s": int(gone.sum()), "first": first}, ensure_ascii=False)
        return Replace(replace(document, text="".join(pieces).strip("\n")), "repeated_lines", detail)

    return strip


def _hashes(config: Config, text: str) -> Array:
    """uint64 per line or paragraph; 0 for those that are too short."""
    lines = (line.strip() for line in _BREAKS[config.unit].split(text)[::2])
    return np.array(
        [xxhash.xxh3_64_intdigest(line.encode()) or 1 if len(line) >= config.min_chars else 0 for line in lines],
        dtype=np.uint64,
    )
