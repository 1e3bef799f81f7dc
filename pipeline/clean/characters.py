"""What a character is, for loops over UTF-8 bytes: one row of flags for every code point, from Python's own tables.

| flag     | characters |
|----------|------------|
| LETTER   | letters, numbers (`str.isalnum`) and "_" of scripts that put spaces between words |
| ALONE    | letters of scripts that do not: Han, kana, bopomofo, Thai, Lao, Khmer, Myanmar and their kin |
| SPACE    | white space (`str.isspace`) |
| MARK     | combining marks and variation selectors (category M), zero width joiner and non-joiner |
| OTHER    | everything else: punctuation, symbols, emoji, controls, unassigned |

Every character has exactly one of these, and any number of

| flag     | characters |
|----------|------------|
| JOINER   | JOINERS: alone between letters, they hold a word together |
| ALPHA    | `str.isalpha` |
| LOWER    | `str.islower` |
| TERMINAL | TERMINALS and "…": may end a sentence when white space follows |
| STOP     | ends a sentence by itself, in scripts without spaces: 。 ！ ？ and kin |
| CLOSER   | quotation marks and brackets that still belong to the sentence which ended before them |
"""

import unicodedata
from typing import Any

import numpy as np

from pipeline.core.kernels import kernel

Array = np.ndarray[Any, Any]

LETTER, ALONE, SPACE, MARK, OTHER, JOINER, ALPHA, LOWER, TERMINAL, STOP, CLOSER = (1 << bit for bit in range(11))

JOINERS = "'’.,:/@&+*=%#~$-"
TERMINALS = (
    "!.?։\u061d\u061e؟۔\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e।॥\u104a\u104b።\u1367\u1368\u166e\u1735"
    "\u1736\u17d4\u17d5\u17d6\u17d9\u17da\u1803\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e\u1b5f"
    "\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f‼‽⁇⁈⁉\u2e2e\u2e3c\u2e53\u2e54。\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877"
    "\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57！．？｡\U00010a56\U00010a57"
    "\U00010f55\U00010f56\U00010f57\U00010f58\U00010f59\U00010f86\U00010f87\U00010f88\U00010f89\U00011047\U00011048"
    "\U000110be\U000110bf\U000110c0\U000110c1\U00011141\U00011142\U00011143\U000111c5\U000111c6\U000111cd\U000111de"
    "\U000111df\U00011238\U00011239\U0001123b\U0001123c\U000112a9\U0001144b\U0001144c\U000115c2\U000115c3\U000115c9"
    "\U000115ca\U000115cb\U000115cc\U000115cd\U000115ce\U000115cf\U000115d0\U000115d1\U000115d2\U000115d3\U000115d4"
    "\U000115d5\U000115d6\U000115d7\U00011641\U00011642\U0001173c\U0001173d\U0001173e\U00011944\U00011946\U00011a42"
    "\U00011a43\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8\U00011f43\U00011f44\U00016a6e\U00016a6f"
    "\U00016af5\U00016b37\U00016b38\U00016b44\U00016e98\U0001bc9f\U0001da88"
)
"""Marks that end a sentence: Unicode's Sentence_Terminal, as datatrove 0.10 lists it."""
STOPS = "。｡！？．﹒﹖﹗"
CLOSERS = "\"')]}”’»›」』）］｝】》〉〟"
UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0x3005, 0x3007),
    (0x3021, 0x3035), (0x3040, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF), (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
"""First and last code points of the scripts that are written without spaces."""


def _flags() -> Array:
    """uint16 [0x110000]."""
    codes = np.arange(0x110000, dtype=np.uint32)
    characters = codes.view("<U1")
    letters, spaces = np.strings.isalnum(characters), np.strings.isspace(characters)
    letters[ord("_")] = True
    marks = np.fromiter((unicodedata.category(chr(code))[0] == "M" for code in range(0x20000)), bool, 0x20000)
    marks = np.concatenate((marks, np.zeros(len(codes) - len(marks), dtype=bool)))
    marks[0xE0100:0xE01F0] = True  # the only marks above plane 1: variation selectors
    marks[0x200C:0x200E] = True
    marks &= ~letters
    unspaced = np.zeros(len(codes), dtype=bool)
    for first, last in UNSPACED:
        unspaced[first : last + 1] = True
    unspaced &= ~np.strings.isdecimal(characters)
    kinds = [letters & ~unspaced, letters & unspaced, spaces, marks & ~letters, ~(letters | spaces | marks)]
    flags = np.zeros(len(codes), dtype=np.uint16)
    for flag, chosen in zip((LETTER, ALONE, SPACE, MARK, OTHER), kinds, strict=True):
        flags[chosen] = flag
    flags[np.strings.isalpha(characters)] |= ALPHA
    flags[np.strings.islower(characters)] |= LOWER
    for flag, members in ((JOINER, JOINERS), (TERMINAL, TERMINALS + "…"), (STOP, STOPS), (CLOSER, CLOSERS)):
        flags[[ord(member) for member in members]] |= flag
    return flags


FLAGS = _flags()


@kernel
def decode(data, at):  # type: ignore[no-untyped-def]
    """(code point, number of bytes) of the character that begins at `at` of valid UTF-8."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | (data[at + 1] & 0x3F), 2
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | (np.int64(data[at + 1]) & 0x3F) << 6 | (data[at + 2] & 0x3F), 3
    high = (lead & 0x07) << 18 | (np.int64(data[at + 1]) & 0x3F) << 12
    return high | (np.int64(data[at + 2]) & 0x3F) << 6 | (data[at + 3] & 0x3F), 4


@kernel
def skip(data, at, flags, kinds):  # type: ignore[no-untyped-def]
    """Where the run of characters with any of the flags `kinds` ends that begins at `at`."""
    while at < len(data):
        code, size = decode(data, at)
        if not flags[code] & kinds:
            break
        at += size
    return at
