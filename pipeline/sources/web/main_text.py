"""The main text of a page, by one of three extractors.

| extractor   | what it does |
|-------------|--------------|
| resiliparse | resiliparse finds the blocks of the page, line_rules.py chooses among them |
| trafilatura | trafilatura alone |
| best        | both: see `by_both` |

Paragraphs are separated by a blank line; list items, verses and code by a line end.

All three are bounded by what they are given, never by a clock. A page of more than MAX_TAGS, or of too many options or
attributes, is not parsed at all (markup.too_complex); one nested deeper than MAX_DEPTH is not read (`is_too_deep`);
of more than SLOW_TAGS or SLOW_CHARS trafilatura does not see it, and resiliparse reads it instead (`affordable`).
Without bounds a page of 1 MB took minutes: trafilatura over `<p>` or `<br>` 300,000 times, the parser over 100,000
attributes of one tag.
"""

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Literal

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from pipeline.sources.web.line_rules import Line, choose, parse_lines, prose_chars
from pipeline.sources.web.page_words import is_label

Extractor = Literal["resiliparse", "trafilatura", "best"]

MAX_DEPTH = 512  # of elements, as for browsers; time grows with its square
MAX_TAGS = 500_000  # opening and closing: a kilobyte of memory each; the largest of 645 news pages has 6,184
SLOW_TAGS, SLOW_CHARS = 20_000, 4_000_000
SKIPPED = ["nav", "footer", '[id*="comment"]', '[class*="cookie"]', '[id*="cookie"]', '[class*="caption"]']
SCANT_CHARS = 500  # of prose: with less, the heuristics of resiliparse may have missed the story
SCANT_SHARE = 0.2  # of the prose of the whole page
TRUSTED_SHARE = 0.7

_TOO_DEEP = " ".join(["*"] * (MAX_DEPTH + 1))
_NOSCRIPT = re.compile(r"</?noscript[^<>]*>", re.IGNORECASE)
_SIGNS = re.compile(r"\W+")


def is_too_deep(tree: HTMLTree) -> bool:
    """Whether elements are nested deeper than MAX_DEPTH."""
    return tree.document is not None and tree.document.query_selector(_TOO_DEEP) is not None


def affordable(html: str, extractor: Extractor) -> Extractor:
    """The one that is wanted, or resiliparse, where trafilatura would take minutes."""
    slow = len(html) > SLOW_CHARS or html.count("<") > SLOW_TAGS
    return "resiliparse" if slow else extractor


def main_text(tree: HTMLTree, html: str, extractor: Extractor) -> str:
    """`tree` is the parsed `html`, not too complex nor too deep for this extractor."""
    return _EXTRACTORS[extractor](tree, html)


def by_resiliparse(tree: HTMLTree, html: str) -> str:
    lines = _blocks(tree, main_content=True)
    found = prose_chars(lines)
    if found < SCANT_CHARS:
        whole = _blocks(tree, main_content=False) or _blocks(_without_noscript(html), main_content=False)
        if found < SCANT_SHARE * prose_chars(whole):
            lines = whole
    return join(choose(lines))


def by_trafilatura(tree: HTMLTree, html: str) -> str:
    return join(Line("li" if line.startswith("- ") else "p", line.removeprefix("- "), 0) for line in _lines(html))


def by_both(tree: HTMLTree, html: str) -> str:
    """trafilatura's lines, but for the labels (line_rules.py) that resiliparse has not.

    Where trafilatura found less than TRUSTED_SHARE of what resiliparse did, it missed the story: resiliparse's text.
    """
    ours, theirs = by_resiliparse(tree, html), _lines(html)
    squeezed = _squeeze(ours)
    if len(_squeeze(" ".join(theirs))) < TRUSTED_SHARE * len(squeezed):
        return ours
    kept = [line for line in theirs if _squeeze(line) in squeezed or not is_label(line)]
    return join(Line("li" if line.startswith("- ") else "p", line.removeprefix("- "), 0) for line in kept)


def join(lines: Iterable[Line]) -> str:
    lines = list(lines)
    if not lines:
        return ""
    parts = [_shown(lines[0])]
    for before, line in pairwise(lines):
        close = before.tag == line.tag and line.tag in ("li", "br", "pre")
        parts.append(("\n" if close else "\n\n") + _shown(line))
    return "".join(parts)


def _shown(line: Line) -> str:
    return f"- {line.text}" if line.tag == "li" else line.text


def _blocks(tree: HTMLTree, main_content: bool) -> list[Line]:
    return parse_lines(
        extract_plain_text(
            tree, main_content=main_content, preserve_formatting="minimal_html", links=True, alt_texts=False,
            skip_elements=SKIPPED,
        )
    )  # fmt: skip


def _without_noscript(html: str) -> HTMLTree:
    """Of a page without other text: its body lies in a `<noscript>` that nobody closed."""
    return HTMLTree.parse(_NOSCRIPT.sub("", html))


def _lines(html: str) -> list[str]:
    from trafilatura import extract  # here: half a second of imports that the fast path does without

    text = extract(html, include_comments=False) or ""
    return [line for line in text.split("\n") if line.strip()]


def _squeeze(text: str) -> str:
    """Letters and digits: what two extractors agree on."""
    return _SIGNS.sub("", text.lower())


_EXTRACTORS: dict[Extractor, Callable[[HTMLTree, str], str]] = {
    "resiliparse": by_resiliparse, "trafilatura": by_trafilatura, "best": by_both,
}  # fmt: skip
