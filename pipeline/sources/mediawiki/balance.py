"""Wikitext that the parser reads in linear time, without tags and without what is never text.

In:  wikitext as authors and vandals left it. Out: wikitext whose brackets all have partners, and the names of the
     templates that left a hole.

mwparserfromhell tries again from the next character whenever something is not closed: 2,000 times `<a ` take it ten
seconds, 2,000 times `{{a|` four. So one pass with a stack pairs what can be paired, as MediaWiki's preprocessor does:

- brackets without a partner are text: signs of our own stand for them (GUARDS), which `restore` turns back
- tags become what a reader sees of them: a new line, a new paragraph, a raised digit; those without one vanish, as in
  a browser; unknown ones are text
- what holds no prose goes, with all that is in it: comments, references, galleries, tables (unless they are wanted) and
  templates without a handler. That is most of the markup of an encyclopedia, and the parser is the slowest part
- of pairs more than MAX_DEPTH deep, templates are dropped and links stay as they are written

Time and memory are linear: a frame is pushed and popped once, an end that is not there is searched for once, and what
is joined again is at most MAX_DEPTH deep.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.sources.mediawiki.scripts import subscript, superscript

MAX_DEPTH = 25  # the parser gives up at 40 of its own levels
HOLE = "\x03"  # where a template was

_SIGNS, GUARDS = "{}[]<>'=*#:;|!_-", "".join(map(chr, range(14, 30)))
_RESTORE = str.maketrans(GUARDS, _SIGNS)


def guards(signs: str = _SIGNS) -> dict[int, str]:
    """For str.translate: what stands for these signs where they are text."""
    return {ord(sign): guard for sign, guard in zip(_SIGNS, GUARDS, strict=True) if sign in signs}


_GUARD = guards()
_OURS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])  # control characters: XML has none

VERBATIM = frozenset(("nowiki", "pre", "math", "chem", "ce", "syntaxhighlight", "source"))
DROPPED = frozenset(
    ("ref", "references", "gallery", "timeline", "score", "imagemap", "graph", "hiero", "templatestyles", "mapframe",
     "maplink", "inputbox", "section", "indicator", "templatedata", "categorytree", "includeonly", "dynamicpagelist",
     "style", "script")
)  # fmt: skip
BLOCKS = frozenset(
    ("blockquote", "center", "div", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "poem", "table", "ul")
)
INLINE = frozenset(
    ("abbr", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd", "mark",
     "noinclude", "onlyinclude", "q", "rb", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub",
     "sup", "tt", "u", "var")
)  # fmt: skip
SINGLE = {"br": "\n", "hr": "\n\n", "p": "\n\n", "li": "\n* ", "dd": "\n", "dt": "\n", "tr": "\n", "caption": "\n",
          "td": " ", "th": " ", "wbr": "", "tbody": "", "thead": ""}  # fmt: skip

_TOKEN = re.compile(
    r"""(?P<comment><!--)
      | (?P<tag></?[a-zA-Z][a-zA-Z0-9]*(?=[\s/>])[^<>]*>)
      | (?P<table>^[ \t:]*\{\|)
      | (?P<table_end>^[ \t]*\|\}(?!\}))
      | (?P<braces>\{{2,})
      | (?P<braces_end>\}{2,})
      | (?P<link>\[\[)
      | (?P<link_end>\]\])
      | (?P<url>\[(?=(?:https?:|ftp:)?//[^\s\[\]<>]|mailto:))
      | (?P<url_end>\])
      | (?P<lone>[<{}\[])""",
    re.VERBOSE | re.MULTILINE,
)
_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)")
_END = {name: re.compile(rf"</{name}\s*>", re.I) for name in VERBATIM | DROPPED}
_HIDDEN = re.compile(r"display\s{0,3}:\s{0,3}none", re.I)


@dataclass(frozen=True)
class Balanced:
    wikitext: str
    dropped: list[str]  # names of templates, one for each hole


def balance(wikitext: str, is_wanted: Callable[[str], bool], tables: bool = False, math: bool = True) -> Balanced:
    """`is_wanted(name)`: whether a template of this name is rendered; `tables`, `math`: whether they are kept."""
    scan = _Scan(wikitext.translate(_OURS), is_wanted, tables, math)
    return Balanced(scan.run(), scan.dropped)


def restore(text: str) -> str:
    """After everything that would take the guarded signs for markup."""
    return text.translate(_RESTORE)


def template_name(written: str) -> str:
    """ "Cite_Web\\n" -> "cite web"; of a parser function ("formatnum:12") its name."""
    name = written[:200].partition(":")[0]
    return " ".join(restore(name).replace("_", " ").split()).lower()


@dataclass(slots=True)
class _Frame:
    """Something open."""

    kind: str  # "{", "{|", "[[", "[" or the name of a tag
    at: int  # of the opening in the output
    num_dropped: int  # templates dropped before it
    num_braces: int = 0
    depth: int = 0  # of the pairs inside
    is_hidden: bool = False


@dataclass
class _Scan:
    text: str
    is_wanted: Callable[[str], bool]
    tables: bool
    math: bool
    out: list[str] = field(default_factory=list)
    stack: list[_Frame] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    open: list[Counter[str]] = field(default_factory=lambda: [Counter()])  # kinds, a template is a scope of its own
    endless: set[str] = field(default_factory=set)  # tags that are not closed any more

    def run(self) -> str:
        at = 0
        while token := _TOKEN.search(self.text, at):
            self.out.append(self.text[at : token.start()])
            at = getattr(self, f"_{token.lastgroup}")(token[0], token.end())
        self.out.append(self.text[at:])
        return "".join(self.out)

    # every kind of token: what was written and where it ends -> where to go on

    def _comment(self, written: str, end: int) -> int:
        close = self.text.find("-->", end)
        return close + 3 if close >= 0 else len(self.text)

    def _tag(self, written: str, end: int) -> int:
        match = _TAG.match(written)
        assert match
        name, closes, is_empty = match[1].lower(), written[1] == "/", written[-2] == "/"
        if name in _END:
            return end if closes or is_empty else self._opaque(name, end)
        if name in SINGLE:
            self.out.append("" if closes and name not in ("br", "p") else SINGLE[name])
        elif name not in BLOCKS and name not in INLINE:
            self._literal(written)
        elif closes:
            self._close_tag(name)
        elif not is_empty:
            self._push(name, "")
            self.stack[-1].is_hidden = bool(_HIDDEN.search(written))
        return end

    def _table(self, written: str, end: int) -> int:
        self._push("{|", written)
        return end

    def _table_end(self, written: str, end: int) -> int:
        frame = self._pop("{|")
        if frame is None:
            self._literal(written)
        elif self.tables and frame.depth < MAX_DEPTH:
            frame.depth += 1
            self.out[frame.at] = "\n{|"
            self.out.append("\n|}")
        else:
            self._drop(frame)
        self._leave(frame)
        return end

    def _braces(self, written: str, end: int) -> int:
        self._push("{", written)
        self.stack[-1].num_braces = len(written)
        self.open.append(Counter())
        return end

    def _braces_end(self, written: str, end: int) -> int:
        """As MediaWiki: three close an argument and two a template, from the inside; the rest waits or is text."""
        num_braces = len(written)
        while num_braces >= 2 and len(self.open) > 1:
            frame = self.stack[-1]
            while frame.kind != "{":
                self._leave(self.stack.pop())
                frame = self.stack[-1]
            used = min(3, num_braces, frame.num_braces)
            num_braces, frame.num_braces = num_braces - used, frame.num_braces - used
            inside = "".join(self.out[frame.at + 1 :])
            self.out[frame.at :] = [("{" * frame.num_braces).translate(_GUARD)]
            self.out.append(self._default(frame, inside) if used == 3 else self._template(frame, inside))
            if frame.num_braces < 2:
                self.stack.pop()
                self.open.pop()
                self._leave(frame)
        self._literal("}" * num_braces)
        return end

    def _link(self, written: str, end: int) -> int:
        self._push("[[", written)
        return end

    def _link_end(self, written: str, end: int) -> int:
        if self.stack and self.stack[-1].kind == "[":  # [[File:x|[http://a b]]]
            return self._url_end(written[0], end - 1)
        frame = self._pop("[[")
        if frame is None or frame.depth >= MAX_DEPTH:
            self._literal(written)
        else:
            frame.depth += 1
            self.out[frame.at] = "[["
            self.out.append("]]")
        self._leave(frame)
        return end

    def _url(self, written: str, end: int) -> int:
        self._push("[", written)
        return end

    def _url_end(self, written: str, end: int) -> int:
        frame = self._pop("[")
        if frame is None or frame.depth >= MAX_DEPTH:
            self._literal(written)
        else:
            frame.depth += 1
            inside = "".join(self.out[frame.at + 1 :])
            if "\n" in inside:
                self._literal(written)
            else:
                self.out[frame.at :] = [inside.partition(" ")[2]]
        self._leave(frame)
        return end

    def _lone(self, written: str, end: int) -> int:
        self._literal(written)
        return end

    # what they are made of

    def _opaque(self, name: str, end: int) -> int:
        close = None if name in self.endless else _END[name].search(self.text, end)
        if close is None:
            self.endless.add(name)
            return end
        inside = self.text[end : close.start()].translate(_GUARD)
        if name in ("math", "chem", "ce"):
            formula = inside.strip() if name == "math" else f"\\ce{{{inside.strip()}}}".translate(_GUARD)
            self.out.append(f"${formula}$" if self.math and formula else HOLE)
        elif name == "nowiki":
            self.out.append(inside)
        elif name in VERBATIM:
            self.out.append(f"\n\n{inside}\n\n")
        return close.end()

    def _close_tag(self, name: str) -> None:
        frame = self._pop(name)
        if frame is None:
            return
        if frame.is_hidden or (name == "table" and not self.tables):
            self._drop(frame)
        elif name in BLOCKS:
            self.out[frame.at] = "\n\n"
            self.out.append("\n\n")
        elif name in ("sub", "sup") and len(self.out) - frame.at <= 4:
            inside = "".join(self.out[frame.at :])
            self.out[frame.at :] = [superscript(inside) if name == "sup" else subscript(inside)]
        self._leave(frame)

    def _template(self, frame: _Frame, inside: str) -> str:
        name = template_name(inside.partition("|")[0])
        if frame.depth < MAX_DEPTH and self.is_wanted(name):
            frame.depth += 1
            return "{{" + inside + "}}"
        del self.dropped[frame.num_dropped :]
        self.dropped.append(name)
        frame.depth = 0
        return HOLE

    def _default(self, frame: _Frame, inside: str) -> str:
        """{{{name|default}}}, which an article has by mistake."""
        frame.depth += 1
        return inside.partition("|")[2] if frame.depth <= MAX_DEPTH else ""

    def _push(self, kind: str, written: str) -> None:
        self.stack.append(_Frame(kind, len(self.out), len(self.dropped)))
        self.out.append(written.translate(_GUARD))
        self.open[-1][kind] += 1

    def _pop(self, kind: str) -> _Frame | None:
        """The innermost open one in this template; what is open inside it will never be closed."""
        if not self.open[-1][kind]:
            return None
        while True:
            frame = self.stack.pop()
            self.open[-1][frame.kind] -= 1
            if frame.kind == kind:
                return frame
            self._leave(frame)

    def _leave(self, frame: _Frame | None) -> None:
        if frame and self.stack:
            self.stack[-1].depth = max(self.stack[-1].depth, frame.depth)

    def _drop(self, frame: _Frame) -> None:
        del self.out[frame.at :]
        del self.dropped[frame.num_dropped :]
        frame.depth = 0

    def _literal(self, written: str) -> None:
        self.out.append(written.translate(_GUARD))
