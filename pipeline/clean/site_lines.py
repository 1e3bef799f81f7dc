"""Lines that a site repeats on page after page: menus, footers, "about the author". Removed wherever they stand, so
that no order plays a part.

1. survey  per split: for each page (a document with a URL), its host and its different lines, as one 64-bit hash each;
           the hashes and how many pages had them -> one sorted file
2. merge   the splits' counts are added; kept are those of `min_pages` or more -> one sorted table
3. judge   a line goes when at least `min_pages` pages of its host, and `min_share` of them, have it

| edit       | when |
|------------|------|
| site_lines | at least one line was removed |

A line is compared without the white space around it; a line without a letter or digit is never removed. The survey
sees the documents as they reach this filter. In memory: one split's hashes, a slice of the merge (SLICE_ROWS), and the
table, whose size is what sites repeat: 12 bytes for every `min_pages` lines of the corpus, at most.

Source: what is repeated within a site is navigation (Pomikálek 2011, "Removing boilerplate and duplicate content from
web corpora"; CCNet removes such paragraphs per shard, arXiv 1911.00359). The thresholds are ours.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import xxhash
from pydantic import Field

from pipeline.clean.characters import Array
from pipeline.clean.verdict import Filter, Replace, Verdict
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

ROW = np.dtype([("hash", "<u8"), ("pages", "<u4")])
SLICE_ROWS = 1 << 24
_SOLID = re.compile(r"[^\W_]")
_BLANKS = re.compile(r"\n{3,}")


class Config(PluginConfig):
    """Lines of a site."""

    name: str = "site_lines"
    min_pages: int = Field(10, ge=2)
    """Pages of one host that must have a line."""
    min_share: float = Field(0.01, ge=0, le=1)
    """Share of the host's pages that must have it."""


def survey(config: Config, documents: Iterable[Document], path: Path) -> None:
    """Step 1, of one split."""
    counts: dict[int, int] = {}
    for document in documents:
        if host := host_of(document.url):
            for hash in {hash_line(host, ""), *(hash_line(host, line) for line in _solid_lines(document.text))}:
                counts[hash] = counts.get(hash, 0) + 1
    rows = np.fromiter(counts.items(), dtype=ROW, count=len(counts))
    _save(path, np.sort(rows, order="hash"))


def merge(config: Config, paths: Sequence[Path], out: Path) -> None:
    """Step 2: slice by slice of the hashes, so that memory does not grow with the corpus."""
    tables = [np.load(path, mmap_mode="r") for path in paths]
    num_slices = 1 + sum(map(len, tables)) // SLICE_ROWS
    bounds = [number * 2**64 // num_slices for number in range(1, num_slices)]
    cuts = [[0, *np.searchsorted(table["hash"], np.array(bounds, dtype=np.uint64)), len(table)] for table in tables]
    kept = []
    for number in range(num_slices):
        parts = [table[cut[number] : cut[number + 1]] for table, cut in zip(tables, cuts, strict=True)]
        rows = np.concatenate([np.empty(0, ROW), *parts])
        hashes, where = np.unique(rows["hash"], return_inverse=True)
        pages = np.bincount(where, weights=rows["pages"], minlength=len(hashes))
        often = pages >= config.min_pages
        kept.append(np.rec.fromarrays([hashes[often], pages[often].astype(np.uint32)], dtype=ROW))
    _save(out, np.concatenate(kept))


def build(config: Config, merged: Path) -> Filter:
    table = np.load(merged, mmap_mode="r")

    def strip(document: Document) -> Verdict:
        host = host_of(document.url)
        at_least = max(config.min_pages, config.min_share * _pages(table, hash_line(host, "")))
        if not host or at_least > _pages(table, hash_line(host, "")):
            return None
        lines = document.text.split("\n")
        kept = [line for line in lines if not is_solid(line) or _pages(table, hash_line(host, line)) < at_least]
        if len(kept) == len(lines):
            return None
        text = _BLANKS.sub("\n\n", "\n".join(kept)).strip("\n")
        return Replace(replace(document, text=text), "site_lines")

    return strip


def _save(path: Path, rows: Array) -> None:
    with open(path, "wb") as file:  # np.save would add ".npy" to a path
        np.save(file, rows)


def host_of(url: str) -> str:
    """ "" where there is none."""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:  # "http://[": no host
        return ""


def hash_line(host: str, line: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{host}\n{line.strip()}".encode())


def is_solid(line: str) -> bool:
    return _SOLID.search(line) is not None


def _solid_lines(text: str) -> Iterator[str]:
    return filter(is_solid, text.split("\n"))


def _pages(table: Array, hash: int) -> int:
    """Of one line, or of a host (its empty line); 0 if they are fewer than `min_pages`."""
    at = np.searchsorted(table["hash"], np.uint64(hash))
    return int(table["pages"][at]) if at < len(table) and table["hash"][at] == hash else 0
