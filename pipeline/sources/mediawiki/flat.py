"""Balanced wikitext to text without a tree, for articles with more nodes than the parser should make.

    flatten(wikitext, style) -> what wikitext.py renders, before it is tidied

1. entities become their signs, list marks and headings what stands for them, line by line
2. one pass with a stack: the parts of a link, a template or a table are text when it ends, and it is rendered at once

It takes some microseconds where the parser takes 50. Real articles come out as from the parser (tests/sources).
"""

import html
import re
from collections.abc import Iterator

from pipeline.sources.mediawiki.balance import guards
from pipeline.sources.mediawiki.nodes import MARKS, Style, cells, link, template

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,30});")
_LIST = re.compile(r"^[*#:;]+[ \t]*", re.MULTILINE)
_TERM = re.compile(r"^(;[^:\n\[{]*):(?!//)", re.MULTILINE)  # "; term : what it means"
_RULE = re.compile(r"^-{4,}", re.MULTILINE)
_HEADING = re.compile(r"^(={1,6})(.+)$", re.MULTILINE)
_TOKEN = re.compile(r"\[\[|\]\]|\{\{|\}\}|\{\||^\|\}", re.MULTILINE)
_PARTNERS = {"]]": "[[", "}}": "{{", "|}": "{|"}
_ROW = re.compile(r"^[ \t]*\|-.*$", re.MULTILINE)
_INSIDE_CELL = re.compile(r"\n(?![ \t]*[|!])")
_IS_TEXT = guards("{}[]|=")  # what a rendered node holds is no markup of the node around it


def flatten(wikitext: str, style: Style) -> str:
    """`wikitext` comes from `balance`: what opens is closed, in order."""
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]).translate(guards()), wikitext)
    text = _HEADING.sub(_heading, _RULE.sub("\n\n", _LIST.sub(_marks, _TERM.sub(r"\1", text))))
    open_: list[tuple[str, list[str]]] = [("", [])]  # opening, what stands behind it
    at = 0
    for token in _TOKEN.finditer(text):
        open_[-1][1].append(text[at : token.start()])
        at = token.end()
        if token[0] not in _PARTNERS:
            open_.append((token[0], []))
        elif open_[-1][0] == _PARTNERS[token[0]]:
            opening, parts = open_.pop()
            open_[-1][1].append(_node(opening, "".join(parts), style).translate(_IS_TEXT))
    return "".join(part for _, parts in open_ for part in parts) + text[at:]


def _marks(found: re.Match[str]) -> str:
    return "".join(MARKS[sign] for sign in found[0].rstrip())


def _heading(found: re.Match[str]) -> str:
    title = found[2].rstrip()
    level = min(len(found[1]), len(title) - len(title.rstrip("=")))
    if not level or level == len(title):
        return found[0]
    return f"\n\n\x02{level}{(found[1][level:] + title[:-level]).strip()}\n\n"


def _node(opening: str, inside: str, style: Style) -> str:
    if opening == "{|":
        return "\n" + "\n".join(_rows(inside)) + "\n"
    first, *others = inside.split("|")
    if opening == "[[":
        return link(style, first, "|".join(others) if others else None)
    return template(first, map(_parameter, others))


def _parameter(written: str) -> tuple[str | None, str]:
    key, is_named, value = written.partition("=")
    return (key, value) if is_named else (None, written)


def _rows(table: str) -> Iterator[str]:
    """Of a table without its braces; the first line holds its attributes."""
    for row in _ROW.split(table.partition("\n")[2]):
        texts = (" ".join(cell.split()) for line in _INSIDE_CELL.sub(" ", row).split("\n") for cell in _cells(line))
        if shown := " | ".join(filter(None, texts)):
            yield shown


def _cells(line: str) -> Iterator[str]:
    line = line.strip()
    if not line.startswith(("|", "!")):
        yield line
        return
    yield from cells(line[1:].removeprefix("+"), line[0] == "!")
