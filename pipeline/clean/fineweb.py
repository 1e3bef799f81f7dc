"""FineWeb's own quality rules: Penedo et al. 2024, arXiv 2406.17557, section 3.6; thresholds as in datatrove 0.10.

The decisions equal datatrove's `FineWebQualityFilter` when that is given our splitter (a test runs both).

| reason                 | dropped when |
|------------------------|--------------|
| fineweb_terminal_lines | fewer than `min_terminal_lines` of the lines end in a mark that ends sentences |
| fineweb_short_lines    | more than `max_short_lines` of the lines have `short_line_chars` or less |
| fineweb_dup_line_chars | more than `max_dup_line_chars` of the characters are in lines that occurred before |
| fineweb_newlines       | more than `max_newlines_per_word` newlines per word: a list, not a text |

Lines that are empty or white space count nowhere but as newlines. FineWeb-2 works without the rule of short lines
(`max_short_lines: 1`) and with `max_dup_line_chars: 0.1`.
"""

from pydantic import Field

from pipeline.clean.characters import FLAGS, TERMINAL, decode
from pipeline.clean.verdict import Drop, Filter, Verdict, above, below
from pipeline.clean.words import Pieces, first_equals, num_chars, split, stripped
from pipeline.core.kernels import kernel
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document


class Config(PluginConfig):
    """FineWeb quality."""

    name: str = "fineweb"
    min_terminal_lines: float = Field(0.12, ge=0, le=1)
    """Smallest share of lines that end in ".", "!", "?" or another script's."""
    max_short_lines: float = Field(0.67, ge=0, le=1)
    """Largest share of short lines."""
    short_line_chars: int = Field(30, ge=0)
    """Characters of a short line, at most."""
    max_dup_line_chars: float = Field(0.01, ge=0, le=1)
    """Largest share of the characters in repeated lines."""
    max_newlines_per_word: float = Field(0.3, ge=0)
    """More newlines per word are a list."""


def build(config: Config) -> Filter:
    def judge(document: Document) -> Verdict:
        return check(split(document.text), config)

    return judge


def check(pieces: Pieces, config: Config) -> Drop | None:
    """The first rule that the text breaks, or None."""
    data, lines = pieces.data, pieces.lines
    num_lines, terminal, short, dup_chars = _count_lines(
        data, lines, num_chars(data, lines), first_equals(data, lines), config.short_line_chars, FLAGS
    )
    num_lines = max(1, num_lines)
    share = terminal / num_lines
    if share < config.min_terminal_lines:
        what = "of the lines end a sentence"
        return below("fineweb_terminal_lines", share, what, min_terminal_lines=config.min_terminal_lines)
    if short / num_lines > config.max_short_lines:
        what = f"of the lines have {config.short_line_chars} characters or less"
        return above("fineweb_short_lines", short / num_lines, what, max_short_lines=config.max_short_lines)
    num_newlines = len(lines) - 1
    share = dup_chars / max(1, len(pieces.text) - num_newlines)
    if share > config.max_dup_line_chars:
        what = "of the characters are in repeated lines"
        return above("fineweb_dup_line_chars", share, what, max_dup_line_chars=config.max_dup_line_chars)
    newlines = num_newlines / max(1, len(pieces.words))
    if newlines > config.max_newlines_per_word:
        what = "newlines a word"
        return above("fineweb_newlines", newlines, what, max_newlines_per_word=config.max_newlines_per_word)
    return None


@kernel
def _count_lines(data, lines, lengths, firsts, short_chars, flags):  # type: ignore[no-untyped-def]
    """Lines with text, those that end in a terminal mark, the short ones; characters in lines that occurred before."""
    count = terminal = short = dup_chars = 0
    for number in range(len(lines)):
        start, end = lines[number]
        if start == end or stripped(data, start, end, flags)[0] == end:
            continue
        count += 1
        last = end - 1
        while data[last] & 0xC0 == 0x80:
            last -= 1
        code = decode(data, last)[0]
        terminal += flags[code] & TERMINAL != 0 and code != 0x2026  # the ellipsis is not in FineWeb's list
        short += lengths[number] <= short_chars
        dup_chars += lengths[number] if firsts[number] != number else 0
    return count, terminal, short, dup_chars
