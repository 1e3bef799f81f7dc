"""Lines: a file, plain or compressed, or a byte range of a plain one, in; its lines, with their offsets, out.

A line belongs to the range in which its first byte lies, so ranges that cover a file give every line once. Memory is
bounded by MAX_LINE_BYTES: of a longer line the beginning is kept and the rest is skipped.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa

MAX_LINE_BYTES = 64 << 20
PIECE_BYTES = 1 << 20
DAMAGE = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)  # what a damaged stream raises


class Line(NamedTuple):
    offset: int  # in what the file decompresses to
    raw: bytes  # with its "\n"; cut at MAX_LINE_BYTES
    num_bytes: int  # uncut


def compression_of(path: Path) -> str:
    """How the file is packed, or written in another Unicode form than UTF-8, by its first bytes; "" for plain."""
    with open(path, "rb") as file:
        magic = file.read(6)
    return next((name for start, name in _MAGIC.items() if magic.startswith(start)), "")


def open_lines(path: Path) -> IO[bytes]:
    """The decompressed bytes, of any number of members or frames."""
    packed = compression_of(path)
    return cast(IO[bytes], _OPEN[packed](path) if packed else open(path, "rb"))


def read_lines(stream: IO[bytes], start: int = 0, end: int | None = None) -> Iterator[Line]:
    """The lines that begin in [start, end); raises one of DAMAGE where the stream cannot be read further."""
    offset = start
    if start:  # the line that is under way belongs to the range before, unless one ends right before `start`
        stream.seek(start - 1)
        offset += _skip_line(stream, end) - 1
    while end is None or offset < end:
        raw = stream.readline(MAX_LINE_BYTES)
        if not raw:
            return
        too_long = len(raw) == MAX_LINE_BYTES and raw[-1:] != b"\n"
        line = Line(offset, raw, len(raw) + (_skip_line(stream) if too_long else 0))
        yield line
        offset += line.num_bytes


def _skip_line(stream: IO[bytes], end: int | None = None) -> int:
    """Bytes up to and with the next "\\n", the end of the file, or (about) `end`."""
    size = 0
    while piece := stream.readline(PIECE_BYTES):
        size += len(piece)
        if piece.endswith(b"\n") or (end is not None and stream.tell() >= end):
            break
    return size


def _open_zstd(path: Path) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")))


class _Recoded(io.RawIOBase):
    """UTF-16 or UTF-32 with a byte order mark, as UTF-8; half a surrogate pair stays one, for the JSON reader."""

    def __init__(self, path: Path, charset: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  (closed with this stream)
        self._decoder = codecs.getincrementaldecoder(charset)("surrogatepass")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and (piece := self._file.read(PIECE_BYTES)):
            self._left = self._decoder.decode(piece).encode("utf-8", "surrogatepass")
        if not self._left:
            self._decoder.decode(b"", final=True)  # raises where the file ends inside a character
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_recoded(charset: str) -> Callable[[Path], IO[bytes]]:
    return lambda path: io.BufferedReader(_Recoded(path, charset), PIECE_BYTES)


_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd",
          codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",  # before UTF-16: one begins with the other
          codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
_OPEN: dict[str, Callable[[Path], Any]] = {
    "gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open, "zstd": _open_zstd,
    "utf-16": _open_recoded("utf-16"), "utf-32": _open_recoded("utf-32"),
}  # fmt: skip
