"""News pages as WARC files, as a crawler writes them.

In:  items (key = URL). Out: two `CC-NEWS-...warc.gz`, one gzip member a record: a warcinfo, then for every page
its request, response and metadata; and a few responses that are no articles: a picture, a PDF, a redirect, a page
that was not found.

Format: WARC 1.0 (ISO 28500, https://iipc.github.io/warc-specifications/), HTTP/1.1 (RFC 9112). Pages are in the
charset of their time and country, named by the header, by a meta tag alone, or by a byte order mark; every fifth
body is chunked, every fourth compressed.
"""

import base64
import gzip
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from pipeline.sources.sample.records import Document, Item

WARC_NAMES = ("CC-NEWS-20260114060000-00001.warc.gz", "CC-NEWS-20260114070000-00002.warc.gz")
FIRST_DATE = datetime(2026, 1, 14, 6, tzinfo=UTC)
_AUTHORS = ("Mary Pelton", "Samuel Race", "Ilse Brook", "Noor Haddad", "Pavel Kolar", "Grace Odum")


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered: the entity as sent, and the headers that say how to read it."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def as_http(self) -> bytes:
        return http_head(f"HTTP/1.1 {self.status}", self.headers) + self.body


class WarcWriter:
    """Appends records to one file, each its own gzip member; ids and dates follow from the generator."""

    def __init__(self, path: Path, rng: Random, start: datetime) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        self._rng, self._date = rng, start
        info = f"software: penstock sample\r\nformat: WARC File Format 1.0\r\nisPartOf: {path.name[:22]}\r\n"
        self.write("warcinfo", "application/warc-fields", info.encode(), (("WARC-Filename", path.name),))

    def __enter__(self) -> "WarcWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, kind: str, media_type: str, block: bytes, headers: Sequence[tuple[str, str]] = ()) -> str:
        record_id = f"<urn:uuid:{uuid.UUID(int=self._rng.getrandbits(128), version=4)}>"
        head = http_head(
            "WARC/1.0",
            (
                ("WARC-Type", kind),
                ("WARC-Date", self._date.strftime("%Y-%m-%dT%H:%M:%SZ")),
                ("WARC-Record-ID", record_id),
                *headers,
                ("WARC-Block-Digest", digest(block)),
                ("Content-Type", media_type),
                ("Content-Length", str(len(block))),
            ),
        )
        self._file.write(gzip.compress(head + block + b"\r\n\r\n", compresslevel=6, mtime=0))
        return record_id

    def write_exchange(self, url: str, response: Response) -> None:
        """The response with its request and metadata, seven seconds after the exchange before."""
        self._date += timedelta(seconds=7)
        address = urlsplit(url)
        target = (("WARC-Target-URI", url), ("WARC-IP-Address", f"192.0.2.{self._rng.randint(1, 254)}"))
        request = http_head(
            f"GET {address.path} HTTP/1.1",
            (("Host", address.netloc), ("User-Agent", "CCBot/2.0"), ("Accept-Encoding", "gzip")),
        )
        request_id = self.write("request", "application/http; msgtype=request", request, target)
        response_id = self.write(
            "response",
            "application/http; msgtype=response",
            response.as_http(),
            (*target, ("WARC-Concurrent-To", request_id), ("WARC-Payload-Digest", digest(response.body))),
        )
        metadata = f"fetchTimeMs: {self._rng.randint(20, 900)}\r\n".encode()
        headers = (("WARC-Target-URI", url), ("WARC-Concurrent-To", response_id))
        self.write("metadata", "application/warc-fields", metadata, headers)


def write_warcs(folder: Path, items: Sequence[Item], rng: Random) -> None:
    middle = (len(items) + 1) // 2
    for number, name in enumerate(WARC_NAMES):
        part = items[number * middle : (number + 1) * middle]
        with WarcWriter(folder / name, rng, FIRST_DATE + timedelta(hours=number)) as warc:
            others = no_articles(part[0].key, number)
            for at, item in enumerate(part):
                warc.write_exchange(item.key, page_response(item, number * middle + at, rng))
                if at % 60 == 30 and others:
                    warc.write_exchange(*others.pop())


def http_head(first_line: str, headers: Sequence[tuple[str, str]]) -> bytes:
    return "\r\n".join([first_line, *(f"{name}: {value}" for name, value in headers), "", ""]).encode()


def digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode()


def no_articles(url: str, number: int) -> list[tuple[str, Response]]:
    """What a crawl brings home besides articles: a picture and a redirect in one file, a PDF and a 404 in the other."""
    site = url[: url.index("/", 8)]
    if number == 0:
        png = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
        moved = (("Content-Type", "text/html"), ("Location", f"{site}/news/"), ("Content-Length", "0"))
        return [
            (f"{site}/images/dam.png", Response("200 OK", (("Content-Type", "image/png"),), png)),
            (f"{site}/old-news", Response("301 Moved Permanently", moved, b"")),
        ]
    pdf = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
    missing = b"<html><body><h1>Not found</h1><p>The page that you asked for is not here.</p></body></html>"
    return [
        (f"{site}/files/report.pdf", Response("200 OK", (("Content-Type", "application/pdf"),), pdf)),
        (f"{site}/gone.html", Response("404 Not Found", (("Content-Type", "text/html; charset=utf-8"),), missing)),
    ]


