"""Books (.txt, .html, .epub, gzipped or not; in folders or zip archives): one document per book or million characters.

1. file      -> books: itself, or the members of a zip archive
2. book      -> text: decoded; HTML without scripts and styles; EPUB in the order of its spine
3. text      -> without Project Gutenberg's licence, hard-wrapped lines joined (gutenberg.py)
4. long text -> cut at the last chapter heading or paragraph before `max_chars`: KEY, KEY#2, KEY#3, ...

The key is the file's path below the fixed part of its glob; of an archive's member "archive.zip/member".
Nothing is unpacked to disk, no XML with a DTD is read, and every member is read up to a limit, whatever its header
claims: an archive cannot fill the disk or the memory.

| reason         | kind    | when |
|----------------|---------|------|
| unknown_format | quality | neither .txt, .html, .epub nor .zip |
| no_text        | quality | no text is left of the book |
| encrypted      | error   | the archive member needs a password |
| too_large      | error   | more bytes than MAX_BOOK_BYTES when unpacked, or more members than MAX_MEMBERS |
| not_text       | error   | a .txt that is binary |
| damaged        | error   | the archive, or the member's checksum, is broken |
| broken_epub    | error   | container, package or a chapter is missing or not well-formed |
| failed         | error   | a library raised an exception over the book |
"""

import gzip
import posixpath
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.parse import unquote
from xml.etree import ElementTree

from pydantic import Field
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from pipeline.core.schema import Document, Rejected, document_id
from pipeline.sources.base import InputFile, Range, SourceConfig, broken, describe, failed, group, in_the_data, reject
from pipeline.sources.charset import decode
from pipeline.sources.gutenberg import find_title, join_lines, strip_licence

MAX_BOOK_BYTES = 128 << 20  # of a text or of all chapters of an EPUB; the longest novels have 12 MB
MAX_MEMBERS = 100_000
BOOKS = (".txt", ".text", ".html", ".htm", ".xhtml", ".epub")

_HEADING = re.compile(
    r"\n\n(?=(?:chapter|book|part|volume|canto|act|section|letter|stave)\s+(?:[ivxlcdm]+|\d+|the|one|two|three)\b"
    r"|[IVXLC]{1,7}\.?\n)",
    re.IGNORECASE,
)
_FRONT = {"titlepage", "imprint", "colophon", "copyright-page", "cover", "toc"}
_DOCTYPE = re.compile(r"<!DOCTYPE", re.IGNORECASE)
_EPUB_TYPE = re.compile(r'epub:type="([^"]*)"')
_BULLET = re.compile(r"^(\s*)[•◦▪‣] ", re.MULTILINE)


class Config(SourceConfig):
    """Books in plain text, HTML or EPUB."""

    paths: tuple[str, ...] = ("bookcorpus/**",)

    max_chars: int = Field(1_000_000, ge=1000)
    """Longer books are cut into several documents."""


