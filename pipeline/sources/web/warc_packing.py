"""The bytes of a WARC or ARC file, decompressed piece by piece: gzip (member by member), zstd or plain.

A gzip member or zstd frame that is damaged, or that its reader has enough of (PassedTooMuch), ends in a piece that says
so; the next one that begins with a record follows. A dictionary of zstd is a skippable frame at the file's beginning,
itself packed or not, as the IIPC's draft "WARC with zstd" has it.
"""

import io
import re
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from fastwarc.stream_io import ZstdReader

from pipeline.sources.base import Range, describe, in_the_data

MAX_HEAD_BYTES = 64 << 10  # of a record
READ_BYTES = 64 << 10
PIECE_BYTES = 256 << 10

MAX_DICTIONARY_BYTES = 16 << 20  # crawls have 1 MB

GZIP, ZSTD, PLAIN = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b""
_DICTIONARY = b"\x5d\x2a\x4d\x18"
_WARC = rb"WARC/\d\.\d+[ \t]*\r?\n[A-Za-z-]+[ \t]*:"
_ARC = (  # URL, address, date, type, in version 2 five more, length
    rb"(?:[a-z][a-z0-9+.-]*://|dns:)[^\r\n]{1,4000} [0-9a-fA-F.:]{1,45} \d{8,18} \S+"
    rb"(?: \S+ \S+ \S+ \S+ \S+)? -?\w+\r?\n"
)
BEGINS = re.compile(rb"\s*(?:%s|%s)" % (_WARC, _ARC))
NEXT = re.compile(rb"\n(?:%s|%s)" % (_WARC, _ARC))


class PassedTooMuch(Exception):
    """Thrown into the pieces of a member that is a bomb: they go on at the next member."""


@dataclass(frozen=True)
class Piece:
    """Decompressed bytes, and where in the file their gzip member begins."""

    member: int
    data: bytes
    opens: bool = False  # the first piece of its member
    damage: str = ""  # instead of data: why the member ends here


def packing_of(path: Path) -> bytes:
    """GZIP, ZSTD or PLAIN. A file whose beginning is damaged is what is found first in it."""
    with open(path, "rb") as raw:
        head = raw.read(MAX_HEAD_BYTES)
        for magic in (GZIP, ZSTD):
            if head.startswith(magic):
                return magic
        if head.startswith(_DICTIONARY):
            return ZSTD
        if BEGINS.match(head):
            return PLAIN
        places = {find_member(raw, 0, GZIP): GZIP, find_member(raw, 0, ZSTD): ZSTD, find_plain(raw, 0): PLAIN}
        places.pop(None, None)
        return places[min(place for place in places if place is not None)] if places else PLAIN


def pieces_of(raw: IO[bytes], part: Range, packing: bytes) -> Generator[Piece, None, None]:
    if packing == GZIP:
        return _gzip_pieces(raw, part)
    return _zstd_pieces(raw, part) if packing == ZSTD else _plain_pieces(raw, part)


def find_member(raw: IO[bytes], at: int, packing: bytes) -> int | None:
    """The first gzip member or zstd frame at or after `at` that begins with a record."""
    dictionary = _dictionary(raw) if packing == ZSTD else None
    for place in _find(raw, at, re.compile(re.escape(packing))):
        raw.seek(place)
        packed = raw.read(MAX_HEAD_BYTES)
        try:
            if packing == GZIP:
                head = zlib.decompressobj(31).decompress(packed, MAX_HEAD_BYTES)
            else:
                head = ZstdReader(io.BytesIO(packed), dictionary=dictionary).read(1000)
        except (zlib.error, OSError):
            continue
        if BEGINS.match(head):
            return place
    return None


def find_plain(raw: IO[bytes], at: int) -> int | None:
    return next((place + 1 for place in _find(raw, at, NEXT)), None)


