"""Unicode repair: text that looks the same is the same, and what is invisible and says nothing goes.

1. line ends: "\\r\\n", "\\r", form feed, U+0085, U+2028 and U+2029 become "\\n"
2. ftfy: mojibake ("Ã©" -> "é"), Latin ligatures, half surrogates; quotes keep their shape, HTML is left alone
3. NFC
4. removed: control characters, bidi controls, zero width space, soft hyphen, byte order mark, U+FFF9-FFFB
5. no-break and other typographic spaces become " "
6. U+2581 becomes "_": SentencePiece reserves it for the space, and a text that holds it would not come back
7. trailing spaces are removed, three or more blank lines become two

| edit    | when |
|---------|------|
| unicode | any of these changed the text |

Source: ftfy.readthedocs.io; the list of invisible characters is Unicode's Default_Ignorable_Code_Point without those
that emoji and scripts need: joiners, variation selectors, tags, fillers of Hangul, and a few rare ones.
"""

import re
import unicodedata
from dataclasses import replace

from ftfy import TextFixerConfig, fix_text

from pipeline.clean.verdict import Filter, Replace, Verdict
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_INVISIBLE = dict.fromkeys(
    [*range(0x09), *range(0x0E, 0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F,
     *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC)]
)  # fmt: skip
_SPACES = dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F], " ")
_TABLE = {**_INVISIBLE, **_SPACES, 0x2581: "_"}
_REPLACED = re.compile(f"[{re.escape(''.join(map(chr, _TABLE)))}]+")
_ASCII_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_TRAILING = re.compile(r"(?<![ \t])[ \t]+(?=\n|\Z)")  # looking behind: linear in long runs
_BLANK_LINES = re.compile(r"\n{4,}")
# quotes, widths and HTML are the author's; the rest of ftfy's work is done below, or once for the whole text
FTFY = TextFixerConfig(
    unescape_html=False, uncurl_quotes=False, fix_character_width=False, normalization=None, explain=False,
    remove_terminal_escapes=True, fix_line_breaks=False, remove_control_chars=False,
)  # fmt: skip
# ftfy looks at lines, for 30 us each. Only such a line it can change: with two neighbours of what mojibake is made of,
# one of its few lone signs, an escape, a ligature, half a surrogate pair
_SUSPECT = re.compile("[\x1b\x80-\x9fÂÃŒœĲĳŉǄ-ǌǱ-ǳ\ud800-\udfff\ufb00-\ufb06\ufffd]|[\xa0-\u25ff\uf8ff]{2}")


class Config(PluginConfig):
    """Unicode repair."""

    name: str = "unicode"


def build(config: Config) -> Filter:
    def repair_document(document: Document) -> Verdict:
        text = repair(document.text)
        return None if text == document.text else Replace(replace(document, text=text), "unicode")

    return repair_document


def repair(text: str) -> str:
    """Idempotent."""
    text = _LINE_ENDS.sub("\n", text)
    if text.isascii():
        text = _ASCII_INVISIBLE.sub("", text)
    else:
        text = _REPLACED.sub(lambda found: found[0].translate(_TABLE), without_mojibake(text))
        text = unicodedata.normalize("NFC", text)
    return _BLANK_LINES.sub("\n\n\n", _TRAILING.sub("", text))


def without_mojibake(text: str) -> str:
    """ftfy's work on the lines that may need it."""
    parts: list[str] = []
    done = 0
    for found in _SUSPECT.finditer(text):
        if found.start() >= done:
            start = max(done, text.rfind("\n", done, found.start()) + 1)
            end = text.find("\n", start) + 1 or len(text)
            parts += [text[done:start], fix_text(text[start:end], FTFY)]
            done = end
    return "".join(parts) + text[done:]
