"""Records of a WARC or ARC file, in order, whatever its packing (gzip, zstd, plain) and whatever is broken in it.

1. file    -> ranges of whole records, about SPLIT_BYTES: gzip members, zstd frames, plain records; a file of one member
              or frame is one range, as there is no way into the middle of one
2. range   -> pieces: decompressed bytes, at most PIECE_BYTES each, with the gzip member they come from
3. pieces  -> tape: read forward; a gzip member that begins with a record is a wall, across which no length reaches
4. tape    -> records: head, then as many bytes as it declares; larger ones than MAX_RECORD_BYTES are passed over

A damaged member or record is one error, and reading goes on at the next record that can be found. FastWARC reads ten
times as fast, but ends normally at a truncated record and lets a wrong length swallow the records after it; pages take
far longer to parse than records to cut.

| error     | when |
|-----------|------|
| truncated | the record is shorter than it declares, or reaches over the records that follow |
| too_large | it declares more than MAX_RECORD_BYTES |
| malformed | its head has no length, or its length is no number |
| damaged   | bytes that are no record, or cannot be decompressed |
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

from pipeline.sources.base import SPLIT_BYTES, InputFile, Range
from pipeline.sources.web.warc_packing import (
    BEGINS,
    MAX_HEAD_BYTES,
    NEXT,
    PLAIN,
    PassedTooMuch,
    Piece,
    find_member,
    find_plain,
    packing_of,
    pieces_of,
)

MAX_RECORD_BYTES = (16 << 20) + (1 << 20)  # a page of 16 MB and its HTTP header
MAX_PASSED_BYTES = 1 << 30  # of one gzip member, decompressed in search of its end: a bomb is left after that
_WARC_HEAD = re.compile(rb"WARC/\d\.\d+[ \t]*\r?\n(.*?)\r?\n\r?\n", re.DOTALL)
_ARC_HEAD = re.compile(
    rb"(?P<url>[^\r\n]+) \S+ (?P<date>\d{8,18}) (?P<kind>\S+)(?: \S+ \S+ \S+ \S+ \S+)? (?P<length>-?\w+)\r?\n"
)


@dataclass(frozen=True)
class Record:
    """One record; with an `error`, the bytes that could be had of it."""

    origin: str  # "file:offset", see base.py
    kind: str = ""  # WARC-Type; of an ARC record "response", and "filedesc" for its first; "" if there is no head
    url: str = ""
    date: str = ""  # ISO 8601
    content_type: str = ""  # of the block
    block: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)  # by lower-case name
    error: str = ""
    detail: str = ""


def splits(file: InputFile) -> list[Range]:
    """Ranges whose bounds are places in the file at which a record begins."""
    packing = packing_of(file.path)
    bounds = [0]
    for place in _bounds_of_records(file) if packing == PLAIN else _bounds_of_members(file, packing):
        if place - bounds[-1] >= SPLIT_BYTES and place < file.num_bytes:
            bounds.append(place)
    ends = [*bounds[1:], None]
    return [Range(file, (file.num_bytes if end is None else end) - start, start, end)
            for start, end in zip(bounds, ends, strict=True)]  # fmt: skip


def _bounds_of_members(file: InputFile, packing: bytes) -> Iterator[int]:
    """The first members or frames behind every SPLIT_BYTES that begin with a record; only heads are decompressed.

    A record that holds a WARC file could fool this, should it lie across a bound: its inner records are read as well.
    """
    with open(file.path, "rb") as raw:
        at = SPLIT_BYTES
        while (place := find_member(raw, at, packing)) is not None:
            yield place
            at = place + SPLIT_BYTES


def _bounds_of_records(file: InputFile) -> Iterator[int]:
    """Every plain record, by the lengths they declare."""
    with open(file.path, "rb") as raw:
        at: int | None = 0
        while at is not None and at < file.num_bytes:
            raw.seek(at)
            head = raw.read(MAX_HEAD_BYTES)
            blanks = len(head) - len(head.lstrip(b"\r\n \t"))
            record, size, length = _read_head(head[blanks:])
            if record is None or length is None:
                at = find_plain(raw, at + 1)
                continue
            yield at + blanks
            at += blanks + size + length


def records(part: Range) -> Iterator[Record]:
    """Every record that begins in the range, and an error for whatever lies between them."""
    packing = packing_of(part.file.path)
    with open(part.file.path, "rb") as raw:
        tape = Tape(pieces_of(raw, part, packing), compressed=packing != PLAIN)
        while tape.more():
            tape.pass_blanks()
            if packing == PLAIN and part.end is not None and tape.position >= part.end:
                return
            record = _read_record(tape)
            if record is not None:
                yield replace(record, origin=f"{part.file.name}:{record.origin}")


def _read_record(tape: "Tape") -> Record | None:
    """The record at which the tape stands; None when only blank lines were left of a member."""
    origin, head = tape.origin, tape.peek(MAX_HEAD_BYTES)
    if not head and not tape.damage:
        return None
    record, size, length = _read_head(head)
    if length is None:
        passed = tape.pass_to_record()
        why = tape.take_damage() or (record.detail if record else "no record begins here")
        known = record or Record("", error="damaged")
        return replace(known, origin=origin, detail=f"{why}; {passed} bytes passed over")
    assert record is not None
    tape.take(size)
    if length > MAX_RECORD_BYTES:
        passed = tape.skip(length)
        damage = tape.take_damage()
        found_all = passed == length or passed > MAX_PASSED_BYTES
        detail = f"{length} bytes, {passed} passed over" + (f"; {damage}" if damage else "")
        return replace(record, origin=origin, error="too_large" if found_all else "truncated", detail=detail)
    block = tape.take(length)
    if len(block) == length and tape.at_record():
        return replace(record, origin=origin, block=block)
    following = NEXT.search(block)
    if following or len(block) < length:
        whole = block[: following.start() + 1] if following else block
        tape.put_back(block[len(whole) :])
        why = tape.take_damage() if not following else "the next record begins before its end"
        detail = f"{len(whole)} of {length} bytes" + (f": {why}" if why else "")
        return replace(record, origin=origin, block=whole, error="truncated", detail=detail)
    return replace(record, origin=origin, block=block)


def _read_head(head: bytes) -> tuple[Record | None, int, int | None]:
    """(what the head says, its size, the length of the block); a length of None: no block can be read."""
    if found := _WARC_HEAD.match(head):
        headers = parse_headers(found[1])
        kind, url = headers.get("warc-type", "").lower(), headers.get("warc-target-uri", "").strip("<> ")
        record = Record("", kind, url, headers.get("warc-date", ""), headers.get("content-type", ""), headers=headers)
        length = headers.get("content-length", "")
    elif found := _ARC_HEAD.match(head):
        url, length = found["url"].decode("utf-8", "replace"), found["length"].decode()
        kind = "filedesc" if url.startswith("filedesc:") else "response"
        record = Record("", kind, url, _iso(found["date"].decode()), found["kind"].decode("utf-8", "replace"))
    else:
        return None, 0, None
    if length.isascii() and length.isdigit() and len(length) < 19:
        return record, found.end(), int(length)
    return replace(record, error="malformed", detail=f"length {length[:50]!r}"), found.end(), None


def parse_headers(lines: bytes) -> dict[str, str]:
    """By lower-case name; of two equal names the first counts. A line that begins with a blank goes on."""
    headers: dict[str, str] = {}
    unfolded = re.sub(r"\r?\n[ \t]+", " ", lines.decode("utf-8", "replace"))
    for line in unfolded.splitlines():
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return headers


def _iso(date: str) -> str:
    """20140216050221 -> 2014-02-16T05:02:21Z"""
    digits = date[:14].ljust(14, "0")
    return "{}-{}-{}T{}:{}:{}Z".format(digits[:4], *(digits[at : at + 2] for at in range(4, 14, 2)))


class Tape:
    """Decompressed bytes, read forward. What is read ends at a wall; `more` goes on behind it."""

    def __init__(self, pieces: Generator[Piece, None, None], compressed: bool) -> None:
        self.damage = ""  # why the bytes before the wall end there
        self._pieces = pieces
        self._compressed = compressed
        self._next: Piece | None = None  # behind the wall
        self._data = bytearray()
        self._member = self._offset = 0  # of the first byte of _data: its member's place, and bytes from there
        self._wall = True

    @property
    def position(self) -> int:
        return self._member + self._offset

    @property
    def origin(self) -> str:
        return f"{self._member}+{self._offset}" if self._compressed else str(self.position)

    def more(self) -> bool:
        """Whether there is anything to read, or damage to tell of, here or behind the wall."""
        if self._data or self.damage or self._fill(1):
            return True
        piece = self._next or next(self._pieces, None)
        if piece is None:
            return False
        self._member, self._offset, self._next, self._wall = piece.member, 0, None, bool(piece.damage)
        self._data, self.damage = bytearray(piece.data), piece.damage
        return True

    def peek(self, size: int) -> bytes:
        self._fill(size)
        return bytes(self._data[:size])

    def take(self, size: int) -> bytes:
        """Fewer bytes before a wall."""
        self._fill(size)
        taken = bytes(self._data[:size])
        self._forward(len(taken))
        return taken

    def put_back(self, data: bytes) -> None:
        self._data[:0] = data
        self._offset -= len(data)

    def skip(self, size: int) -> int:
        """How many of `size` bytes there were."""
        passed = 0
        while passed < size and self._fill(1):
            step = min(size - passed, len(self._data))
            self._forward(step)
            passed += step
            self._leave_bomb(passed)
        return passed

    def pass_blanks(self) -> None:
        while self._fill(1) and self._data[0] in b"\r\n \t":
            self._forward(len(self._data) - len(self._data.lstrip(b"\r\n \t")))

    def at_record(self) -> bool:
        """Whether a record begins here, but for blank lines, or nothing is left before the wall."""
        head = self.peek(MAX_HEAD_BYTES)
        return not head.strip() or bool(BEGINS.match(head))

    def pass_to_record(self) -> int:
        """Goes on to the next line that begins a record, or to the wall; returns the bytes passed over."""
        passed = 0
        while self._fill(2 * MAX_HEAD_BYTES):
            found = NEXT.search(self._data)
            step = found.start() + 1 if found else max(1, len(self._data) - MAX_HEAD_BYTES)
            self._forward(step)
            passed += step
            if found:
                break
            self._leave_bomb(passed)
        return passed

    def take_damage(self) -> str:
        """Tells it once."""
        damage, self.damage = (self.damage, "") if not self._data else ("", self.damage)
        return damage

    def _fill(self, size: int) -> bool:
        """Whether there is any data, after reading until there are `size` bytes or a wall."""
        while len(self._data) < size and not self._wall:
            piece = next(self._pieces, None)
            if piece is None:
                self._wall = True
            elif piece.damage:
                self.damage, self._wall = piece.damage, True
            elif piece.opens and BEGINS.match(piece.data):
                self._next, self._wall = piece, True
            else:
                self._data += piece.data
        return bool(self._data)

    def _leave_bomb(self, passed: int) -> None:
        if self._compressed and passed > MAX_PASSED_BYTES and not self._wall:
            told = self._pieces.throw(PassedTooMuch(f"more than {MAX_PASSED_BYTES} bytes that are no record to keep"))
            self.damage, self._wall = told.damage, True
            self._forward(len(self._data))

    def _forward(self, size: int) -> None:
        del self._data[:size]
        self._offset += size