def _find(raw: IO[bytes], at: int, pattern: re.Pattern[bytes]) -> Iterator[int]:
    """Where `pattern` (which is shorter than MAX_HEAD_BYTES) is found from `at` on."""
    while True:
        raw.seek(at)
        data = raw.read(PIECE_BYTES + MAX_HEAD_BYTES)
        for found in pattern.finditer(data):
            if found.start() < PIECE_BYTES:
                yield at + found.start()
        if len(data) <= PIECE_BYTES:
            return
        at += PIECE_BYTES


def _plain_pieces(raw: IO[bytes], part: Range) -> Generator[Piece, None, None]:
    raw.seek(part.start)
    opens = True
    while data := raw.read(PIECE_BYTES):
        yield Piece(part.start, data, opens)
        opens = False


def _gzip_pieces(raw: IO[bytes], part: Range) -> Generator[Piece, None, None]:
    following: int | None = part.start
    while following is not None and (part.end is None or following < part.end):
        at = following
        try:
            following = yield from _inflate(raw, at, part.file.num_bytes)
        except (zlib.error, EOFError, PassedTooMuch) as error:
            yield Piece(at, b"", damage=describe(error))
            following = find_member(raw, at + 1, GZIP)


def _inflate(raw: IO[bytes], start: int, size: int) -> Generator[Piece, None, int | None]:
    """One gzip member; returns where the next begins."""
    raw.seek(start)
    member, opens = zlib.decompressobj(31), True
    while not member.eof:
        packed = member.unconsumed_tail or raw.read(READ_BYTES)
        if not packed:
            raise EOFError("the file ends within a gzip member")
        if data := member.decompress(packed, PIECE_BYTES):
            yield Piece(start, data, opens)
            opens = False
    end = raw.tell() - len(member.unused_data)
    return end if end < size else None


def _zstd_pieces(raw: IO[bytes], part: Range) -> Generator[Piece, None, None]:
    dictionary = _dictionary(raw)
    at: int | None = part.start
    while at is not None and (part.end is None or at < part.end):
        raw.seek(at)
        stream = cast(BinaryIO, raw if part.end is None else _UpTo(raw, part.end))
        reader, size = ZstdReader(stream, dictionary=dictionary), 0
        try:
            while data := reader.read(PIECE_BYTES):
                yield Piece(at, data, opens=size == 0)
                size += len(data)
            return
        except (OSError, PassedTooMuch) as error:
            if not isinstance(error, PassedTooMuch):
                if not in_the_data(error):
                    raise
                if tail := _up_to_damage(raw, at, size, dictionary):
                    yield Piece(at, tail, opens=size == 0)
            yield Piece(at, b"", damage=describe(error))
            at = find_member(raw, at + (reader.frame_start_position() or 0) + 1, ZSTD)


class _UpTo:
    """A file that ends where the next range begins."""

    def __init__(self, raw: IO[bytes], end: int) -> None:
        self._raw, self._end = raw, end
        self.tell = raw.tell

    def read(self, size: int) -> bytes:
        return self._raw.read(min(size, self._end - self._raw.tell()))


def _dictionary(raw: IO[bytes]) -> bytes | None:
    """Of a zstd file; None where it has none, or none that can be read: its frames say so then."""
    raw.seek(0)
    magic, size = raw.read(4), int.from_bytes(raw.read(4), "little")
    if magic != _DICTIONARY or size > MAX_DICTIONARY_BYTES:
        return None
    content = raw.read(size)
    try:
        return ZstdReader(io.BytesIO(content)).read(MAX_DICTIONARY_BYTES) if content.startswith(ZSTD) else content
    except OSError:
        return None


def _up_to_damage(raw: IO[bytes], at: int, size: int, dictionary: bytes | None) -> bytes:
    """What lies between the first `size` bytes of a zstd stream and its damage: a read that fails returns nothing."""
    raw.seek(at)
    reader, tail = ZstdReader(raw, dictionary=dictionary), bytearray()
    try:
        for left in range(size, 0, -PIECE_BYTES):
            reader.read(min(left, PIECE_BYTES))
        while byte := reader.read(1):
            tail += byte
    except OSError:
        pass
    return bytes(tail)
