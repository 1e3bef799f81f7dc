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
It is bounded as well. The parser takes 25 to 60 microseconds and a kilobyte for every node: half a minute and half a
gigabyte for 2 MB of list items. So an article of more than MAX_NODES goes to `flatten`, and is said to be `flat`.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import mwparserfromhell
from mwparserfromhell.nodes import Heading, HTMLEntity, Node, Tag, Template, Text, Wikilink
from mwparserfromhell.wikicode import Wikicode

from pipeline.sources.mediawiki.balance import HOLE, balance, restore
from pipeline.sources.mediawiki.flat import flatten
from pipeline.sources.mediawiki.nodes import MARKS, Style, cells, link, template
from pipeline.sources.mediawiki.templates import handler, without_ages

# sections that hold links, not prose; English, as the other rules of `clean` are
SKIPPED_SECTIONS = frozenset(
    ("bibliography", "citations", "external links", "footnotes", "further reading", "gallery", "notes",
     "notes and references", "references", "references and notes", "see also", "sources", "works cited")
)  # fmt: skip
MAX_NODES = 60_000  # as counted below: the longest of 2,200 real pages has 6,081

# what begins a node, or several; a list mark is a node each
_NODES = re.compile(r"^[*#:;]+|^=|^----|^!|\[\[|\{\{|!!|[|&]|:(?=\S)", re.MULTILINE)
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
_DEFAULT = Style()
_HEADING = re.compile(r"\x02(\d)(.*)")


@dataclass(frozen=True)
class Rendered:
    text: str
    dropped: Counter[str]  # templates that left a hole, by name
    is_flat: bool = False  # too many nodes for the parser

    @property
    def num_dropped(self) -> int:
        return self.dropped.total()


def to_text(wikitext: str, style: Style = _DEFAULT) -> Rendered:
    """Bold and italics are handled here, not by the parser: unbalanced quotes would make it try every way to pair."""
    balanced = balance(wikitext, _is_wanted, style.tables == "lines", style.math == "source")
    is_flat = len(balanced.wikitext) > MAX_NODES and _num_nodes(balanced.wikitext) > MAX_NODES  # counting is not free
    raw = flatten(balanced.wikitext, style) if is_flat else _parsed(balanced.wikitext, style)
    return Rendered(restore(_tidy(raw)), Counter(balanced.dropped), is_flat)


def _num_nodes(wikitext: str) -> int:
    """About as many as the parser will make, or more."""
    return sum(len(found) if found[0] in MARKS else 1 for found in _NODES.findall(wikitext))


def _parsed(wikitext: str, style: Style) -> str:
    return _Renderer(style).code(mwparserfromhell.parse(wikitext, skip_style_tags=True))


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
            return link(self.style, str(node.title), None if node.text is None else self.code(node.text))
        if isinstance(node, Template):
            return template(str(node.name), self.parameters(node))
        if isinstance(node, Tag):
            return self.tag(node)
        if isinstance(node, Heading):
            return f"\n\n\x02{node.level}{self.code(node.title).strip()}\n\n"
        if isinstance(node, HTMLEntity):
            return html.unescape(str(node))
        return str(node)

    def tag(self, tag: Tag) -> str:
        name = str(tag.tag)
        if name in ("li", "dt", "dd"):
            return MARKS[str(tag.wiki_markup)]
        if name in ("td", "th"):
            return "".join(" ".join(text.split()) + "\x04" for text in self.cells(tag))
        inside = self.code(tag.contents)
        if name in ("tr", "table"):
            rows = (" | ".join(filter(None, line.split("\x04"))) for line in inside.split("\n"))
            return "\n" + "\n".join(filter(None, rows)) + "\n"
        return f"\n\n{inside}" if name == "hr" else inside

    def cells(self, tag: Tag) -> list[str]:
        """One; or more, as the parser sees no end of a cell that has attributes, and takes a caption for a cell."""
        inside = self.code(tag.contents)
        first, *others = cells("|" + inside, str(tag.tag) == "th")
        return [first if tag.attributes else first.removeprefix("+"), *others]

    def parameters(self, template: Template) -> Iterator[tuple[str | None, str]]:
        """Every one is rendered once, or nested templates would take exponential time."""
        for parameter in template.params:
            yield str(parameter.name) if parameter.showkey else None, self.code(parameter.value)


def _tidy(raw: str) -> str:
    """The marks that the renderer leaves, holes of dropped templates, and white space."""
    raw = without_ages(raw)
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