class BadBook(Exception):
    """Why a book cannot be read: a reason of the table above, and the detail."""

    def __init__(self, reason: str, detail: object = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, str(detail)


@contextmanager
def damage_is_a_bad_book() -> Iterator[None]:
    """Over damaged bytes zipfile, gzip and the decompressors raise nearly anything, bare OSErrors too."""
    try:
        yield
    except Exception as error:
        if not in_the_data(error):
            raise
        raise BadBook("damaged", describe(error)) from error


def splits(config: SourceConfig, file: InputFile) -> list[Range]:
    if _suffix(file.name) != ".zip":
        return [Range(file, file.num_bytes)]
    try:
        with _open_archive(file.path) as archive:
            sizes = [member.compress_size for member in archive.infolist()[:MAX_MEMBERS]]
    except BadBook:
        sizes = []  # `read` reports it
    if not sizes:
        return [Range(file, file.num_bytes)]
    return [Range(file, sum(sizes[start:end]), start, end) for start, end in group(sizes)]


def read(config: SourceConfig, part: Range) -> Iterator[Document | Rejected]:
    section, file = cast(Config, config), part.file
    if _suffix(file.name) == ".zip":
        yield from _read_archive(section, part)
        return
    if file.num_bytes > MAX_BOOK_BYTES:
        yield broken(config, file.key, b"", "too_large", f"{file.num_bytes} bytes")
        return
    try:
        raw = _unpack(file) if file.name.lower().endswith(".gz") else file.path.read_bytes()
    except BadBook as error:
        yield broken(config, file.key, b"", error.reason, error.detail)
    else:
        yield from _read_book(section, file.key.removesuffix(".gz"), f"{file.name}:0", raw)


def _unpack(file: InputFile) -> bytes:
    with damage_is_a_bad_book(), gzip.open(file.path, "rb") as opened:
        data = opened.read(MAX_BOOK_BYTES + 1)
    if len(data) > MAX_BOOK_BYTES:
        raise BadBook("too_large", f"more than {MAX_BOOK_BYTES} bytes unpacked")
    return data


def _open_archive(file: Path | BytesIO) -> zipfile.ZipFile:
    with damage_is_a_bad_book():
        return zipfile.ZipFile(file)


def _read_archive(config: Config, part: Range) -> Iterator[Document | Rejected]:
    file = part.file
    try:
        archive = _open_archive(file.path)
    except BadBook as error:
        yield broken(config, file.key, b"", error.reason, error.detail)
        return
    with archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS and part.start == 0:
            yield broken(config, file.key, b"", "too_large", f"{len(members)} members, {MAX_MEMBERS} are read")
        for member in members[part.start : part.end]:
            if member.filename.endswith("/"):  # a folder; is_dir() stumbles over an empty name
                continue
            key = f"{file.key}/{member.filename}"
            try:
                raw = _read_member(archive, member)
            except BadBook as error:
                yield broken(config, key, b"", error.reason, error.detail)
            else:
                yield from _read_book(config, key, f"{file.name}:{member.header_offset}", raw)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int = MAX_BOOK_BYTES) -> bytes:
    """Never more than `limit` bytes: the size in a member's header may be a lie."""
    if member.flag_bits & 0x1:
        raise BadBook("encrypted", member.filename)
    with damage_is_a_bad_book(), archive.open(member) as opened:
        data = opened.read(limit + 1)
    if len(data) > limit:
        raise BadBook("too_large", f"{member.filename} unpacks to more than {limit} bytes")
    return data


def _read_book(config: Config, key: str, origin: str, raw: bytes) -> Iterator[Document | Rejected]:
    suffix = _suffix(key)
    if suffix not in BOOKS:
        yield reject(config, key, raw, "unknown_format", suffix or "no suffix")
        return
    try:
        title, text = _READERS.get(suffix, _read_html)(raw)
    except BadBook as error:
        yield broken(config, key, raw, error.reason, error.detail)
        return
    except Exception as error:  # noqa: BLE001  (one odd book costs one book)
        yield failed(config, key, raw, error, origin)
        return
    if not text.strip():
        yield reject(config, key, raw, "no_text")
        return
    title = title or PurePosixPath(key).stem.replace("_", " ")
    pieces = cut(text, config.max_chars)
    for number, piece in enumerate(pieces, start=1):
        name = key if number == 1 else f"{key}#{number}"
        meta = {"book": key, "part": f"{number}/{len(pieces)}"} if len(pieces) > 1 else {}
        yield Document(document_id(config.source, name, raw), config.source, name, origin, piece, title=title,
                       license=config.license, meta=meta)  # fmt: skip


def _read_text(raw: bytes) -> tuple[str, str]:
    text, charset = decode(raw)
    controls = sum(text.count(chr(code)) for code in (*range(9), *range(14, 27), 0xFFFD))
    if controls > 0.001 * len(text) + 1:
        raise BadBook("not_text", f"{controls} control characters in {len(text)}, read as {charset}")
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")
    return find_title(text), join_lines(strip_licence(text))


