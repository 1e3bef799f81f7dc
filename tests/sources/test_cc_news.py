"""WARC files: which records become documents, what their text is, and what damage costs."""

import errno
import gzip
import shutil
import zipfile
from pathlib import Path

import pytest

from pipeline.sources import cc_news
from pipeline.sources.cc_news import canonical_url
from tests.sources.reading import read_all, reasons

STORY = [
    "The old weir above the town mill was opened for the first time in eleven years on Friday, after a winter in which "
    "the river had risen twice above the level that the council calls alarming.",
    "“We had no choice”, said the miller, who is 61 years old and has looked after the sluice since his father died. "
    "“If the gate had not moved, the water would have taken the bridge.”",
    "Engineers will look at the foundations in March. Until then the footpath along the east bank remains closed.",
]


def html(title: str = "Weir opened", meta: str = "") -> str:
    story = "".join(f"<p>{paragraph}</p>" for paragraph in STORY)
    return (
        f"<!DOCTYPE html><html lang='en-GB'><head>{meta}<title>{title} | The Courier</title>"
        "<meta property='article:published_time' content='2026-01-14T06:00:00Z'><script>var x = '<p>no</p>';</script>"
        "</head><body><nav><ul><li><a href='/'>Home</a></li><li><a href='/sport'>Sport</a></li></ul></nav>"
        f"<article><h1>{title}</h1>{story}</article><footer>Imprint</footer></body></html>"
    )


def http(body: bytes, status: str = "200 OK", kind: str = "text/html; charset=utf-8", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 99]), body[at : at + 99]) for at in range(0, len(body), 99))


def record(block: bytes, url: str, kind: str = "response", length: int | None = None) -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:0>\r\nWARC-Date: 2026-01-15T00:00:00Z\r\n"
        f"WARC-Target-URI: {url}\r\nContent-Type: application/http; msgtype={kind}\r\n"
        f"Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


PAGE = html().encode()
RECORDS = [
    record(b"software: test\r\n", "x", "warcinfo"),
    record(b"GET / HTTP/1.1\r\n\r\n", "http://a.example/1", "request"),
    record(http(PAGE), "http://A.example:80/1?utm_source=x&id=7#top"),
    record(http(chunked(gzip.compress(PAGE, mtime=0)) + b"0\r\n\r\n", "200 OK", "text/html",
                "Content-Encoding: gzip", "Transfer-Encoding: chunked"), "http://a.example/2"),
    record(http(html(meta="<meta charset='windows-1252'>").encode("cp1252"), kind="text/html"), "http://a.example/3"),
    record(http(html().encode("utf-16"), kind="text/html"), "http://a.example/4"),
    record(http(b"", "301 Moved", "text/html", "Location: /x"), "http://a.example/5"),
    record(http(PAGE, "404 Not Found"), "http://a.example/6"),
    record(http(b"%PDF", kind="application/pdf"), "http://a.example/7"),
    record(http(b"<html><body></body></html>"), "http://a.example/8"),
    record(b"no http at all", "http://a.example/9"),
    record(http(gzip.compress(PAGE)[:10] + b"\xff" * 200, "200 OK", "text/html", "Content-Encoding: gzip"),
           "http://a.example/10"),
    record(http(PAGE), "http://a.example/11"),
]  # fmt: skip
KEPT = ["http://a.example/1?id=7", *(f"http://a.example/{number}" for number in (2, 3, 4, 11))]
REJECTED = [
    "quality:redirect", "quality:http_404", "quality:not_html", "quality:no_text", "error:not_http", "error:bad_body"
]  # fmt: skip


@pytest.mark.parametrize("packing", ["plain", "gz"])
def test_every_response_has_one_verdict(packing: str, tmp_path: Path) -> None:
    parts = RECORDS if packing == "plain" else [gzip.compress(part, mtime=0) for part in RECORDS]
    (tmp_path / "a.warc").write_bytes(b"".join(parts))
    documents, rejected = read_all("cc_news", tmp_path)
    assert list(documents) == KEPT
    assert reasons(rejected) == REJECTED
    for document in documents.values():
        assert document.text.split("\n\n") == STORY
        assert (document.title, document.date) == ("Weir opened", "2026-01-14T06:00:00Z")
        assert document.meta == {"crawled": "2026-01-15T00:00:00Z", "html_lang": "en-gb"}
    offset = int(documents[KEPT[-1]].origin.partition(":")[2])
    assert offset == sum(map(len, parts[:-1]))