def page_response(item: Item, number: int, rng: Random) -> Response:
    charset, is_in_header, is_in_meta = charset_of(item.document, number)
    meta = f'<meta charset="{charset}">' if is_in_meta else ""
    html = news_html(item.document, meta, number, rng)
    body = html.encode(charset, "xmlcharrefreplace")
    headers = [("Server", "nginx"), ("Content-Type", "text/html" + (f"; charset={charset}" if is_in_header else ""))]
    if item.is_broken or number % 4 == 1:
        body = gzip.compress(body, mtime=0)
        headers.append(("Content-Encoding", "gzip"))
    if item.is_broken:
        body = body[:10] + b"\xff" * 200  # a gzip header, then no deflate block type that exists
    elif number % 5 == 2:
        body = chunked(body)
        headers.append(("Transfer-Encoding", "chunked"))
    if ("Transfer-Encoding", "chunked") not in headers:
        headers.append(("Content-Length", str(len(body))))
    return Response("200 OK", tuple(headers), body)


def charset_of(document: Document, number: int) -> tuple[str, bool, bool]:
    """(charset, is it in the header, is it in a meta tag)."""
    if document.language == "ja":
        return "shift_jis", True, False
    if document.language == "ru":
        return "utf-16", False, False  # the byte order mark alone tells
    if document.language in ("de", "fr", "es"):
        return "windows-1252", False, True
    if number % 9 == 4:
        return "windows-1252", number % 2 == 0, number % 2 == 1
    if number % 9 == 7:
        return "iso-8859-1", True, False
    return "utf-8", True, number % 2 == 0


def chunked(body: bytes, size: int = 1500) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + b"0\r\n\r\n"


def news_html(document: Document, meta: str, number: int, rng: Random) -> str:
    """An article within the usual furniture, in one of two layouts: HTML5 elements, or classes on plain boxes."""
    headline = escape(document.title.partition(" (")[0])
    date = (FIRST_DATE - timedelta(days=number % 13)).strftime("%Y-%m-%dT08:%M:00Z")
    author = rng.choice(_AUTHORS)
    paragraphs = "\n".join(f"<p>{escape(text, quote=False)}</p>" for text in document.paragraphs)
    kinds = rng.choices(("Report", "Analysis", "In pictures", "Opinion"), k=4)
    days = rng.sample(range(1, 29), 4)
    related = "".join(
        f'<li><a href="/2026/01/{day:02}/">{kind}: day {day}</a></li>' for kind, day in zip(kinds, days, strict=True)
    )
    byline = (
        f'<p class="byline">By <a rel="author" href="/staff/{number}">{author}</a></p>'
        f'<time datetime="{date}">{date[:10]}</time>'
    )
    share = '<div class="share-buttons social"><a href="#">Share</a> <a href="#">Post</a> <a href="#">Mail</a></div>'
    if number % 2:
        story = (
            f'<main><article class="story">\n<header class="article-header"><h1>{headline}</h1>\n{byline}</header>\n'
            f'{share}\n<div class="article-body">\n{paragraphs}\n</div>\n'
            f'<aside class="related"><h2>Related stories</h2><ul>{related}</ul></aside>\n</article></main>'
        )
    else:
        story = (
            f'<div class="header article-header"><h1>{headline}</h1>\n{byline}\n{share}</div>\n'
            f'<div class="article-body" itemprop="articleBody">\n{paragraphs}\n</div>\n'
            f'<div class="sidebar related-links"><h3>Most read</h3><ul>{related}</ul></div>'
        )
    return (
        f'<!DOCTYPE html>\n<html lang="{document.language}"><head>{meta}<title>{headline} | The Courier</title>\n'
        f'<meta name="author" content="{author}"><meta property="og:type" content="article">\n'
        f'<meta property="article:published_time" content="{date}">\n'
        "<script>window.dataLayer = window.dataLayer || [];</script><style>body { margin: 0 }</style></head>\n<body>\n"
        '<div id="cookie-banner" class="cookie-consent" role="dialog"><p>We use cookies to improve your experience.</p>'
        '<button>Accept all</button></div>\n<header class="site-header"><a href="/">The Courier</a><nav><ul>'
        '<li><a href="/news">News</a></li><li><a href="/business">Business</a></li><li><a href="/sport">Sport</a></li>'
        f"</ul></nav></header>\n{story}\n"
        '<footer class="site-footer"><p>Copyright 2026 The Courier. All rights reserved.</p>'
        '<a href="/privacy">Privacy policy</a> <a href="/terms">Terms of use</a></footer>\n</body></html>\n'
    )
