"""Wikitext to plain text: paragraphs, headings, list items and (if they are wanted) table rows as lines.

    to_text(wikitext, Style(...)) -> Rendered(text, dropped)

| markup | text |
|---|---|
| links, external links | what a reader sees of them |
| lists, headings | a line each; headings without text below and sections of links only are left out |
| templates of templates.py | their prose; any other is a hole, counted by name, and the brackets around it go |
| `<math>` | its source between dollars, or nothing: `math` |
| tables | nothing, or a line for each row, cells separated by " | ": `tables` |
| `<code>`, `<pre>`, `<nowiki>`, `<syntaxhighlight>` | as they are |
| references, files with their captions, galleries, categories, comments, bold and italics | nothing |

Time is linear in the length, whatever the text: `balance` first takes away what the parser would try again and again.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import mwparserfromhell
from mwparserfromhell.nodes import Heading, HTMLEntity, Node, Tag, Template, Text, Wikilink
from mwparserfromhell.wikicode import Wikicode

from pipeline.sources.mediawiki.balance import HOLE, balance, restore, template_name
from pipeline.sources.mediawiki.templates import handler

# sections that hold links, not prose; English, as the other rules of `clean` are
SKIPPED_SECTIONS = frozenset(
    ("bibliography", "citations", "external links", "footnotes", "further reading", "gallery", "notes",
     "notes and references", "references", "references and notes", "see also", "sources", "works cited")
)  # fmt: skip
MAX_TITLE = 255  # bytes, of MediaWiki; what is longer is no link

_MARKS = {"*": "- ", "#": "- ", ":": "", ";": ""}
_INTERLANGUAGE = re.compile(r"^[a-z]{2,3}(?:-[a-z]+)*$|^simple$")
_LEFTOVER_TABLE = re.compile(r"^(?:\x0e\x1a|\x1a\x0f|\|\}|\|-|\||!).*$", re.MULTILINE)  # of a table that is not closed
_QUOTES = re.compile(r"'{2,}")
_MAGIC = re.compile(r"__[A-Z]{3,40}__")
_SPACES = re.compile(r"[ \t\u00a0]+")
# holes of dropped templates: with the brackets, commas and spaces that only stood there for them; a match can begin
# nowhere inside a run of holes, or long runs would take quadratic time
_IN_BRACKETS = re.compile(rf" ?\(\s*(?:{HOLE}[\s,;:]*)+\)")
_AFTER_OPENING = re.compile(rf"\(\s*(?:{HOLE}[\s,;:]*)+")
_BEFORE_CLOSING = re.compile(rf"(?<![\s,;:{HOLE}])(?:[\s,;:]*{HOLE})+\s*\)")
_BEFORE_MARK = re.compile(rf"(?<![ {HOLE}]) ?(?:{HOLE} ?)+(?=[,.;:!?]|$)", re.MULTILINE)
_HEADING = re.compile(r"\x02(\d)(.*)")


@dataclass(frozen=True)
class Style:
    """What becomes of a wiki's markup."""

    file_names: frozenset[str] = frozenset(("file", "image", "media", "category"))
    """Namespaces, lower case with underscores: links into them are not text."""

    tables: Literal["drop", "lines"] = "drop"
    math: Literal["source", "drop"] = "source"


@dataclass(frozen=True)
class Rendered:
    text: str
    dropped: Counter[str]  # templates that left a hole, by name

    @property
    def num_dropped(self) -> int:
        return self.dropped.total()


def to_text(wikitext: str, style: Style = Style()) -> Rendered:
    """Bold and italics are handled here, not by the parser: unbalanced quotes would make it try every way to pair."""
    balanced = balance(wikitext, _is_wanted, style.tables == "lines", style.math == "source")
    renderer = _Renderer(style)
    raw = renderer.code(mwparserfromhell.parse(balanced.wikitext, skip_style_tags=True))
    return Rendered(restore(_tidy(raw)), Counter(balanced.dropped))


def _is_wanted(template: str) -> bool:
    return handler(template) is not None