@pytest.mark.parametrize("charset", ["undefined", "unicode_escape", "raw_unicode_escape", "idna", "punycode", "base64"])
def test_a_codec_that_is_no_charset_is_not_used(charset: str, tmp_path: Path) -> None:
    body = html(meta=f"<meta charset='{charset}'><meta name=x content='\\ud83d'>").encode("cp1252")
    (tmp_path / "a.warc").write_bytes(
        record(http(body, "200 OK", f"text/html; charset={charset}"), "http://a.example/")
    )
    documents, rejected = read_all("cc_news", tmp_path)
    assert [document.text.split("\n\n") for document in documents.values()] == [STORY]
    assert rejected == []


def test_a_page_that_breaks_a_library_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the exception, unless it is not the page's fault: a missing library, memory, the disk."""
    pages = [record(http(html(title).encode()), f"http://a.example/{title}") for title in ("one", "odd", "two")]
    (tmp_path / "a.warc").write_bytes(b"".join(pages))
    read_page = cc_news.read_page

    def break_at_odd(error: Exception) -> None:
        def broken(html: str) -> dict[str, str]:
            if "odd" in html:
                raise error
            return read_page(html)

        monkeypatch.setattr(cc_news, "read_page", broken)

    for error in (KeyError("x"), RecursionError("too deep"), OSError("no number")):
        break_at_odd(error)
        documents, rejected = read_all("cc_news", tmp_path)
        assert list(documents) == ["http://a.example/one", "http://a.example/two"]
        assert reasons(rejected) == ["error:failed"]
        assert rejected[0].key == "http://a.example/odd"
        assert rejected[0].detail == f"{type(error).__name__}: {error} in a.warc:{len(pages[0])}"
    for error in (ImportError("lxml"), MemoryError(), OSError(errno.EIO, "Input/output error")):
        break_at_odd(error)
        with pytest.raises(type(error)):
            read_all("cc_news", tmp_path)


@pytest.mark.parametrize("packing", ["plain", "gz"])
def test_a_truncated_file_keeps_its_whole_records(packing: str, tmp_path: Path) -> None:
    parts = RECORDS if packing == "plain" else [gzip.compress(part, mtime=0) for part in RECORDS]
    (tmp_path / "a.warc").write_bytes(b"".join(parts)[:-150])
    documents, rejected = read_all("cc_news", tmp_path)
    assert list(documents) == KEPT[:-1]
    assert len(reasons(rejected)) == len(REJECTED) + 1
    assert reasons(rejected)[-1] in ("error:truncated", "error:damaged")


def test_what_is_no_warc_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(b"this is no WARC file\n" * 10)
    (tmp_path / "b.warc").write_bytes(b"")
    assert reasons(read_all("cc_news", tmp_path)[1]) == ["error:damaged", "error:damaged"]


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.COM:80", "http://example.com/"),
        ("https://example.com:443/a b?x=1&utm_medium=y&fbclid=z#frag", "https://example.com/a%20b?x=1"),
        ("https://example.com:8443/%7Ea?b=&a=1", "https://example.com:8443/%7Ea?b=&a=1"),
        ("ftp://example.com/", ""),
        ("http://[broken", ""),
        ("", ""),
    ],
)
def test_canonical_url(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical
    assert canonical_url(canonical) == canonical


@pytest.mark.real
def test_real_warcs(real_data: Path, tmp_path: Path) -> None:
    counted = {
        "CC-NEWS-REPACKED-trafilatura-dev.warc.gz": 645,
        "dolma-sample-0000.warc.gz": 22,
        "resiliparse-warcfile.warc.gz": 16,
        "whirlwind.warc.gz": 1,
    }
    for name, responses in counted.items():
        documents, rejected = read_all("cc_news", real_data, f"news/{name}")
        assert len(documents) + len(rejected) == responses, name
        assert len(documents) >= 0.98 * responses, name
        assert not [reason for reason in reasons(rejected) if reason.startswith("error")], name
        assert all(document.text.strip() for document in documents.values())
    with zipfile.ZipFile(real_data / "news/warcio-edge-cases.zip") as archive:
        archive.extractall(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        alone = tmp_path.parent / f"alone-{path.name}"
        alone.mkdir()
        shutil.copy(path, alone)
        documents, rejected = read_all("cc_news", alone)
        errors = [reason for reason in reasons(rejected) if reason.startswith("error")]
        is_broken = ".arc" in path.name or path.name == "example-trunc.warc"  # ARC is not read yet
        assert len(errors) == is_broken, path.name
