"""The index beside a multistream dump: which page is in which bzip2 stream.

In:  the dump's path. Wikimedia's names: "x-multistream.xml.bz2" has "x-multistream-index.txt.bz2", and
     "x-multistream1.xml-p1p41242.bz2" has "x-multistream-index1.txt-p1p41242.bz2"; unpacked ones are read too.
     Lines "offset of the stream:page id:title", ascending; the head of the dump and its end are not listed.
Out: `Index.first(byte)`: the first stream at or behind a byte, in ascending order of questions.

It is read as far as it is asked, piece by piece: what is held of it is one piece, however many lines there are.
Nothing it says is sure: it may be of another dump. What cannot be an index is a ValueError.
"""

import bz2
import re
from collections.abc import Iterator
from pathlib import Path

READ_BYTES = 256 << 10
MAX_GROWTH = 4  # times the dump, unpacked: an index has some 50 bytes a page

NAME = re.compile(r"-multistream-index\d*\.txt")

_DUMP = re.compile(r"-multistream(\d*)\.xml(?P<pages>-p\d+p\d+)?\.bz2$")
_LINE = re.compile(rb"^(\d{1,18}):\d{1,18}:", re.MULTILINE)


def index_of(dump: Path) -> Path | None:
    """Where it lies, if it is there."""
    packed = _DUMP.sub(r"-multistream-index\1.txt\g<pages>.bz2", dump.name)
    names = (packed, packed.removesuffix(".bz2")) if packed != dump.name else ()
    return next((dump.with_name(name) for name in names if dump.with_name(name).is_file()), None)


class Index:
    def __init__(self, path: Path, dump_bytes: int) -> None:
        self._pieces = _pieces(path, READ_BYTES + MAX_GROWTH * dump_bytes)
        self._lines, self._last = b"", -1

    def first(self, byte: int) -> int | None:
        """None: it lists no stream there. Raises ValueError or OSError over what is no index."""
        while self._last < byte:
            lines = next(self._pieces, b"")
            if not lines:
                return None
            last = _LINE.match(lines, lines.rfind(b"\n", 0, -1) + 1)
            if not last:
                raise ValueError(f"no 'offset:page:title' in {lines[-80:]!r}")
            self._lines, self._last = lines, int(last[1])
        return next(offset for line in _LINE.finditer(self._lines) if (offset := int(line[1])) >= byte)


def _pieces(path: Path, max_bytes: int) -> Iterator[bytes]:
    """Whole lines, some thousands at a time."""
    with open(path, "rb") as raw, bz2.open(raw) if path.suffix == ".bz2" else raw as index:
        rest, taken = b"", 0
        while data := index.read(READ_BYTES):
            taken += len(data)
            if taken > max_bytes:
                raise ValueError(f"more than {max_bytes} bytes of index")
            lines, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                yield lines + newline
            elif len(rest) > READ_BYTES:
                raise ValueError(f"a line of more than {READ_BYTES} bytes")
        if rest:
            yield rest
