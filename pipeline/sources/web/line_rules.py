"""Which lines of a page are its text: rules over lines, their tags and the share of them that is link.

In: resiliparse's minimal HTML (`<p>`, `<h1>` to `<h6>`, `<li>`, `<pre>`, `<br>`, `<a>`; one block a line). Out: lines.

1. prose     a line is prose when it is long, or ends as a sentence does, and is not mostly link
2. end       a line that opens comments or a list of other stories, after enough prose, ends the page
3. clusters  prose with little between it is one cluster; the largest is the story, others of some size belong to it,
             and so does the one below the page's only <h1>
4. body      a cluster grows over paragraphs and list items around it; short lines count between two lines that are kept
5. headings  a heading is kept when a line that follows it is

jusText (Pomikalek 2011) judges blocks by their neighbours in much the same way, with word lists for each language; ours
are in page_words.py. Bounds and words were chosen on all 645 pages of trafilatura's gold set, on which trafilatura
was developed as well.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.sources.web.page_words import (
    LABEL_CHARS,
    NOISE_CHARS,
    is_noise,
    may_be_within,
    opens_comments,
    opens_other_stories,
)

PROSE_CHARS = 80
SENTENCE_CHARS = 30  # a line that ends as a sentence does
BARE_CHARS = 50  # the same, of a line that is in no block of its own
CJK_WEIGHT = 2  # a character of these scripts says as much as three letters
MAX_LINK_SHARE = 0.5
MIN_STORY_CHARS = 300  # before comments can begin
MIN_STORY_SHARE = 0.5  # of all prose, before other stories can begin
LATE_SHARE = 0.8  # the same, of a label that may be part of the story
CLUSTER_GAP = 10  # lines of something else
CLUSTER_SHARE = 0.15  # of the largest cluster
REACH = 3  # lines from a short line to kept lines

_TAG = re.compile(r"<[^>]*>")
_PLAIN_BLOCK = re.compile(r"\s*<(h[1-6]|p|li)>([^<]*)</\1>")  # two lines in three
_LINK = re.compile(r"<a\b[^>]*>(.*?)(?:</a>|$)")
_OPENING = re.compile(r"\s*<(h[1-6]|p|li|pre)\b")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SENTENCE_END = re.compile(r"[.!?…:;。！？؟।][\"'”“’»)\]]*$")


@dataclass(slots=True)
class Line:
    """One block of the page, or one line of it."""

    tag: str  # p, h1 to h6, li, pre; br: a line of a larger block; "": in no block of its own
    text: str
    link_share: float  # characters of links, of all
    is_heading: bool = field(init=False, compare=False)
    is_prose: bool = field(init=False, compare=False)
    is_plain: bool = field(init=False, compare=False)  # neither a link, nor a heading, nor about the page
    is_body: bool = field(init=False, compare=False)  # belongs to the prose around it

    def __post_init__(self) -> None:
        self.is_heading = self.tag[:1] == "h"
        plain = not self.is_heading and self.link_share < MAX_LINK_SHARE and not is_noise(self.text)
        self.is_prose = plain and _reads_as_prose(self.tag, self.text)
        self.is_plain = plain and (self.is_prose or not opens_other_stories(self.text))
        self.is_body = self.is_plain and self.tag in ("p", "li", "br", "pre")


def _reads_as_prose(tag: str, text: str) -> bool:
    size = len(text) + (0 if text.isascii() else CJK_WEIGHT * len(_CJK.findall(text)))
    if size >= PROSE_CHARS:
        return True
    return size >= (SENTENCE_CHARS if tag else BARE_CHARS) and _SENTENCE_END.search(text[-10:]) is not None


def parse_lines(minimal_html: str) -> list[Line]:
    return list(_parse(minimal_html))


def _parse(minimal_html: str) -> Iterator[Line]:
    in_pre = False
    for raw in minimal_html.replace("\xad", "").split("\n"):  # a soft hyphen says where a line may break
        if not raw:
            continue
        if not in_pre and (block := _PLAIN_BLOCK.fullmatch(raw)):
            tag, bare, linked = block[1], block[2], 0
        else:
            tag, bare, linked = _bare(raw)
            in_pre |= tag == "pre"
        if "&" in bare:
            bare = html.unescape(bare)
        if text := bare.rstrip() if in_pre else " ".join(bare.split()):
            yield Line("pre" if in_pre else tag, text, linked / len(text))
        in_pre = in_pre and "</pre" not in raw


def _bare(raw: str) -> tuple[str, str, int]:
    """Tag, text and characters within links of any line."""
    if "<" not in raw:
        return "", raw, 0
    opening = _OPENING.match(raw)
    tag = opening[1] if opening else "br" if "<br>" in raw else ""
    linked = sum(len(_TAG.sub("", link).strip()) for link in _LINK.findall(raw)) if "<a" in raw else 0
    return tag, _TAG.sub("", raw.replace("<br>", " ")), linked


def prose_chars(lines: Sequence[Line]) -> int:
    return sum(len(line.text) for line in lines if line.is_prose)


def choose(lines: Sequence[Line]) -> list[Line]:
    """The lines that are the page's text, in order."""
    prose = [line.is_prose for line in lines]
    lines = lines[: _end_of_story(lines, prose)]
    keep = [False] * len(lines)
    body = [line.is_body for line in lines]
    if not any(prose):  # a stub: whether it is too short is not for its source to say
        return [line for line in lines if line.is_body]
    for first, last in _clusters(lines, prose):
        first, last = _grow(lines, body, first, -1), _grow(lines, body, last, 1)
        for number in range(first, last + 1):
            keep[number] = prose[number] or body[number]
        for number in range(first, last + 1):
            if not keep[number] and lines[number].is_plain:
                before, after = keep[max(0, number - REACH) : number], keep[number + 1 : number + 1 + REACH]
                keep[number] = any(before) and any(after)
    for number in reversed(range(len(lines))):
        if lines[number].is_heading:
            keep[number] = any(keep[number + 1 : number + 3]) and _is_title(lines[number])
    return [line for line, kept in zip(lines, keep, strict=True) if kept]