class _Renderer:
    def __init__(self, style: Style) -> None:
        self.style = style

    def code(self, code: Wikicode | str | None) -> str:
        return "".join(map(self.node, code.nodes)) if isinstance(code, Wikicode) else str(code or "")

    def node(self, node: Node) -> str:
        if isinstance(node, Text):
            return str(node.value)
        if isinstance(node, Wikilink):
            return self.link(node)
        if isinstance(node, Template):
            return self.template(node)
        if isinstance(node, Tag):
            return self.tag(node)
        if isinstance(node, Heading):
            return f"\n\n\x02{node.level}{self.code(node.title).strip()}\n\n"
        if isinstance(node, HTMLEntity):
            return html.unescape(str(node))
        return str(node)

    def link(self, link: Wikilink) -> str:
        title = str(link.title).strip()
        if len(title) > MAX_TITLE:
            return f"[[{title}]]"
        namespace, colon, rest = title.partition(":")
        namespace = namespace.strip().lower().replace(" ", "_")
        if colon and namespace in self.style.file_names:
            return ""
        if colon and link.text is None and rest and _INTERLANGUAGE.match(namespace):
            return ""
        if link.text is None:
            return html.unescape(title.removeprefix(":"))
        return self.code(link.text).strip() or re.sub(r"\s*\(.*\)$|,.*", "", rest or title)  # the "pipe trick"

    def tag(self, tag: Tag) -> str:
        name = str(tag.tag)
        if name in ("li", "dt", "dd"):
            return _MARKS[str(tag.wiki_markup)]
        if name in ("td", "th"):
            return " ".join(self.code(tag.contents).split()) + "\x04"
        inside = self.code(tag.contents)
        if name in ("tr", "table"):
            rows = (" | ".join(filter(None, line.split("\x04"))) for line in inside.split("\n"))
            return "\n" + "\n".join(filter(None, rows)) + "\n"
        return f"\n\n{inside}" if name == "hr" else inside

    def template(self, template: Template) -> str:
        render = handler(template_name(str(template.name)))
        return render(Call(self, template)) if render else HOLE


class Call:
    """templates.Call: every parameter is rendered once, or nested templates would take exponential time."""

    def __init__(self, renderer: _Renderer, template: Template) -> None:
        written, colon, value = str(template.name).partition(":")  # parser functions: {{formatnum:1234}}
        self.name = template_name(written)
        self._named: dict[str, str] = {}
        self._plain: list[str] = [value.strip()] if colon else []
        for parameter in template.params:
            value, key = renderer.code(parameter.value).strip(), str(parameter.name).strip().lower()
            if parameter.showkey and not key.isdigit():
                self._named[key] = value
            else:
                self._plain.append(value)

    def text(self, position: int) -> str:
        return self._plain[position - 1] if position <= len(self._plain) else ""

    def texts(self) -> list[str]:
        return list(self._plain)

    def named(self, *keys: str) -> str:
        return next((self._named[key] for key in keys if key in self._named), "")


def _tidy(raw: str) -> str:
    """The marks that the renderer leaves, holes of dropped templates, and white space."""
    raw = _SPACES.sub(" ", _QUOTES.sub(lambda run: {4: "'", 6: "'"}.get(len(run[0]), ""), raw))
    raw = _LEFTOVER_TABLE.sub("", _MAGIC.sub("", raw))
    raw = _BEFORE_CLOSING.sub(")", _AFTER_OPENING.sub("(", _IN_BRACKETS.sub("", raw)))
    raw = _BEFORE_MARK.sub("", raw).replace(HOLE, "")
    lines = (_SPACES.sub(" ", line).strip() for line in raw.split("\n"))
    return "\n".join(_without_empty_sections(lines)).strip()


def _without_empty_sections(lines: Iterable[str]) -> list[str]:
    """Lines with headings set off by blank lines; headings with nothing below them and link sections left out."""
    kept: list[str] = []
    waiting: list[tuple[int, str]] = []  # headings that have no text yet
    skipped = 0  # level of the link section we are in
    for line in lines:
        heading = _HEADING.match(line)
        if heading:
            level, title = int(heading[1]), heading[2].strip()
            waiting = [above for above in waiting if above[0] < level]
            if skipped and level > skipped:
                continue
            skipped = level if title.lower() in SKIPPED_SECTIONS else 0
            if not skipped and title:
                waiting.append((level, title))
        elif skipped or line in ("-", "- ", ":", "*"):
            continue
        elif line:
            for _, title in waiting:
                kept += ["", title, ""] if kept and kept[-1] else [title, ""]
            waiting = []
            kept.append(line)
        elif kept and kept[-1]:
            kept.append("")
    return kept
