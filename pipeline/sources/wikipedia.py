"""MediaWiki XML dumps (plain, gzip, bzip2, bzip2 multistream; UTF-8 or UTF-16) to one document per article.

1. file    -> ranges of whole bzip2 streams, about 32 MB compressed, found by their magic number; other files whole
2. range   -> decompressed pieces, one decompressor per stream, each stream checked to its end
3. pieces  -> `<page>...</page>` spans; a page belongs to the range in which its tag begins
4. span    -> title, namespace, newest revision, parsed alone: a malformed page costs one page
5. wikitext -> text (wikitext.py)

A span cannot carry a DTD, so no entity is ever expanded. A broken stream is one error; reading goes on at the next.

| reason       | kind    | when |
|--------------|---------|------|
| redirect     | quality | the page only points to another |
| namespace    | quality | talk, user, template, ...: not an article |
| model        | quality | the content is not wikitext (JSON, CSS, Lua) |
| empty        | quality | no text is left of the page |
| malformed    | error   | the page is not well-formed XML |
| unclosed     | error   | the next page begins before this one ends, or the file ends |
| too_large    | error   | more than MAX_PAGE_BYTES without an end |
| damaged      | error   | a compressed stream is truncated or its checksum is wrong |
| no_pages     | error   | the file holds no `<page>` at all |
| failed       | error   | a library raised an exception over the page |
"""

import bz2
import codecs
import html
import mmap
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote
from xml.etree import ElementTree

from pipeline.core.schema import Document, Rejected, document_id
from pipeline.sources.base import InputFile, Range, SourceConfig, broken, failed, group, reject
from pipeline.sources.wikitext import FileNames, to_text

MAX_PAGE_BYTES = 64 << 20  # MediaWiki allows 2 MB of wikitext; a page of a full-history dump has many revisions
PIECE_BYTES = 256 << 10
HEAD_BYTES = 1 << 20  # where <siteinfo> has to end
FILE_NAMESPACES = ("-2", "6", "14")  # Media, File, Category

_STREAM = re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)")  # a stream with blocks, or an empty one
_OPEN, _CLOSE = b"<page>", b"</page>"
_TITLE = re.compile(rb"<title>([^<]*)</title>")


class Config(SourceConfig):
    """Wikipedia and other MediaWiki dumps."""

    paths: tuple[str, ...] = ("wikipedia/*.xml*",)
    license: str = "CC-BY-SA-4.0"


@dataclass(frozen=True)
class Piece:
    """Decompressed bytes, and where their stream begins in the file."""

    stream: int
    data: bytes
    damage: str = ""  # instead of data: why the stream ends here


@dataclass(frozen=True)
class Span:
    """The raw bytes of a page, UTF-8, or the reason why there is none."""

    stream: int
    offset: int  # in the decompressed stream
    data: bytes
    error: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Site:
    """What the dump's head says about the wiki."""

    base: str
    names: FileNames


