"""The one splitter of the recipe: a text becomes words, lines, sentences and paragraphs, once, for every filter.

    text -> UTF-8 bytes -> int32 [k, 2]: first byte and end of every word, line, sentence, paragraph      Pieces

A **word** is
1. one character of a script that is written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar): "日本語" is three;
2. or a run of letters, numbers and "_", and single marks of JOINERS between them: "don't", "well-known",
   "numpy.linalg", "3.14", "and/or" are one word each;
3. or a run of other characters that stands alone between white space: "—", "...", "|", an emoji.

A combining mark, variation selector, or zero width (non-)joiner belongs to the character before it: "é" in two code
points, a Thai vowel sign, a Persian "می‌خواهم", a family of emoji are not torn. Other characters ("(", "," before a
space) belong to no word. So there are as many words as the Gopher paper counts by white space, for which its
thresholds were published, and "dam," equals "dam", which repetition needs. datatrove's splitter (spaCy) makes every
bracket and comma a word: its share of words with letters is lower, and a tenth of ordinary technical prose falls
below 0.8.

A **line** ends at "\\n" and nowhere else (DOCUMENT's promise; `unicode` turns other line ends into it); as many as
`text.split("\\n")` has, empty ones too. A **paragraph** ends at two "\\n" or more; white space around the text is
none.

A **sentence** is a part of a line that holds more than white space. It ends
1. with its line;
2. at a STOP (。！？), with what closes it (」)
3. at a TERMINAL (. ! ? … । ؟), with what closes it (")), when white space follows and after that no lower-case
   letter; a "." after one letter ("J. Smith", "U.S.") or one of ABBREVIATIONS ends none.

All of it in time and memory linear in the text: a kernel walks the bytes once. The tests hold a plain definition of the
same rules beside it. SPLITTER is part of every clean fingerprint.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from pipeline.clean.characters import (
    ALONE,
    CLOSER,
    FLAGS,
    JOINER,
    LETTER,
    LOWER,
    MARK,
    OTHER,
    SPACE,
    STOP,
    TERMINAL,
    Array,
    decode,
    skip,
)
from pipeline.core.kernels import kernel

# the characters are Python's: another Unicode version has other letters
SPLITTER = f"penstock-words-2 unicode-{unicodedata.unidata_version}"

ABBREVIATIONS = (
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "rev", "hon", "gen", "col", "capt", "lt", "sgt", "gov", "sen",
    "rep", "messrs", "mme", "mlle", "vs", "cf", "ca", "approx", "e.g", "i.e", "viz", "al", "fig", "figs", "eq", "eqs",
    "no", "nos", "vol", "vols", "pp", "ed", "eds", "ch", "sec", "jan", "feb", "mar", "apr", "jun", "jul", "aug",
    "sep", "sept", "oct", "nov", "dec", "dept", "ft", "mt",
)  # fmt: skip
"""Without their last ".", lower case, at most eight bytes."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """A text and where its pieces lie, found when they are first asked for. Ranges are int32 [k, 2], in order: first
    byte, and the byte after the last."""

    text: str
    data: Array
    """uint8: the text in UTF-8 (half surrogates as they stand)."""

    @cached_property
    def words(self) -> Array:
        return _words(self.data, FLAGS)

    @cached_property
    def lines(self) -> Array:
        return _lines(self.data)

    @cached_property
    def sentences(self) -> Array:
        return _sentences(self.data, FLAGS, ABBREVIATION_CODES)

    @cached_property
    def paragraphs(self) -> Array:
        return _paragraphs(self.data, FLAGS)

    @cached_property
    def num_chars(self) -> int:
        return len(self.text)

    @cached_property
    def lengths(self) -> Array:
        """int32 [words]: characters of every word."""
        return num_chars(self.data, self.words)

    @cached_property
    def hashes(self) -> Array:
        """uint64 [words]: equal words have equal hashes, whatever the text; see `hash_word`."""
        return hash_ranges(self.data, self.words)

    @cached_property
    def firsts(self) -> Array:
        """int32 [words]: number of the first word that equals this one; exact."""
        return first_equals(self.data, self.words)

    def strings(self, ranges: Array) -> list[str]:
        """The pieces as text, for messages and tests: slow."""
        data = self.data.tobytes()
        return [data[start:end].decode("utf-8", "surrogatepass") for start, end in ranges.tolist()]


@lru_cache(maxsize=1)
def split(text: str) -> Pieces:
    """The last text is remembered: filters ask for the same one after the other."""
    return Pieces(text, _bytes(text))


def split_by(text: str, words: Iterable[str], sentences: Iterable[str] | None = None) -> Pieces:
    """The same with another splitter's words, and sentences: parts of the text in order; raises ValueError if not."""
    pieces = Pieces(text, _bytes(text))
    found = {"words": locate(text, words)} | ({} if sentences is None else {"sentences": locate(text, sentences)})
    vars(pieces).update(found)  # where a cached_property keeps what it found
    return pieces


