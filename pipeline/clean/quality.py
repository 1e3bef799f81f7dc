"""Gopher's quality rules: Rae et al. 2021, arXiv 2112.11446, appendix A.1.1; thresholds as in datatrove 0.10.

The decisions equal datatrove's `GopherQualityFilter` when that is given our splitter (a test runs both).

| reason             | detail           | dropped when |
|--------------------|------------------|--------------|
| gopher_short       | number of words  | fewer than `min_words` words that are not punctuation |
| gopher_long        | number of words  | more than `max_words` of them |
| gopher_word_length | mean length      | below `min_word_length` or above `max_word_length` characters |
| gopher_symbols     | symbols per word | more than `max_symbols` "#" or ellipses per word |
| gopher_bullets     | share of lines   | more than `max_bullet_lines` of the lines begin with "-" or "•" |
| gopher_ellipsis    | share of lines   | more than `max_ellipsis_lines` of the lines end in an ellipsis |
| gopher_alpha       | share of words   | fewer than `min_alpha_words` of the words hold a letter |
| gopher_stop_words  | how many         | fewer than `min_stop_words` different STOP_WORDS occur, in lower case |

Books are longer than web pages: raise `max_words` for them (null: no limit).
"""

import numpy as np
from pydantic import Field

from pipeline.clean.characters import ALPHA, FLAGS, TERMINALS, Array, decode
from pipeline.clean.verdict import Drop, Filter, Verdict
from pipeline.clean.words import Pieces, hash_word, split, stripped
from pipeline.core.kernels import kernel
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

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
    max_words: int | None = Field(100_000, ge=1)
    min_word_length: float = 3
    max_word_length: float = 10
    max_symbols: float = 0.1
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_alpha_words: float = 0.8
    min_stop_words: int = 2


def build(config: Config) -> Filter:
    def judge(document: Document) -> Verdict:
        return check(split(document.text), config)

    return judge


def check(pieces: Pieces, config: Config) -> Drop | None:
    """The first rule that the text breaks, or None."""
    num_solid, num_chars, num_alpha, num_stop_words = _count_words(
        pieces.data, pieces.words, pieces.lengths, pieces.hashes, FLAGS, _PUNCTUATION, _STOP_WORDS
    )
    if num_solid < max(1, config.min_words):
        return Drop("gopher_short", str(num_solid))
    if config.max_words is not None and num_solid > config.max_words:
        return Drop("gopher_long", str(num_solid))
    mean = num_chars / num_solid
    if not config.min_word_length <= mean <= config.max_word_length:
        return Drop("gopher_word_length", f"{mean:.2f}")
    text, num_words = pieces.text, len(pieces.words)
    symbols = max(text.count("#"), text.count("...") + text.count("…")) / num_words
    if symbols > config.max_symbols:
        return Drop("gopher_symbols", f"{symbols:.3f}")
    num_lines = len(pieces.lines) - text.endswith("\n")
    bullets, ellipses = (count / num_lines for count in _count_lines(pieces.data, pieces.lines, FLAGS))
    if bullets > config.max_bullet_lines:
        return Drop("gopher_bullets", f"{bullets:.3f}")
    if ellipses > config.max_ellipsis_lines:
        return Drop("gopher_ellipsis", f"{ellipses:.3f}")
    if num_alpha / num_words < config.min_alpha_words:
        return Drop("gopher_alpha", f"{num_alpha / num_words:.3f}")
    if num_stop_words < config.min_stop_words:
        return Drop("gopher_stop_words", str(num_stop_words))
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
