"""Wikipedia dumps: wikitext to text against the parser's own, two workers against one.

The large dump is the real one several times over, each copy with page ids and titles of its own, as bzip2 multistream.
"""

import bz2
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree

import mwparserfromhell

from pipeline.core.plugins import parse
from pipeline.core.shard_map import Workers
from pipeline.sources.base import PACKAGE, InputFile, Range, SourceConfig, group, plugin
from pipeline.sources.mediawiki.pages import spans
from pipeline.sources.mediawiki.streams import pieces
from pipeline.sources.mediawiki.wikitext import to_text
from pipeline.sources.run import read_split, run
from tests.bench.row import Row, real_data

DUMP = "wikipedia/enwiki-pages-articles1-shortened.xml.bz2"
NUM_PAGES, ROUNDS = 40, 3
STAGE_ROUNDS = 2
COPIES = 6  # of the dump: 36 MB of XML
PAGES_PER_STREAM = 10  # Wikimedia has 100, of a tenth of the size
SPLIT_BYTES = 512 << 10  # instead of 32 MiB: some twenty splits, so that the last one does not decide


def rows() -> Iterator[Row]:
    dump = real_data() / DUMP
    yield rendering(_wikitexts(dump))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "wikipedia").mkdir()
        large = Path(folder) / "wikipedia/large-multistream.xml.bz2"
        articles = _xml_pages(dump)
        write_dump(large, articles, COPIES)
        yield scaling(Path(folder), large)


def rendering(texts: list[str]) -> Row:
    num_mb = sum(len(text.encode()) for text in texts) / 1e6
    ours = min(_seconds(to_text, texts) for _ in range(ROUNDS))
    peer = min(_seconds(lambda text: mwparserfromhell.parse(text).strip_code(), texts) for _ in range(ROUNDS))
    detail = f"{num_mb / ours:.2f} against {num_mb / peer:.2f} MB/s, {num_mb:.1f} MB, best of {ROUNDS}"
    return Row("wikitext to text", peer / ours, "x", 1.2, peer="mwparserfromhell strip_code", detail=detail)


def scaling(input: Path, large: Path) -> Row:
    """The whole stage on real Ray, started and warm; beside it what this machine gives two processes without Ray."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with _small_splits(), Workers(2) as workers:
        ranges = plugin(config()).splits(config(), whole(large).file)
        stage_seconds(input, workers)  # starts Ray, imports, compiles
        for _ in range(STAGE_ROUNDS):
            for workers.num_workers in seconds:
                seconds[workers.num_workers].append(stage_seconds(input, workers))
    one, two = (min(of_all) for of_all in seconds.values())
    alone, beside = (plain_seconds(ranges[1:4], num) for num in (1, 2))
    limit = f"two plain processes do {2 * alone / beside:.2f}x the work of one, load {os.getloadavg()[0]:.1f}"
    return Row("Wikipedia multistream, 2 workers against 1", one / two, "x", 1.8, peer="1 worker",
               detail=f"{two:.1f} against {one:.1f} s, {large.stat().st_size >> 20} MiB packed in {len(ranges)} splits,"
                      f" best of {STAGE_ROUNDS}; {limit}")  # fmt: skip


def stage_seconds(input: Path, workers: Workers) -> float:
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        run([config()], input, Path(out), workers)
        return time.perf_counter() - begin


def plain_seconds(ranges: list[Range], num_processes: int) -> float:
    """Of as many processes, each of which reads these ranges."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(num_processes) as pool:
        pool.map(_read, [ranges[:1]] * num_processes, chunksize=1)
        begin = time.perf_counter()
        pool.map(_read, [ranges] * num_processes, chunksize=1)
        return time.perf_counter() - begin


def _read(ranges: list[Range]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return read_split((config(), ranges), Path(folder))["in"]


def config() -> SourceConfig:
    section = parse(PACKAGE, "wikipedia")
    assert isinstance(section, SourceConfig)
    return section


def whole(path: Path) -> Range:
    facts = path.stat()
    return Range(InputFile(path, path.name, path.name, facts.st_size, facts.st_mtime_ns), facts.st_size)


def write_dump(path: Path, articles: Sequence[bytes], copies: int) -> None:
    """Every copy of the articles has ids and titles of its own."""
    head = b'<mediawiki version="0.11"><siteinfo><base>https://en.wikipedia.org/wiki/Main_Page</base></siteinfo>\n'
    with open(path, "wb") as dump:
        dump.write(bz2.compress(head))
        for copy in range(copies):
            dump.write(_packed([_renamed(article, copy) for article in articles]))
        dump.write(bz2.compress(b"</mediawiki>\n"))


def _packed(articles: Sequence[bytes]) -> bytes:
    starts = range(0, len(articles), PAGES_PER_STREAM)
    return b"".join(bz2.compress(b"".join(articles[at : at + PAGES_PER_STREAM])) for at in starts)


def _renamed(article: bytes, copy: int) -> bytes:
    article = re.sub(rb"</title>", b" (copy %d)</title>" % copy, article, count=1)
    return re.sub(rb"<id>(\d+)</id>", rb"<id>%d\1</id>" % (copy + 1), article, count=1)


def _xml_pages(dump: Path) -> list[bytes]:
    return [span.data for span in spans(pieces(whole(dump)), None)]


def _wikitexts(dump: Path) -> list[str]:
    """Of the first articles."""
    texts = (ElementTree.fromstring(page).findtext("revision/text") or "" for page in _xml_pages(dump))
    return [text for text in texts if len(text) > 1000][:NUM_PAGES]


def _seconds(function: Callable[[str], object], texts: list[str]) -> float:
    begin = time.process_time()
    for text in texts:
        function(text)
    return time.process_time() - begin


@contextmanager
def _small_splits() -> Iterator[None]:
    """Splits are made in this process, not in the workers."""
    with (
        patch("pipeline.sources.mediawiki.streams.SPLIT_BYTES", SPLIT_BYTES),
        patch("pipeline.sources.run.group", partial(group, limit=SPLIT_BYTES)),
    ):
        yield
