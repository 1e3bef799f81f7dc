"""Headings found, and a book cut into documents at its chapters.

heading_lines(lines)     -> which lines open a chapter, by their words, their numbers or the HEADING mark of markup.py
set_apart(text)          -> headings in blocks of their own, so that join_lines() does not run them into the prose
find_chapters(text)      -> chapters in order; what precedes the first heading is a chapter without a title
pack(chapters, limit)    -> documents of at most `limit` characters: whole chapters, and a longer one in pieces

A heading is a short line "CHAPTER IV. The Counterpane", "Erster Teil", "EPILOGUE"; or a bare "IV." or "4", if such
lines count upwards from one and most chapters have no other heading. Headings with nothing between them ("BOOK ONE",
"THE COMING OF THE MARTIANS", "I.") are one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.sources.markup import HEADING

MAX_HEADING = 200  # characters; "CHAPTER XXXVIII. IN WHICH ..." of the 18th century has as many
MAX_TITLE = 100  # of the line below "CHAPTER IV"

_WORDS = (
    r"chapter|chap\.|book|part|volume|vol\.|canto|act|scene|section|letter|stave|sonnet|psalm|fit|"
    r"kapitel|theil|teil|buch|gesang|akt|chapitre|livre|tome|partie|chant|capitolo|libro|parte|cap[ií]tulo|tomo|"
    r"hoofdstuk|deel|глава|часть|книга|том"
)
_ORDINALS = (
    r"first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last|"
    r"erste[rs]?|zweite[rs]?|dritte[rs]?|vierte[rs]?|f[üu]nfte[rs]?|premi[eè]re?|deuxi[eè]me|seconde?|troisi[eè]me|"
    r"prim[oa]|second[oa]|terz[oa]|quart[oa]|quint[oa]"
)
_NUMBERS = (
    r"[ivxlcdm]+|\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    r"sixteen|seventeen|eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty)(?:[- ](?:one|two|three|four|five|six|"
    r"seven|eight|nine))?"
)
_NUMBERED = re.compile(
    rf"(?i:(?:\w{{1,20}}\s*[·:.,—–-]\s*)?(?:the )?(?:{_WORDS})\s+(?:(?:the\s+)?(?:{_ORDINALS})|{_NUMBERS})"
    rf"|(?:the\s+)?(?:{_ORDINALS})\s+(?:{_WORDS}))(?=$|\s*[.:,;\])—–-]|\s+[^\sa-z])"
)
_NAMED = re.compile(
    r"(?:the\s+)?(?:prologue|epilogue|preface|foreword|introduction|introductory|conclusion|postscript|afterword|"
    r"appendix|dedication|etymology|extracts|advertisement|explanatory|notice|endnotes|footnotes|author['’]s note|"
    r"vorrede|vorwort|einleitung|nachwort|prolog|epilog|zueignung|pr[ée]face|avant-propos|[ée]pilogue|prefazione|"
    r"introduzione|epilogo|pr[óo]logo)[.:]?(?:\s+\([^()]{1,80}\)\.?)?",
    re.IGNORECASE,
)
_BARE = re.compile(r"(?P<roman>[IVXLC]{1,8})\.?|(?P<digits>\d{1,3})\.?")
_SENTENCE_END = re.compile(r"[.!?:;,\"'”’)\]]$")
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


@dataclass(frozen=True)
class Chapter:
    """`title` is "" where there is none; the heading is part of the text."""

    title: str
    text: str


@dataclass(frozen=True)
class Piece:
    """What becomes one document: its text, and the titles of the chapters that begin in it."""

    text: str
    titles: tuple[str, ...]


def is_heading(line: str) -> bool:
    """By the line alone; bare numbers need their neighbours (`heading_lines`)."""
    line = line.strip(" \t_*=")
    if not line or len(line) > MAX_HEADING or line[0].islower():
        return False
    return line[0] == HEADING or bool(_NUMBERED.match(line) or _NAMED.fullmatch(line))


def heading_lines(lines: Sequence[str]) -> list[int]:
    sure = [number for number, line in enumerate(lines) if is_heading(line)]
    bare = [(number, value) for number, line in enumerate(lines) if (value := _bare_number(line))]
    steps = [after == before + 1 or after == 1 for (_, before), (_, after) in pairwise(bare)]
    counted = len(bare) >= len(sure) and {1, 2} <= {value for _, value in bare} and sum(steps) >= 0.6 * len(steps)
    return sorted({*sure, *(number for number, _ in bare)}) if counted else sure


def set_apart(text: str) -> str:
    lines = text.split("\n")
    headings = set(heading_lines(lines))
    apart: list[str] = []
    in_heading = False
    for number, line in enumerate(lines):
        if number in headings and _stands_alone(line.strip(), lines[number - 1].strip() if number else ""):
            apart += ["", line] if len(line) > MAX_TITLE // 2 else ["", line, ""]
            in_heading = True
        else:
            if in_heading and not line.isupper():  # a title in capitals may have several lines
                apart += [""] * (apart[-1].isupper() and not line[:1].islower())
                in_heading = not line.strip()
            apart.append(line)
    return "\n".join(apart)


def _stands_alone(line: str, above: str) -> bool:
    """Not the middle of a paragraph that happens to break before "Chapter 3"."""
    return not above or is_heading(above) or bool(_SENTENCE_END.search(above)) or line.upper() == line


def find_chapters(text: str) -> list[Chapter]:
    blocks = [block for block in text.split("\n\n") if block.strip()]
    headings = set(heading_lines(["" if len(block) > MAX_HEADING else block.split("\n")[0] for block in blocks]))
    chapters: list[Chapter] = []
    run: list[str] = []  # the headings of the open chapter, as long as nothing else has come
    body: list[str] = []
    for number, block in enumerate(blocks):
        if number not in headings and run and len(run) == len(body) and _is_title(block, run[-1]):
            run.append(block)
        elif number in headings:
            if len(run) < len(body):
                chapters.append(_chapter(run, body))
                run, body = [], []
            run.append(block)
        body.append(block)
    return [*chapters, _chapter(run, body)] if body else []


def _chapter(run: list[str], body: list[str]) -> Chapter:
    """The title begins where the headings number or name a chapter: above it may stand the book's own title."""
    names = [" ".join(block.replace(HEADING, "").split()) for block in run]
    first = next((at for at, name in enumerate(names) if is_heading(name) or _bare_number(name)), 0)
    blocks = (block.replace(HEADING, "").strip() if block.lstrip().startswith(HEADING) else block for block in body)
    return Chapter(" / ".join(names[first:]), "\n\n".join(blocks).strip("\n"))


