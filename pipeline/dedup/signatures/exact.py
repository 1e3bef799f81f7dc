"""Exact duplicates: 16 bytes that are equal when two texts differ in case and white space at most.

texts -> case-folded UTF-8, one after the other      FoldedTexts, which MinHash reads as well
      -> every run of white space one space          xxh3_128
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xxhash

from pipeline.clean.characters import FLAGS, SPACE, Array, decode
from pipeline.core.kernels import kernel


@dataclass(frozen=True, eq=False)
class FoldedTexts:
    """Case-folded texts in UTF-8: text i is data[ends[i]:ends[i + 1]]."""

    data: Array  # uint8
    ends: Array  # int64 [texts + 1]; the first is 0


def fold_texts(texts: Sequence[str]) -> FoldedTexts:
    parts = [text.casefold().encode() for text in texts]
    ends = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    return FoldedTexts(np.frombuffer(b"".join(parts), dtype=np.uint8), ends)


def exact_hashes(folded: FoldedTexts) -> list[bytes]:
    """xxh3_128 of each text with every run of white space one space, and none at its ends."""
    data, ends = _squeeze(folded.data, folded.ends, FLAGS)
    view = memoryview(data)
    return [xxhash.xxh3_128_digest(view[start:end]) for start, end in pairwise(ends)]


def exact_hash(text: str) -> bytes:
    return exact_hashes(fold_texts([text]))[0]


@kernel
def _squeeze(data, ends, flags):  # type: ignore[no-untyped-def]
    squeezed = np.empty(len(data), dtype=np.uint8)
    new_ends = np.zeros(len(ends), dtype=np.int64)
    size = np.uint64(0)  # unsigned: an index that may be negative costs a check per byte
    for number in range(len(ends) - 1):
        text = data[ends[number] : ends[number + 1]]
        first, space = size, SPACE
        for at in range(len(text)):
            byte, before = text[at], space
            if byte < 0x80:
                space = flags[byte] & SPACE
            elif byte >= 0xC0:  # the other bytes of a character go the way of its first one
                space = flags[decode(text, at)[0]] & SPACE
            squeezed[size] = 32 if space else byte
            size += np.uint64(space & before == 0)
        if space and size > first:
            size -= np.uint64(1)
        new_ends[number + 1] = size
    return squeezed[:size], new_ends
