"""Prose from the documentation that every installation carries.

In:  the `.py` files of the standard library and of penstock's dependencies, and `pydoc_data.topics`.
Out: `Passage(area, module, name, paragraphs)`, one per docstring, in sorted path order.

1. file       -> triple-quoted strings that open a module, class or function (nothing is imported: importing
                 torch and transformers takes longer than the whole sample, and some imports fail)
2. docstring  -> blocks between blank lines, parameter headings and section rulers
3. block      -> one line of prose without reStructuredText markup, or nothing: code, tables, math and
                 fragments are dropped
4. lines      -> paragraphs of at least 240 characters where the docstring has that much

Every line of prose is used once: libraries copy paragraphs from function to function, and duplicates that the
sample did not plant would not be in its truth. The same installed versions give the same passages.

Strings are found with a regular expression: `ast` needs ten times as long for the same text.
"""

import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

# What to read, in this order, and at most how many characters of prose to keep of each. A path below a package
# is a choice of its best written folders. A package that is not installed is left out.
STANDARD_LIBRARY = "python"
SOURCES: tuple[tuple[str, int], ...] = (
    (STANDARD_LIBRARY, 700_000),
    ("numpy", 450_000),
    ("pyarrow", 100_000),
    ("duckdb", 100_000),
    ("pydantic", 150_000),
    ("jinja2", 60_000),
    ("click", 60_000),
    ("torch/nn", 350_000),
    ("torch/optim", 100_000),
    ("torch/distributed", 450_000),
    ("torch/distributions", 60_000),
    ("torch/utils", 150_000),
    ("torch/fx", 150_000),
    ("torch/ao", 150_000),
    ("sklearn", 550_000),
    ("networkx", 450_000),
    ("sympy", 700_000),
    ("scipy", 700_000),
    ("ray/data", 250_000),
    ("ray/serve", 250_000),
    ("ray/tune", 150_000),
    ("ray/train", 150_000),
    ("ray/util", 120_000),
    ("transformers/generation", 100_000),
    ("transformers/utils", 100_000),
    ("huggingface_hub", 200_000),
)
SKIPPED_FOLDERS = {
    "_vendor", "dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test",
    "testing", "tests", "thirdparty_files", "turtledemo",
}  # fmt: skip

MIN_LINE_CHARS = 50
MIN_PARAGRAPH_CHARS = 240

_STRING = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)
_OWNER = re.compile(r"(?:def|class) (\w+)")
_BREAK = re.compile(
    r"\n[ \t]*(?:"
    r"\n"  # a blank line
    r"|(?:[-*+•]|\d+[.)]) "  # a list item
    r"|\.\. \w+::"  # a directive: its text stays, its name goes
    r"|(?=[A-Z])(?:"
    r"\w[\w ]{2,24}\n[ \t]*[-=~]{3,}[ \t]*(?=\n)"  # a section title and its ruler
    r"|\w+(?:Error|Warning|Exception)\n)"  # `Raises` of numpydoc
    r"|[*`\w][\w,*.` ]{,40}(?: ?\([^)\n]*\))? ?:(?:[^\n.]*(?=\n))?"  # `name : type`, `name (type): text`
    r")"
)
_FOOTNOTE = re.compile(r"\s*\[[\w#*]+\]_")
_ROLE = re.compile(r":[a-zA-Z:+-]+:`~?([^`<]*?)\s*(?:<[^`>]*>)?`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`_*")
_QUOTED = re.compile(r"`+([^`]+)`+_*")
_EMPHASIS = re.compile(r"(?<!\w)\*{1,2}([^*\n]+)\*{1,2}(?!\w)")
_NOT_PROSE = re.compile(
    r">>>|::|\\|[{}|<>$=_]{2}|https?:|^\.\. |:math:|[-=~+]{3}|@|%[sdr]|\[\w+ \w+\]\(|TODO|Copyright|^\w+:$"
)
_STOP_WORD = re.compile(
    r" (?:the|be|to|of|and|that|have|with|is|an?|for|in|this|are|if|it|as|on|by|or|not|can|will|which|when) "
)
_NOT_LETTERS = re.compile(r"[^a-zA-Z ]+")


@dataclass(frozen=True, slots=True)
class Passage:
    """The prose of one docstring, or of one topic of the language reference."""

    area: str  # "numpy", "ray"
    module: str  # "numpy.linalg"
    name: str  # "svd"; empty for the docstring of the module itself
    paragraphs: tuple[str, ...]


