"""The HTTP response that a crawl has kept: status, content type, charset, and the body as it was before transfer.

Bodies are un-chunked and decompressed (gzip, deflate, br, zstd, one after another) up to a limit, so that a bomb costs
no more than a page. What crawlers have written is not always what the header says: a body that is not chunked, or not
compressed, though the header says so, is taken as it stands if it begins like a page.
"""

import io
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from fastwarc.stream_io import BrotliReader, ZstdReader

from pipeline.sources.web.warc import parse_headers

STEP_BYTES = 256 << 10
GZIP = b"\x1f\x8b"
GIVEN_BYTES = 16 << 10  # of a body at a time: zlib copies what is behind the end of a member, and there may be many

_HEAD = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})\b[^\n]*\n(.*?)(?:\r?\n\r?\n|\Z)", re.DOTALL)
_NO_HEADERS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})\b[^\n]*\n\r?\n")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[^\r\n]{0,1000}\r?\n")
_TEXT = re.compile(rb"[\s\xef\xbb\xbf]*<[!?a-zA-Z]")


class BadBody(ValueError):
    """The body cannot be un-chunked or decompressed."""


@dataclass(frozen=True)
class Response:
    status: int
    content_type: str  # lower case, without parameters; "" if not given
    charset: str  # as declared; "" if not given
    body: bytes  # at most one byte more than the limit


def parse_response(raw: bytes, max_bytes: int) -> Response | None:
    """None when these bytes are no HTTP response; raises BadBody."""
    head = _NO_HEADERS.match(raw) or _HEAD.match(raw)
    if head is None:
        return None
    headers = parse_headers(head[2]) if head.re is _HEAD else {}
    kind = headers.get("content-type", "")
    charset = _CHARSET.search(kind)
    body = raw[head.end() :]
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _unchunk(body)
    codings = ",".join((headers.get("content-encoding", ""), headers.get("transfer-encoding", "")))
    body = _decompress(body, codings.lower(), max_bytes)
    return Response(int(head[1]), kind.partition(";")[0].strip().lower(), charset[1] if charset else "",
                    body[: max_bytes + 1])  # fmt: skip


def _unchunk(body: bytes) -> bytes:
    """Up to the last chunk of size 0, or to the end of what was kept."""
    chunks: list[bytes] = []
    at = 0
    while at < len(body):
        size = _CHUNK.match(body, at)
        if size is None:
            if chunks or not _TEXT.match(body):
                after = f" after {sum(map(len, chunks))} bytes of the body" * bool(chunks)
                raise BadBody(f"no chunk begins with {body[at : at + 20]!r}{after}")
            return body
        length = int(size[1], 16)
        if length == 0:
            break
        chunks.append(body[size.end() : size.end() + length])
        at = size.end() + length
        at += 2 if body.startswith(b"\r\n", at) else body.startswith(b"\n", at)
    return b"".join(chunks)


def _decompress(body: bytes, codings: str, max_bytes: int) -> bytes:
    """Undoes the codings, the last one first."""
    for coding in reversed([name.strip() for name in codings.split(",")]):
        decoder = _DECODERS.get(coding)
        if decoder is None or not body:  # identity, chunked, or one that nobody knows: the page will tell
            continue
        try:
            body = decoder(body, max_bytes)
        except (zlib.error, OSError) as error:
            if not _TEXT.match(body):
                raise BadBody(f"{coding}: {error}") from error
    return body


def _inflate(body: bytes, max_bytes: int) -> bytes:
    """gzip (several members too), zlib, or deflate without a header; what is behind it and no member is not read.

    A stream that was cut gives what there is; of a damaged one the rest cannot be told from text.
    """
    text = bytearray()
    at = 0
    while at < len(body) and len(text) <= max_bytes and (at == 0 or body.startswith(GZIP, at)):
        bare = body[at] != GZIP[0] and (body[at] & 15 != 8 or int.from_bytes(body[at : at + 2]) % 31)
        stream = zlib.decompressobj(-15 if bare else 47)
        while at < len(body) and not stream.eof and len(text) <= max_bytes:
            given = body[at : at + GIVEN_BYTES]
            try:
                text += stream.decompress(given, max_bytes + 1 - len(text))
            except zlib.error as error:
                raise zlib.error(f"{error} after {len(text)} bytes of text") from None
            at += len(given) - len(stream.unused_data)
    return bytes(text)


def _read_up(open_stream: Callable[[io.BytesIO], BrotliReader | ZstdReader]) -> Callable[[bytes, int], bytes]:
    def decode(body: bytes, max_bytes: int) -> bytes:
        stream, text = open_stream(io.BytesIO(body)), bytearray()
        while len(text) <= max_bytes and (data := stream.read(STEP_BYTES)):
            text += data
        return bytes(text)

    return decode


_DECODERS = {
    "gzip": _inflate, "x-gzip": _inflate, "deflate": _inflate, "br": _read_up(BrotliReader),
    "zstd": _read_up(ZstdReader),
}  # fmt: skip
