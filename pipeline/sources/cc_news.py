"""WARC, ARC and WET files of a news crawl to one document per page: its main text, without navigation.

1. file     -> records, in ranges of about 32 MB, whatever the packing                    warc.py, warc_packing.py
2. response -> status, type, charset, body un-chunked and decompressed                             http_response.py
3. body     -> text (BOM, UTF-8, header, <meta>, detection)                                        charset.py
4. page     -> title, date, language                                                               page.py
5. page     -> main text, by `extractor`                                                           main_text.py

Responses, resources and revisits of http(s) URLs are documents, and so are conversions (WET), whose text is taken as
it is; warcinfo, requests and metadata are not. The canonical URL is the key. `meta["page"]` is what captures of one
page share: they meet in the dedup stage, where the newest stays.

| reason      | kind    | when |
|-------------|---------|------|
| redirect    | quality | status 3xx |
| http_404    | quality | any other status than 200, by number |
| revisit     | quality | the page was as at the capture that the detail names: its text is there |
| segment     | quality | a part of a record that was written in several |
| not_html    | quality | the content type is not HTML, or the bytes do not look like it; a look-up of a name (dns:) |
| too_large   | quality | the record or the body is larger than MAX_BODY_BYTES |
| too_deep    | quality | elements are nested more than MAX_DEPTH deep |
| too_complex | error   | more tags, options or attributes than markup.py lets the parser see |
| no_text     | quality | no main text was found |
| not_http    | error   | the response record holds no HTTP response |
| truncated   | error   | the record is shorter than its header says, or reaches over the next |
| malformed   | error   | the record's header has no length, or one that is no number |
| bad_body    | error   | the body cannot be un-chunked or decompressed |
| damaged     | error   | bytes that are no record or cannot be decompressed: what lies around them is kept |
| failed      | error   | a library raised an exception over the page |
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from resiliparse.parse.html import HTMLTree

from pipeline.core.schema import Document, Kind, Rejected, document_id
from pipeline.sources.base import InputFile, Range, SourceConfig, broken, failed, placed, reject
from pipeline.sources.charset import decode
from pipeline.sources.markup import too_complex
from pipeline.sources.web import warc
from pipeline.sources.web.http_response import BadBody, parse_response
from pipeline.sources.web.main_text import MAX_DEPTH, MAX_TAGS, Extractor, affordable, is_too_deep, main_text
from pipeline.sources.web.page import read_about, without_title
from pipeline.sources.web.urls import canonical_url, page_key
from pipeline.sources.web.warc import Record

MAX_BODY_BYTES = 16 << 20

_OTHER_KINDS = ("warcinfo", "request", "metadata", "filedesc")  # they hold no page
_HTML_KINDS = ("text/html", "application/xhtml+xml")
_HTML = re.compile(rb"<(?:!doctype html|html|head|body)\b", re.IGNORECASE)
_WEB = ("http:", "https:")
_OTHER_SCHEME = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class Config(SourceConfig):
    """CC-News and other WARC, ARC and WET files."""

    paths: tuple[str, ...] = ("cc_news/**/*.warc*",)

    extractor: Extractor = "resiliparse"
    """resiliparse (fast), trafilatura, or best: both, reconciled. The slower two take about ten times as long and leave
    the very largest pages to resiliparse, which `meta["extractor"]` says then."""


def splits(config: SourceConfig, file: InputFile) -> list[Range]:
    return warc.splits(file)


def read(config: SourceConfig, part: Range) -> Iterator[Document | Rejected]:
    section, num_records = cast(Config, config), 0
    for record in warc.records(part):
        num_records += 1
        if _is_document(record):
            yield placed(_read_record(section, record), record.origin)
    if not num_records and part.start == 0:
        yield broken(config, part.file.name, b"", "damaged", f"{part.file.num_bytes} bytes without a WARC record")


def _is_document(record: Record) -> bool:
    """So is whatever was damaged: its loss has to be seen."""
    if record.error and record.error != "too_large":
        return True
    if record.kind in _OTHER_KINDS:
        return False
    return record.kind != "resource" or record.url.lower().startswith(_WEB)


def _read_record(config: Config, record: Record) -> Document | Rejected:
    key = canonical_url(record.url) or record.origin
    if record.error:
        kind: Kind = "quality" if record.error == "too_large" else "error"
        return _reject_record(config, record, key, record.error, f"{record.detail} in {record.origin}", kind)
    try:
        if record.kind == "conversion":
            return _read_text(config, record, key)
        if record.kind == "revisit":
            first = record.headers.get("warc-refers-to-target-uri", ""), record.headers.get("warc-refers-to-date", "")
            return _reject_record(config, record, key, "revisit", " ".join(first).strip() or record.origin)
        if record.kind == "continuation":
            return _reject_record(config, record, key, "segment", record.origin)
        return _read_response(config, record, key)
    except Exception as error:  # noqa: BLE001  (one odd page costs one page)
        return failed(config, key, record.block, error, record.origin)


def _reject_record(
    config: Config, record: Record, key: str, reason: str, detail: str, kind: Kind = "quality"
) -> Rejected:
    """Records without a page of their own have equal blocks, often none: the place in the file tells them apart."""
    verdict = reject(config, key, record.origin.encode() + record.block, reason, detail, kind)
    return replace(verdict, num_bytes=len(record.block))


def _read_text(config: Config, record: Record, key: str) -> Document | Rejected:
    text = decode(record.block)[0].strip()
    if not text:
        return reject(config, key, record.block, "no_text")
    return _document(config, record, key, text, date=record.date)


def _read_response(config: Config, record: Record, key: str) -> Document | Rejected:
    raw = record.block
    status, kind, charset, body = 200, record.content_type.partition(";")[0].strip().lower(), "", raw
    if record.kind == "response":
        try:
            response = parse_response(raw, MAX_BODY_BYTES)
        except BadBody as error:
            return broken(config, key, raw, "bad_body", f"{error} in {record.origin}")
        if response is None and _OTHER_SCHEME.match(record.url):  # Heritrix keeps a look-up of every host
            return reject(config, key, raw, "not_html", kind)
        if response is None:
            return broken(config, key, raw, "not_http", record.origin)
        status, kind, charset, body = response.status, response.content_type, response.charset, response.body
    if 300 <= status < 400:
        return reject(config, key, raw, "redirect", str(status))
    if status != 200:
        return reject(config, key, raw, f"http_{status}")
    if kind not in _HTML_KINDS if kind else not _HTML.search(body[:2000]):
        return reject(config, key, raw, "not_html", kind)
    if len(body) > MAX_BODY_BYTES:
        return reject(config, key, raw, "too_large", f"more than {MAX_BODY_BYTES} bytes")
    return _read_page(config, record, key, decode(body, charset, html=True)[0])


def _read_page(config: Config, record: Record, key: str, html: str) -> Document | Rejected:
    if why := too_complex(html, MAX_TAGS):
        return broken(config, key, record.block, "too_complex", f"{why} in {record.origin}")
    tree = HTMLTree.parse(html)
    if is_too_deep(tree):
        return reject(config, key, record.block, "too_deep", f"more than {MAX_DEPTH} elements")
    about = read_about(tree, html)
    extractor = affordable(html, config.extractor)
    text = without_title(main_text(tree, html, extractor), about)
    if not text:
        return reject(config, key, record.block, "no_text")
    document = _document(config, record, key, text, about.title, about.date or record.date, about.language)
    if extractor != config.extractor:
        document.meta["extractor"] = extractor
    return document


def _document(
    config: Config, record: Record, key: str, text: str, title: str = "", date: str = "", language: str = ""
) -> Document:
    said = {"crawled": record.date, "page": page_key(record.url), "html_lang": language}
    return Document(
        document_id(config.source, key, record.block), config.source, key, record.origin, text,
        url=canonical_url(record.url), title=title, date=date, license=config.license,
        meta={name: value for name, value in said.items() if value},
    )  # fmt: skip
