"""What an edition prints around an author's words: page numbers, running heads, contents, notes of the transcriber.

    text -> drop_illustrations -> drop_notes -> drop_page_marks -> drop_contents -> text

All of them work on plain text with its lines as they were, before hard-wrapped lines are joined: a page number in the
middle of a sentence has to go first. What is in doubt stays.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from pipeline.sources.books.chapters import is_heading
from pipeline.sources.markup import HEADING

PAGE_CHARS = 4_500  # numbers that stand closer than this are pages, not chapters
MIN_PAGES = 10
MAX_HEAD = 70  # characters
MIN_HEADS = 5  # a running head comes on every other page
MAX_NOTE = 4_000  # characters
MAX_CONTENTS = 2_000  # lines
HEADING_GAP = 8  # lines between two headings of one chapter, at most
NEAR = 6  # lines: prose follows a chapter's heading within as many
MIN_PROSE = 45  # characters: a line as long as this may be prose

_BRACKETED = r"(?:[^\[\]]|\[[^\[\]]{0,500}\]){0,4000}\]"
_ILLUSTRATION = re.compile(rf"\[\s*(?:Illustrations?|Frontispiece|Decoration|Blank Page)\b{_BRACKETED}", re.IGNORECASE)
_TRANSCRIBER = r"(?:(?:Original )?Transcriber(?:['’]?s|s['’]) notes?|(?:Anmerkung|Hinweis)e?n? zur Transkription)\b"
_NOTE = re.compile(rf"\[\s*{_TRANSCRIBER}{_BRACKETED}", re.IGNORECASE)
_NOTE_LINE = re.compile(rf"^[ \t\x01]*{_TRANSCRIBER}.*", re.IGNORECASE | re.MULTILINE)
_PAGE = re.compile(r"[\[{](?:Pg|Page|p\.)\.?\s*(?:\d{1,4}|[ivxlc]{1,8})[\]}]|\{\d{1,4}\}", re.IGNORECASE)
_PAGE_LINE = re.compile(
    r"[\[{(]?(?:page|pg\.?)\s+(?:\d{1,4}|[ivxlc]{1,8})[\]})]?|[-–—*~]\s*\d{1,4}\s*[-–—*~]|\[\d{1,4}\]", re.IGNORECASE
)
_ENDS = re.compile(r"^[\d\[{(~*–—-]|[\d\]})]$")
_NUMBER_LINE = re.compile(r"\d{1,4}")
_HEAD = re.compile(r"(?P<left>\d{1,4})?\s*(?P<words>[^\d\s](?:.{0,58}[^\d\s])?)\s*(?P<right>\d{1,4})?")
_OPEN_END = re.compile(r"[\w,;–—-]$")
_CONTENTS = re.compile(
    r"^[ \t\x01]*(?:table of contents|(?:list of )?contents(?: of (?:the )?\w+ \w+)?|(?:list of )?illustrations|"
    r"inhaltsverzeichnis|inhalt|table des mati[èe]res|indice|sommario|[íi]ndice|sum[áa]rio|inhoud|содержание|"
    r"оглавление)[.:]?$",
    re.IGNORECASE | re.MULTILINE,
)
_LABEL = re.compile(
    r"^\W*(?:(?:chapter|book|part|volume|kapitel|buch|teil|theil|chapitre|livre|capitolo|libro)\s+(?:the\s+)?\w+|"
    r"[ivxlc]+|\d+)\b\W*",
    re.IGNORECASE,
)
_ENTRY = re.compile(r"\W*(?:[ivxlc]+|\d+)[.):]", re.IGNORECASE)
_LEADER = re.compile(r"(?<![\s._·…])[\s._·…]*\d{0,4}\s*$")  # looking behind: linear in long runs


def drop_illustrations(text: str) -> str:
    return _ILLUSTRATION.sub("", text)


def drop_notes(text: str) -> str:
    """Transcriber's notes: in brackets, or from their heading to the next heading or gap of two blank lines."""
    text = _NOTE.sub("", text)
    if not _NOTE_LINE.search(text):
        return text
    lines = text.split("\n")
    kept: list[str] = []
    at = 0
    while at < len(lines):
        if not _NOTE_LINE.fullmatch(lines[at]):
            kept.append(lines[at])
            at += 1
        else:
            at = _end_of_note(lines, at)
    return "\n".join(kept)


def _end_of_note(lines: Sequence[str], start: int) -> int:
    size, at = len(lines[start]), start + 1
    first_gap = 0
    seen_text = bool(lines[start].partition(":")[2].strip())
    while at < len(lines) and size <= MAX_NOTE:
        if not lines[at].strip():
            first_gap = first_gap or at * seen_text
            if seen_text and at + 1 < len(lines) and not lines[at + 1].strip():
                return at
        elif is_heading(lines[at]) or _NOTE_LINE.fullmatch(lines[at]):
            return at
        else:
            seen_text = True
        size += len(lines[at])
        at += 1
    return at if size <= MAX_NOTE else first_gap or start + 1


def drop_page_marks(text: str) -> str:
    """Page numbers and running heads; a sentence that one of them interrupts goes on."""
    lines = _PAGE.sub("", text).split("\n") if _PAGE.search(text) else text.split("\n")
    marks = _page_lines(text.split("\n"))
    if not marks:
        return "\n".join(lines)
    kept: list[str] = []
    open_end = False
    for number, line in enumerate(lines):
        if number in marks:
            while kept and not kept[-1] and len(kept) > 1 and not kept[-2]:
                kept.pop()
            open_end = open_end or bool(_OPEN_END.search(next((one for one in reversed(kept[-3:]) if one), "")))
        elif line.strip():
            while open_end and kept and not kept[-1]:
                kept.pop()
            kept.append(line)
            open_end = False
        else:
            kept.append("")
    return "\n".join(kept)