def _read_html(raw: bytes) -> tuple[str, str]:
    html, _ = decode(raw, html=True)
    tree = HTMLTree.parse(html)
    text = _chapter_text(tree)
    return find_title(text) or " ".join((tree.title or "").split()), strip_licence(text).strip()


def _chapter_text(tree: HTMLTree) -> str:
    """Blocks separated by blank lines; headings, list items and verse on lines of their own."""
    text = extract_plain_text(tree, preserve_formatting=True, alt_texts=False, list_bullets=True)
    return re.sub(r"\n\s*\n\s*", "\n\n", _BULLET.sub(r"\1- ", text)).strip()


def _read_epub(raw: bytes) -> tuple[str, str]:
    """Chapters in reading order, without cover, title page, table of contents and imprint."""
    with _open_archive(BytesIO(raw)) as archive:
        if len(archive.infolist()) > MAX_MEMBERS:
            raise BadBook("too_large", f"{len(archive.infolist())} members")
        title, chapters = _spine(archive)
        texts, room = [], MAX_BOOK_BYTES
        for name in chapters:
            data = _read_epub_member(archive, name, room)
            room -= len(data)
            html, _ = decode(data, html=True)
            types = _EPUB_TYPE.findall(html[:3000])
            if not any(_FRONT & set(found.split()) for found in types):
                texts.append(_chapter_text(HTMLTree.parse(html)))
    return title, strip_licence("\n\n".join(text for text in texts if text) + "\n").strip()


def _spine(archive: zipfile.ZipFile) -> tuple[str, list[str]]:
    """The book's title, and the names of its chapters in reading order."""
    container = _xml(_read_epub_member(archive, "META-INF/container.xml", 1 << 20))
    rootfile = container.find(".//{*}rootfile")
    package_name = rootfile.get("full-path", "") if rootfile is not None else ""
    package = _xml(_read_epub_member(archive, package_name, 16 << 20))
    items = {item.get("id"): item for item in package.iterfind("{*}manifest/{*}item")}
    chapters = []
    for reference in package.iterfind("{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None:
            raise BadBook("broken_epub", f"the spine names '{reference.get('idref')}', the manifest does not")
        if "nav" not in item.get("properties", "").split() and "html" in item.get("media-type", "html"):
            href = unquote(item.get("href", "").partition("#")[0])
            chapters.append(posixpath.normpath(posixpath.join(posixpath.dirname(package_name), href)))
    if not chapters:
        raise BadBook("broken_epub", "the spine is empty")
    return (package.findtext("{*}metadata/{http://purl.org/dc/elements/1.1/}title") or "").strip(), chapters


def _read_epub_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise BadBook("broken_epub", f"'{name}' is missing") from None
    return _read_member(archive, member, limit)


def _xml(raw: bytes) -> ElementTree.Element:
    """XML without a DTD: there is no entity to expand, and nothing to fetch."""
    text, _ = decode(raw)
    if _DOCTYPE.search(text):
        raise BadBook("broken_epub", "a DTD in container or package is not read")
    try:
        return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except ElementTree.ParseError as error:
        raise BadBook("broken_epub", error) from error


def cut(text: str, max_chars: int) -> list[str]:
    """Pieces of at most `max_chars`, at the last heading in the second half, else paragraph, line or word."""
    pieces = []
    while len(text) > max_chars:
        headings = [match.start() for match in _HEADING.finditer(text, max_chars // 2, max_chars)]
        at = headings[-1] if headings else text.rfind("\n\n", max_chars // 2, max_chars)
        for mark in ("\n", " "):
            at = at if at > 0 else text.rfind(mark, max_chars // 2, max_chars)
        at = at if at > 0 else max_chars
        pieces.append(text[:at].rstrip())
        text = text[at:].lstrip()
    return [*pieces, text]


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


_READERS = {".txt": _read_text, ".text": _read_text, ".epub": _read_epub}
