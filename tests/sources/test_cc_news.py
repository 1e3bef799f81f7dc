"""WARC files: which records become documents, what their text is, and what damage costs."""

import errno
import gzip
import shutil
import zipfile
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.parse.html import HTMLTree

from pipeline.sources import cc_news
from pipeline.sources.web.page import About
from pipeline.sources.web.urls import canonical_url
from tests.sources.reading import read_all, reasons
from tests.sources.warcs import STORY, chunked, html, http, member, record

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
    parts = RECORDS if packing == "plain" else [member(part) for part in RECORDS]
    (tmp_path / "a.warc").write_bytes(b"".join(parts))
    documents, rejected = read_all("cc_news", tmp_path)
    assert list(documents) == KEPT
    assert reasons(rejected) == REJECTED
    for document in documents.values():
        assert document.text.split("\n\n") == STORY
        assert (document.title, document.date) == ("Weir opened", "2026-01-14T06:00:00Z")
        page = document.key.removeprefix("http://")
        assert document.meta == {"crawled": "2026-01-15T00:00:00Z", "html_lang": "en-gb", "page": page}
    offset = sum(map(len, parts[:-1]))
    assert documents[KEPT[-1]].origin == f"a.warc:{offset}" + ("" if packing == "plain" else "+0")


@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura", "best"])
def test_hostile_pages_cost_no_more_than_themselves(extractor: str, tmp_path: Path) -> None:
    """Without bounds, each takes trafilatura or the parser minutes: a test that fails by not ending."""
    story = "".join(f"<p>{paragraph}</p>" for paragraph in STORY)
    pages = [
        f"<html><body>{hostile}".encode()
        for hostile in (story + "<p>" * 300_000, "<p " + " ".join(f"a{n}=b" for n in range(200_000)) + ">",
                        "<select>" + "<option>a" * 200_000, story + "<h1>a</h1>" * 20_000, "<div>" * 100_000)
    ]  # fmt: skip
    parts = [record(http(page), f"http://a.example/{number}") for number, page in enumerate(pages)]
    (tmp_path / "a.warc").write_bytes(b"".join([*parts, record(http(PAGE), "http://a.example/good")]))
    documents, rejected = read_all("cc_news", tmp_path, extractor=extractor)
    assert list(documents) == ["http://a.example/0", "http://a.example/3", "http://a.example/good"]
    assert reasons(rejected) == ["error:too_complex", "error:too_complex", "quality:too_deep"]
    assert documents["http://a.example/good"].text.split("\n\n") == STORY
    said = [document.meta.get("extractor", "") for document in documents.values()]
    assert said == (["", "", ""] if extractor == "resiliparse" else ["resiliparse", "resiliparse", ""])


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
    read_about = cc_news.read_about

    def break_at_odd(error: Exception) -> None:
        def broken(tree: HTMLTree, html: str) -> About:
            if "odd" in html:
                raise error
            return read_about(tree, html)

        monkeypatch.setattr(cc_news, "read_about", broken)

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
    parts = RECORDS if packing == "plain" else [member(part) for part in RECORDS]
    (tmp_path / "a.warc").write_bytes(b"".join(parts)[:-150])
    documents, rejected = read_all("cc_news", tmp_path)
    assert list(documents) == KEPT[:-1]
    assert len(reasons(rejected)) == len(REJECTED) + 1
    assert reasons(rejected)[-1] in ("error:truncated", "error:damaged")


def test_what_is_no_warc_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(b"this is no WARC file\n" * 10)
    (tmp_path / "b.warc").write_bytes(b"")
    assert reasons(read_all("cc_news", tmp_path)[1]) == ["error:damaged", "error:damaged"]


def test_other_records(tmp_path: Path) -> None:
    """Revisits are documents whose text is elsewhere; resources of the web are pages; WET is text as it is."""
    refers = "WARC-Refers-To-Target-URI: http://a.example/1\r\nWARC-Refers-To-Date: 2026-01-01T00:00:00Z\r\n"
    revisit = record(http(b""), "http://a.example/1", "revisit").replace(
        b"Content-Type:", refers.encode() + b"Content-Type:", 1
    )
    parts = [
        record(http(PAGE), "http://a.example/1"), revisit, revisit,
        record(PAGE, "http://a.example/2", "resource").replace(b"application/http; msgtype=resource", b"text/html"),
        record(b"--no-verbose", "metadata://gnu.org/wget.txt", "resource"),
        record(b"rest of a page", "http://a.example/3", "continuation"),
        record("Ein Text.\n\nUnd ein Absatz: \u00e4.".encode(), "http://a.example/4", "conversion"),
        record(b" \n", "http://a.example/5", "conversion"),
    ]  # fmt: skip
    (tmp_path / "a.warc.gz").write_bytes(b"".join(map(member, parts)))
    documents, rejected = read_all("cc_news", tmp_path)
    assert {key: document.text for key, document in documents.items()} == {
        "http://a.example/1": "\n\n".join(STORY), "http://a.example/2": "\n\n".join(STORY),
        "http://a.example/4": "Ein Text.\n\nUnd ein Absatz: \u00e4.",
    }  # fmt: skip
    assert reasons(rejected) == ["quality:revisit"] * 2 + ["quality:segment", "quality:no_text"]
    assert rejected[0].detail == "http://a.example/1 2026-01-01T00:00:00Z"