def _page_lines(lines: Sequence[str]) -> set[int]:
    stripped = [line.strip() for line in lines]
    numbered = [n for n, line in enumerate(stripped) if line and len(line) <= MAX_HEAD and _ENDS.search(line)]
    marks = {n for n in numbered if _PAGE.fullmatch(stripped[n]) or _PAGE_LINE.fullmatch(stripped[n])}
    numbers = [n for n in numbered if _NUMBER_LINE.fullmatch(stripped[n])]
    if _are_pages(numbers, [int(stripped[n]) for n in numbers], lines):
        marks |= set(numbers)
    heads: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number in numbered:
        line = stripped[number]
        head = _HEAD.fullmatch(line) if line.isupper() and not is_heading(line) else None
        if head and (head["left"] is None) != (head["right"] is None):
            heads[head["words"]].append((number, int(head["left"] or head["right"])))
    for found in heads.values():
        if len(found) >= MIN_HEADS and all(before < after for (_, before), (_, after) in pairwise(found)):
            marks |= {number for number, _ in found}
    return marks | _heads_beside(marks, stripped)


def _are_pages(places: Sequence[int], numbers: Sequence[int], lines: Sequence[str]) -> bool:
    """Whether lone numbers count pages: they are many, ascend by ones or twos, and stand a page apart."""
    if len(numbers) < MIN_PAGES:
        return False
    steps = sum(1 <= after - before <= 2 for before, after in pairwise(numbers))
    chars = sum(map(len, lines[places[0] : places[-1]]))
    return steps >= 0.8 * (len(numbers) - 1) and chars / (numbers[-1] - numbers[0] or 1) < PAGE_CHARS


def _heads_beside(marks: set[int], lines: Sequence[str]) -> set[int]:
    """Lines in capitals that stand beside page numbers again and again."""
    near = {number for mark in marks for number in range(max(0, mark - 2), min(len(lines), mark + 3))} - marks
    beside = {n for n in near if lines[n].isupper() and len(lines[n]) <= MAX_HEAD and not is_heading(lines[n])}
    often = Counter(lines[number] for number in beside)
    return {number for number in beside if often[lines[number]] >= MIN_HEADS}


def drop_contents(text: str) -> str:
    """Tables of contents and lists of illustrations: from their heading to where the text itself begins."""
    if not _CONTENTS.search(text):
        return text
    lines = text.split("\n")
    kept: list[str] = []
    at = 0
    while at < len(lines):
        if _CONTENTS.fullmatch(lines[at]) and (end := _end_of_contents(lines, at + 1)) > at + 2:
            kept += ["", ""]
            at = end
        else:
            kept.append(lines[at])
            at += 1
    return "\n".join(kept)


def _end_of_contents(lines: Sequence[str], start: int) -> int:
    """The first line after the entries: one that repeats an entry with prose below it, or the heading above prose."""
    seen: set[str] = set()
    end = min(len(lines), start + MAX_CONTENTS)
    for at in range(start, end):
        if _CONTENTS.fullmatch(lines[at]):
            return at
        names = _names(lines[at])
        if len(seen) > 1 and names & seen and _prose_within(lines, at + 1, NEAR):
            return _back_over_headings(lines, at, start, named=False)
        if _is_prose(lines, at):
            return _back_over_headings(lines, at, start, named=True) if len(seen) > 1 else start
        seen |= names
    return start


def _names(line: str) -> set[str]:
    """What an entry may be called in the text: with and without its number; "" and bare numbers name nothing."""
    whole = _LEADER.sub("", line.strip(" \t" + HEADING)).casefold()
    names = {re.sub(r"[\W_]+", "", name) for name in (whole, _LABEL.sub("", whole))}
    return {name for name in names if len(name) > 2 and not name.isdigit()}


def _back_over_headings(lines: Sequence[str], at: int, start: int, named: bool) -> int:
    """Up from the first line of the text over the headings above it: "BOOK ONE", "THE COMING OF THE MARTIANS", "I.".

    Numbers without a title, that is, since with one they are entries; and titles in capitals below them. `named`: the
    line above prose may be "PREFACE" as well.
    """
    begin, room = at, HEADING_GAP
    for above in range(at - 1, start, -1):
        line = lines[above].strip()
        is_label = line != "" and not _LABEL.sub("", line)
        if is_label or line.startswith(HEADING) or (named and begin == at and is_heading(line)):
            begin, room = above, HEADING_GAP
        elif line and not (line.isupper() and room):
            break
        room -= 1
        if not room:
            break
    return begin


def _prose_within(lines: Sequence[str], start: int, num_lines: int) -> bool:
    seen = 0
    for at in range(start, min(len(lines), start + 5 * num_lines)):
        if _is_prose(lines, at):
            return True
        seen += bool(lines[at].strip())
        if seen == num_lines:
            break
    return False


def _is_prose(lines: Sequence[str], at: int) -> bool:
    """The first of two long lines mostly in small letters, or of one that is several lines long."""
    line = lines[at].strip()
    if len(line) < MIN_PROSE or line.isupper() or is_heading(line) or _ENTRY.match(line):
        return False
    if len(line) > 3 * MIN_PROSE:
        return True
    following = [one.strip() for one in lines[at + 1 : at + 3]]
    return len(following) == 2 and len(following[0]) >= MIN_PROSE and bool(following[1])
