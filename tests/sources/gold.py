"""Main text against gold: segments that have to be in the text of a page, and segments that must not."""

import gzip
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecordType

from pipeline.sources.charset import decode


@dataclass(frozen=True)
class GoldPage:
    html: str
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]


def gold_pages(real_data: Path) -> list[GoldPage]:
    """The 645 pages of trafilatura's development set, in its order."""
    with gzip.open(real_data / "news/trafilatura-gold-dev.json.gz", "rt", encoding="utf-8") as file:
        gold = json.load(file)
    with open(real_data / "news/CC-NEWS-REPACKED-trafilatura-dev.warc.gz", "rb") as warc:
        pages = {record.headers["WARC-Target-URI"].replace(" ", "%20"): decode(record.reader.read(), html=True)[0]
                 for record in ArchiveIterator(warc, record_types=WarcRecordType.response)}  # fmt: skip
    return [GoldPage(pages[url.replace(" ", "%20")], tuple(one["with"]), tuple(one["without"]))
            for url, one in gold.items()]  # fmt: skip


def f1(pages: Sequence[GoldPage], texts: Sequence[str]) -> float:
    """Of segments, over all pages: a wanted one that is there is a hit, an unwanted one that is there a false one.

    Compared as they are after the cleaning of Unicode: NFC, no soft hyphens, one kind of space.
    """
    hits = misses = false = 0
    for page, text in zip(pages, map(_plain, texts), strict=True):
        found = sum(_plain(segment) in text for segment in page.wanted)
        hits, misses = hits + found, misses + len(page.wanted) - found
        false += sum(_plain(segment) in text for segment in page.unwanted)
    return 2 * hits / (2 * hits + misses + false)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text.replace("\xad", "")).split())
