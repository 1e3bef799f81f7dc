"""Pieces of a dump to the raw bytes of its pages, each with its newest revision only.

In:  Pieces, from the start of a range. Out: one Span a page whose tag begins before the end of the range.

1. pieces are joined where a tag is cut; a tag in wikitext is escaped, so `<page>` is always the dump's own
2. of a page's revisions only the newest is held (by timestamp, then id), so a history of any length fits into memory
3. the span is `<page>` ... newest `<revision>` ... `</page>`: a page of a full-history dump looks like one of a current
   dump, and has the same document id
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.sources.mediawiki.streams import Piece

MAX_PAGE_BYTES = 32 << 20  # held of one page: MediaWiki allows 2 MiB of wikitext, in XML at most six times as much
SHOWN_BYTES = 10_000  # of a page that is too large: what its document id is made of

_TAG = re.compile(rb"</?(?:page|revision)>")
_LONGEST_TAG = len(b"</revision>")
_TIMESTAMP = re.compile(rb"<timestamp>([^<]{1,40})</timestamp>")
_ID = re.compile(rb"<id>(\d{1,18})</id>")


@dataclass(frozen=True)
class Span:
    """The raw bytes of a page, UTF-8, or the reason why there is none."""

    stream: int
    offset: int  # in the decompressed stream
    data: bytes
    error: str = ""
    detail: str = ""


@dataclass
class _Page:
    """A page that is being read."""

    stream: int
    offset: int
    head: bytes = b""
    newest: bytes = b""
    tail: bytes = b""
    rank: tuple[bytes, int] = (b"", -1)
    in_revision: bool = False

    def add(self, data: bytes) -> None:
        if self.newest:
            self.tail += data
        else:
            self.head += data

    def revise(self, data: bytes) -> None:
        written, number = _TIMESTAMP.search(data), _ID.search(data)
        rank = (written[1] if written else b"", int(number[1]) if number else 0)
        if rank > self.rank:
            self.newest, self.rank = data, rank

    def num_bytes(self) -> int:
        return len(self.head) + len(self.newest) + len(self.tail)

    def span(self, rest: bytes, error: str = "", detail: str = "") -> Span:
        return Span(self.stream, self.offset, self.head + self.newest + self.tail + rest, error, detail)


@dataclass
class _Places:
    """Which stream a decompressed position belongs to."""

    end: int | None  # of the range, in the file
    limit: int | None = None  # the same as a decompressed position, once it is reached
    starts: deque[tuple[int, int]] = field(default_factory=deque)  # (decompressed position, position in the file)

    def begin(self, stream: int, position: int) -> None:
        if self.starts and self.starts[-1][1] == stream:
            return
        if self.starts and self.starts[-1][0] == position:  # an empty stream
            self.starts.pop()
        self.starts.append((position, stream))
        if self.end is not None and stream >= self.end and self.limit is None:
            self.limit = position

    def of(self, position: int) -> tuple[int, int]:
        """Stream and offset in it; positions are asked for in ascending order."""
        while len(self.starts) > 1 and self.starts[1][0] <= position:
            self.starts.popleft()
        return self.starts[0][1], position - self.starts[0][0]

    def is_behind(self, position: int) -> bool:
        return self.limit is not None and position >= self.limit


def spans(pieces: Iterator[Piece], end: int | None) -> Iterator[Span]:
    """Pages whose tag begins in a stream before byte `end` of the file; the last may run on into later streams."""
    buffer, base, seen = b"", 0, 0  # base: decompressed bytes before the buffer; seen: bytes of it without a whole tag
    places, page = _Places(end), None
    for piece in pieces:
        places.begin(piece.stream, base + len(buffer))
        if piece.damage:
            if page or places.limit is None:  # else it belongs to the next range
                yield Span(piece.stream, 0, b"", "damaged", piece.damage)
            if places.limit is not None:
                return
            base, buffer, seen, page = base + len(buffer), b"", 0, None
            continue
        buffer += piece.data
        done, tag_end = 0, 0
        for tag in _TAG.finditer(buffer, seen):
            tag_end = tag.end()
            if tag[0] == b"<page>":
                if page:
                    yield page.span(buffer[done : tag.start()], "unclosed", "the next page begins before its end")
                if places.is_behind(base + tag.start()):
                    return
                page, done = _Page(*places.of(base + tag.start())), tag.start()
            elif page is None:
                continue
            elif tag[0] == b"</page>":
                yield page.span(buffer[done : tag.end()])
                page, done = None, tag.end()
            elif tag[0] == b"<revision>" and not page.in_revision:
                page.add(buffer[done : tag.start()])
                page.in_revision, done = True, tag.start()
            elif tag[0] == b"</revision>" and page.in_revision:
                page.revise(buffer[done : tag.end()])
                page.in_revision, done = False, tag.end()
        if page and page.num_bytes() + len(buffer) - done > MAX_PAGE_BYTES:
            yield Span(page.stream, page.offset, page.span(buffer[done:]).data[:SHOWN_BYTES], "too_large",
                       f"more than {MAX_PAGE_BYTES} bytes")  # fmt: skip
            page = None
        whole = max(tag_end, len(buffer) - _LONGEST_TAG + 1)  # behind it a tag may be cut
        start = done if page else whole
        base, buffer, seen = base + start, buffer[start:], whole - start
        if page is None:
            if places.is_behind(base):
                return
            places.of(base)
    if page:
        yield page.span(buffer, "unclosed", "the file ends before its end")