class Seen:
    """Remembers how lines begin and end, so that copies with another class name in the middle are caught too."""

    def __init__(self) -> None:
        self._edges: set[str] = set()

    def is_new(self, line: str) -> bool:
        first, last = line[:40].lower(), line[-30:].lower()
        if first in self._edges or last in self._edges:
            return False
        self._edges.update((first, last))
        return True


def harvest() -> list[Passage]:
    """All passages, topics of the language reference first."""
    seen = Seen()
    passages = list(language_reference(seen))
    for place, max_chars in SOURCES:
        passages.extend(package_prose(place, max_chars, seen))
    return passages


def language_reference(seen: Seen) -> Iterator[Passage]:
    """The pages that `help()` shows for keywords and concepts."""
    from pydoc_data.topics import topics  # half a megabyte of literals: only when a sample is made

    for name, text in sorted(topics.items()):
        if paragraphs := read_prose(text, seen):
            yield Passage("reference", "reference", name, paragraphs)


def package_prose(place: str, max_chars: int, seen: Seen) -> Iterator[Passage]:
    root = locate(place)
    if root is None:
        return
    area, num_chars = place.partition("/")[0], 0
    for path in python_files(root):
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(part for part in (*place.split("/"), *parts) if part not in (STANDARD_LIBRARY, "__init__"))
        for name, docstring in docstrings(path.read_text(encoding="utf-8", errors="replace")):
            paragraphs = read_prose(docstring, seen)
            if paragraphs:
                yield Passage(area, module or area, name, paragraphs)
                num_chars += sum(map(len, paragraphs))
                if num_chars >= max_chars:
                    return


def locate(place: str) -> Path | None:
    """The folder of `package/sub/folder` in this installation, found without importing the package."""
    if place == STANDARD_LIBRARY:
        return Path(sysconfig.get_path("stdlib"))
    package, _, below = place.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], below)


def python_files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - SKIPPED_FOLDERS)
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def docstrings(source: str) -> Iterator[tuple[str, str]]:
    """(name of the class or function, docstring); the name of a module's own docstring is empty."""
    for match in _STRING.finditer(source):
        start, end = match.span(2)
        if end - start < MIN_LINE_CHARS:
            continue
        before = source[max(0, start - 63) : start - 3].rstrip("rRuU").rstrip()
        if before and before[-1] not in ":,":  # `add_newdoc(name, """...` documents numpy's C functions
            continue
        owner = max(source.rfind("def ", 0, start), source.rfind("class ", 0, start))
        name = _OWNER.match(source, owner) if owner >= 0 else None
        yield (name[1] if name else ""), match[2]


def read_prose(docstring: str, seen: Seen) -> tuple[str, ...]:
    """The paragraphs of prose in a docstring."""
    paragraphs: list[str] = []
    for block in _BREAK.split(docstring):
        if len(block) < MIN_LINE_CHARS or ">>>" in block:
            continue
        line = " ".join(block.split())
        if line and line[-1] in ".!?:":
            line = without_markup(line)
            if is_prose(line) and seen.is_new(line):
                if paragraphs and len(paragraphs[-1]) < MIN_PARAGRAPH_CHARS:
                    paragraphs[-1] += " " + line
                else:
                    paragraphs.append(line)
    return tuple(paragraphs)


def without_markup(line: str) -> str:
    """reStructuredText and Markdown roles, links, code quotes and emphasis reduced to their words."""
    if "]_" in line:
        line = _FOOTNOTE.sub("", line)
    if "`" in line:
        if ":`" in line:
            line = _ROLE.sub(r"\1", line)
        if "<" in line:
            line = _LINK.sub(r"\1", line)
        line = _QUOTED.sub(r"\1", line)
    return _EMPHASIS.sub(r"\1", line) if "*" in line else line


def is_prose(line: str) -> bool:
    """A sentence in English: capital, stop words, nine characters in ten are letters."""
    if len(line) < MIN_LINE_CHARS or not line[0].isupper():
        return False
    return (
        len(_STOP_WORD.findall(line)) >= max(2, line.count(" ") // 12)
        and len(_NOT_LETTERS.sub("", line)) >= 0.9 * len(line)
        and not _NOT_PROSE.search(line)
    )