def test_name_look_ups_are_no_errors(tmp_path: Path) -> None:
    """Heritrix writes one for every host, in WARC and in ARC: counted as errors they would fail the stage."""
    answer = b"20140216050221\na.example. 300 IN A 192.0.2.1\n"
    look_up = record(answer, "dns:a.example").replace(b"application/http; msgtype=response", b"text/dns")
    (tmp_path / "a.warc").write_bytes(look_up + record(http(PAGE), "http://a.example/1"))
    (tmp_path / "b.arc").write_bytes(
        b"filedesc://b.arc 0.0.0.0 20140216050221 text/plain 2\n1\n\n"
        + b"dns:a.example 192.0.2.2 20140216050221 text/dns %d\n%s\n" % (len(answer), answer)
    )
    documents, rejected = read_all("cc_news", tmp_path)
    assert list(documents) == ["http://a.example/1"]
    assert [(row.kind, row.reason, row.detail) for row in rejected] == [("quality", "not_html", "text/dns")] * 2


def test_hostile_pages_cost_one_row_each(tmp_path: Path) -> None:
    deep = b"<div>" * 20_000 + b"<p>text</p>"
    bomb = gzip.compress(bytes(64 << 20))
    large = http(b"<html>" + b"<p>x" * (17 << 18))
    parts = [
        record(http(deep), "http://a.example/deep"),
        record(large, "http://a.example/large"),
        record(http(bomb, "200 OK", "text/html", "Content-Encoding: gzip"), "http://a.example/bomb"),
        record(http(b"<ul><li><b><i><a href=x>" * 5_000), "http://a.example/unclosed"),
        record(http(PAGE), "http://a.example/last"),
    ]
    (tmp_path / "a.warc.gz").write_bytes(b"".join(map(member, parts)))
    documents, rejected = read_all("cc_news", tmp_path)
    assert reasons(rejected) == [f"quality:{reason}" for reason in ("too_deep", "too_large", "too_large", "too_deep")]
    assert [one.detail for one in rejected[:3]] == [
        "more than 512 elements",
        f"{len(large)} bytes, {len(large)} passed over in a.warc.gz:{len(member(parts[0]))}+0",
        "more than 16777216 bytes",
    ]  # fmt: skip
    assert list(documents) == ["http://a.example/last"]


@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura", "best"])
def test_extractors(extractor: str, tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(record(http(PAGE), "http://a.example/1"))
    documents, rejected = read_all("cc_news", tmp_path, extractor=extractor)
    assert [document.text.split("\n\n") for document in documents.values()] == [STORY]
    assert rejected == []


@pytest.mark.real
def test_real_warcs(real_data: Path, tmp_path: Path) -> None:
    counted = {  # responses, documents: of the third, most pages are lists of links
        "CC-NEWS-REPACKED-trafilatura-dev.warc.gz": (645, 639),
        "dolma-sample-0000.warc.gz": (22, 22),
        "resiliparse-warcfile.warc.gz": (16, 9),
        "whirlwind.warc.gz": (1, 1),
    }
    for name, (responses, num_documents) in counted.items():
        documents, rejected = read_all("cc_news", real_data, f"news/{name}")
        assert len(documents) + len(rejected) == responses, name
        keys = [*documents, *(one.key for one in rejected)]
        assert {key for key in keys if key.startswith("http")} == _targets(real_data / "news" / name)
        assert len(documents) >= num_documents, (name, len(documents))
        assert not [reason for reason in reasons(rejected) if reason.startswith("error")], name
        assert all(document.text.strip() for document in documents.values())
    with zipfile.ZipFile(real_data / "news/warcio-edge-cases.zip") as archive:
        archive.extractall(tmp_path)
    found = {}
    for path in sorted(tmp_path.iterdir()):
        alone = tmp_path.parent / f"alone-{path.name}"
        alone.mkdir()
        shutil.copy(path, alone)
        documents, rejected = read_all("cc_news", alone)
        found[path.name] = [len(documents), *reasons(rejected)]
    assert found == {
        "bad.arc": [0, "error:malformed", "error:malformed", "error:not_http", "error:malformed"],
        "example-bad-non-chunked.warc.gz": [1, "quality:revisit"],
        "example-bad.warc.gz.bad": [1, "quality:revisit", "quality:redirect"],
        "example-digest.warc": [0],
        "example-iana.org-chunked.warc": [1],
        "example-resource.warc.gz": [1],
        "example-space-in-target-uri.warc.gz": [0],
        "example-space-in-url.arc": [0, "error:truncated"],
        "example-trunc.warc": [1, "error:damaged"],
        "example-wget-bad-target-uri.warc.gz": [1],
        "example-wrong-chunks.warc.gz": [1],
        "example.arc": [1],
        "example.arc.gz": [1],
        "example.warc": [1, "quality:revisit"],
        "example.warc.gz": [1, "quality:revisit"],
        "post-test.warc.gz": [0, "quality:not_html", "quality:not_html", "quality:not_html"],
    }


@pytest.mark.real
def test_wet_is_text_as_it_is(real_data: Path) -> None:
    documents, rejected = read_all("cc_news", real_data, "news/whirlwind.warc.wet.gz")
    (document,) = documents.values()
    assert document.text.startswith("Escopete - Biquipedia, a enciclopedia libre\n")
    assert rejected == read_all("cc_news", real_data, "news/whirlwind.warc.wat.gz")[1] == []


def _targets(path: Path) -> set[str]:
    """URLs of the responses, as another reader sees them."""
    with open(path, "rb") as file:
        records = ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=False)
        return {canonical_url(record.headers["WARC-Target-URI"].strip("<> ")) for record in records} - {""}
