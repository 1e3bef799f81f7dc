"""WARC files of a news crawl (gzip or plain) to one document per page: its main text, without navigation.

1. file     -> records; what is not a response (warcinfo, request, metadata, revisit) holds no page
2. response -> status, type, length against the header (a truncated file ends *normally* for a WARC reader)
3. body     -> un-chunked and decompressed, decoded (BOM, UTF-8, header, <meta>, detection)
4. page     -> main text by resiliparse; title, date and language from the page's own metadata

A URL in canonical form is the key, so that captures of one page meet in the dedup stage.

| reason      | kind    | when |
|-------------|---------|------|
| redirect    | quality | status 3xx |
| http_404    | quality | any other status than 200, by number |
| not_html    | quality | the content type is not HTML |
| too_large   | quality | the body is larger than MAX_BODY_BYTES |
| no_text     | quality | no main text was found |
| not_http    | error   | the response record holds no HTTP response |
| truncated   | error   | the record is shorter than its header says |
| bad_body    | error   | the body cannot be un-chunked or decompressed |
| damaged     | error   | the file cannot be read further: what came before is kept |
| failed      | error   | a library raised an exception over the page |
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from pipeline.core.schema import Document, Rejected, document_id
from pipeline.sources.base import InputFile, Range, SourceConfig, broken, describe, failed, in_the_data, reject
from pipeline.sources.charset import decode

MAX_BODY_BYTES = 16 << 20
TRACKING = re.compile(r"^(?:utm_\w+|fbclid|gclid|dclid|msclkid|mc_[ce]id|igshid|ncid|cmpid|ocid|ref_src)$", re.I)

_PUBLISHED = (
    'meta[property="article:published_time"]', 'meta[itemprop="datePublished"]', 'meta[name="date"]',
    'meta[name="pubdate"]', 'meta[name="DC.date.issued"]', "time[datetime]",
)  # fmt: skip
_JSON_DATE = re.compile(r'"datePublished"\s*:\s*"([^"]{8,40})"')
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
_BULLET = re.compile(r"^(\s*)[•◦▪‣] ", re.MULTILINE)
_BLANKS = re.compile(r"\n[ \t]*\n\s*")


class Config(SourceConfig):
    """CC-News and other WARC files."""

    paths: tuple[str, ...] = ("cc_news/**/*.warc*",)


def splits(config: SourceConfig, file: InputFile) -> list[Range]:
    return [Range(file, file.num_bytes)]


def read(config: SourceConfig, part: Range) -> Iterator[Document | Rejected]:
    num_records = position = 0
    with open(part.file.path, "rb") as file:  # given a path, the reader would judge the packing by its suffix
        try:
            for record in ArchiveIterator(file, parse_http=False):
                num_records += 1
                position = record.stream_pos
                if record.record_type == WarcRecordType.response:
                    yield _read_record(config, part.file, record)
        except Exception as error:
            if not in_the_data(error):
                raise
            detail = f"after {num_records} records: {describe(error)}"
            yield broken(config, f"{part.file.name}:{position}", b"", "damaged", detail)
            return
    if not num_records:
        yield broken(config, part.file.name, b"", "damaged", f"{part.file.num_bytes} bytes without a WARC record")


def _read_record(config: SourceConfig, file: InputFile, record: WarcRecord) -> Document | Rejected:
    url = (record.headers.get("WARC-Target-URI") or "").strip().strip("<>")
    key, origin = canonical_url(url) or f"{file.name}:{record.stream_pos}", f"{file.name}:{record.stream_pos}"
    declared = record.content_length
    if declared > MAX_BODY_BYTES:
        return reject(config, key, b"", "too_large", f"{declared} bytes")
    raw = record.reader.read()
    if len(raw) != declared:
        return broken(config, key, raw, "truncated", f"{len(raw)} of {declared} bytes in {origin}")
    try:
        return _read_response(config, record, key, origin, url, raw)
    except Exception as error:  # noqa: BLE001  (one odd page costs one page)
        return failed(config, key, raw, error, origin)


def _read_response(
    config: SourceConfig, record: WarcRecord, key: str, origin: str, url: str, raw: bytes
) -> Document | Rejected:
    date = record.headers.get("WARC-Date") or ""
    try:
        status, kind, charset, body = _http_body(raw)
    except ValueError as error:
        return broken(config, key, raw, "bad_body", f"{error} in {origin}")
    if status is None:
        return broken(config, key, raw, "not_http", origin)
    if 300 <= status < 400:
        return reject(config, key, raw, "redirect", str(status))
    if status != 200:
        return reject(config, key, raw, f"http_{status}")
    if not _is_html(kind, body):
        return reject(config, key, raw, "not_html", kind)
    if len(body) > MAX_BODY_BYTES:
        return reject(config, key, raw, "too_large", f"{len(body)} bytes")
    page = read_page(decode(body, charset, html=True)[0])
    if not page["text"]:
        return reject(config, key, raw, "no_text")
    return Document(
        document_id(config.source, key, raw), config.source, key, origin, page["text"], url=url, title=page["title"],
        date=page["date"] or date, license=config.license,
        meta={"crawled": date} | ({"html_lang": page["language"]} if page["language"] else {}),
    )  # fmt: skip


def _http_body(raw: bytes) -> tuple[int | None, str, str, bytes]:
    """(status, content type, charset, decoded body) of an HTTP response; ValueError when the body is damaged."""
    if not raw.startswith(b"HTTP/"):
        return None, "", "", b""
    record = WarcRecord()
    record.init_headers(WarcRecordType.response, content_length=len(raw))
    record.is_http = True
    record.set_bytes_content(raw)
    try:
        record.parse_http(auto_decode="all")
        body = record.reader.read(MAX_BODY_BYTES + 1)
    except OSError as error:
        raise ValueError(str(error)) from error
    headers = record.http_headers
    return headers.status_code, (record.http_content_type or "").lower(), record.http_charset or "", body


def _is_html(kind: str, body: bytes) -> bool:
    if kind:
        return kind in ("text/html", "application/xhtml+xml")
    return bool(re.search(rb"<(?:!doctype html|html|head|body)\b", body[:2000], re.IGNORECASE))


def read_page(html: str) -> dict[str, str]:
    """`title`, `date`, `language` and main `text` of a page; each may be empty."""
    tree = HTMLTree.parse(html)
    title = _title(tree)
    text = extract_plain_text(tree, main_content=True, alt_texts=False, list_bullets=True, preserve_formatting=True)
    return {"title": title, "date": _published(tree, html), "language": _language(tree),
            "text": _without_title(_tidy(text), title, tree)}  # fmt: skip


def canonical_url(url: str) -> str:
    """Lower-case scheme and host, no default port, fragment or tracking parameter; "" for what is not a URL."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return ""
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https") or not host:
        return ""
    netloc = host if port in (None, {"http": 80, "https": 443}[scheme]) else f"{host}:{port}"
    query = parts.query
    if any(TRACKING.match(name) for name, _ in parse_qsl(query, keep_blank_values=True)):
        pairs = parse_qsl(query, keep_blank_values=True)
        query = urlencode([(name, value) for name, value in pairs if not TRACKING.match(name)])
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return urlunsplit((scheme, netloc, path, query, ""))


