"""Wikitext to plain text: paragraphs, headings and list items as lines.

    to_text(wikitext, FileNames(...)) -> Rendered(text, num_templates_dropped)

Dropped: tables, references, files, categories, galleries, math, comments, link targets, bold and italics.
Kept: what a reader sees of links, lists, headings, quotes, and of the templates in TEMPLATES, which carry prose.
A template that is not in the table is dropped and counted, so that a hole in a sentence can be found.
"""

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import mwparserfromhell
from mwparserfromhell.nodes import (
    Argument,
    Comment,
    ExternalLink,
    Heading,
    HTMLEntity,
    Node,
    Tag,
    Template,
    Text,
    Wikilink,
)
from mwparserfromhell.wikicode import Wikicode

# sections that hold links, not prose; English, as the other rules of `clean` are
SKIPPED_SECTIONS = frozenset(
    ("bibliography", "citations", "external links", "footnotes", "further reading", "gallery", "notes",
     "notes and references", "references", "references and notes", "see also", "sources", "works cited")
)  # fmt: skip
MONTHS = ("", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip

_DROPPED_TAGS = {"ref", "references", "gallery", "math", "chem", "timeline", "score", "imagemap", "table", "graph",
                 "hiero", "templatestyles", "mapframe", "maplink", "inputbox", "section"}  # fmt: skip
_BLOCK_TAGS = {"p", "div", "blockquote", "center", "pre", "poem", "li", "ul", "ol", "dl", "tr", "hr"}
_MARKS = {"*": "- ", "#": "- ", ":": "", ";": ""}
_INTERLANGUAGE = re.compile(r"^[a-z]{2,3}(?:-[a-z]+)*$|^simple$")
_LEFTOVER_TABLE = re.compile(r"^(?:\{\||\|\}|\|-|\||!).*$", re.MULTILINE)
_QUOTES = re.compile(r"'{2,}")
_MAGIC = re.compile(r"__[A-Z]{3,}__")
# holes of dropped templates: with the brackets, commas and spaces that only stood there for them
_HOLE = "\x03"
_IN_BRACKETS = re.compile(rf" ?\(\s*(?:{_HOLE}[\s,;:]*)+\)")
_AFTER_OPENING = re.compile(rf"\(\s*(?:{_HOLE}[\s,;:]*)+")
_BEFORE_CLOSING = re.compile(rf"(?:[\s,;:]*{_HOLE})+\s*\)")
_BEFORE_MARK = re.compile(rf" *(?:{_HOLE} *)+(?=[,.;:!?]|$)", re.MULTILINE)
_SPACES = re.compile(r"[ \t\u00a0]+")
_HEADING = re.compile(r"\x02(\d)(.*)")


@dataclass(frozen=True)
class FileNames:
    """Namespace names of a wiki, lower case: links into them are not text."""

    dropped: frozenset[str] = frozenset(("file", "image", "media", "category"))


@dataclass(frozen=True)
class Rendered:
    text: str
    num_templates_dropped: int


def to_text(wikitext: str, names: FileNames | None = None) -> Rendered:
    """Bold and italics are handled here, not by the parser: unbalanced quotes would make it try every way to pair."""
    renderer = _Renderer(names or FileNames())
    raw = renderer.code(mwparserfromhell.parse(wikitext, skip_style_tags=True))
    return Rendered(_tidy(raw), renderer.num_dropped)


class _Renderer:
    def __init__(self, names: FileNames) -> None:
        self.names = names
        self.num_dropped = 0

    def code(self, code: Wikicode | str | None) -> str:
        return "".join(self.node(node) for node in code.nodes) if isinstance(code, Wikicode) else str(code or "")

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
        if isinstance(node, ExternalLink):
            return str(node.url) if not node.brackets else self.code(node.title)
        if isinstance(node, Argument):
            return self.code(node.default)
        assert isinstance(node, Comment), type(node)
        return ""

    def link(self, link: Wikilink) -> str:
        title = str(link.title).strip()
        namespace, colon, rest = title.partition(":")
        namespace = namespace.strip().lower()
        if colon and namespace in self.names.dropped:
            return ""
        if colon and link.text is None and rest and _INTERLANGUAGE.match(namespace):
            return ""
        if link.text is None:
            return title.removeprefix(":")
        return self.code(link.text).strip() or re.sub(r"\s*\(.*\)$|,.*", "", rest or title)  # the "pipe trick"

    def tag(self, tag: Tag) -> str:
        name = str(tag.tag).strip().lower()
        if tag.wiki_markup in _MARKS and name in ("li", "dt", "dd"):
            return _MARKS[str(tag.wiki_markup)]
        if name in _DROPPED_TAGS:
            return ""
        if name in ("br", "hr"):
            return "\n"
        inside = self.code(tag.contents)
        return f"\n\n{inside}\n\n" if name in _BLOCK_TAGS else inside

    def template(self, template: Template) -> str:
        name, colon, value = str(template.name).partition(":")  # parser functions: {{formatnum:1234}}
        name = " ".join(name.replace("_", " ").split()).lower()
        call = Call(self, template, first=value if colon else None)
        if name.startswith("lang-"):
            return call.text(1)
        if name not in TEMPLATES:
            self.num_dropped += 1
            return _HOLE
        return TEMPLATES[name](call)


class Call:
    """A template as its handler sees it."""

    def __init__(self, renderer: _Renderer, template: Template, first: str | None) -> None:
        self._renderer = renderer
        named: dict[str, Wikicode] = {}
        plain: list[Wikicode | str] = [] if first is None else [first]
        for parameter in template.params:
            if parameter.showkey and not str(parameter.name).strip().isdigit():
                named[str(parameter.name).strip().lower()] = parameter.value
            else:
                plain.append(parameter.value)
        self._named, self._plain = named, plain

    def text(self, position: int) -> str:
        """The positional parameter, counted from 1, or "" when it is not given."""
        return self._renderer.code(self._plain[position - 1]).strip() if position <= len(self._plain) else ""

    def texts(self) -> list[str]:
        return [self.text(position + 1) for position in range(len(self._plain))]

    def named(self, *keys: str) -> str:
        return next((self._renderer.code(self._named[key]).strip() for key in keys if key in self._named), "")


def _convert(call: Call) -> str:
    """{{convert|3|to|5|km|mi}} -> "3 to 5 km": the number and unit that the author wrote, without the conversion."""
    shown: list[str] = []
    for part in call.texts():
        is_number = bool(re.match(r"^[-+−]?[\d.,/]+$", part))
        if is_number or part in _BETWEEN:
            shown.append(_BETWEEN.get(part, part))
        else:
            shown.append(f" {_UNITS.get(part, part)}")
            if not part.startswith(("ft", "st", "lb")) or len(shown) > 2:
                break
            following = call.texts()[len(shown) : len(shown) + 1]
            if not following or not re.match(r"^\d", following[0]):  # {{convert|6|ft|2|in}}
                break
            shown.append(" ")
    return "".join(shown)


_BETWEEN = {"to": " to ", "-": "–", "–": "–", "and": " and ", "by": " by ", "x": " × ", "×": " × ", "or": " or ",
            "to(-)": " to ", "+/-": " ± ", "±": " ± "}  # fmt: skip
_UNITS = {"sqmi": "square miles", "sqkm": "square kilometres", "km2": "km²", "m2": "m²", "mi2": "square miles",
          "sqft": "square feet", "C": "°C", "F": "°F", "m3": "m³", "cuft": "cubic feet", "acre": "acres"}  # fmt: skip


def _number(call: Call) -> str:
    """{{formatnum:1234567.5}} -> "1,234,567.5"; text that is not a number stays as it is."""
    given = call.text(1)
    whole, point, fraction = given.partition(".")
    return f"{int(whole):,}{point}{fraction}" if re.fullmatch(r"-?[0-9]{1,100}", whole) else given


def _as_of(call: Call) -> str:
    if call.named("alt"):
        return call.named("alt")
    year, month, day = call.text(1), call.text(2), call.text(3)
    if re.fullmatch(r"0?[1-9]|1[0-2]", month):
        month = MONTHS[int(month)]
    begin = "as of" if call.named("lc") else "As of"
    return " ".join(part for part in (begin, day, month, year) if part)


def _quote(call: Call) -> str:
    words, author = call.named("text", "quote") or call.text(1), call.named("author", "sign", "by") or call.text(2)
    return f"\n\n{words}\n\n" + (f"— {author}\n\n" if author else "")


def _word(position: int) -> Callable[[Call], str]:
    return lambda call: call.text(position)


def _last(call: Call) -> str:
    return next((text for text in reversed(call.texts()) if text), "")


def _constant(text: str) -> Callable[[Call], str]:
    return lambda call: text


def _table(*rows: tuple[str, Callable[[Call], str]]) -> dict[str, Callable[[Call], str]]:
    return {name: handler for names, handler in rows for name in names.split(" | ")}


TEMPLATES = _table(
    ("convert | cvt", _convert),
    ("val", lambda call: f"{call.text(1)} {call.named('u', 'ul')}".strip()),
    ("formatnum | format number | num", _number),
    ("lang | langx", _word(2)),
    ("transl | transliteration | translit", _last),
    ("nowrap | nobr | nobreak | small | big | sc | smallcaps | smaller | larger | abbr | abbrlink | tooltip | "
     "angbr | em | strong | uc | lc | ucfirst | lcfirst | not a typo | sic | linktext | code | mono", _word(1)),
    ("as of", _as_of),
    ("circa | c. | ca.", lambda call: f"c. {call.text(1)}".strip()),
    ("quote | blockquote | cquote | quotation | bquote | rquote | quote box | pull quote", _quote),
    ("poemquote | poem", lambda call: f"\n\n{call.named('text') or call.text(1)}\n\n"),
    ("ill | interlanguage link | illm", _word(1)),
    ("snd | spnd | spaced ndash | spaced en dash", _constant(" – ")),
    ("ndash | en dash", _constant("–")),
    ("mdash | em dash", _constant("—")),
    ("nbsp | space", _constant(" ")),
    ("!", _constant("|")),
    ("=", _constant("=")),
    ("'", _constant("'")),
    ("-) | paragraph break | pb", _constant("\n\n")),
    ("frac", lambda call: "/".join(call.texts()) if len(call.texts()) < 3 else
        f"{call.text(1)} {call.text(2)}/{call.text(3)}"),
)  # fmt: skip


def _tidy(raw: str) -> str:
    """The marks that the renderer leaves, holes of dropped templates, and white space."""
    raw = _QUOTES.sub(lambda run: {4: "'", 6: "'"}.get(len(run[0]), ""), raw)
    raw = _LEFTOVER_TABLE.sub("", _MAGIC.sub("", raw))
    raw = _BEFORE_CLOSING.sub(")", _AFTER_OPENING.sub("(", _IN_BRACKETS.sub("", raw)))
    raw = _BEFORE_MARK.sub("", raw).replace(_HOLE, "")
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
