"""MinHash: the Jaccard similarity of two texts' word n-grams, estimated from 112 numbers each.

    text -> case-folded UTF-8 -> words -> 64-bit hash of every n consecutive words
         -> per permutation the smallest of (a * hash + b) mod 2^32       the signature
         -> per band one 64-bit hash of `rows` entries of the signature   what documents are joined by

Two signatures agree in an entry with the probability J, their similarity; in a whole band with J^rows; in at least one
of the bands with 1 - (1 - J^rows)^bands: 0.92 at J = 0.8 for 14 bands of 8 rows, 0.05 at 0.5.

A word is a run of ASCII letters and digits and of other scripts' characters; Chinese and Japanese ones, which no space
separates, are a word each. Punctuation, ASCII's as well as Unicode's general one, separates.
"""

from typing import Any

import numpy as np

from pipeline.core.kernels import kernel
from pipeline.core.seeds import derive

Array = np.ndarray[Any, Any]
SEED = 0x70656E73746F636B  # fixed: signatures of different runs can be compared
EMPTY = np.uint32(0xFFFFFFFF)

LETTER, SEPARATOR, LATIN_LEAD, GENERAL_LEAD, IDEOGRAPH_LEAD = range(5)


class MinHash:
    """Signatures of texts; equal settings give equal signatures everywhere."""

    def __init__(self, ngram: int, bands: int, rows: int) -> None:
        self.ngram, self.bands, self.rows = ngram, bands, rows
        count = bands * rows
        self._a = np.array([derive(SEED, "a", k) | 1 for k in range(count)], dtype=np.uint64).astype(np.uint32)
        self._b = np.array([derive(SEED, "b", k) for k in range(count)], dtype=np.uint64).astype(np.uint32)

    def signature(self, text: str) -> tuple[Array, int]:
        """(uint32 [bands * rows], number of n-grams); without an n-gram there is no similarity to estimate."""
        data = np.frombuffer(text.casefold().encode(), dtype=np.uint8)
        return _signature(data, _CLASSES, self.ngram, self._a, self._b)

    def band_hashes(self, signature: Array) -> Array:
        """uint64 [bands]."""
        return _band_hashes(signature, self.rows)


def similarity(one: Array, other: Array) -> Array:
    """Estimated Jaccard similarity of signatures, along the last axis."""
    return (one == other).mean(axis=-1)


def _classes() -> Array:
    """What a byte of UTF-8 is: part of a word, a separator, or the first byte of a character to look into."""
    classes = np.full(256, LETTER, dtype=np.uint8)
    for byte in range(128):
        if not chr(byte).isalnum():
            classes[byte] = SEPARATOR
    classes[0xC2] = LATIN_LEAD  # U+0080..U+00BF: no-break space, guillemets, ...
    classes[0xE2] = GENERAL_LEAD  # U+2000..U+206F: dashes, quotation marks, spaces
    classes[0xE3:0xEA] = IDEOGRAPH_LEAD  # U+3000..U+9FFF: kana, Chinese characters, and their punctuation
    return classes


_CLASSES = _classes()


@kernel
def _mix(x):  # type: ignore[no-untyped-def]
    """The finaliser of splitmix64."""
    x = np.uint64(x + np.uint64(0x9E3779B97F4A7C15))
    x = np.uint64((x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
    x = np.uint64((x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
    return x ^ (x >> np.uint64(31))


@kernel
def _absorb(signature, hash, a, b):  # type: ignore[no-untyped-def]
    low = np.uint32(hash >> np.uint64(32))
    for k in range(len(signature)):
        value = np.uint32(a[k] * low + b[k])
        signature[k] = min(signature[k], value)


@kernel
def _signature(data, classes, ngram, a, b):  # type: ignore[no-untyped-def]
    signature = np.full(len(a), EMPTY, dtype=np.uint32)
    window = np.zeros(ngram, dtype=np.uint64)  # hashes of the last n words, a ring
    num_words = 0
    word = np.uint64(0)
    at, length = 0, len(data)
    while at <= length:
        kind = classes[data[at]] if at < length else SEPARATOR
        size = 1
        if kind == LATIN_LEAD:
            kind, size = SEPARATOR, 2
        elif kind == GENERAL_LEAD:
            inside = at + 1 < length and (data[at + 1] == 0x80 or data[at + 1] == 0x81)
            kind, size = (SEPARATOR, 3) if inside else (LETTER, 1)
        elif kind == IDEOGRAPH_LEAD:
            size = 3
            if data[at] == 0xE3 and at + 1 < length and data[at + 1] == 0x80:  # U+3000..U+303F: punctuation
                kind = SEPARATOR
        if kind == LETTER:
            word = np.uint64((word ^ np.uint64(data[at] + 1)) * np.uint64(0x100000001B3))
            word ^= word >> np.uint64(29)
            at += 1
            continue
        for turn in range(2):  # the word that ends here, then the ideograph itself
            if turn == 1:
                if kind != IDEOGRAPH_LEAD:
                    break
                for k in range(at, min(at + size, length)):
                    word = np.uint64((word ^ np.uint64(data[k] + 1)) * np.uint64(0x100000001B3))
                    word ^= word >> np.uint64(29)
            if word != 0:
                window[num_words % ngram] = _mix(word)
                num_words += 1
                word = np.uint64(0)
                if num_words >= ngram:
                    hash = np.uint64(0)
                    for k in range(num_words, num_words + ngram):  # oldest first
                        hash = np.uint64((hash ^ window[k % ngram]) * np.uint64(0x9E3779B97F4A7C15))
                        hash ^= hash >> np.uint64(32)
                    _absorb(signature, _mix(hash), a, b)
        at += size
    return signature, max(0, num_words - ngram + 1)


@kernel
def _band_hashes(signature, rows):  # type: ignore[no-untyped-def]
    bands = len(signature) // rows
    hashes = np.zeros(bands, dtype=np.uint64)
    for band in range(bands):
        hash = np.uint64(band)
        for k in range(band * rows, (band + 1) * rows):
            hash = _mix(hash ^ np.uint64(signature[k]))
        hashes[band] = hash
    return hashes
