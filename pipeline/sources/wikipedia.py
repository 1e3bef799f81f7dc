"""MediaWiki XML dumps (plain, gzip, bzip2, bzip2 multistream; UTF-8 or UTF-16) to one document per article.

1. file    -> ranges of about 32 MB of the file: cut between bzip2 streams, or anywhere in plain XML (streams.py)
2. range   -> decompressed pieces, one decompressor per stream, each stream checked to its end
3. pieces  -> `<page>...</page>` with the newest revision; a page belongs to the range its tag begins in (pages.py)
4. page    -> title, namespace, wikitext, parsed alone: a malformed page costs one page
5. wikitext -> text (wikitext.py)

A page cannot carry a DTD, so no entity is ever expanded. A broken stream is one error; reading goes on at the next.
A page that occurs twice, in one dump or in two, is two records: splits do not know each other, and `dedup` does.
The index of a multistream dump is no dump: it is left out where a glob finds it, and read where its dump is.

| reason       | kind    | when |
|--------------|---------|------|
| redirect     | quality | the page only points to another |
| namespace    | quality | talk, user, template, ...: not an article |
| model        | quality | the content is not wikitext (JSON, CSS, Lua) |
| empty        | quality | no text is left of the page |
| malformed    | error   | the page is not well-formed XML |
| unclosed     | error   | the next page begins before this one ends, or the file ends |
| too_large    | error   | a page without an end, or more wikitext than MediaWiki would have stored |
| damaged      | error   | a compressed stream is truncated, fails its checksum or grows like a bomb |
| no_pages     | error   | the file holds no `<page>` at all |
| failed       | error   | a library raised an exception over the page |

`meta` says `page_id`, `revision_id`, `templates_dropped` (how many left a hole) and `dropped` (the most frequent of
them: "cite web 12, infobox river 1"); `rendered: flat` where an article has more markup than the parser may see.
"""

import html
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal
from urllib.parse import quote
from xml.etree import ElementTree

from pipeline.core.schema import Document, Rejected, document_id
from pipeline.sources.base import InputFile, Range, SourceConfig, broken, failed, placed, reject
from pipeline.sources.mediawiki import index
from pipeline.sources.mediawiki.nodes import Style
from pipeline.sources.mediawiki.pages import Span, spans
from pipeline.sources.mediawiki.site import Site, read_site, redirect_target
from pipeline.sources.mediawiki.streams import cuts, is_bzip2, is_gzip, pieces
from pipeline.sources.mediawiki.wikitext import Rendered, to_text

MAX_WIKITEXT_BYTES = 2 << 20  # MediaWiki's own limit ($wgMaxArticleSize) for a page
SHOWN_TEMPLATES = 8  # names of dropped templates in `meta`

_TITLE = re.compile(rb"<title>([^<]*)</title>")


class Config(SourceConfig):
    """Wikipedia and other MediaWiki dumps."""

    paths: tuple[str, ...] = ("wikipedia/*.xml*",)
    license: str = "CC-BY-SA-4.0"

    tables: Literal["drop", "lines"] = "drop"
    """Tables are left out, or written row by row, a line each, with " | " between the cells."""

    math: Literal["source", "drop"] = "source"
    """Formulas are written as their LaTeX source between dollars, or left out."""


def splits(config: SourceConfig, file: InputFile) -> list[Range]:
    if index.NAME.search(file.path.name):
        return []
    starts = cuts(file)
    return [
        Range(file, end - start, start, end if end < file.num_bytes else None)
        for start, end in pairwise([*starts, max(file.num_bytes, starts[-1] + 1)])
    ]


def read(config: SourceConfig, part: Range) -> Iterator[Document | Rejected]:
    assert isinstance(config, Config)
    site, compressed = read_site(part.file), is_bzip2(part.file) or is_gzip(part.file)
    num_spans = 0
    for span in spans(pieces(part), part.end):
        num_spans += 1
        place = f"{span.stream}+{span.offset}" if compressed else str(span.stream + span.offset)
        origin = f"{part.file.name}:{place}"
        try:
            record = _read_page(config, origin, site, span)
        except Exception as error:  # noqa: BLE001  (one odd page costs one page)
            record = failed(config, origin, span.data, error)
        yield placed(record, origin)
    if num_spans == 0 and part.start == 0 and part.end is None:
        yield broken(config, part.file.name, b"", "no_pages", f"{part.file.num_bytes} bytes without <page>")


def _read_page(config: Config, origin: str, site: Site, span: Span) -> Document | Rejected:
    named = _TITLE.search(span.data[:10_000])
    key = html.unescape(named[1].decode("utf-8", "replace")) if named else origin
    if span.error:
        return broken(config, key, span.data, span.error, f"{span.detail} in {origin}")
    try:
        page = ElementTree.fromstring(span.data)
    except ElementTree.ParseError as error:
        return broken(config, key, span.data, "malformed", f"{error} in {origin}")
    namespace = page.findtext("ns") or site.namespace_of(key)
    if namespace != "0":
        return reject(config, key, span.data, "namespace", namespace)
    revision = page.find("revision")
    if revision is None:
        return reject(config, key, span.data, "empty", "no revision")
    wikitext = revision.findtext("text") or ""
    if (element := page.find("redirect")) is not None:
        return reject(config, key, span.data, "redirect", element.get("title", ""))
    if not site.has_redirect_elements and (target := redirect_target(wikitext)):
        return reject(config, key, span.data, "redirect", target)
    if (model := revision.findtext("model") or "wikitext") != "wikitext":
        return reject(config, key, span.data, "model", model)
    if (num_bytes := len(wikitext.encode())) > MAX_WIKITEXT_BYTES:
        return broken(config, key, span.data, "too_large", f"{num_bytes} bytes of wikitext in {origin}")
    rendered = to_text(wikitext, Style(site.file_names, config.tables, config.math))
    if not rendered.text:
        return reject(config, key, span.data, "empty", f"{rendered.num_dropped} templates dropped")
    return Document(
        document_id(config.source, key, span.data), config.source, key, origin, rendered.text,
        url=site.base + quote(key.replace(" ", "_"), safe="/:(),!'*@;$~") if site.base else "",
        title=key, date=revision.findtext("timestamp", ""), license=config.license,
        meta={"page_id": page.findtext("id", ""), "revision_id": revision.findtext("id", ""), **_about(rendered)},
    )  # fmt: skip


def _about(rendered: Rendered) -> dict[str, str]:
    frequent = sorted(rendered.dropped.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_TEMPLATES]
    shown = {"dropped": ", ".join(f"{name[:60]} {number}" for name, number in frequent)} if frequent else {}
    flat = {"rendered": "flat"} if rendered.is_flat else {}
    return {"templates_dropped": str(rendered.num_dropped), **shown, **flat}
