"""Books (.txt, .html, .epub, compressed or not; in folders, zip or tar): a document per book or million characters.

1. file      -> books: itself, or the members of an archive (archives.py)
2. book      -> text: decoded; HTML without scripts and styles (markup.py); EPUB in the order of its spine (epub.py)
3. text      -> without Project Gutenberg's licence (gutenberg.py), page numbers, contents, notes of the transcriber
                (apparatus.py); hard-wrapped lines joined
4. text      -> chapters, packed into documents of at most `max_chars`: KEY, KEY#2, KEY#3, ... (chapters.py)

The key is the file's path below the fixed part of its glob; of an archive's member "archive.zip/member". `meta` holds
`author` and `chapters` (their titles, a line each) where they are found, and of a book in several documents `book` (the
key of the first) and `part` ("2/3").

| reason         | kind    | when |
|----------------|---------|------|
| unknown_format | quality | neither .txt, .html, .epub nor an archive |
| not_a_file     | quality | the archive member is a link or a device |
| no_text        | quality | no text is left of the book |
| encrypted      | error   | the archive member needs a password, or the EPUB's chapters a key (DRM) |
| too_large      | error   | over MAX_BOOK_BYTES, MAX_TEXT_BYTES or MAX_LINES; more than archives.py, markup.py allow |
| not_text       | error   | a .txt that is binary |
| damaged        | error   | the archive, or the member's checksum, is broken |
| broken_epub    | error   | container, package or a chapter is missing or not well-formed |
| failed         | error   | a library raised an exception over the book |
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast

from pydantic import Field

from pipeline.core.schema import Document, Rejected, document_id
from pipeline.sources.base import InputFile, Range, SourceConfig, broken, failed, group, placed, reject
from pipeline.sources.books.apparatus import drop_contents, drop_illustrations, drop_notes, drop_page_marks
from pipeline.sources.books.archives import (
    MAX_BOOK_BYTES,
    MAX_MEMBERS,
    MAX_TEXT_BYTES,
    BadBook,
    members,
    open_zip,
    unpacked,
    within,
    zipped,
)
from pipeline.sources.books.chapters import find_chapters, pack, set_apart
from pipeline.sources.books.epub import read_epub
from pipeline.sources.books.gutenberg import find_facts, join_lines, normalise, strip_licence
from pipeline.sources.charset import decode
from pipeline.sources.markup import HEADING, html_to_text

ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
COMPRESSED = (".gz", ".bz2", ".xz")
MAX_LINES = 2_000_000  # each is looked at some ten times, alone; the longest books have 300,000


class Config(SourceConfig):
    """Books in plain text, HTML or EPUB."""

    paths: tuple[str, ...] = ("bookcorpus/**",)

    max_chars: int = Field(1_000_000, ge=1000)
    """Longer books are cut into several documents."""


@dataclass(frozen=True)
class Book:
    """`text` is whole: licence, contents and page numbers are in it still."""

    text: str
    title: str = ""
    author: str = ""
    is_typed: bool = False  # in lines of one length, with page numbers between them


def splits(config: SourceConfig, file: InputFile) -> list[Range]:
    """A zip may be divided by its directory; a tar has none."""
    sizes: list[int] = []
    if zipped(file.path):
        try:
            with open_zip(file.path) as archive:
                sizes = [member.compress_size for member in archive.infolist()[:MAX_MEMBERS]]
        except BadBook:
            pass  # `read` reports it
    if not sizes:
        return [Range(file, file.num_bytes)]
    return [Range(file, sum(sizes[start:end]), start, end) for start, end in group(sizes)]


def read(config: SourceConfig, part: Range) -> Iterator[Document | Rejected]:
    section, file = cast(Config, config), part.file
    if file.name.lower().endswith(ARCHIVES):
        yield from _read_archive(section, part)
        return
    key = file.key.removesuffix(_suffix(file.key)) if _suffix(file.key) in COMPRESSED else file.key
    try:
        if file.num_bytes > MAX_BOOK_BYTES:
            raise BadBook("too_large", f"{file.num_bytes} bytes, {MAX_BOOK_BYTES} are read")
        raw = unpacked(file.path)
    except BadBook as error:
        yield _refused(section, file.key, b"", error)
    else:
        origin = f"{file.name}:0"
        for record in _read_book(section, key, _suffix(key), origin, raw):
            yield placed(record, origin)


def _read_archive(config: Config, part: Range) -> Iterator[Document | Rejected]:
    file = part.file
    try:
        for member in members(file.path, part.start, part.end):
            key, origin = f"{file.key}/{member.key}", f"{file.name}:{member.offset}"
            if isinstance(member.data, BadBook):
                yield placed(_refused(config, key, member.offset.encode(), member.data), origin)
                continue
            for record in _read_book(config, key, _suffix(member.name), origin, member.data):
                yield placed(record, origin)
    except BadBook as error:
        yield _refused(config, file.key, b"", error)


def _refused(config: Config, key: str, raw: bytes, error: BadBook) -> Rejected:
    return (reject if error.reason == "not_a_file" else broken)(config, key, raw, error.reason, error.detail)


def _read_book(config: Config, key: str, suffix: str, origin: str, raw: bytes) -> Iterator[Document | Rejected]:
    if suffix not in READERS:
        yield reject(config, key, raw, "unknown_format", suffix or "no suffix")
        return
    try:
        book = READERS[suffix](raw if suffix == ".epub" else within(MAX_TEXT_BYTES, raw, key))
        pieces = pack(find_chapters(clean(book)), config.max_chars)
    except BadBook as error:
        yield _refused(config, key, raw, error)
        return
    except Exception as error:  # noqa: BLE001  (one odd book costs one book)
        yield failed(config, key, raw, error, origin)
        return
    if not pieces:
        yield reject(config, key, raw, "no_text")
        return
    title = book.title or PurePosixPath(key).stem.replace("_", " ")
    for number, piece in enumerate(pieces, start=1):
        name = key if number == 1 else f"{key}#{number}"
        meta = {"author": book.author, "chapters": "\n".join(piece.titles)}
        meta |= {"book": key, "part": f"{number}/{len(pieces)}"} if len(pieces) > 1 else {}
        yield Document(document_id(config.source, name, raw), config.source, name, origin, piece.text, title=title,
                       license=config.license, meta={fact: value for fact, value in meta.items() if value})  # fmt: skip


def clean(book: Book) -> str:
    """The author's words: paragraphs separated by blank lines. Raises BadBook."""
    if (num_lines := book.text.count("\n")) > MAX_LINES:
        raise BadBook("too_large", f"{num_lines} lines, {MAX_LINES} are read")
    text = strip_licence(drop_notes(drop_illustrations(book.text)))
    if book.is_typed:
        text = set_apart(drop_page_marks(text))
    text = drop_contents(text)
    return join_lines(text) if book.is_typed else text


def _read_text(raw: bytes) -> Book:
    text, charset = decode(raw)
    controls = sum(text.count(chr(code)) for code in (*range(9), *range(14, 27), 0xFFFD))
    if controls > 0.001 * len(text) + 1:
        raise BadBook("not_text", f"{controls} control characters in {len(text)}, read as {charset}")
    text = normalise(text.replace(HEADING, ""))
    return Book(text, *find_facts(text), is_typed=True)


def _read_html(raw: bytes) -> Book:
    html, _ = decode(raw, html=True)
    title, text = html_to_text(html)
    text = normalise(text)
    told, author = find_facts(text)
    return Book(text, told or title, author)


def _read_epub(raw: bytes) -> Book:
    epub = read_epub(raw)
    texts = [html_to_text(chapter)[1] for chapter in epub.chapters]
    return Book(normalise("\n\n".join(texts) + "\n"), epub.title, epub.author)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


READERS: dict[str, Callable[[bytes], Book]] = {
    ".txt": _read_text, ".text": _read_text, ".epub": _read_epub,
    ".html": _read_html, ".htm": _read_html, ".xhtml": _read_html,
}  # fmt: skip
