"""MinHash: the Jaccard similarity of two texts' n-grams, estimated from 112 numbers each.

    case-folded UTF-8 -> words, or characters -> 64-bit hash of every n consecutive ones
         -> per permutation the smallest of (a * hash + b) mod 2^32       the signature
         -> per band one 64-bit hash of `rows` entries of the signature   what documents are joined by

Two signatures agree in an entry with the probability J, their similarity; in a whole band with J^rows; in at least one
of the bands with 1 - (1 - J^rows)^bands: 0.92 at J = 0.8 for 14 bands of 8 rows, 0.05 at 0.5 (curve.py).

A word is a run of letters, numbers and marks; a character of a script without spaces (Han, kana, Thai, ...) is a word
by itself; all else separates. This is clean/words.py's table of characters but not its splitter, for which "don't",
"don’t", "well-known" and a lone "—" are words: typography would make two editions of a book less alike. Characters, as
n-grams are made of by config, are those of the text, a run of white space one space.

A text of fewer words than n is one n-gram, of all its words: two of them are alike when they are equal. A text without
words (or characters) has none, and the signature EMPTY.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.clean.characters import ALONE, FLAGS, LETTER, MARK, SPACE, Array, decode
from pipeline.core.kernels import kernel
from pipeline.core.seeds import derive
from pipeline.dedup.signatures.exact import FoldedTexts, fold_texts

Unit = Literal["word", "character"]
SEED = 0x70656E73746F636B  # fixed: signatures of different runs can be compared
EMPTY = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True, eq=False)
class Signatures:
    """Of some texts, in their order."""

    entries: Array  # uint32 [texts, bands * rows]
    bands: Array  # uint64 [texts, bands]
    num_ngrams: Array  # int64 [texts], equal ones counted each


class MinHash:
    """Signatures of texts; equal settings give equal signatures everywhere."""

    def __init__(self, ngram: int, bands: int, rows: int, unit: Unit = "word") -> None:
        self.ngram, self.bands, self.rows, self.unit = ngram, bands, rows, unit
        count = bands * rows
        self._a = np.array([derive(SEED, "a", k) | 1 for k in range(count)], dtype=np.uint64).astype(np.uint32)
        self._b = np.array([derive(SEED, "b", k) for k in range(count)], dtype=np.uint64).astype(np.uint32)

    def sign(self, texts: FoldedTexts) -> Signatures:
        by_character = self.unit == "character"
        entries, counts = _signatures(texts.data, texts.ends, FLAGS, by_character, self.ngram, self._a, self._b)
        return Signatures(entries, _band_hashes(entries, self.rows), counts)

    def signature(self, text: str) -> tuple[Array, int]:
        """(uint32 [bands * rows], number of n-grams) of one text."""
        signed = self.sign(fold_texts([text]))
        return signed.entries[0], int(signed.num_ngrams[0])

    def ngrams(self, text: str) -> Array:
        """uint64, sorted: the hashes of the text's distinct n-grams."""
        return np.unique(_ngrams(fold_texts([text]).data, FLAGS, self.unit == "character", self.ngram))


def similarity(one: Array, other: Array) -> Array:
    """Estimated Jaccard similarity of signatures, along the last axis."""
    return (one == other).mean(axis=-1)


