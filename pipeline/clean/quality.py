"""Gopher's quality rules: Rae et al. 2021, arXiv 2112.11446, appendix A.1.1; thresholds as in datatrove 0.10.

The decisions equal datatrove's `GopherQualityFilter` when both are given the same words, ours or spaCy's; with
`marks_are_words`, each with its own, in 98 of 100 English pages (tests run all three).

| reason             | dropped when |
|--------------------|--------------|
| gopher_short       | fewer than `min_words` words that are not punctuation |
| gopher_long        | more than `max_words` of them |
| gopher_word_length | their mean length is below `min_word_length` or above `max_word_length` characters |
| gopher_symbols     | more than `max_symbols` "#" or ellipses per word |
| gopher_bullets     | more than `max_bullet_lines` of the lines begin with "-" or "•" |
| gopher_ellipsis    | more than `max_ellipsis_lines` of the lines end in an ellipsis |
| gopher_alpha       | fewer than `min_alpha_words` of the words hold a letter |
| gopher_stop_words  | fewer than `min_stop_words` different STOP_WORDS occur, in lower case |

Books are longer than web pages: raise `max_words` for them (null: no limit).
"""

import numpy as np
from pydantic import Field

from pipeline.clean.characters import ALPHA, FLAGS, JOINER, LETTER, OTHER, SPACE, TERMINALS, Array, decode
from pipeline.clean.verdict import Drop, Filter, Verdict, above, below
from pipeline.clean.words import ABBREVIATION_CODES, Pieces, hash_word, is_abbreviation, split, stripped
from pipeline.core.kernels import kernel
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

_A_WORD = "characters a word"
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
# datatrove's set, so that the decisions are the same
PUNCTUATION = (
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
    + TERMINALS
    + "".join(chr(code) for start, end in ((0, 9), (11, 13), (13, 32), (127, 160)) for code in range(start, end))
)


class Config(PluginConfig):
    """Gopher quality."""

    name: str = "quality"
    min_words: int = Field(50, ge=0)
    """Fewer words that are more than punctuation drop a document; Gopher's bound."""

    max_words: int | None = Field(100_000, ge=1)
    """More of them drop it, null: no limit; Gopher's bound."""

    min_word_length: float = 3
    """Least mean length of those words, in characters; Gopher's bound."""

    max_word_length: float = 10
    """Largest mean length of those words, in characters; Gopher's bound."""

    max_symbols: float = 0.1
    """Most "#" for each word, and most ellipses for each word; Gopher's bound."""

    max_bullet_lines: float = 0.9
    """Largest share of the lines, 0 to 1, that begin with a bullet; Gopher's bound."""

    max_ellipsis_lines: float = 0.3
    """Largest share of the lines, 0 to 1, that end in an ellipsis; Gopher's bound."""

    min_alpha_words: float = 0.8
    """Least share of the words, 0 to 1, that hold a letter; Gopher's bound."""

    min_stop_words: int = 2
    """Least number of different words of STOP_WORDS; Gopher's bound."""

    marks_are_words: bool = False
    """For the shares of symbols and of words with a letter, count marks ("(", ",", "-") and parts ("don", "'t") as
    words, about as datatrove's spaCy does: FineWeb was made so. Else a word is what white space separates, as in the
    Gopher paper: of English news, a sixth passes `min_alpha_words` that otherwise would not."""


def build(config: Config) -> Filter:
    def judge(document: Document) -> Verdict:
        return check(split(document.text), config)

    return judge


def check(pieces: Pieces, config: Config) -> Drop | None:
    """The first rule that the text breaks, or None."""
    num_solid, num_chars, num_alpha, num_stop_words = _count_words(
        pieces.data, pieces.words, pieces.lengths, pieces.hashes, FLAGS, _PUNCTUATION, _STOP_WORDS
    )
    if not num_solid:
        return Drop("gopher_short", "no words")
    if num_solid < config.min_words:
        return below("gopher_short", num_solid, "words", min_words=config.min_words)
    if config.max_words is not None and num_solid > config.max_words:
        return above("gopher_long", num_solid, "words", max_words=config.max_words)
    mean = num_chars / num_solid
    if mean < config.min_word_length:
        return below("gopher_word_length", mean, _A_WORD, min_word_length=config.min_word_length)
    if mean > config.max_word_length:
        return above("gopher_word_length", mean, _A_WORD, max_word_length=config.max_word_length)
    text = pieces.text
    num_words = len(pieces.words)
    if config.marks_are_words:
        more_words, more_alpha = _count_parts(pieces.data, pieces.words, FLAGS, ABBREVIATION_CODES)
        num_words, num_alpha = num_words + more_words, num_alpha + more_alpha
    hashes, dots = text.count("#"), text.count("...") + text.count("…")
    symbols = max(hashes, dots) / num_words
    if symbols > config.max_symbols:
        what = '"#" a word' if hashes >= dots else "ellipses a word"
        return above("gopher_symbols", symbols, what, max_symbols=config.max_symbols)
    num_lines = len(pieces.lines) - text.endswith("\n")
    bullets, ellipses = (count / num_lines for count in _count_lines(pieces.data, pieces.lines, FLAGS))
    if bullets > config.max_bullet_lines:
        what = "of the lines begin with a bullet"
        return above("gopher_bullets", bullets, what, max_bullet_lines=config.max_bullet_lines)
    if ellipses > config.max_ellipsis_lines:
        what = "of the lines end in an ellipsis"
        return above("gopher_ellipsis", ellipses, what, max_ellipsis_lines=config.max_ellipsis_lines)
    if num_alpha / num_words < config.min_alpha_words:
        share = num_alpha / num_words
        return below("gopher_alpha", share, "of the words hold a letter", min_alpha_words=config.min_alpha_words)
    if num_stop_words < config.min_stop_words:
        return below("gopher_stop_words", num_stop_words, "different stop words", min_stop_words=config.min_stop_words)
    return None


