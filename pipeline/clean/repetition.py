"""Gopher's repetition rules: Rae et al. 2021, arXiv 2112.11446, table A1; counted as datatrove 0.10 counts.

The decisions equal datatrove's `GopherRepetitionFilter` when that is given our splitter (a test runs both).

| reason                    | dropped when more than the threshold ... |
|---------------------------|------------------------------------------|
| gopher_dup_paragraphs     | 0.30 of the paragraphs occurred before |
| gopher_dup_paragraph_chars| 0.20 of the characters are in such paragraphs |
| gopher_dup_lines          | 0.30 of the lines occurred before |
| gopher_dup_line_chars     | 0.20 of the characters are in such lines |
| gopher_top_2gram          | 0.20 of the characters are in the most frequent pair of words (3: 0.18, 4: 0.16) |
| gopher_dup_5gram          | 0.15 of the characters are in repeated 5-grams (6: 0.14, ... 10: 0.10) |

Where datatrove compares strings, words are numbers here: one 64-bit code per n-gram, exact, and one sort instead of
a million joined strings. A text whose n-grams nearly all differ is settled by an upper bound on the repeated part.
"""

import re
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from pipeline.clean.verdict import Drop, Filter, Verdict
from pipeline.clean.words import split
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")


class Config(PluginConfig):
    """Gopher repetition."""

    name: str = "repetition"
    max_dup_paragraphs: float = 0.30
    max_dup_paragraph_chars: float = 0.20
    max_dup_lines: float = 0.30
    max_dup_line_chars: float = 0.20
    max_top_ngrams: dict[int, float] = Field({2: 0.20, 3: 0.18, 4: 0.16})
    """Size of the n-gram: largest share of the characters in the most frequent one."""
    max_dup_ngrams: dict[int, float] = Field({5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10})
    """Size of the n-gram: largest share of the characters in repeated ones."""


def build(config: Config) -> Filter:
    def judge(document: Document) -> Verdict:
        return check(document.text, split(document.text), config)

    return judge


def check(text: str, words: tuple[str, ...], config: Config) -> Drop | None:
    """The first rule that the text breaks, or None."""
    if not text:
        return None
    paragraphs = _PARAGRAPHS.split(text.strip())
    lines = _LINES.split(text)
    for pieces, name, most, most_chars in (
        (paragraphs, "paragraph", config.max_dup_paragraphs, config.max_dup_paragraph_chars),
        (lines, "line", config.max_dup_lines, config.max_dup_line_chars),
    ):
        number, chars = duplicates(pieces)
        if number / len(pieces) > most:
            return Drop(f"gopher_dup_{name}s", f"{number / len(pieces):.3f}")
        if chars / len(text) > most_chars:
            return Drop(f"gopher_dup_{name}_chars", f"{chars / len(text):.3f}")
    return _check_ngrams(len(text), words, config)


def _check_ngrams(num_chars: int, words: Sequence[str], config: Config) -> Drop | None:
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64)
    lengths = np.array([len(word) for word in words], dtype=np.int64)
    codes = ids
    for n in range(2, max([1, *config.max_top_ngrams, *config.max_dup_ngrams]) + 1):
        if len(words) < n:
            break
        # codes are ranks below 2^31, so rank * vocabulary + id is an exact name of the longer n-gram
        names = codes[:-1] * len(numbers) + ids[n - 1 :]
        _, first, codes, counts = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
        if n in config.max_top_ngrams:
            most = counts.max()
            start = int(first[counts == most].min())  # of equals, the one that came first
            share = (int(lengths[start : start + n].sum()) + n - 1) * int(most) / num_chars
            if share > config.max_top_ngrams[n]:
                return Drop(f"gopher_top_{n}gram", f"{share:.3f}")
        if n in config.max_dup_ngrams:
            again = np.flatnonzero(first[codes] != np.arange(len(codes)))
            share = _repeated_chars(again, codes, lengths, n, config.max_dup_ngrams[n] * num_chars) / num_chars
            if share > config.max_dup_ngrams[n]:
                return Drop(f"gopher_dup_{n}gram", f"{share:.3f}")
    return None


def _repeated_chars(again: np.ndarray, codes: np.ndarray, lengths: np.ndarray, n: int, limit: float) -> int:
    """Characters in n-grams seen before, found greedily from the left; 0 when they cannot exceed `limit`."""
    ends = np.concatenate(([0], np.cumsum(lengths)))
    if (ends[again + n] - ends[again]).sum() <= limit:
        return 0
    seen: set[int] = set()
    chars = at = 0
    listed, starts = codes.tolist(), ends.tolist()
    while at < len(listed):
        if listed[at] in seen:
            chars += starts[at + n] - starts[at]
            at += n
        else:
            seen.add(listed[at])
            at += 1
    return chars


def duplicates(pieces: Sequence[str]) -> tuple[int, int]:
    """How many pieces occurred before, and their characters."""
    seen: set[str] = set()
    number = chars = 0
    for piece in pieces:
        if piece in seen:
            number += 1
            chars += len(piece)
        else:
            seen.add(piece)
    return number, chars
