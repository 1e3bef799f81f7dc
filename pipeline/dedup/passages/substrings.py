"""Words in a row that stand in the corpus twice: the second time they are cut, or their document is dropped.

1. survey  per split: a hash of every `min_words` words in a row, once per document              occurrences.py
2. merge   the hashes that two documents or more have, and the first of these
3. judge   a word is a repeat when it is in `min_words` words that an earlier document has, or that stand earlier in
           the same one; repeats are cut, to the next word that is none

| edit or reason    | detail                  | when |
|-------------------|-------------------------|------|
| repeated_passages | words cut, how it began | `action: cut` |
| repeated_passage  | the same                | `action: drop` |

Earlier is the smaller doc_id, so neither workers nor files play a part. With `cut` every word of a repeat stays
somewhere, though of two repeats that overlap one may be left without what it shares with the other. With `drop` a
passage may be lost, as a document is judged before the fate of earlier ones is known: B repeats A and goes; C, which
repeats another part of B, goes as well, and that part is in no document.

Words are compared without case and punctuation (folded.py); equal 64-bit hashes are taken for equal words.

On disk while it runs: 20 bytes for each word of the corpus, three to four times its text. In memory: occurrences.py.

Source: Lee et al. 2022, "Deduplicating training data makes language models better" (50 tokens; a suffix array). A table
of hashes finds the same repeats and, unlike a suffix array, is made on many machines by sorting.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.clean.characters import Array
from pipeline.clean.verdict import Drop, Filter, Replace, Verdict
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.dedup.passages import occurrences
from pipeline.dedup.passages.folded import Folded, cut, fold, grams, runs

SHOWN_CHARS = 100


class Config(PluginConfig):
    """Passages that occur twice."""

    name: str = "substrings"
    min_words: int = Field(50, ge=2, le=10_000)
    """Words in a row that make a passage."""
    action: Literal["cut", "drop"] = "cut"
    """What is done where the passage is not the first: it is cut, or the document is dropped. A passage whose first
    document is dropped for another one is lost."""


def survey(config: Config, documents: Iterable[Document], path: Path) -> None:
    occurrences.survey(
        ((document.doc_id, grams(fold(document.text).hashes, config.min_words)) for document in documents), path
    )


def merge_on(config: Config, paths: Sequence[Path], out: Path, workers: Workers) -> None:
    occurrences.merge(paths, 2, out, workers)


def build(config: Config, merged: Path) -> Filter:
    table = occurrences.Table(merged)

    def judge(document: Document) -> Verdict:
        words = fold(document.text)
        hashes = grams(words.hashes, config.min_words)
        found, owners = table.find(hashes)
        earlier = found & (owners != occurrences.owner_of(document.doc_id))
        repeated = widened(earlier | _seen_before(hashes), config.min_words)
        if not repeated.any():
            return None
        ranges = runs(repeated)
        detail = _detail(words, ranges, int(repeated.sum()))
        if config.action == "drop":
            return Drop("repeated_passage", detail)
        text = cut(document.text, [words.range(first, end) for first, end in ranges])
        return Replace(replace(document, text=text), "repeated_passages", detail)

    return judge


def _seen_before(hashes: Array) -> Array:
    """bool: whether the same hash stands earlier."""
    first = np.zeros(len(hashes), dtype=bool)
    first[np.unique(hashes, return_index=True)[1]] = True
    return ~first


def widened(starts: Array, num_words: int) -> Array:
    """bool [words]: whether a word is one of the `num_words` from a start."""
    edges = np.zeros(len(starts) + num_words, dtype=np.int64)
    edges[: len(starts)] += starts
    edges[num_words:] -= starts
    return np.cumsum(edges)[:-1] > 0


def _detail(words: Folded, ranges: list[tuple[int, int]], num_words: int) -> str:
    begins = words.between(*ranges[0])[:SHOWN_CHARS]
    return json.dumps({"words": num_words, "passages": len(ranges), "begins": begins}, ensure_ascii=False)