def _is_punctuation() -> Array:
    """bool [0x110000]."""
    table = np.zeros(len(FLAGS), dtype=np.bool_)
    table[[ord(character) for character in PUNCTUATION]] = True
    return table


_PUNCTUATION = _is_punctuation()
_STOP_WORDS = np.array([hash_word(word) for word in STOP_WORDS], dtype=np.uint64)


@kernel
def _count_words(data, words, lengths, hashes, flags, punctuation, stop_words):  # type: ignore[no-untyped-def]
    """Words that are more than punctuation, their characters, words with a letter, different stop words."""
    num_solid = num_chars = num_alpha = 0
    seen = np.zeros(len(stop_words), dtype=np.bool_)
    for number in range(len(words)):
        at, end = words[number]
        is_solid = is_alpha = False
        while at < end and not (is_solid and is_alpha):
            code, size = decode(data, at)
            is_solid |= not punctuation[code]
            is_alpha |= flags[code] & ALPHA != 0
            at += size
        num_solid += is_solid
        num_chars += lengths[number] if is_solid else 0
        num_alpha += is_alpha
        if lengths[number] <= 4:  # no stop word is longer
            for which in range(len(stop_words)):
                seen[which] |= hashes[number] == stop_words[which]
    return num_solid, num_chars, num_alpha, seen.sum()


@kernel
def _count_parts(data, words, flags, abbreviations):  # type: ignore[no-untyped-def]
    """How many more words, and words with a letter, a splitter finds that makes words of marks and cuts at them.

    Marks between white space and a word count, a run of the same one once; not the "." of an abbreviation.
    """
    num_words = num_letters = at = 0
    for number in range(len(words) + 1):
        start, end = (words[number, 0], words[number, 1]) if number < len(words) else (len(data), len(data))
        num_marks = 0
        before = -1
        at_edge = number == 0 or number == len(words)
        if at < start and data[at] == 46 and is_abbreviation(data, at, abbreviations):
            at += 1
        while at < start:
            code, size = decode(data, at)
            num_marks += flags[code] & OTHER != 0 and code != before
            at_edge |= flags[code] & SPACE != 0
            before = code
            at += size
        num_words += num_marks if at_edge else 0
        parts, letters = _count_cuts(data, start, end, flags)
        num_words, num_letters, at = num_words + parts, num_letters + letters, end
    return num_words, num_letters


@kernel
def _count_cuts(data, start, end, flags):  # type: ignore[no-untyped-def]
    """The same inside one word: "'" cuts before a letter, "-" and "/" are words between letters, "-" between digits."""
    num_words = num_letters = 0
    at, before = start, 0
    while at < end:
        code, size = decode(data, at)
        if flags[code] & JOINER and at + size < end:
            after = flags[decode(data, at + size)[0]] & ALPHA
            if code == 0x27 or code == 0x2019:
                num_words += after != 0
                num_letters += after != 0
            elif before & LETTER and ((code == 0x2D and before & ALPHA == after) or (code == 0x2F and after)):
                num_words += 2
                num_letters += after != 0
            elif code == 0x2E and after:  # a host or a file name, which is one word with all its slashes
                break
        before = flags[code]
        at += size
    return num_words, num_letters


@kernel
def _count_lines(data, lines, flags):  # type: ignore[no-untyped-def]
    """Lines that begin with "-" or "•", lines that end with "..." or "…"."""
    bullets = ellipses = 0
    for number in range(len(lines)):
        start, end = stripped(data, lines[number, 0], lines[number, 1], flags)
        if start == end:
            continue
        first = decode(data, start)[0]
        bullets += first == 0x2D or first == 0x2022
        if end - start >= 3:
            tail = np.int64(data[end - 3]) << 16 | np.int64(data[end - 2]) << 8 | np.int64(data[end - 1])
            ellipses += tail == 0x2E2E2E or tail == 0xE280A6
    return bullets, ellipses