def locate(text: str, parts: Iterable[str]) -> Array:
    """Byte ranges of strings that occur in the text one after the other."""
    ranges: list[tuple[int, int]] = []
    char = byte = 0
    for part in parts:
        start = text.index(part, char)
        first = byte + len(_bytes(text[char:start]))
        char, byte = start + len(part), first + len(_bytes(part))
        ranges.append((first, byte))
    return np.array(ranges, dtype=np.int32).reshape(-1, 2)


def hash_word(word: str) -> int:
    """The entry of `Pieces.hashes` for this word."""
    data = _bytes(word)
    return int(hash_ranges(data, np.array([[0, len(data)]], dtype=np.int32))[0])


def _bytes(text: str) -> Array:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)


def _packed(abbreviation: str) -> int:
    return int.from_bytes(abbreviation.encode(), "big")


ABBREVIATION_CODES = np.array(sorted(map(_packed, ABBREVIATIONS)), dtype=np.uint64)


@kernel
def _words(data, flags):  # type: ignore[no-untyped-def]
    # no word is shorter than a byte, and of two one-byte words next to each other there is white space between
    ranges = np.empty((len(data) // 2 + 1, 2), dtype=np.int32)
    count = at = 0
    after_space = True
    while at < len(data):
        code, size = decode(data, at)
        kind = flags[code]
        start = at
        at += size
        if kind & SPACE:
            after_space = True
            continue
        if kind & LETTER:
            is_word = True
            at = _word_end(data, at, flags)
        elif kind & ALONE:
            is_word = True
            at = skip(data, at, flags, MARK)
        else:
            at = skip(data, at, flags, OTHER | MARK)
            is_word = after_space and (at == len(data) or flags[decode(data, at)[0]] & SPACE != 0)
        if is_word:
            ranges[count] = start, at
            count += 1
        after_space = False
    return ranges[:count].copy()


@kernel
def _word_end(data, at, flags):  # type: ignore[no-untyped-def]
    while True:
        at = skip(data, at, flags, LETTER | MARK)
        if at == len(data):
            return at
        code, size = decode(data, at)
        if not flags[code] & JOINER or at + size == len(data):
            return at
        if not flags[decode(data, at + size)[0]] & LETTER:
            return at
        at += size


@kernel
def _lines(data):  # type: ignore[no-untyped-def]
    count = 1
    for byte in data:
        count += byte == 10
    ranges = np.empty((count, 2), dtype=np.int32)
    start = count = 0
    for at in range(len(data) + 1):
        if at == len(data) or data[at] == 10:
            ranges[count] = start, at
            count += 1
            start = at + 1
    return ranges


@kernel
def stripped(data, start, end, flags):  # type: ignore[no-untyped-def]
    """The range without white space at its ends."""
    while start < end:
        code, size = decode(data, start)
        if not flags[code] & SPACE:
            break
        start += size
    while end > start:
        before = end - 1
        while data[before] & 0xC0 == 0x80:
            before -= 1
        if not flags[decode(data, before)[0]] & SPACE:
            break
        end = before
    return start, end


@kernel
def _paragraphs(data, flags):  # type: ignore[no-untyped-def]
    start, end = stripped(data, 0, len(data), flags)
    ranges = np.empty((len(data) // 3 + 1, 2), dtype=np.int32)
    count = 0
    at = start
    while at < end:
        if data[at] == 10 and data[at + 1] == 10:  # a stripped text does not end in "\n"
            ranges[count] = start, at
            count += 1
            while data[at] == 10:
                at += 1
            start = at
        else:
            at += 1
    if start < end:
        ranges[count] = start, end
        count += 1
    return ranges[:count].copy()


@kernel
def _sentences(data, flags, abbreviations):  # type: ignore[no-untyped-def]
    ranges = np.empty((len(data) // 2 + 1, 2), dtype=np.int32)
    count = start = at = 0
    while at <= len(data):
        ended = at == len(data) or data[at] == 10
        end = at
        if ended:
            at += 1
        else:
            code, size = decode(data, at)
            at += size
            if flags[code] & (TERMINAL | STOP):
                mark = end
                at = skip(data, at, flags, TERMINAL | STOP)
                end = at = skip(data, at, flags, CLOSER | MARK)
                ended = flags[code] & STOP != 0 or _ends_sentence(data, mark, at, flags, abbreviations)
        if ended:
            first, last = stripped(data, start, end, flags)
            if first < last:
                ranges[count] = first, last
                count += 1
            start = at
    return ranges[:count].copy()


@kernel
def _ends_sentence(data, mark, at, flags, abbreviations):  # type: ignore[no-untyped-def]
    """Whether the terminal at byte `mark`, with what closes it up to byte `at`, is the end of a sentence."""
    if at == len(data):
        return True
    code, size = decode(data, at)
    if not flags[code] & SPACE:
        return False
    following = at
    while following < len(data) and data[following] != 10:
        code, size = decode(data, following)
        if not flags[code] & SPACE:
            if flags[code] & LOWER:
                return False
            break
        following += size
    if data[mark] != 46 or at - mark > 1:
        return True
    return not is_abbreviation(data, mark, abbreviations)


@kernel
def is_abbreviation(data, dot, abbreviations):  # type: ignore[no-untyped-def]
    """Whether the letters before the "." are one letter or an abbreviation."""
    packed = np.uint64(0)
    at = dot
    while at > 0 and dot - at <= 8:
        byte = data[at - 1]
        lower = byte | 32
        if not (97 <= lower <= 122 or (byte == 46 and at < dot)):
            break
        at -= 1
        packed |= np.uint64(byte if byte == 46 else lower) << np.uint64(8 * (dot - 1 - at) & 63)
    if at > 0 and data[at - 1] >= 128:
        return False
    length = dot - at
    if length == 0 or length > 8:
        return False
    if length == 1 or data[dot - 2] == 46:
        return True
    found = np.searchsorted(abbreviations, packed)
    return found < len(abbreviations) and abbreviations[found] == packed


@kernel
def num_chars(data, ranges):  # type: ignore[no-untyped-def]
    """int32 [k]: how many characters each range has."""
    counts = np.empty(len(ranges), dtype=np.int32)
    for number in range(len(ranges)):
        count = 0
        for at in range(ranges[number, 0], ranges[number, 1]):
            count += data[at] & 0xC0 != 0x80
        counts[number] = count
    return counts


@kernel
def hash_ranges(data, ranges):  # type: ignore[no-untyped-def]
    """uint64 [k]: a hash of each range's bytes."""
    hashes = np.empty(len(ranges), dtype=np.uint64)
    for number in range(len(ranges)):
        hash = np.uint64(0xCBF29CE484222325)
        for at in range(ranges[number, 0], ranges[number, 1]):
            hash = np.uint64((hash ^ np.uint64(data[at])) * np.uint64(0x100000001B3))
        hash = np.uint64((hash ^ (hash >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15))
        hashes[number] = hash ^ (hash >> np.uint64(29))
    return hashes


@kernel
def first_equals(data, ranges):  # type: ignore[no-untyped-def]
    """int32 [k]: for each range the number of the first one with the same bytes; a hash table, bytes compared."""
    num_slots = 16
    while num_slots < 2 * len(ranges):
        num_slots *= 2
    slots = np.full(num_slots, -1, dtype=np.int32)
    hashes = hash_ranges(data, ranges)
    firsts = np.empty(len(ranges), dtype=np.int32)
    for number in range(len(ranges)):
        slot = np.int64(hashes[number] & np.uint64(num_slots - 1))
        while slots[slot] >= 0 and not (
            hashes[slots[slot]] == hashes[number] and _equal(data, ranges, slots[slot], number)
        ):
            slot = (slot + 1) & (num_slots - 1)
        if slots[slot] < 0:
            slots[slot] = number
        firsts[number] = slots[slot]
    return firsts


@kernel
def _equal(data, ranges, one, other):  # type: ignore[no-untyped-def]
    at, size = ranges[one, 0], ranges[one, 1] - ranges[one, 0]
    other_at = ranges[other, 0]
    same = size == ranges[other, 1] - other_at
    offset = 0
    while same and offset < size:
        same = data[at + offset] == data[other_at + offset]
        offset += 1
    return same
