"""HTTP responses as crawls keep them: coded, mis-declared, cut, or made to explode."""

import gzip
import io
import random
import time
import zlib

import pyarrow as pa
import pytest
from fastwarc.stream_io import BrotliWriter

from pipeline.sources.web.http_response import BadBody, Response, parse_response
from tests.sources.warcs import chunked, http

BODY = b"<html><p>" + b"a paragraph of the page " * 50
LIMIT = 1 << 20


def parse(*args: bytes | str, **kwargs: str) -> Response:
    response = parse_response(http(*args, **kwargs), LIMIT)  # type: ignore[arg-type]
    assert response is not None
    return response


def deflate(wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(BODY) + packer.flush()


def brotli(data: bytes) -> bytes:
    packed = io.BytesIO()
    with BrotliWriter(packed) as writer:
        writer.write(data)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("coded", "header"),
    [
        (BODY, "X-Nothing: 1"),
        (gzip.compress(BODY, mtime=0), "Content-Encoding: gzip"),
        (gzip.compress(BODY, mtime=0), "content-encoding:  X-GZIP"),
        (gzip.compress(BODY[:99], mtime=0) + gzip.compress(BODY[99:], mtime=0), "Content-Encoding: gzip"),
        (gzip.compress(BODY, mtime=0) + b"garbage", "Content-Encoding: gzip"),
        (deflate(15), "Content-Encoding: deflate"),
        (deflate(-15), "Content-Encoding: deflate"),
        (brotli(BODY), "Content-Encoding: br"),
        (pa.compress(BODY, codec="zstd", asbytes=True), "Content-Encoding: zstd"),
        (gzip.compress(deflate(15), mtime=0), "Content-Encoding: deflate, gzip"),
        (BODY, "Content-Encoding: gzip"),  # the crawler has decompressed it
        (BODY, "Content-Encoding: br"),
        (BODY, "Content-Encoding: x-unheard-of"),
        (BODY, "Transfer-Encoding: chunked"),  # and un-chunked it
        (chunked(BODY) + b"0\r\n\r\n", "Transfer-Encoding: chunked"),
        (chunked(BODY), "Transfer-Encoding: chunked"),  # no last chunk
        (chunked(gzip.compress(BODY, mtime=0)) + b"0\r\nX-Trailer: 1\r\n\r\n", "Transfer-Encoding: gzip, chunked"),
        (BODY, "Content-Length: 99999999"),  # what was kept is what counts
        (BODY, "Content-Length: 5"),
    ],
)
def test_bodies_are_decoded(coded: bytes, header: str) -> None:
    assert parse(coded, "200 OK", "text/html", header).body == BODY


def test_a_cut_body_gives_what_there_is() -> None:
    body = parse(gzip.compress(BODY * 50)[:-40], "200 OK", "text/html", "Content-Encoding: gzip").body
    assert (BODY * 50).startswith(body)
    assert body
    cut = parse(chunked(BODY)[:-30], "200 OK", "text/html", "Transfer-Encoding: chunked").body
    assert BODY.startswith(cut)
    assert len(cut) > len(BODY) // 2


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_cut_at_the_limit(coding: str) -> None:
    zeros = bytes(8 * LIMIT)
    packed = {"gzip": gzip.compress(zeros), "deflate": zlib.compress(zeros), "br": brotli(zeros),
              "zstd": pa.compress(zeros, codec="zstd", asbytes=True)}[coding]  # fmt: skip
    assert len(parse(packed, "200 OK", "text/html", f"Content-Encoding: {coding}").body) == LIMIT + 1


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_what_cannot_be_decompressed_is_refused(coding: str) -> None:
    with pytest.raises(BadBody, match=f"^{coding}: "):
        parse(b"\x1f\x8b\x08" + b"\xff" * 99, "200 OK", "text/html", f"Content-Encoding: {coding}")


@pytest.mark.parametrize("coding", ["gzip", "two members", "deflate", "br", "zstd"])
def test_a_body_that_is_damaged_further_on_is_refused(coding: str) -> None:
    """Not cut short as if the page ended there."""
    text = b"<html>" + random.Random(0).randbytes(300_000).hex().encode()
    packed = {"gzip": gzip.compress(text), "two members": gzip.compress(BODY) + gzip.compress(text),
              "deflate": zlib.compress(text), "br": brotli(text),
              "zstd": pa.compress(text, codec="zstd", asbytes=True)}[coding]  # fmt: skip
    middle = len(packed) // 2
    damaged = packed[:middle] + b"\xff" * 100_000 + packed[middle + 100_000 :]  # zstd without checksums finds no less
    name = "gzip" if coding == "two members" else coding
    told = "" if name in ("br", "zstd") else r"Error -3 .* after \d{6} bytes of text"
    with pytest.raises(BadBody, match=f"^{name}: {told}"):
        parse_response(http(damaged, "200 OK", "text/html", f"Content-Encoding: {name}"), 1 << 24)


def test_what_is_not_chunked_is_refused() -> None:
    with pytest.raises(BadBody, match=r"no chunk begins with b'\\xff\\xff"):
        parse(b"\xff" * 99, "200 OK", "text/html", "Transfer-Encoding: chunked")
    with pytest.raises(BadBody, match=r"^no chunk begins with b'\\xff\\xff.* after 990 bytes of the body$"):
        parse(chunked(BODY[:990]) + b"\xff" * 99, "200 OK", "text/html", "Transfer-Encoding: chunked")


def test_heads() -> None:
    assert parse(b"x", "404 Not Found", " Text/HTML ; Charset = 'UTF-8'") == Response(404, "text/html", "UTF-8", b"x")
    assert parse_response(b"HTTP/1.0 200 OK\nContent-Type: text/html\n\nx", LIMIT) == Response(
        200, "text/html", "", b"x"
    )
    assert parse_response(b"HTTP/2 200 \r\n\r\nx", LIMIT) == Response(200, "", "", b"x")
    assert parse_response(b"HTTP/1.1 200 OK\r\nno colon\r\n", LIMIT) == Response(200, "", "", b"")
    assert parse_response(b"HTTP/1.1 OK\r\n\r\nx", LIMIT) is None
    assert parse_response(b"<html>", LIMIT) is None


def test_very_many_members_take_linear_time() -> None:
    """Empty ones of 20 bytes: for a body of 16 MB the rest was copied 800,000 times."""

    def seconds(num_members: int) -> float:
        packed = gzip.compress(b"", 1) * num_members + gzip.compress(BODY)
        start = time.process_time()
        assert parse(packed, "200 OK", "text/html", "Content-Encoding: gzip").body == BODY
        return time.process_time() - start

    assert seconds(80_000) < 24 * max(seconds(10_000), 0.002)