@kernel
def _mix(x):  # type: ignore[no-untyped-def]
    """The finaliser of splitmix64."""
    x = np.uint64(x + np.uint64(0x9E3779B97F4A7C15))
    x = np.uint64((x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
    x = np.uint64((x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
    return x ^ (x >> np.uint64(31))


@kernel
def _words(data, flags):  # type: ignore[no-untyped-def]
    """uint64: the hash of every word of one text."""
    edges = _word_edges(data, flags)
    words = np.empty(len(edges) // 2, dtype=np.uint64)
    for number in range(len(words)):
        word = np.uint64(0)
        for byte in data[edges[2 * number] : edges[2 * number + 1]]:
            word = np.uint64((word ^ np.uint64(byte + 1)) * np.uint64(0x100000001B3))
            word ^= word >> np.uint64(29)
        words[number] = _mix(word)
    return words


@kernel
def _word_edges(data, flags):  # type: ignore[no-untyped-def]
    """uint32: where the first word begins and ends, the second one, ...; no jump depends on an ASCII byte."""
    edges = np.empty(len(data) + 1, dtype=np.uint32)
    count = inside = np.uint64(0)  # unsigned: an index that may be negative costs a check per byte
    for at in range(len(data)):
        byte, before = data[at], inside
        if byte < 0x80:
            inside = np.uint64(flags[byte] & LETTER != 0)
        elif byte >= 0xC0:  # the other bytes of a character go the way of its first one
            code, width = decode(data, at)
            inside = np.uint64(flags[code] & (LETTER | MARK) != 0)
            if flags[code] & ALONE:
                edges[count] = at
                count += before
                before = inside
                edges[count], edges[count + np.uint64(1)] = at, at + width
                count += np.uint64(2)
        edges[count] = at
        count += before ^ inside
    edges[count] = len(data)
    return edges[: count + inside]


@kernel
def _characters(data, flags):  # type: ignore[no-untyped-def]
    """The same of characters."""
    characters = np.empty(len(data), dtype=np.uint64)
    count = at = 0
    gap = False
    while at < len(data):
        code, width = decode(data, at)
        at += width
        if flags[code] & SPACE:
            gap = count > 0
            continue
        if gap:
            characters[count] = _mix(np.uint64(ord(" ") + 1))
            count += 1
            gap = False
        characters[count] = _mix(np.uint64(code + 1))
        count += 1
    return characters[:count]


@kernel
def _ngrams(data, flags, by_character, ngram):  # type: ignore[no-untyped-def]
    """uint64: the hash of every n-gram of one text, in order."""
    units = _characters(data, flags) if by_character else _words(data, flags)
    size = min(ngram, len(units))
    hashes = np.empty(len(units) - size + 1 if size else 0, dtype=np.uint64)
    for first in range(len(hashes)):
        hash = np.uint64(0)
        for unit in units[first : first + size]:
            hash = np.uint64((hash ^ unit) * np.uint64(0x9E3779B97F4A7C15))
            hash ^= hash >> np.uint64(32)
        hashes[first] = _mix(hash)
    return hashes


@kernel
def _signatures(data, ends, flags, by_character, ngram, a, b):  # type: ignore[no-untyped-def]
    num_texts = len(ends) - 1
    entries = np.full((num_texts, len(a)), EMPTY, dtype=np.uint32)
    counts = np.zeros(num_texts, dtype=np.int64)
    for text in range(num_texts):
        hashes = _ngrams(data[ends[text] : ends[text + 1]], flags, by_character, ngram)
        counts[text] = len(hashes)
        for first in range(0, len(hashes), 4):
            _permute(hashes, first, a, b, entries[text])
    return entries, counts


@kernel
def _permute(hashes, first, a, b, entry):  # type: ignore[no-untyped-def]
    """Four n-grams, so that an entry is read and written once for them; the last one may be among them again."""
    last = len(hashes) - 1
    one, two = _high(hashes[first]), _high(hashes[min(first + 1, last)])
    three, four = _high(hashes[min(first + 2, last)]), _high(hashes[min(first + 3, last)])
    for k in range(len(a)):
        least = min(_line(a[k], b[k], one), _line(a[k], b[k], two))
        entry[k] = min(entry[k], least, min(_line(a[k], b[k], three), _line(a[k], b[k], four)))


@kernel
def _high(hash):  # type: ignore[no-untyped-def]
    return np.uint32(hash >> np.uint64(32))


@kernel
def _line(a, b, x):  # type: ignore[no-untyped-def]
    return np.uint32(a * x + b)


@kernel
def _band_hashes(entries, rows):  # type: ignore[no-untyped-def]
    bands = entries.shape[1] // rows
    hashes = np.zeros((len(entries), bands), dtype=np.uint64)
    for text in range(len(entries)):
        for band in range(bands):
            hash = np.uint64(band)
            for k in range(band * rows, (band + 1) * rows):
                hash = _mix(hash ^ np.uint64(entries[text, k]))
            hashes[text, band] = hash
    return hashes
