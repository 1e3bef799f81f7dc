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

Where datatrove compares strings, numbers are compared here: an n-gram's name is the position of its first occurrence,
found by the names of its first n - 1 words and of its last one, so names are exact. An n-gram that begins or ends with
an (n-1)-gram which occurs once occurs once; hence the longer ones cost next to nothing.
"""

import numpy as np
from pydantic import Field

from pipeline.clean.characters import Array
from pipeline.clean.verdict import Drop, Filter, Verdict, above
from pipeline.clean.words import Pieces, first_equals, num_chars, split
from pipeline.core.kernels import kernel
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document


class Config(PluginConfig):
    """Gopher repetition."""

    name: str = "repetition"
    max_dup_paragraphs: float = 0.30
    """Largest share of the paragraphs, 0 to 1, that occurred before; Gopher's table A1."""

    max_dup_paragraph_chars: float = 0.20
    """Largest share of the characters, 0 to 1, in such paragraphs; Gopher's table A1."""

    max_dup_lines: float = 0.30
    """Largest share of the lines, 0 to 1, that occurred before; Gopher's table A1."""

    max_dup_line_chars: float = 0.20
    """Largest share of the characters, 0 to 1, in such lines; Gopher's table A1."""

    max_top_ngrams: dict[int, float] = Field({2: 0.20, 3: 0.18, 4: 0.16})
    """Size of the n-gram: largest share of the characters, 0 to 1, in the most frequent one; Gopher's table A1."""

    max_dup_ngrams: dict[int, float] = Field({5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10})
    """Size of the n-gram: largest share of the characters, 0 to 1, in repeated ones; Gopher's table A1."""


def build(config: Config) -> Filter:
    limits = _limits(config)

    def judge(document: Document) -> Verdict:
        return _check(split(document.text), config, limits)

    return judge


def check(pieces: Pieces, config: Config) -> Drop | None:
    """The first rule that the text breaks, or None."""
    return _check(pieces, config, _limits(config))


def _check(pieces: Pieces, config: Config, limits: Array) -> Drop | None:
    if not pieces.text:
        return None
    data, total = pieces.data, len(pieces.text)
    for kind, counts, most, most_chars in (
        ("paragraph", _duplicates(data, pieces.paragraphs), config.max_dup_paragraphs, config.max_dup_paragraph_chars),
        ("line", _duplicate_lines(data, pieces.lines), config.max_dup_lines, config.max_dup_line_chars),
    ):
        num_pieces, number, chars = counts
        if num_pieces and number / num_pieces > most:
            what = f"of the {kind}s occurred before"
            return above(f"gopher_dup_{kind}s", number / num_pieces, what, **{f"max_dup_{kind}s": most})
        if chars / total > most_chars:
            what = f"of the characters are in repeated {kind}s"
            return above(f"gopher_dup_{kind}_chars", chars / total, what, **{f"max_dup_{kind}_chars": most_chars})
    n, row, share = _first_excess(pieces.firsts, pieces.lengths, total, limits)
    if not n:
        return None
    kind, which = (("top", f"the most frequent {n}-gram"), ("dup", f"repeated {n}-grams"))[row]
    what = f"of the characters are in {which}"
    return above(f"gopher_{kind}_{n}gram", share, what, **{f"max_{kind}_ngrams.{n}": float(limits[row, n])})


def _limits(config: Config) -> Array:
    """float64 [2, longest n-gram + 1]: largest shares of the most frequent and of the repeated n-grams."""
    rows = (config.max_top_ngrams, config.max_dup_ngrams)
    limits = np.full((2, max([1, *rows[0], *rows[1]]) + 1), np.inf)
    for row, shares in enumerate(rows):
        for n, share in shares.items():
            limits[row, n] = share
    return limits


@kernel
def _duplicates(data, ranges):  # type: ignore[no-untyped-def]
    """How many pieces there are, how many of them occurred before, and their characters."""
    firsts = first_equals(data, ranges)
    again = np.flatnonzero(firsts != np.arange(len(ranges)))
    return len(ranges), len(again), num_chars(data, ranges[again]).sum()


@kernel
def _duplicate_lines(data, lines):  # type: ignore[no-untyped-def]
    """The same for lines, where blank lines at the start and the end of the text count as one empty line each."""
    num_lines, number, chars = _duplicates(data, lines[lines[:, 0] < lines[:, 1]])
    at_start, at_end = int(data[0] == 10), int(data[-1] == 10)
    return num_lines + at_start + at_end, number + at_start * at_end, chars


@kernel
def _first_excess(firsts, lengths, total, limits):  # type: ignore[no-untyped-def]
    """(n, 0 or 1 for the row of `limits`, share of the characters) of the first limit passed; n is 0 if none is."""
    ends = np.zeros(len(lengths) + 1, dtype=np.int32)
    for number in range(len(lengths)):
        ends[number + 1] = ends[number] + lengths[number]
    names = firsts
    counts = np.zeros(len(names), dtype=np.int32)
    for name in names:
        counts[name] += 1
    for n in range(2, min(limits.shape[1] - 1, len(firsts)) + 1):
        names, counts = _lengthen(names, counts, firsts, n)
        for row in range(2):
            if limits[row, n] != np.inf:
                chars = _repeated_chars(names, ends, n) if row else _top_chars(counts, ends, n)
                if chars / total > limits[row, n]:
                    return n, row, chars / total
    return 0, 0, 0.0


@kernel
def _lengthen(names, counts, firsts, n):  # type: ignore[no-untyped-def]
    """From the names of (n-1)-grams, and how often each occurs, to those of n-grams."""
    num_ngrams = len(firsts) - n + 1
    num_open = 0
    for at in range(num_ngrams):
        num_open += counts[names[at]] > 1 and counts[names[at + 1]] > 1
    num_slots = 16
    while num_slots < 2 * num_open:
        num_slots *= 2
    slots = np.full(num_slots, -1, dtype=np.int32)  # of n-grams by hash: the first occurrence
    longer = np.empty(num_ngrams, dtype=np.int32)
    longer_counts = np.zeros(num_ngrams, dtype=np.int32)
    for at in range(num_ngrams):
        name = np.int32(at)
        if counts[names[at]] > 1 and counts[names[at + 1]] > 1:
            start, last = names[at], firsts[at + n - 1]
            hash = np.uint64(np.int64(start) << 32 | np.int64(last)) * np.uint64(0x9E3779B97F4A7C15)
            slot = np.int64((hash ^ (hash >> np.uint64(32))) & np.uint64(num_slots - 1))
            while slots[slot] >= 0 and (names[slots[slot]] != start or firsts[slots[slot] + n - 1] != last):
                slot = (slot + 1) & (num_slots - 1)
            if slots[slot] < 0:
                slots[slot] = name
            name = slots[slot]
        longer[at] = name
        longer_counts[name] += 1
    return longer, longer_counts


@kernel
def _top_chars(counts, ends, n):  # type: ignore[no-untyped-def]
    """Characters of the most frequent n-gram with its spaces, times its frequency; of equals, the first one's."""
    top = np.argmax(counts)
    return (ends[top + n] - ends[top] + n - 1) * counts[top]


@kernel
def _repeated_chars(names, ends, n):  # type: ignore[no-untyped-def]
    """Characters in n-grams seen before, found greedily from the left."""
    num_ngrams = len(ends) - n
    seen = np.zeros(num_ngrams, dtype=np.bool_)
    chars = at = 0
    while at < num_ngrams:
        if seen[names[at]]:
            chars += ends[at + n] - ends[at]
            at += n
        else:
            seen[names[at]] = True
            at += 1
    return chars