def _tidy(text: str) -> str:
    return _BLANKS.sub("\n\n", _BULLET.sub(r"\1- ", text)).strip()


def _without_title(text: str, title: str, tree: HTMLTree) -> str:
    """The headline stands in `title`; as for the other sources, it is not repeated in the text."""
    headings = {_squeeze(node.text) for node in _select(tree, "h1")} | {_squeeze(title)}
    first, _, rest = text.partition("\n")
    return rest.lstrip() if _squeeze(first) in headings else text


def _title(tree: HTMLTree) -> str:
    for query in ('meta[property="og:title"]', 'meta[name="twitter:title"]'):
        if content := _attribute(tree, query, "content"):
            return content
    headings = _select(tree, "h1")
    if len(headings) == 1 and (heading := _squeeze(headings[0].text, lower=False)):
        return heading
    return _squeeze(tree.title, lower=False)


def _published(tree: HTMLTree, html: str) -> str:
    for query in _PUBLISHED:
        found = _attribute(tree, query, "datetime" if query.startswith("time") else "content")
        if match := _DATE.match(found):
            return match[0]
    embedded = _JSON_DATE.search(html)
    match = _DATE.match(embedded[1]) if embedded else None
    return match[0] if match else ""


def _language(tree: HTMLTree) -> str:
    return _attribute(tree, "html", "lang").lower()


def _attribute(tree: HTMLTree, query: str, name: str) -> str:
    nodes = _select(tree, query)
    return _squeeze(nodes[0].getattr(name), lower=False) if nodes else ""


def _select(tree: HTMLTree, query: str) -> list[Any]:
    return list(tree.document.query_selector_all(query)) if tree.document is not None else []


def _squeeze(text: str | None, lower: bool = True) -> str:
    squeezed = " ".join((text or "").split())
    return squeezed.lower() if lower else squeezed