def _is_title(block: str, heading: str) -> bool:
    """Below "CHAPTER IV": in capitals, or without the full stop that ends a sentence. HTML marks its titles itself."""
    line = block.strip()
    if heading.lstrip().startswith(HEADING) or len(line) > MAX_TITLE or "\n" in line or line[0].islower():
        return False
    return line.isupper() or not _SENTENCE_END.search(line)


def pack(chapters: Sequence[Chapter], limit: int) -> list[Piece]:
    pieces: list[Piece] = []
    texts: list[str] = []
    titles: list[str] = []
    size = 0
    for chapter in chapters:
        parts = list(cut(chapter.text, limit))
        for number, part in enumerate(parts):
            if texts and size + len(part) > limit:
                pieces.append(Piece("\n\n".join(texts), tuple(titles)))
                texts, titles, size = [], [], 0
            texts.append(part)
            titles += [chapter.title] * (number == 0 and bool(chapter.title))
            size += len(part) + 2
    return [*pieces, Piece("\n\n".join(texts), tuple(titles))] if texts else pieces


def cut(text: str, limit: int) -> Iterator[str]:
    """Pieces of at most `limit` characters, at the last paragraph in the second half, else line or word."""
    start = 0
    while len(text) - start > limit:
        middle, end = start + limit // 2, start + limit
        at = next((found for mark in ("\n\n", "\n", " ") if (found := text.rfind(mark, middle, end)) > 0), end)
        yield text[start:at].rstrip()
        start = at + len(text[at : at + 2]) - len(text[at : at + 2].lstrip())
    if start < len(text):
        yield text[start:]


def _bare_number(line: str) -> int:
    """The number that a line consists of, 0 if it does not."""
    found = _BARE.fullmatch(line.strip(" \t_")) if len(line) < 60 else None
    if not found:
        return 0
    return int(found["digits"]) if found["digits"] else _roman(found["roman"])


def _roman(numeral: str) -> int:
    values = [_ROMAN[letter] for letter in numeral]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))
