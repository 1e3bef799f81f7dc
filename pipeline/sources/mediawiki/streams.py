"""A dump in any packing to decompressed pieces, and the places where it can be cut.

In:  an InputFile: plain XML, gzip, bzip2 or bzip2 multistream; UTF-8 or UTF-16.
Out: `cuts(file)`: where ranges of SPLIT_BYTES or a little more begin. `pieces(part)`: UTF-8 from the start of a range
     on to the end of the file; the pages decide where a range ends.

- bzip2 is cut at the first stream behind every SPLIT_BYTES. The index of a multistream dump says where that is; without
  one, or once it is found to be wrong (one warning), the streams are searched for. What the index says is taken only if
  the dump has a stream there and none before it: so the cuts are the same with and without it, and a job that goes on
  after it came or went repeats no page. That costs some kilobytes of the dump for each cut. What the stream holds is
  not asked, as a page that begins before a cut is read on behind it, whatever the packing. A dump of one stream is
  searched to its end once, and stays whole.
- plain UTF-8 is cut anywhere; gzip and UTF-16 nowhere.
- Memory is PIECE_BYTES a time: a stream is never decompressed at once. One that grows like a bomb is damage.
- Damage ends a stream, not the file: reading goes on at the next bzip2 stream. Streams damaged in a row are one damage.
- Nothing is mapped into memory: a file that is cut short while it is read would kill the process.
"""

import bz2
import codecs
import logging
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.sources.base import SPLIT_BYTES, InputFile, Range
from pipeline.sources.mediawiki.index import Index, index_of

logger = logging.getLogger(__name__)

PIECE_BYTES = 256 << 10  # decompressed
READ_BYTES = 32 << 10
BOMB_BYTES = 64 << 20  # decompressed from one stream before its growth is looked at
BOMB_GROWTH = 500  # times the compressed size: dumps grow 4 to 40 times, gzip can grow 1032, bzip2 a million

_STREAM = re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)")  # a stream with blocks, or an empty one
_STREAM_BYTES = 10


@dataclass(frozen=True)
class Piece:
    """Decompressed bytes, and where their stream begins in the file; in a plain file every piece is a stream."""

    stream: int
    data: bytes
    damage: str = ""  # instead of data: why the stream ends here


def cuts(file: InputFile) -> list[int]:
    """Ascending; the first is 0."""
    if is_gzip(file) or encoding(file):
        return [0]
    if not is_bzip2(file):
        return list(range(0, max(1, file.num_bytes), SPLIT_BYTES))
    path = index_of(file.path)
    found, index = [0], Index(path, file.num_bytes) if path else None
    with open(file.path, "rb") as raw:
        while (wanted := found[-1] + SPLIT_BYTES) < file.num_bytes:
            try:
                start = _listed(index, raw, wanted) if index else _next_stream(raw, wanted)
            except (ValueError, EOFError, OSError) as error:
                logger.warning("%s: its index is set aside and the streams are searched for: %s", file.name, error)
                index = None
                continue
            if start is None:
                break
            found.append(start)
    return found


def _listed(index: Index, raw: BinaryIO, wanted: int) -> int | None:
    """The first stream at or behind `wanted`, by the index; raises ValueError if the dump has it elsewhere."""
    listed, start = index.first(wanted), _next_stream(raw, wanted)
    if listed is None and start is not None and _next_stream(raw, start + 1) is None:
        return start  # the end of the dump, which no index lists
    if listed != start:
        raise ValueError(f"from byte {wanted} on it has the first stream at {listed}, the dump at {start}")
    return listed


def pieces(part: Range) -> Iterator[Piece]:
    """UTF-8, whatever the dump is in."""
    raw = _unpacked(part)
    if not (name := encoding(part.file)):
        yield from raw
        return
    decoder = codecs.getincrementaldecoder(name)("replace")
    for piece in raw:
        yield Piece(piece.stream, decoder.decode(piece.data).encode("utf-8", "replace"), piece.damage)


def encoding(file: InputFile) -> str:
    """ "utf-16" where the dump begins with its byte order mark, else "" for UTF-8."""
    for piece in _unpacked(Range(file, file.num_bytes)):
        if piece.data or piece.damage:
            return "utf-16" if piece.data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
    return ""


