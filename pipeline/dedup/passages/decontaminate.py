"""Documents that hold items of evaluation sets: a model that was trained on them would be tested on what it has read.

1. index   the sets' texts as words; of each text every `ngram` words in a row, or, of one with fewer, all of it
2. survey  per split: which of these a document has                                               occurrences.py
3. merge   those that more than `max_documents` documents have are nobody's secret, and count no more
4. judge   a document that has any other is dropped, or loses that passage

| edit or reason | detail | when |
|----------------|--------|------|
| decontaminated | the items: file, item, field, words in a row, the text as the document has it | `action: cut` |
| contaminated   | the same | `action: drop`, or there are more than `max_cuts` passages to cut |

Words are compared without case and punctuation (folded.py), so that a tokenized set is found in ordinary text; fields
are compared one by one, so a changed order of answers plays no part. Texts shorter than `min_words` are not looked for.

Source: Brown et al. 2020 (GPT-3), appendix C: 13 words, 8 for short items; 200 characters are cut on each side, a
document in more than ten pieces is dropped, what more than 10 documents have is ignored. datatrove and Dolma drop the
document. We cut: the one hit in our 25 MB of real books and news is 46 words of LAMBADA in a novel of 60,000.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from pipeline.clean.characters import Array
from pipeline.clean.verdict import Drop, Filter, Replace, Verdict
from pipeline.core.errors import UserError
from pipeline.core.kernels import kernel
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.dedup.passages import evaluation_sets, occurrences
from pipeline.dedup.passages.evaluation_sets import EvaluationSet, Item
from pipeline.dedup.passages.folded import Folded, cut, fold, grams, runs

logger = logging.getLogger(__name__)

SHOWN_ITEMS, SHOWN_CHARS = 10, 200


class Config(PluginConfig):
    """Evaluation sets."""

    name: str = "decontaminate"
    sets: tuple[EvaluationSet, ...] = ()
    """Their files: paths, or mappings with `path` and `fields`."""
    ngram: int = Field(13, ge=2, le=10_000)
    """Words in a row that a document may not share with an item."""
    min_words: int = Field(8, ge=2, le=10_000)
    """Texts of fewer words than `ngram`, but as many as this, are compared whole."""
    max_documents: int = Field(10, ge=1)
    """What more documents than this have is common language."""
    action: Literal["cut", "drop"] = "cut"
    """What a document shares is cut, or the document is dropped."""
    cut_chars: int = Field(200, ge=0, le=1_000_000)
    """Characters that are cut before and after, to the nearest word."""
    max_cuts: int = Field(10, ge=0)
    """A document with more passages to cut is dropped."""


def inputs(config: Config) -> dict[str, str]:
    return evaluation_sets.inputs(config.sets)


def check(config: Config) -> None:
    """Raises UserError if the sets cannot be used."""
    if Index(config.sets, config.ngram, config.min_words).is_empty:
        logger.warning("decontaminate: no text of the evaluation sets has %d words or more, so nothing is looked for",
                       min(config.ngram, config.min_words))  # fmt: skip


def survey(config: Config, documents: Iterable[Document], path: Path) -> None:
    index = Index.of(config)
    occurrences.survey(((document.doc_id, index.find(fold(document.text)).hashes) for document in documents), path)


def merge_on(config: Config, paths: Sequence[Path], out: Path, workers: Workers) -> None:
    occurrences.merge(paths, config.max_documents + 1, out, workers)


def build(config: Config, merged: Path) -> Filter:
    index, common = Index.of(config), occurrences.Table(merged)

    def judge(document: Document) -> Verdict:
        words = fold(document.text)
        hits = index.find(words)
        hits = hits.only(~common.find(hits.hashes)[0])
        if not len(hits.hashes):
            return None
        detail = _detail(words, index.passages(hits))
        ranges = _around(words, hits, config.cut_chars)
        if config.action == "drop" or len(ranges) > config.max_cuts:
            return Drop("contaminated", detail)
        text = cut(document.text, ranges)
        return Replace(replace(document, text=text), "decontaminated", detail)

    return judge


@dataclass(frozen=True, eq=False)
class Hits:
    """Where a document's words are those of the sets, in order of `starts`."""

    starts: Array
    """int64: the first word."""
    lengths: Array
    """int64: words."""
    hashes: Array

    def only(self, chosen: Array) -> "Hits":
        return Hits(self.starts[chosen], self.lengths[chosen], self.hashes[chosen])

    def ranges(self) -> list[tuple[int, int]]:
        """First word and end of every stretch of hits."""
        marked = np.zeros(int((self.starts + self.lengths).max()) + 1, dtype=bool)
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            marked[start : start + length] = True
        return runs(marked)