def splits(config: SourceConfig, file: InputFile) -> list[Range]:
    if not _is_bzip2(file) or _encoding(file):
        return [Range(file, file.num_bytes)]
    with open(file.path, "rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
        starts = [match.start() for match in _STREAM.finditer(data)] or [0]
    ends = [*starts[1:], file.num_bytes]
    sizes = [end - start for start, end in zip(starts, ends, strict=True)]
    return [
        Range(file, ends[last - 1] - starts[first], 0 if first == 0 else starts[first],
              None if last == len(starts) else ends[last - 1])
        for first, last in group(sizes)
    ]  # fmt: skip


def read(config: SourceConfig, part: Range) -> Iterator[Document | Rejected]:
    site, compressed = _read_site(part.file), _is_bzip2(part.file) or _is_gzip(part.file)
    num_spans = 0
    for span in _spans(_pieces(part), part.end):
        num_spans += 1
        offset = f"{span.stream}+{span.offset}" if compressed else str(span.offset)
        origin = f"{part.file.name}:{offset}"
        try:
            yield _read_page(config, origin, site, span)
        except Exception as error:  # noqa: BLE001  (one odd page costs one page)
            yield failed(config, origin, span.data, error)
    if num_spans == 0 and part.start == 0 and part.end is None:
        yield broken(config, part.file.name, b"", "no_pages", f"{part.file.num_bytes} bytes without <page>")


def _read_page(config: SourceConfig, origin: str, site: Site, span: Span) -> Document | Rejected:
    named = _TITLE.search(span.data[:10_000])
    key = html.unescape(named[1].decode("utf-8", "replace")) if named else origin
    if span.error:
        return broken(config, key, span.data, span.error, f"{span.detail} in {origin}")
    try:
        page = ElementTree.fromstring(span.data)
    except ElementTree.ParseError as error:
        return broken(config, key, span.data, "malformed", f"{error} in {origin}")
    revision = max(page.findall("revision"), key=lambda one: one.findtext("timestamp", ""), default=None)
    wikitext = revision.findtext("text") if revision is not None else None
    namespace, model = page.findtext("ns", "0"), "wikitext"
    if revision is not None:
        model = revision.findtext("model") or model
    if namespace != "0":
        return reject(config, key, span.data, "namespace", namespace)
    if (target := page.find("redirect")) is not None:
        return reject(config, key, span.data, "redirect", target.get("title", ""))
    if model != "wikitext":
        return reject(config, key, span.data, "model", model)
    rendered = to_text(wikitext or "", site.names)
    if not rendered.text:
        return reject(config, key, span.data, "empty", f"{rendered.num_templates_dropped} templates dropped")
    assert revision is not None
    return Document(
        document_id(config.source, key, span.data), config.source, key, origin, rendered.text,
        url=site.base + quote(key.replace(" ", "_"), safe="/:(),!'*@;$~") if site.base else "",
        title=key, date=revision.findtext("timestamp", ""), license=config.license,
        meta={"page_id": page.findtext("id", ""), "revision_id": revision.findtext("id", ""),
              "templates_dropped": str(rendered.num_templates_dropped)},
    )  # fmt: skip


def _spans(pieces: Iterator[Piece], end: int | None) -> Iterator[Span]:
    """Pages whose tag begins in a stream before byte `end` of the file; the last may run on into later streams."""
    buffer, base = b"", 0  # base: decompressed bytes before the buffer
    streams: list[tuple[int, int]] = []  # (decompressed position, position in the file) of the streams in the buffer
    limit: int | None = None  # decompressed position where the range ends

    def place(at: int) -> tuple[int, int]:
        while len(streams) > 1 and streams[1][0] <= at:
            del streams[0]
        return streams[0][1], at - streams[0][0]

    for piece in pieces:
        if not streams or streams[-1][1] != piece.stream:
            streams.append((base + len(buffer), piece.stream))
            if end is not None and piece.stream >= end and limit is None:
                limit = base + len(buffer)
        if piece.damage:
            if limit is None or buffer.startswith(_OPEN):  # else it belongs to the next range
                yield Span(piece.stream, 0, b"", "damaged", piece.damage)
            base, buffer = base + len(buffer), b""
            streams.clear()
            if limit is not None:
                return
            continue
        buffer += piece.data
        while True:
            start = buffer.find(_OPEN)
            if start < 0:
                start = max(0, len(buffer) - len(_OPEN) + 1)  # the tag may be cut
            base, buffer = base + start, buffer[start:]
            if limit is not None and base >= limit:
                return
            if not buffer.startswith(_OPEN):
                break
            close, following = buffer.find(_CLOSE), buffer.find(_OPEN, 1)
            if 0 <= following < close or (close < 0 <= following):
                yield Span(*place(base), buffer[:following], "unclosed", "the next page begins before its end")
                base, buffer = base + following, buffer[following:]
            elif close >= 0:
                yield Span(*place(base), buffer[: close + len(_CLOSE)])
                base, buffer = base + close + len(_CLOSE), buffer[close + len(_CLOSE) :]
            elif len(buffer) > MAX_PAGE_BYTES:
                yield Span(*place(base), buffer[:10_000], "too_large", f"more than {MAX_PAGE_BYTES} bytes")
                base, buffer = base + len(_OPEN), buffer[len(_OPEN) :]
            else:
                break
    if buffer.startswith(_OPEN):
        yield Span(*place(base), buffer, "unclosed", "the file ends before its end")


def _pieces(part: Range) -> Iterator[Piece]:
    """UTF-8, whatever the dump is in."""
    raw = _unpacked(part)
    encoding = _encoding(part.file)
    if not encoding:
        yield from raw
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in raw:
        yield Piece(piece.stream, decoder.decode(piece.data).encode("utf-8", "replace"), piece.damage)


def _unpacked(part: Range) -> Iterator[Piece]:
    if _is_bzip2(part.file):
        yield from _bzip2(part.file, part.start)
    elif _is_gzip(part.file):
        yield from _gzip(part.file)
    else:
        with open(part.file.path, "rb") as raw:
            while data := raw.read(PIECE_BYTES):
                yield Piece(0, data)


def _bzip2(file: InputFile, start: int) -> Iterator[Piece]:
    """Stream by stream: `bz2.decompress` takes an error after the first stream for the end of the file."""
    with open(file.path, "rb") as raw:
        raw.seek(start)
        stream, decoder, data = start, bz2.BZ2Decompressor(), b""
        while data := data or raw.read(PIECE_BYTES):
            try:
                yield Piece(stream, decoder.decompress(data))
            except OSError as error:
                yield Piece(stream, b"", f"bzip2 stream at byte {stream}: {error}")
                following = _next_stream(file, stream + 4)
                if following is None:
                    return
                raw.seek(following)
                stream, decoder, data = following, bz2.BZ2Decompressor(), b""
                continue
            data = b""
            if decoder.eof:
                data = decoder.unused_data or raw.read(PIECE_BYTES)
                stream, decoder = raw.tell() - len(data), bz2.BZ2Decompressor()
                if not data.strip(b"\0"):  # padding
                    return
        yield Piece(stream, b"", f"bzip2 stream at byte {stream}: the file ends inside it")


def _next_stream(file: InputFile, start: int) -> int | None:
    with open(file.path, "rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
        match = _STREAM.search(data, start)
    return match.start() if match else None


def _gzip(file: InputFile) -> Iterator[Piece]:
    """Member by member, as `gzip` does, but what came before an error is kept."""
    with open(file.path, "rb") as raw:
        member, decoder, data = 0, zlib.decompressobj(31), b""
        while data := data or raw.read(PIECE_BYTES):
            try:
                yield Piece(member, decoder.decompress(data))
            except zlib.error as error:
                yield Piece(member, b"", f"gzip member at byte {member}: {error}")
                return
            data = b""
            if decoder.eof:
                data = decoder.unused_data or raw.read(PIECE_BYTES)
                member, decoder = raw.tell() - len(data), zlib.decompressobj(31)
                if not data.strip(b"\0"):
                    return
        yield Piece(member, b"", f"gzip member at byte {member}: the file ends inside it")


def _head(file: InputFile) -> bytes:
    """The beginning of the decompressed file, with the site's facts; shorter where it cannot be read."""
    head = b""
    for piece in _unpacked(Range(file, file.num_bytes)):
        head += piece.data
        if piece.damage or len(head) >= HEAD_BYTES or b"</siteinfo>" in head:
            break
    return head[:HEAD_BYTES]


def _read_site(file: InputFile) -> Site:
    text = _head(file).decode(_encoding(file) or "utf-8", "replace")
    text = text.partition("</siteinfo>")[0] if "</siteinfo>" in text else ""
    base = re.search(r"<base>([^<]*)/[^</]*</base>", text)
    names = {"file", "image", "media", "category"}
    for key, name in re.findall(r'<namespace key="(-?\d+)"[^>]*>([^<]+)</namespace>', text):
        if key in FILE_NAMESPACES:
            names.add(html.unescape(name).lower())
    return Site(html.unescape(base[1]) + "/" if base else "", FileNames(frozenset(names)))


def _encoding(file: InputFile) -> str:
    """ "utf-16" where the dump begins with its byte order mark, else "" for UTF-8."""
    for piece in _unpacked(Range(file, file.num_bytes)):
        if piece.data or piece.damage:
            return "utf-16" if piece.data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
    return ""


def _is_bzip2(file: InputFile) -> bool:
    return _magic(file).startswith(b"BZh")


def _is_gzip(file: InputFile) -> bool:
    return _magic(file).startswith(b"\x1f\x8b")


def _magic(file: InputFile) -> bytes:
    with open(file.path, "rb") as raw:
        return raw.read(3)
