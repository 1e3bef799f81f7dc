"""The one splitter of the recipe: text to words. Every filter reads the same words, split once per document.

A word is, in this order of preference:
1. one character of a script that is written without spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar);
2. a run of letters, digits, combining marks and "_", and single marks of JOINERS between them: "don't", "well-known",
   "numpy.linalg", "3.14", "and/or" are one word each;
3. a run of other characters that stands alone between white space: "—", "...", "|".

Other characters ("(", "," before a space) belong to no word. So there are as many words as the Gopher paper counts by
white space, for which its thresholds were published, and "dam," equals "dam", which repetition needs. datatrove's
splitter (spaCy) makes every bracket and comma a word: its share of words with letters is lower, and a tenth of
ordinary technical prose falls below 0.8. SPLITTER is part of every clean fingerprint.
"""

import re
from functools import lru_cache

SPLITTER = "penstock-words-1"

_ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# combining marks of Latin, Hebrew, Arabic and the Indic scripts, which Python's \w leaves out
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09cd"
    "\u0a01-\u0a51\u0b01-\u0b57\u0c00-\u0c56\u0d00-\u0d57"
)
_LETTERS = rf"(?:(?![{_ALONE}])[\w{_MARKS}])+"
JOINERS = "'’.,:/@&+*=%#~$-"
_JOINER = f"[{re.escape(JOINERS)}]"
_WORD = re.compile(rf"[{_ALONE}]|{_LETTERS}(?:{_JOINER}{_LETTERS})*|(?<!\S)[^\w\s]+(?!\S)")
_ASCII_WORD = re.compile(rf"\w+(?:{_JOINER}\w+)*|(?<!\S)[^\w\s]+(?!\S)", re.ASCII)


@lru_cache(maxsize=1)
def split(text: str) -> tuple[str, ...]:
    """Words in order. The last text is remembered: filters ask for the same one after the other."""
    pattern = _ASCII_WORD if text.isascii() else _WORD
    return tuple(pattern.findall(text))