class Passage(NamedTuple):
    """The longest stretch that a document shares with a text of an item."""

    item: Item
    first: int
    end: int


class Index:
    """The words in a row of all sets. In memory: 12 bytes for each, and the names of the items."""

    def __init__(self, sets: tuple[EvaluationSet, ...], ngram: int, min_words: int) -> None:
        if not sets:
            raise UserError("decontaminate: no evaluation set is named; set sets: [eval/*.jsonl.gz]")
        self._items: list[Item] = []
        hashes, owners = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.uint32)]
        self._lengths: set[int] = set()
        for item in evaluation_sets.items(sets):
            words = fold(item.text).hashes
            if len(words) < min(ngram, min_words):
                continue
            length = min(ngram, len(words))
            hashes.append(np.unique(grams(words, length)))
            owners.append(np.full(len(hashes[-1]), len(self._items), dtype=np.uint32))
            self._lengths.add(length)
            self._items.append(item._replace(text=""))
        every = np.concatenate(hashes)
        order = np.argsort(every, kind="stable")
        self._hashes, self._owners = every[order], np.concatenate(owners)[order]
        self._bits = _bitmap(self._hashes)

    @staticmethod
    def of(config: Config) -> "Index":
        """Made once in a process, unless the files change."""
        return _index(config.sets, config.ngram, config.min_words, tuple(inputs(config).items()))

    @property
    def is_empty(self) -> bool:
        return not self._items

    def find(self, words: Folded) -> Hits:
        starts, lengths, hashes = [], [], []
        for length in sorted(self._lengths):
            here = grams(words.hashes, length)
            found = _find(here, self._hashes, self._bits)
            starts.append(found)
            lengths.append(np.full(len(found), length))
            hashes.append(here[found])
        hits = Hits(*(np.concatenate(parts) if parts else np.empty(0, int) for parts in (starts, lengths, hashes)))
        return hits.only(np.argsort(hits.starts, kind="stable"))

    def passages(self, hits: Hits) -> list[Passage]:
        """Of every item that was hit; the longest first."""
        first, end = (np.searchsorted(self._hashes, hits.hashes, side) for side in ("left", "right"))
        of_item: dict[int, list[int]] = {}
        for number, (low, high) in enumerate(zip(first.tolist(), end.tolist(), strict=True)):
            for owner in self._owners[low:high].tolist():
                of_item.setdefault(owner, []).append(number)
        found = []
        for owner, numbers in of_item.items():
            stretches = hits.only(np.array(numbers)).ranges()
            found.append((owner, max(stretches, key=lambda stretch: stretch[1] - stretch[0])))
        found.sort(key=lambda one: (one[1][0] - one[1][1], one[0]))
        return [Passage(self._items[owner], *stretch) for owner, stretch in found]


@lru_cache(maxsize=1)
def _index(sets: tuple[EvaluationSet, ...], ngram: int, min_words: int, read: tuple[tuple[str, str], ...]) -> Index:
    return Index(sets, ngram, min_words)


def _around(words: Folded, hits: Hits, margin: int) -> list[tuple[int, int]]:
    """Ranges of characters: the hits and `margin` on each side, whole words."""
    gone = np.zeros(len(words), dtype=bool)
    for first, end in hits.ranges():
        low = np.searchsorted(words.starts, words.starts[first] - margin)
        high = np.searchsorted(words.ends, words.ends[end - 1] + margin, side="right")
        gone[low:high] = True
    return [words.range(first, end) for first, end in runs(gone)]


def _detail(words: Folded, passages: Sequence[Passage]) -> str:
    shown = [
        {"file": item.file, "item": item.name, "field": item.field, "words": end - first,
         "text": words.between(first, end)[:SHOWN_CHARS]}
        for item, first, end in passages[:SHOWN_ITEMS]
    ]  # fmt: skip
    return json.dumps({"items": len(passages), "longest": shown}, ensure_ascii=False)


def _bitmap(hashes: Array) -> Array:
    """bool [power of two]: a slot for the last bits of every hash; sixteen slots a hash, so that few others hit one."""
    bits = np.zeros(1 << max(10, (16 * len(hashes)).bit_length()), dtype=bool)
    bits[(hashes & np.uint64(len(bits) - 1)).astype(np.int64)] = True
    return bits


@kernel
def _find(hashes, table, bits):  # type: ignore[no-untyped-def]
    """int64: the places of the hashes that are in the table, which is sorted."""
    found = np.empty(len(hashes), dtype=np.int64)
    count = 0
    mask = np.uint64(len(bits) - 1)
    for at in range(len(hashes)):
        if bits[np.int64(hashes[at] & mask)]:
            place = np.searchsorted(table, hashes[at])
            if place < len(table) and table[place] == hashes[at]:
                found[count] = at
                count += 1
    return found[:count].copy()
