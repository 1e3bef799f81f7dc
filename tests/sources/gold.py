"""Main text against gold: segments that have to be in the text of a page, and segments that must not."""

import gzip
import json
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from fastwarc.warc import ArchiveIterator, WarcRecordType

from pipeline.sources.charset import decode

SHINGLE = 4  # words


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


@dataclass(frozen=True)
class ReferencePage:
    html: str
    text: str
    """What newspaper3k, or goose3, extracted: not human gold, and of goose3 the beginning only."""


def newspaper_pages(real_data: Path) -> list[ReferencePage]:
    """Those of newspaper3k's tests with a text of 25 words: shorter ones are its failures."""
    with zipfile.ZipFile(real_data / "news/newspaper3k-tests.zip") as tests:
        found = {name: tests.read(f"text/{name}.txt").decode() for path in tests.namelist()
                 if path.endswith(".html") and (name := Path(path).stem)}  # fmt: skip
        return [ReferencePage(decode(tests.read(f"html/{name}.html"), html=True)[0], text)
                for name, text in found.items() if len(text.split()) >= 25]  # fmt: skip


def goose_pages(real_data: Path) -> list[ReferencePage]:
    """Those of goose3's tests that have a page."""
    with zipfile.ZipFile(real_data / "news/goose3-content-tests.zip") as tests:
        pages = [Path(path).stem for path in tests.namelist() if path.endswith(".html")]
        texts = [json.loads(tests.read(f"{page}.json"))["expected"].get("cleaned_text", "") for page in pages]
        return [ReferencePage(decode(tests.read(f"{page}.html"), html=True)[0], text)
                for page, text in zip(pages, texts, strict=True) if len(text.split()) >= SHINGLE]  # fmt: skip


def shingle_scores(pages: Sequence[ReferencePage], texts: Sequence[str]) -> tuple[float, float, float]:
    """(F1, precision, recall) of runs of SHINGLE words, the mean over the pages."""
    scores = []
    for page, text in zip(pages, texts, strict=True):
        wanted, found = _shingles(page.text), _shingles(text)
        hits = (wanted & found).total()
        scores.append((2 * hits / (wanted.total() + found.total() or 1), hits / (found.total() or 1),
                       hits / (wanted.total() or 1)))  # fmt: skip
    f1s, precisions, recalls = zip(*scores, strict=True)
    return fmean(f1s), fmean(precisions), fmean(recalls)


def _shingles(text: str) -> Counter[tuple[str, ...]]:
    words = _plain(text).split()
    return Counter(zip(*(words[at:] for at in range(SHINGLE)), strict=False))
