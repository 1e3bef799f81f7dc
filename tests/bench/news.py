"""Pages of a news crawl to main text: speed beside datatrove's block, quality beside trafilatura, memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from datatrove.pipeline.extractors import Trafilatura
from resiliparse.parse.html import HTMLTree

from pipeline.core.plugins import parse
from pipeline.sources.base import PACKAGE, InputFile, Range, SourceConfig
from pipeline.sources.main_text import Extractor, main_text
from pipeline.sources.run import read_split
from tests.bench.row import Row
from tests.conftest import REAL_DATA
from tests.sources.gold import GoldPage, f1, gold_pages

CRAWL = "news/CC-NEWS-REPACKED-trafilatura-dev.warc.gz"
COPIES = 12  # of the crawl: 180 MB packed, 870 MB of HTML
DEVELOPED_ON = 220  # the rules were chosen on the pages from here on


def rows() -> Iterator[Row]:
    data = Path(os.environ[REAL_DATA])
    pages = gold_pages(data)
    yield speed(pages)
    yield from quality(pages)
    yield memory(data)


def speed(pages: list[GoldPage]) -> Row:
    """Both get decoded HTML and give text; the peer is spared the process of its own that it has in a pipeline."""
    block = Trafilatura(timeout=60)
    ours, theirs = (pages_a_second(extract, pages) for extract in (by("resiliparse"), block.extract))
    return Row(
        "HTML to main text, pages/s a core", ours / theirs, "x", 10,
        peer=f"datatrove {version('datatrove')} Trafilatura block",
        detail=f"{ours:.0f} against {theirs:.0f} pages/s of CPU time, {len(pages)} pages, one round",
    )  # fmt: skip


def pages_a_second(extract: Callable[[str], str], pages: list[GoldPage]) -> float:
    extract(pages[0].html)  # imports
    started = time.process_time()
    for page in pages:
        extract(page.html)
    return len(pages) / (time.process_time() - started)


def quality(pages: list[GoldPage]) -> Iterator[Row]:
    scores = {name: scores_of(pages, [by(name)(page.html) for page in pages])
              for name in ("resiliparse", "trafilatura", "best")}  # fmt: skip
    told = {name: ", ".join(f"{part} {score:.4f}" for part, score in of.items()) for name, of in scores.items()}
    peer, theirs = f"trafilatura {version('trafilatura')}", scores["trafilatura"]["all"]
    detail = f"F1 of {len(pages)} gold pages: {{}}; trafilatura {told['trafilatura']}"
    yield Row("F1 of trafilatura minus F1 of the fast path", theirs - scores["resiliparse"]["all"], "F1", 0.015,
              at_most=True, peer=peer, detail=detail.format(told["resiliparse"]))  # fmt: skip
    yield Row("F1 of `extractor: best` minus F1 of trafilatura", scores["best"]["all"] - theirs, "F1", 0,
              peer=peer, detail=detail.format(told["best"]))  # fmt: skip


def scores_of(pages: list[GoldPage], texts: list[str]) -> dict[str, float]:
    of = {"all": slice(None), "first 220": slice(DEVELOPED_ON), "other 425": slice(DEVELOPED_ON, None)}
    return {part: f1(pages[where], texts[where]) for part, where in of.items()}


def by(name: Extractor) -> Callable[[str], str]:
    return lambda html: main_text(HTMLTree.parse(html), html, name)


def memory(data: Path) -> Row:
    """Of a process that reads a large file as one range."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.warc.gz"
        path.write_bytes((data / CRAWL).read_bytes() * COPIES)
        told = subprocess.run([sys.executable, "-m", "tests.bench.news", str(path), folder],
                              check=True, capture_output=True, text=True).stdout  # fmt: skip
        size = path.stat().st_size
    peak, pages = map(int, told.split())
    return Row("memory of a worker on a large WARC", peak / (1 << 20), "GiB", 1, at_most=True,
               detail=f"peak resident set, {size >> 20} MiB packed in one range, {pages} pages")  # fmt: skip


def config() -> SourceConfig:
    section = parse(PACKAGE, "cc_news")
    assert isinstance(section, SourceConfig)
    return section


def whole(path: Path) -> Range:
    size = path.stat().st_size
    return Range(InputFile(path, path.name, path.name, size, 0), size)


if __name__ == "__main__":
    counts = read_split((config(), [whole(Path(sys.argv[1]))]), Path(sys.argv[2]))
    status = Path("/proc/self/status").read_text().splitlines()
    peak_kb = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(peak_kb, counts["in"])  # ru_maxrss would be that of the process which started this one
