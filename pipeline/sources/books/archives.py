"""Members of an archive, one at a time: zip; tar, plain or through gzip, bzip2 or xz. Nothing is unpacked to disk.

    for member in members(path, start, end):     # a zip by its directory, from any member on; a tar from its beginning
        member.data                              # bytes, or the BadBook that says why there are none

What an archive claims is not believed: a member is read up to MAX_BOOK_BYTES, the directory of a zip up to
MAX_DIRECTORY_BYTES, and headers of a tar up to MAX_HEADER_BYTES each. A name with "../" is a name and no more.
`BadBook` raised while iterating ends the archive: what came before it is whole.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from pipeline.sources.base import describe, in_the_data

MAX_BOOK_BYTES = 64 << 20  # of a book as it lies there, an EPUB with its pictures
MAX_TEXT_BYTES = 32 << 20  # of a text or of all chapters of an EPUB, four times that with an emoji; novels have 12 MB
MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 16 << 20  # 100,000 members with names of a hundred letters; zipfile holds it all in memory
MAX_HEADER_BYTES = 1 << 20  # tarfile holds long names and pax records in memory
MAX_SKIP_BYTES = 16 << 30  # a member of a tar that is too large to read has to be passed through
UNPACK: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


class BadBook(Exception):
    """Why a book or an archive cannot be read: a reason of the table in bookcorpus.py, and the detail."""

    def __init__(self, reason: str, detail: object = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, str(detail)


@dataclass(frozen=True)
class Member:
    """A file of an archive. `key` is its name, told apart ("a.txt (2)") where the archive holds the name twice."""

    name: str
    key: str
    offset: str  # where it begins: "B" in the file, "0+B" in what decompresses from it
    data: bytes | BadBook


@contextmanager
def damage_is_a_bad_book() -> Iterator[None]:
    """Over damaged bytes zipfile, tarfile and the decompressors raise nearly anything, bare OSErrors too."""
    try:
        yield
    except BadBook:
        raise
    except Exception as error:
        if not in_the_data(error):
            raise
        raise BadBook("damaged", describe(error)) from error


def unpacked(path: Path) -> bytes:
    """A file, decompressed where it is compressed; raises BadBook."""
    with damage_is_a_bad_book(), open_packed(path) as file:
        data = file.read(MAX_BOOK_BYTES + 1)
    return within(MAX_BOOK_BYTES, data, path.name)


def open_packed(path: Path) -> IO[bytes]:
    """By how the file begins, whatever its name."""
    with open(path, "rb") as file:
        head = file.read(6)
    opener = next((opener for magic, opener in UNPACK.items() if head.startswith(magic)), open)
    return cast(IO[bytes], opener(path, "rb"))


def members(path: Path, start: int = 0, end: int | None = None) -> Iterator[Member]:
    if zipped(path):
        yield from _zip_members(path, start, end)
    else:
        yield from _tar_members(path)


def zipped(path: Path) -> bool:
    """A zip ends with its directory; what precedes its first member may be anything."""
    return path.suffix.lower() == ".zip"


def open_zip(file: Path | io.BytesIO) -> zipfile.ZipFile:
    with damage_is_a_bad_book():
        size = _directory_bytes(file)
        if size > MAX_DIRECTORY_BYTES:
            raise BadBook("too_large", f"a directory of {size} bytes, {MAX_DIRECTORY_BYTES} are read")
        return zipfile.ZipFile(file)


def read_zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Never more than `limit` bytes: the size in a member's header may be a lie."""
    if member.flag_bits & 0x1:
        raise BadBook("encrypted", member.filename)
    with damage_is_a_bad_book(), archive.open(member) as opened:
        data = opened.read(limit + 1)
    return within(limit, data, member.filename)


def _directory_bytes(file: Path | io.BytesIO) -> int:
    """Size of a zip's directory: zipfile reads that much, and builds ten times as much. Which record says so, zipfile
    itself is asked, though by a private name: a comment, or a record of zip64, fools whoever looks in another way."""
    with open(file, "rb") if isinstance(file, Path) else io.BytesIO(file.getbuffer()) as raw:
        end = vars(zipfile)["_EndRecData"](raw)
    return int(end[vars(zipfile)["_ECD_SIZE"]]) if end else 0


def _zip_members(path: Path, start: int, end: int | None) -> Iterator[Member]:
    with open_zip(path) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_MEMBERS and start == 0:
            yield Member("", "", "0", BadBook("too_large", f"{len(entries)} members, {MAX_MEMBERS} are read"))
        copies = Counter(entry.filename for entry in entries[:start])
        for entry in entries[start:end]:
            if entry.filename.endswith("/"):  # a folder; is_dir() stumbles over an empty name
                continue
            data: bytes | BadBook
            try:
                data = read_zip_member(archive, entry, MAX_BOOK_BYTES)
            except BadBook as error:
                data = error
            yield Member(entry.filename, _key(entry.filename, copies), str(entry.header_offset), data)


class _Metered:
    """A stream for tarfile that may read `left` bytes more.

    It reads as much as there is: `read` would lose up to 10 kB of members before a place that cannot be decompressed.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.left = MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        data: bytes = self.stream.read1(size)
        self.left -= len(data)
        if self.left < 0:
            raise BadBook("too_large", f"headers of more than {MAX_HEADER_BYTES} bytes")
        return data


class _Header(tarfile.TarInfo):
    """A header that tarfile cannot read ends its archive without a word: here it is an error."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> "_Header":
        if not buf:
            raise BadBook("damaged", "the archive ends without its end mark")
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf):  # the end mark
                raise
            raise BadBook("damaged", describe(error)) from error


def _tar_members(path: Path) -> Iterator[Member]:
    copies: Counter[str] = Counter()
    with damage_is_a_bad_book(), open_packed(path) as packed:
        metered = _Metered(packed)
        prefix = "" if isinstance(packed, io.BufferedReader) else "0+"
        with tarfile.open(fileobj=cast(Any, metered), mode="r|", tarinfo=_Header) as archive:
            for number, entry in enumerate(archive):
                if number == MAX_MEMBERS:
                    raise BadBook("too_large", f"more than {MAX_MEMBERS} members")
                if entry.size > MAX_SKIP_BYTES:
                    raise BadBook("too_large", f"{entry.name} has {entry.size} bytes, what follows it is not read")
                metered.left = MAX_HEADER_BYTES + entry.size
                if not entry.isdir():
                    yield Member(entry.name, _key(entry.name, copies), f"{prefix}{entry.offset}",
                                 _tar_content(archive, entry))  # fmt: skip
        while metered.read(MAX_HEADER_BYTES):  # behind the end mark: up to the checksum of what it is packed in
            metered.left = MAX_HEADER_BYTES


def _tar_content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes | BadBook:
    """Raises BadBook where the archive is at fault: then there is no way to the next member."""
    if not entry.isreg():
        return BadBook("not_a_file", "a link or a device")
    if entry.size > MAX_BOOK_BYTES:
        return BadBook("too_large", f"{entry.name} has {entry.size} bytes, {MAX_BOOK_BYTES} are read")
    opened = archive.extractfile(entry)
    assert opened is not None, "of a regular file"
    return opened.read()


def _key(name: str, copies: Counter[str]) -> str:
    copies[name] += 1
    return f"{name} ({copies[name]})" if copies[name] > 1 else name


def within(limit: int, data: bytes, name: str) -> bytes:
    if len(data) > limit:
        raise BadBook("too_large", f"{name} unpacks to more than {limit} bytes")
    return data
