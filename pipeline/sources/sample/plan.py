"""Which document goes where, and what is planted.

In:  passages of prose. Out: a `Corpus`: items for each source, and the truth about those that are special.

1. passages -> articles of some 500 to 3,500 characters, each about one module
2. articles -> 600 Wikipedia pages and 400 news pages drawn at random; the rest become the chapters of books
3. planted  -> exact and near duplicates within and across sources, gibberish, very short pages, pages in other
               languages, personal data, and one broken record per format; each with a line of truth

Duplicates and their originals are plain paragraphs without markup, so that their text can come out the same of
every format.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from random import Random

from pipeline.sources.sample import languages
from pipeline.sources.sample.harvest import Passage
from pipeline.sources.sample.records import Corpus, Document, Item, Section, Source, Truth, plain

NUM_PAGES, NUM_NEWS = 600, 400
NUM_SPARE = 64  # articles of which the planted documents are made
MIN_PLANTED_WORDS = 200
MIN_PAGE_BYTES = 600  # shorter articles are read in books alone
MIN_ARTICLE_CHARS, MAX_ARTICLE_CHARS = 500, 3_500
CHAPTER_CHARS = 7_000
BOOK_CHARS = (110_000, 250_000)

DUPLICATE_PAIRS: tuple[tuple[Source, Source], ...] = (
    ("wikipedia", "wikipedia"),
    ("wikipedia", "wikipedia"),
    ("wikipedia", "wikipedia"),
    ("bookcorpus", "bookcorpus"),
    ("bookcorpus", "bookcorpus"),
    ("cc_news", "cc_news"),
    ("cc_news", "cc_news"),
    ("cc_news", "cc_news"),
    ("wikipedia", "cc_news"),
    ("cc_news", "wikipedia"),
    ("wikipedia", "bookcorpus"),
    ("cc_news", "bookcorpus"),
)
NEAR_DUPLICATE_SHARES = (0.03, 0.06)  # of the words, changed in runs: word 5-gram Jaccard is 0.8 to 0.95
SOURCES: tuple[Source, ...] = ("wikipedia", "bookcorpus", "cc_news")

_LOOKS_LIKE_MARKUP = re.compile(r"[<>\[\]{}|~*#`\\_=&]|''")
_HOSTS = ("harbour-courier.example", "valleyherald.example", "thedailysluice.example", "northshorenews.example")
_PERSONAL: tuple[tuple[str, str, str], ...] = (
    ("marta.okafor@riverside-archive.com", "+1 202-555-0143", "198.41.0.4"),
    ("j.lindqvist@turbinehouse.org", "(312) 555-0178", "91.198.174.192"),
    ("press-office@northernweir.net", "415-555-0112", "151.101.129.69"),
    ("dr.amadi@millpond-clinic.com", "+1 (617) 555-0199", "185.15.59.224"),
    ("k.petrov@dam-safety.org", "503.555.0164", "140.82.121.4"),
    ("editor@spillway-gazette.com", "+1-206-555-0137", "130.89.148.77"),
)


def plan_corpus(passages: Sequence[Passage], rng: Random) -> Corpus:
    articles = list(cut_articles(passages, rng))
    long_enough = [i for i, article in enumerate(articles) if article.num_bytes > MIN_PAGE_BYTES]
    rng.shuffle(long_enough)
    spare = list(islice((i for i in long_enough if is_plantable(articles[i])), NUM_SPARE))
    reserved = set(spare)
    drawn = (i for i in long_enough if i not in reserved)
    pages, news = list(islice(drawn, NUM_PAGES)), list(islice(drawn, NUM_NEWS))
    placed = {*pages, *news, *spare}

    planter = Planter(rng, [articles[i] for i in spare])
    for i in pages:
        planter.add("wikipedia", articles[i])
    for i in news:
        planter.add("cc_news", plain(articles[i].title, typeset(articles[i].paragraphs), articles[i].area))
    for book in bind_books([article for i, article in enumerate(articles) if i not in placed], rng):
        planter.add("bookcorpus", book)

    planter.plant_duplicates()
    planter.plant_gibberish()
    planter.plant_short()
    planter.plant_languages()
    planter.plant_personal_data()
    planter.plant_broken()
    return planter.shuffled()


def cut_articles(passages: Sequence[Passage], rng: Random) -> Iterator[Document]:
    """Consecutive passages of one module, cut where an article has reached a length drawn at random."""
    titles: set[str] = set()
    for area, group in groupby(passages, key=lambda passage: passage.area):
        pending: list[Passage] = []
        num_chars, wanted = 0, rng.randint(MIN_ARTICLE_CHARS, MAX_ARTICLE_CHARS)
        for passage in group:
            is_other_module = bool(pending) and passage.module != pending[-1].module
            if num_chars >= wanted or (is_other_module and num_chars >= MIN_ARTICLE_CHARS):
                yield as_article(area, pending, titles)
                pending, num_chars = [], 0
                wanted = rng.randint(MIN_ARTICLE_CHARS, MAX_ARTICLE_CHARS)
            pending.append(passage)
            num_chars += sum(map(len, passage.paragraphs))
        if pending:
            yield as_article(area, pending, titles)


def as_article(area: str, passages: Sequence[Passage], titles: set[str]) -> Document:
    """Passages as sections; the first has no heading, and private names join the section before them."""
    first = passages[0]
    parts = [part.strip("_").replace("_", " ") for part in (*first.module.split("."), first.name)]
    name = parts[-1] or parts[-2] or area
    title = f"{name[0].upper()}{name[1:]} ({'.'.join(parts[:-1])})"
    while title in titles:
        title = re.sub(r"( \d+)?$", lambda match: f" {int(match[0] or 1) + 1}", title, count=1)
    titles.add(title)
    sections = [("", list(first.paragraphs))]
    for passage in passages[1:]:
        if passage.name.startswith("_") or passage.name in ("", sections[-1][0]):
            sections[-1][1].extend(passage.paragraphs)
        else:
            sections.append((passage.name, list(passage.paragraphs)))
    return Document(title, tuple(Section(heading, tuple(lines)) for heading, lines in sections), area)


def typeset(paragraphs: Sequence[str]) -> list[str]:
    """Typographic quotes, which a newspaper prints and which old charsets encode differently."""
    return [re.sub(r'"([^"]*)"', r"“\1”", text.replace("'", "’")) for text in paragraphs]


def bind_books(articles: Sequence[Document], rng: Random) -> Iterator[Document]:
    """Articles in the order of their area as numbered chapters, one book after the other."""
    chapters: list[Section] = []
    wanted, num_chars, volume = rng.randint(*BOOK_CHARS), 0, 0
    for chapter in bind_chapters(articles):
        chapters.append(Section(f"Chapter {len(chapters) + 1}. {chapter.heading}", chapter.paragraphs))
        num_chars += sum(map(len, chapter.paragraphs))
        if num_chars >= wanted:
            volume += 1
            yield Document(f"The Engineer's Reader, Volume {volume}", tuple(chapters))
            chapters, num_chars, wanted = [], 0, rng.randint(*BOOK_CHARS)
    if chapters:
        yield Document(f"The Engineer's Reader, Volume {volume + 1}", tuple(chapters))


def bind_chapters(articles: Sequence[Document]) -> Iterator[Section]:
    paragraphs: list[str] = []
    heading, num_chars = "", 0
    for article in articles:
        heading = heading or article.title
        paragraphs += article.paragraphs
        num_chars += sum(map(len, article.paragraphs))
        if num_chars >= CHAPTER_CHARS:
            yield Section(heading, tuple(paragraphs))
            paragraphs, heading, num_chars = [], "", 0
    if paragraphs:
        yield Section(heading, tuple(paragraphs))


class Planter:
    """Collects items under unique keys, and writes down what is special about them."""

    def __init__(self, rng: Random, spare: Sequence[Document]) -> None:
        self._rng = rng
        self._spare = list(spare)
        self._rare_words = sorted({w for a in spare for text in a.paragraphs for w in text.split() if is_rare(w)})
        self._items: dict[Source, list[Item]] = {source: [] for source in SOURCES}
        self._truth: list[Truth] = []

    def add(self, source: Source, document: Document, *, is_broken: bool = False, suffix: str = "") -> str:
        number = len(self._items[source]) + 1
        key = self._key(source, document.title, number, suffix)
        self._items[source].append(Item(key, document, is_broken))
        return key

    def _key(self, source: Source, title: str, number: int, suffix: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]
        if source == "wikipedia":
            return title
        if source == "bookcorpus":
            return f"{number:03}-{slug or 'book'}{suffix or ('.epub' if number % 5 in (2, 4) else '.txt')}"
        host = self._rng.choice(_HOSTS)
        return f"https://www.{host}/2026/01/{1 + number % 28:02}/{slug or 'story'}-{number}.html"

    def shuffled(self) -> Corpus:
        """News and pages in random order, so that special ones are spread; books stay as numbered."""
        self._rng.shuffle(self._items["wikipedia"])
        self._rng.shuffle(self._items["cc_news"])
        return Corpus(self._items, self._truth)

    def plant_duplicates(self) -> None:
        for first, second in DUPLICATE_PAIRS:
            original = self._original(first, second)
            of = (first, self.add(first, original, suffix=".txt"))
            key = self.add(second, retitled(original, "reprint"), suffix=".epub" if first == second else ".txt")
            self._truth.append(Truth("exact_duplicate", second, key, "the same text under another title", of=of))
        for number, (first, second) in enumerate(DUPLICATE_PAIRS):
            original = self._original(first, second)
            low, high = NEAR_DUPLICATE_SHARES
            share = low + (high - low) * number / (len(DUPLICATE_PAIRS) - 1)
            copy = retitled(reworded(original, share, self._words(), self._rng), "revised")
            of = (first, self.add(first, original, suffix=".txt"))
            key = self.add(second, copy, suffix=".epub" if first == second else ".txt")
            note = f"about {share:.1%} of the words changed, in runs of six to nine"
            self._truth.append(Truth("near_duplicate", second, key, note, of=of))

    def _original(self, first: Source, second: Source) -> Document:
        """A spare article of plain paragraphs; between books, a booklet of three chapters."""
        if first == second == "bookcorpus":
            chapters = [self._take() for _ in range(3)]
            sections = [
                Section(f"Chapter {number}. {chapter.title}", tuple(chapter.paragraphs))
                for number, chapter in enumerate(chapters, start=1)
            ]
            return Document(chapters[0].title, tuple(sections), chapters[0].area)
        article = self._take()
        return plain(article.title, article.paragraphs, article.area)

    def _take(self) -> Document:
        assert self._spare, "NUM_SPARE is too small for what is planted"
        return self._spare.pop()

    def _words(self) -> list[str]:
        """Running words of a text that appears nowhere else."""
        return " ".join(self._take().paragraphs).split()

    def plant_gibberish(self) -> None:
        """Three kinds in each source, no two alike: they must fall to a filter, not to deduplication."""
        rng = self._rng
        for source in SOURCES:
            soup = ["".join(rng.choices("%&@^+/;~§¤¶±¬", k=rng.randint(3, 9))) for _ in range(400)]
            texts = {
                "symbol soup": [" ".join(soup[i : i + 40]) for i in range(0, 400, 40)],
                "random words without stop words": [" ".join(rng.choices(self._rare_words, k=60)) for _ in range(6)],
                "one line repeated": [self._take().paragraphs[0]] * 60,
            }
            for number, (note, lines) in enumerate(texts.items()):
                key = self.add(source, plain(f"Fragment {'ABC'[number]}{source[0]}", lines))
                self._truth.append(Truth("gibberish", source, key, note))

    def plant_short(self) -> None:
        things = ("a weir", "a sluice", "a dam", "a turbine", "a pipe")
        for number, (thing, source) in enumerate(zip(things, SOURCES * 2, strict=False), start=1):
            key = self.add(source, plain(f"Stub {number}", [f"This is a stub about {thing}."]))
            self._truth.append(Truth("short", source, key, "one sentence"))

    def plant_languages(self) -> None:
        """Each language's texts in turn: an encyclopedia page, a news page, a booklet."""
        order: tuple[Source, ...] = ("wikipedia", "cc_news", "bookcorpus")
        for language, group in groupby(languages.DOCUMENTS, key=lambda document: document.language):
            for source, document in zip(order, group, strict=False):
                key = self.add(source, document)
                self._truth.append(Truth("language", source, key, document.title, language=language))

    def plant_personal_data(self) -> None:
        for source, personal in zip(SOURCES * 2, _PERSONAL, strict=True):
            mail, phone, address = personal
            article = self._take()
            line = f"For corrections write to {mail}, call {phone}, or reach the old server at {address} directly."
            key = self.add(source, plain(article.title, [*article.paragraphs, line], article.area))
            self._truth.append(Truth("pii", source, key, "an e-mail, a phone number and an IP", planted=personal))

    def plant_broken(self) -> None:
        notes: dict[Source, str] = {
            "wikipedia": "the page's <text> is not well-formed XML; its neighbours in the stream are",
            "bookcorpus": "the .epub is cut in the middle, without a central directory",
            "cc_news": "the gzip body of the response is garbage after its header",
        }
        for source, note in notes.items():
            article = self._take()
            document = plain(article.title, article.paragraphs, article.area)
            key = self.add(source, document, is_broken=True, suffix=".epub")
            self._truth.append(Truth("broken", source, key, note))


