"""What a reader sees of one node of wikitext whose parts are text already: a link, a template.

Both readers of wikitext end here: wikitext.py, which walks the parser's tree, and flat.py, which does without.
"""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline.sources.mediawiki.balance import HOLE, template_name
from pipeline.sources.mediawiki.templates import handler

MAX_TITLE = 255  # bytes, of MediaWiki; what is longer is no link
MARKS = {"*": "- ", "#": "- ", ":": "", ";": ""}  # of lists

_POSITION = re.compile("[1-9][0-9]{0,2}")
_INTERLANGUAGE = re.compile(r"^[a-z]{2,3}(?:-[a-z]+)*$|^simple$")


@dataclass(frozen=True)
class Style:
    """What becomes of a wiki's markup."""

    file_names: frozenset[str] = frozenset(("file", "image", "media", "category"))
    """Namespaces, lower case with underscores: links into them are not text."""

    tables: Literal["drop", "lines"] = "drop"
    math: Literal["source", "drop"] = "source"


def link(style: Style, title: str, text: str | None) -> str:
    """`title` as it is written, `text` rendered; None where the link has no bar."""
    title = title.strip()
    if len(title) > MAX_TITLE:
        return f"[[{title}]]"
    namespace, colon, rest = title.partition(":")
    namespace = namespace.strip().lower().replace(" ", "_")
    if colon and namespace in style.file_names:
        return ""
    if colon and text is None and rest and _INTERLANGUAGE.match(namespace):
        return ""
    if text is None:
        return html.unescape(title.removeprefix(":"))
    return text.strip() or re.sub(r"\s*\(.*\)$|,.*", "", rest or title)  # the "pipe trick"


def cells(line: str, is_heading: bool) -> list[str]:
    """Of a line of a table behind its first sign; what an author wrote about a cell's looks is left out."""
    written = line.replace("!!", "||").split("||") if is_heading else line.split("||")
    return [cell.partition("|")[2] if "|" in cell else cell for cell in written]


def template(name: str, parameters: Iterable[tuple[str | None, str]]) -> str:
    """`parameters`: keys (None where none is written) and rendered values; asked for only if the template is shown."""
    render = handler(template_name(name))
    return render(Call(name, parameters)) if render else HOLE


class Call:
    """templates.Call"""

    def __init__(self, name: str, parameters: Iterable[tuple[str | None, str]]) -> None:
        written, colon, value = name.partition(":")  # parser functions: {{formatnum:1234}}
        self.name = template_name(written)
        self._named: dict[str, str] = {}
        self._plain: dict[int, str] = {1: value.strip()} if colon else {}
        num_unnamed = len(self._plain)
        for key, text in parameters:
            num_unnamed += key is None
            if key is None or _POSITION.fullmatch(key.strip()):
                self._plain[num_unnamed if key is None else int(key)] = text.strip()  # {{lang|2=Wehr|1=de}}
            else:
                self._named[key.strip().lower()] = text.strip()

    def text(self, position: int) -> str:
        return self._plain.get(position, "")

    def texts(self) -> list[str]:
        return [self._plain[position] for position in sorted(self._plain)]

    def named(self, *keys: str) -> str:
        return next((self._named[key] for key in keys if key in self._named), "")
