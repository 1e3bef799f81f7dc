"""A text as its words alone: case, punctuation and white space are taken away, and it is known where each word stands.

Words are those of the splitter (clean/words.py) once every character outside them, "_" too, is a blank: "Don't",
"don’t" and "don 't" of a tokenized corpus are all "don", "t". A mark that belongs to no letter, as behind an emoji, is
no word.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from pipeline.clean.characters import ALONE, FLAGS, LETTER, MARK, Array
from pipeline.core.kernels import kernel


@dataclass(frozen=True, eq=False)
class Folded:
    text: str
    starts: Array
    """int64 [words]: the word's first character in `text`."""
    ends: Array
    """int64 [words]: the character after its last."""
    hashes: Array
    """uint64 [words]"""

    def __len__(self) -> int:
        return len(self.hashes)

    def between(self, first: int, end: int) -> str:
        """The text from word `first` to the word before `end`, as it is written."""
        return self.text[self.starts[first] : self.ends[end - 1]]

    def range(self, first: int, end: int) -> tuple[int, int]:
        """The same as characters, and with the punctuation that clings to the words: "(", "!", a closing quote."""
        start, stop = int(self.starts[first]), int(self.ends[end - 1])
        lowest = int(self.ends[first - 1]) if first else 0
        highest = int(self.starts[end]) if end < len(self) else len(self.text)
        while start > lowest and not self.text[start - 1].isspace():
            start -= 1
        while stop < highest and not self.text[stop].isspace():
            stop += 1
        return start, stop


@cache
def _lower_codes() -> Array:
    """uint32 [0x110000]: of every character its lower case, or the first character of that: "İ" is "i"."""
    codes = np.arange(0x110000, dtype=np.uint32)
    cased = codes[:0x20000]  # Unicode has no capitals above
    cased[:] = np.strings.lower(cased.view("<U1")).view(np.uint32)
    return codes


@lru_cache(maxsize=1)
def fold(text: str) -> Folded:
    """The last text is remembered."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return Folded(text, *_words(codes, FLAGS, _lower_codes()))


@kernel
def _words(codes, flags, lower):  # type: ignore[no-untyped-def]
    """int64 [words]: first characters, ends; uint64 [words]: hashes of the words in lower case."""
    starts = np.empty(len(codes), dtype=np.int64)
    ends = np.empty(len(codes), dtype=np.int64)
    hashes = np.empty(len(codes), dtype=np.uint64)
    count = -1
    inside = 0  # the kind of the word that may go on: LETTER, ALONE or none
    for at in range(len(codes)):
        code = codes[at]
        kind = 0 if code == 95 else flags[code] & (LETTER | ALONE | MARK)
        if kind == 0 or (kind == MARK and inside == 0):
            inside = 0
            continue
        if kind != MARK and (kind == ALONE or inside != LETTER):
            count += 1
            starts[count] = at
            hashes[count] = 0xCBF29CE484222325
        if kind != MARK:
            inside = kind
        ends[count] = at + 1
        hashes[count] = np.uint64((hashes[count] ^ np.uint64(lower[code])) * np.uint64(0x100000001B3))
    count += 1
    for word in range(count):
        hash = np.uint64((hashes[word] ^ (hashes[word] >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15))
        hashes[word] = hash ^ (hash >> np.uint64(29))
    return starts[:count].copy(), ends[:count].copy(), hashes[:count].copy()


@kernel
def grams(words, n):  # type: ignore[no-untyped-def]
    """uint64 [words - n + 1]: a hash of every n words in a row; other n, other hashes."""
    num = max(0, len(words) - n + 1)
    hashes = np.empty(num, dtype=np.uint64)
    base = np.uint64(0x9E3779B97F4A7C15)
    power = np.uint64(1)
    for _ in range(n):
        power = np.uint64(power * base)
    rolled = np.uint64(0)
    for at in range(len(words)):
        rolled = np.uint64(rolled * base + words[at])
        if at >= n:
            rolled = np.uint64(rolled - words[at - n] * power)
        if at >= n - 1:
            mixed = rolled ^ np.uint64(n)
            mixed = np.uint64((mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93))
            hashes[at - n + 1] = mixed ^ (mixed >> np.uint64(32))
    return hashes


def runs(marked: Array) -> list[tuple[int, int]]:
    """First and end of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def cut(text: str, ranges: list[tuple[int, int]]) -> str:
    """Without these ranges of characters; what stood on two lines, or in two paragraphs, does so still."""
    if not ranges:
        return text
    kept: list[str] = []
    gap, at = "", 0
    for start, end in [*ranges, (len(text), len(text))]:
        piece, at = text[at:start], end
        solid = piece.strip()
        if not solid:
            gap += piece
            continue
        gap += piece[: piece.index(solid)]
        if kept:
            kept.append("\n" * min(2, gap.count("\n")) or " ")
        kept.append(solid)
        gap = piece[len(piece.rstrip()) :]
    return "".join(kept)
