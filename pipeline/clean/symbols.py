"""Texts that are mostly symbols: tables of numbers, drawings in characters, encoded data.

| reason         | dropped when |
|----------------|--------------|
| symbols_alnum  | fewer than `min_alnum` of the characters are letters or digits |
| symbols_digits | more than `max_digits` of the letters and digits are digits |

| edit    | when |
|---------|------|
| symbols | lines without a letter or digit ("* * *", "=====") were removed (`symbol_lines: remove`) |

Source: 0.25 is RedPajama-1's rule for code (`github_run_filter.py`), kept by DCLM; removing lines of symbols is
datatrove's `SymbolLinesFormatter`; the share of digits is ours: half, which no prose reaches. Symbols per *word* are
Gopher's rule, in `quality`.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.clean.characters import ALONE, FLAGS, LETTER, SPACE, decode
from pipeline.clean.verdict import Filter, Replace, Verdict, above, below
from pipeline.clean.words import Pieces, split
from pipeline.core.kernels import kernel
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document


class Config(PluginConfig):
    """Symbol ratios."""

    name: str = "symbols"
    min_alnum: float = Field(0.25, ge=0, le=1)
    """Smallest share of the characters that are letters or digits."""
    max_digits: float = Field(0.5, ge=0, le=1)
    """Largest share of 0 to 9 among letters and digits."""
    symbol_lines: Literal["keep", "remove"] = "keep"
    """What happens to lines that hold something, but no letter or digit."""


def build(config: Config) -> Filter:
    def judge(document: Document) -> Verdict:
        pieces = split(document.text)
        alnum, digits = _count_chars(pieces.data, FLAGS)
        share = alnum / max(1, len(document.text))
        if share < config.min_alnum:
            what = "of the characters are letters or digits"
            return below("symbols_alnum", share, what, min_alnum=config.min_alnum)
        share = digits / max(1, alnum)
        if share > config.max_digits:
            what = "of the letters and digits are digits"
            return above("symbols_digits", share, what, max_digits=config.max_digits)
        if config.symbol_lines == "keep":
            return None
        text = without_symbol_lines(pieces)
        return None if text == document.text else Replace(replace(document, text=text), "symbols")

    return judge


def without_symbol_lines(pieces: Pieces) -> str:
    only = _symbol_lines(pieces.data, pieces.lines, FLAGS)
    if not only.any():
        return pieces.text
    return "\n".join(line for line, gone in zip(pieces.text.split("\n"), only.tolist(), strict=True) if not gone)


@kernel
def _count_chars(data, flags):  # type: ignore[no-untyped-def]
    """Letters and digits; digits."""
    alnum = digits = at = 0
    while at < len(data):
        code, size = decode(data, at)
        alnum += flags[code] & (LETTER | ALONE) != 0 and code != 0x5F  # "_" is a letter to the splitter
        digits += 0x30 <= code <= 0x39
        at += size
    return alnum, digits


@kernel
def _symbol_lines(data, lines, flags):  # type: ignore[no-untyped-def]
    """bool [lines]: which hold more than white space, but no letter or digit."""
    found = np.zeros(len(lines), dtype=np.bool_)
    for number in range(len(lines)):
        at, end = lines[number]
        solid = alnum = False
        while at < end and not alnum:
            code, size = decode(data, at)
            alnum = flags[code] & (LETTER | ALONE) != 0 and code != 0x5F
            solid |= not flags[code] & SPACE
            at += size
        found[number] = solid and not alnum
    return found
