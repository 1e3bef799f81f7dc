"""Pages of a news crawl to main text: speed beside datatrove's block, quality beside trafilatura."""

import math
import resource
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.extractors import Trafilatura
from resiliparse.parse.html import HTMLTree

from pipeline.core.plugins import parse
from pipeline.sources import cc_news
from pipeline.sources.base import PACKAGE, InputFile, Range, SourceConfig
from pipeline.sources.web.main_text import Extractor, main_text
from tests.bench.row import Row, real_data
from tests.sources.gold import SHINGLE, GoldPage, f1, gold_pages, goose_pages, newspaper_pages, shingle_scores

CRAWL = "news/CC-NEWS-REPACKED-trafilatura-dev.warc.gz"
EXTRACTORS: tuple[Extractor, ...] = ("resiliparse", "trafilatura", "best")
PART, ROUNDS = 215, 3
FIRST = 220  # pages by which trafilatura is known: F1 0.942


def rows() -> Iterator[Row]:
    data = real_data()
    pages = gold_pages(data)
    yield speed(pages, data / CRAWL)
    yield from quality(pages)
    yield from held_out(data)


def speed(pages: list[GoldPage], crawl: Path) -> Row:
    """Decoded HTML to text. In a pipeline the peer's block has a process of its own; the detail says it without."""
    block = Trafilatura(timeout=60)
    ours, theirs, alone = pages_a_second(
        pages,
        lambda part: [by("resiliparse")(page.html) for page in part],
        lambda part: list(block.run(Document(page.html, "") for page in part)),
        lambda part: [block.extract(page.html) for page in part],
    )
    started = cpu_s()
    num_documents = len(list(cc_news.read(config(), whole_file(crawl))))
    whole = num_documents / (cpu_s() - started)
    return Row(
        "page to main text, pages/s a core", ours / theirs, "x", 10,
        peer=f"datatrove {version('datatrove')} Trafilatura block",
        detail=f"{ours:.0f} against {theirs:.0f} pages/s of CPU time, {len(pages)} pages, the best of {ROUNDS} rounds "
               f"of each {PART}, turn by turn; {ours / alone:.1f} x its extract() without its process; "
               f"WARC to documents with title, date and URL {whole:.0f} pages/s",
    )  # fmt: skip


def pages_a_second(pages: list[GoldPage], *extractors: Callable[[list[GoldPage]], object]) -> list[float]:
    """Of CPU time, that of processes it starts included. They take turns, part by part, so that all of them have the
    machine's quiet moments and its busy ones."""
    seconds = [0.0] * len(extractors)
    for start in range(0, len(pages), PART):
        best = [math.inf] * len(extractors)
        for _ in range(ROUNDS):
            for number, extract in enumerate(extractors):
                started = cpu_s()
                extract(pages[start : start + PART])
                best[number] = min(best[number], cpu_s() - started)
        seconds = [sum(pair) for pair in zip(seconds, best, strict=True)]
    return [len(pages) / passed for passed in seconds]


def cpu_s() -> float:
    told = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in told)


def quality(pages: list[GoldPage]) -> Iterator[Row]:
    scores = {name: scores_of(pages, [by(name)(page.html) for page in pages])
              for name in EXTRACTORS}  # fmt: skip
    told = {name: ", ".join(f"{part} {score:.4f}" for part, score in of.items()) for name, of in scores.items()}
    peer, theirs = f"trafilatura {version('trafilatura')}", scores["trafilatura"]
    detail = f"F1 of {len(pages)} gold pages: {{}}; trafilatura {told['trafilatura']}"
    for part, of_peer in theirs.items():
        yield Row(f"F1 of trafilatura minus F1 of the fast path, {part}", of_peer - scores["resiliparse"][part], "F1",
                  0.015, at_most=True, peer=peer, detail=detail.format(told["resiliparse"]))  # fmt: skip
        yield Row(f"F1 of `extractor: best` minus F1 of trafilatura, {part}", scores["best"][part] - of_peer, "F1", 0,
                  peer=peer, detail=detail.format(told["best"]))  # fmt: skip


def held_out(data: Path) -> Iterator[Row]:
    """Pages on which no rule was tuned. Their references are other extractors': a bound on them would be a wish."""
    pages, beginnings = newspaper_pages(data), goose_pages(data)
    for name in EXTRACTORS:
        score, precision, recall = shingle_scores(pages, [by(name)(page.html) for page in pages])
        found = shingle_scores(beginnings, [by(name)(page.html) for page in beginnings])[2]
        yield Row(
            f"F1 on held-out pages, {name}", score, "F1", 0,
            detail=f"runs of {SHINGLE} words, mean of {len(pages)} pages of newspaper3k's tests, against the text that "
                   f"newspaper3k itself finds, not human gold: precision {precision:.4f}, recall {recall:.4f}; of the "
                   f"beginnings that goose3 finds on {len(beginnings)} pages of its tests {found:.4f} are found",
        )  # fmt: skip


def scores_of(pages: list[GoldPage], texts: list[str]) -> dict[str, float]:
    of = {"all": slice(None), f"first {FIRST}": slice(FIRST)}
    return {part: f1(pages[where], texts[where]) for part, where in of.items()}


def by(name: Extractor) -> Callable[[str], str]:
    return lambda html: main_text(HTMLTree.parse(html), html, name)


def config() -> SourceConfig:
    section = parse(PACKAGE, "cc_news")
    assert isinstance(section, SourceConfig)
    return section


def whole_file(path: Path) -> Range:
    told = path.stat()
    return Range(InputFile(path, path.name, path.name, told.st_size, told.st_mtime_ns), told.st_size)
