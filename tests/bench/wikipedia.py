"""Wikitext to text against mwparserfromhell's own `strip_code`, on the same real pages."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import mwparserfromhell

from pipeline.sources.base import InputFile, Range
from pipeline.sources.mediawiki.pages import spans
from pipeline.sources.mediawiki.streams import pieces
from pipeline.sources.mediawiki.wikitext import to_text
from tests.bench.row import Row

DUMP = "wikipedia/enwiki-pages-articles1-shortened.xml.bz2"
NUM_PAGES, ROUNDS = 40, 3


def rows() -> Iterator[Row]:
    pages = _pages(Path(os.environ["PENSTOCK_TEST_DATA"]) / DUMP)
    num_mb = sum(len(page.encode()) for page in pages) / 1e6
    ours = min(_seconds(to_text, pages) for _ in range(ROUNDS))
    peer = min(_seconds(lambda page: mwparserfromhell.parse(page).strip_code(), pages) for _ in range(ROUNDS))
    detail = f"{num_mb / ours:.2f} against {num_mb / peer:.2f} MB/s, {num_mb:.1f} MB, best of {ROUNDS}"
    yield Row("wikitext to text", peer / ours, "x", 1.2, peer="mwparserfromhell strip_code", detail=detail)


def _pages(dump: Path) -> list[str]:
    """The first articles of the dump."""
    part = Range(InputFile(dump, dump.name, dump.name, dump.stat().st_size, 0), 0)
    texts = (ElementTree.fromstring(span.data).findtext("revision/text") or "" for span in spans(pieces(part), None))
    return [text for text in texts if len(text) > 1000][:NUM_PAGES]


def _seconds(function: Callable[[str], object], pages: list[str]) -> float:
    begin = time.process_time()
    for page in pages:
        function(page)
    return time.process_time() - begin