def is_bzip2(file: InputFile) -> bool:
    return _magic(file).startswith(b"BZh")


def is_gzip(file: InputFile) -> bool:
    return _magic(file).startswith(b"\x1f\x8b")


def _magic(file: InputFile) -> bytes:
    with open(file.path, "rb") as raw:
        return raw.read(3)


def _unpacked(part: Range) -> Iterator[Piece]:
    with open(part.file.path, "rb") as raw:
        raw.seek(part.start)
        if is_bzip2(part.file):
            yield from _bzip2(raw)
        elif is_gzip(part.file):
            yield from _gzip(raw)
        else:
            yield from _plain(raw, part.end)


def _plain(raw: BinaryIO, end: int | None) -> Iterator[Piece]:
    """A piece begins at `end`, as a compressed stream does."""
    at = raw.tell()
    while data := raw.read(min(PIECE_BYTES, end - at) if end is not None and at < end else PIECE_BYTES):
        yield Piece(at, data)
        at += len(data)


def _bzip2(raw: BinaryIO) -> Iterator[Piece]:
    stream, decoder, taken, made, in_damage = raw.tell(), bz2.BZ2Decompressor(), 0, 0, False
    given = raw.read(READ_BYTES)
    while given or not decoder.needs_input:
        try:
            data = decoder.decompress(given, PIECE_BYTES)
            taken, made = taken + len(given), made + len(data)
            if _is_bomb(taken, made):
                raise OSError(f"grows {made // taken} times, like a bomb")
        except OSError as error:
            if not in_damage:
                yield Piece(stream, b"", f"bzip2 stream at byte {stream}: {error}")
            following = _next_stream(raw, stream + 4)
            if following is None:
                return
            raw.seek(following)
            stream, decoder, taken, made, in_damage = following, bz2.BZ2Decompressor(), 0, 0, True
            given = raw.read(READ_BYTES)
            continue
        if data:
            yield Piece(stream, data)
            in_damage = False
        given = b""
        if decoder.eof:
            given = decoder.unused_data or raw.read(READ_BYTES)
            stream, decoder, taken, made = raw.tell() - len(given), bz2.BZ2Decompressor(), 0, 0
            if not given.strip(b"\0"):  # padding
                return
        elif decoder.needs_input:
            given = raw.read(READ_BYTES)
    if not in_damage:
        yield Piece(stream, b"", f"bzip2 stream at byte {stream}: the file ends inside it")


def _gzip(raw: BinaryIO) -> Iterator[Piece]:
    """Member by member, as `gzip` does, but what came before an error is kept."""
    member, decoder, taken, made = 0, zlib.decompressobj(31), 0, 0
    given = raw.read(READ_BYTES)
    while given:
        try:
            data = decoder.decompress(given, PIECE_BYTES)
        except zlib.error as error:
            yield Piece(member, b"", f"gzip member at byte {member}: {error}")
            return
        taken, made = taken + len(given) - len(decoder.unconsumed_tail), made + len(data)
        if _is_bomb(taken, made):
            yield Piece(member, b"", f"gzip member at byte {member}: grows {made // taken} times, like a bomb")
            return
        yield Piece(member, data)
        if decoder.eof:
            given = decoder.unused_data or raw.read(READ_BYTES)
            member, decoder, taken, made = raw.tell() - len(given), zlib.decompressobj(31), 0, 0
            if not given.strip(b"\0"):
                return
        else:
            given = decoder.unconsumed_tail or raw.read(READ_BYTES)
    yield Piece(member, decoder.flush())
    if not decoder.eof:
        yield Piece(member, b"", f"gzip member at byte {member}: the file ends inside it")


def _is_bomb(taken: int, made: int) -> bool:
    return made > BOMB_BYTES and made > BOMB_GROWTH * taken


def _next_stream(raw: BinaryIO, start: int) -> int | None:
    """Where the first bzip2 stream at or behind `start` begins."""
    raw.seek(start)
    window = b""
    while data := raw.read(2 * READ_BYTES):
        window = window[-_STREAM_BYTES + 1 :] + data
        if match := _STREAM.search(window):
            return raw.tell() - len(window) + match.start()
    return None