def _end_of_story(lines: Sequence[Line], prose: Sequence[bool]) -> int:
    """The line at which comments or other stories begin."""
    sizes = [len(line.text) * is_prose for line, is_prose in zip(lines, prose, strict=True)]
    total, seen = sum(sizes), 0
    for number, line in enumerate(lines):
        if number and not prose[number] and len(line.text) < LABEL_CHARS:
            linked = line.link_share >= MAX_LINK_SHARE and not line.is_heading
            if seen >= MIN_STORY_CHARS and not linked and opens_comments(line.text):
                return number
            label = line.is_heading or len(line.text) < LABEL_CHARS - 30
            enough = (LATE_SHARE if may_be_within(line.text) else MIN_STORY_SHARE) * total
            if label and seen >= enough and opens_other_stories(line.text):
                return number
        seen += sizes[number]
    return len(lines)


def _clusters(lines: Sequence[Line], prose: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last line of the clusters that are part of the story."""
    clusters: list[list[int]] = []
    gap = 0
    for number, line in enumerate(lines):
        if not prose[number]:
            gap += line.tag == "" or line.link_share >= MAX_LINK_SHARE
            continue
        if not clusters or gap > CLUSTER_GAP:
            clusters.append([])
        clusters[-1].append(number)
        gap = 0
    sizes = [sum(len(lines[number].text) for number in cluster) for cluster in clusters]
    least = CLUSTER_SHARE * max(sizes, default=0)
    headline = _headline(lines)
    return [
        (cluster[0], cluster[-1])
        for cluster, size in zip(clusters, sizes, strict=True)
        if size >= least or cluster[0] - REACH <= headline < cluster[0]
    ]


def _headline(lines: Sequence[Line]) -> int:
    """Of the page's only h1; before all lines where it has none, or several."""
    found = [number for number, line in enumerate(lines) if line.tag == "h1"]
    return found[0] if len(found) == 1 else -1000


def _grow(lines: Sequence[Line], body: Sequence[bool], start: int, step: int) -> int:
    """The last line of the body in this direction; headings do not end it."""
    reached, number = start, start + step
    while 0 <= number < len(lines):
        if body[number]:
            reached = number
        elif lines[number].is_heading:
            if not _is_title(lines[number]):
                break
        elif abs(number - reached) >= REACH or not lines[number].is_plain:
            break
        number += step
    return reached


def _is_title(heading: Line) -> bool:
    text = heading.text[:NOISE_CHARS]
    return heading.link_share < MAX_LINK_SHARE and not (opens_other_stories(text) or opens_comments(text))