def is_plantable(article: Document) -> bool:
    """Long enough for 5-grams to count, hardly repeating itself (cleaning would drop it before dedup sees it), without
    characters that some format or its readers take for markup."""
    text = " ".join(article.paragraphs)
    words = text.split()
    grams = [*zip(*(words[i:] for i in range(5)), strict=False)]
    repeats_itself = len({*grams}) < 0.96 * len(grams)
    return len(words) > MIN_PLANTED_WORDS and not repeats_itself and not _LOOKS_LIKE_MARKUP.search(text)


def retitled(document: Document, word: str) -> Document:
    return Document(f"{document.title} {word}", document.sections, document.area, document.language)


def is_rare(word: str) -> bool:
    return len(word) >= 7 and word.isalpha() and word.islower()


def reworded(document: Document, share: float, words: Sequence[str], rng: Random) -> Document:
    """The document with that share of its words replaced by runs from a text of other words.

    Runs, because a run of n words spoils n + 4 of the 5-grams where n scattered words spoil 5 n.
    """
    paragraphs = [text.split() for text in document.paragraphs]
    to_change = round(share * sum(map(len, paragraphs)))
    spans = [
        (number, start)
        for number, text in enumerate(paragraphs)
        for start in range(1, len(text) - 10, 12)  # twelve apart: runs never touch
    ]
    for number, start in rng.sample(spans, len(spans)):
        if to_change <= 0:
            break
        length = min(rng.randint(6, 9), max(3, to_change))
        at = rng.randrange(len(words) - length)
        paragraphs[number][start : start + length] = words[at : at + length]
        to_change -= length
    texts = iter([" ".join(text) for text in paragraphs])
    sections = tuple(Section(part.heading, tuple(next(texts) for _ in part.paragraphs)) for part in document.sections)
    return Document(document.title, sections, document.area, document.language)
