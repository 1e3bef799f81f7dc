"""Gopher's rules: both sides of every threshold, and the same decisions as datatrove's filters on real prose."""

import inspect
import json
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pipeline.clean import language, quality, repetition, unicode
from pipeline.clean.words import Pieces, split, split_by
from tests.sources.reading import read_all

WORDS = ["water", "river", "stone", "bridge", "mill", "wheel", "gate", "channel", "winter", "spring"]
# datatrove's reason -> ours
QUALITY = {
    "gopher_short_doc": "gopher_short", "gopher_long_doc": "gopher_long",
    "gopher_below_avg_threshold": "gopher_word_length", "gopher_above_avg_threshold": "gopher_word_length",
    "gopher_too_many_hashes": "gopher_symbols", "gopher_too_many_ellipsis": "gopher_symbols",
    "gopher_too_many_bullets": "gopher_bullets", "gopher_too_many_end_ellipsis": "gopher_ellipsis",
    "gopher_below_alpha_threshold": "gopher_alpha", "gopher_enough_stop_words": "gopher_stop_words",
}  # fmt: skip
REPETITION = {
    "dup_para_frac": "gopher_dup_paragraphs", "dup_para_char_frac": "gopher_dup_paragraph_chars",
    "dup_line_frac": "gopher_dup_lines", "dup_line_char_frac": "gopher_dup_line_chars",
    **{f"top_{n}_gram": f"gopher_top_{n}gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher_dup_{n}gram" for n in range(5, 11)},
}  # fmt: skip


def quality_reason(text: str | Pieces, **settings: Any) -> str:
    found = quality.check(split(text) if isinstance(text, str) else text, quality.Config(**settings))
    return found.reason if found else ""


def repetition_reason(text: str | Pieces, **settings: Any) -> str:
    found = repetition.check(split(text) if isinstance(text, str) else text, repetition.Config(**settings))
    return found.reason if found else ""


def prose(num_words: int, *more: str) -> str:
    return " ".join(["the", "and", *more, *(WORDS[number % 10] for number in range(num_words - 2 - len(more)))])


def lines(*shares: tuple[str, int]) -> str:
    """Lines of prose in the given numbers; "{}" in a pattern becomes eight words."""
    return "\n".join(pattern.format(prose(8)) for pattern, number in shares for _ in range(number))


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        (prose(50), prose(49), "gopher_short"),
        (prose(100_000), prose(100_001), "gopher_long"),
        ("the and big dam " * 20, "the and a b dam " * 20, "gopher_word_length"),
        ("the and " + "abcdefghij " * 60, "the and " + "abcdefghijk " * 60, "gopher_word_length"),
        (prose(90) + " #" * 10, prose(88) + " #" * 10, "gopher_symbols"),
        (prose(90) + " ..." * 10 + " x", prose(88) + " …" * 10 + " x", "gopher_symbols"),
        (lines(("- {}", 9), ("{}", 1)), lines(("• {}", 19), ("{}", 1)), "gopher_bullets"),
        (lines(("{}...", 3), ("{}", 7)), lines(("{}…", 4), ("{}", 6)), "gopher_ellipsis"),
        (prose(80) + " 1234" * 20, prose(79) + " 1234" * 21, "gopher_alpha"),
        (prose(60), prose(60).replace("and", "The"), "gopher_stop_words"),
    ],
)
def test_quality_thresholds(good: str, bad: str, reason: str) -> None:
    assert quality_reason(good) == ""
    assert quality_reason(bad) == reason


def test_quality_limits_are_configurable() -> None:
    assert quality_reason(prose(100_001), max_words=None) == ""
    assert quality_reason("one two", min_words=0, min_stop_words=0) == ""
    assert quality_reason("", min_words=0) == "gopher_short"


@pytest.mark.parametrize(
    ("text", "settings", "detail"),
    [
        (prose(49), {}, "49 words, fewer than min_words 50"),
        (prose(100_001), {}, "100,001 words, more than max_words 100,000"),
        (" , ", {}, "no words"),
        ("the and a b dam " * 20, {}, "2.200 characters a word, less than min_word_length 3"),
        ("the and " + "abcdefghijk " * 60, {}, "10.742 characters a word, more than max_word_length 10"),
        (prose(88) + " #" * 10, {}, '0.102 "#" a word, more than max_symbols 0.1'),
        (prose(88) + " …" * 10 + " x", {}, "0.101 ellipses a word, more than max_symbols 0.1"),
        (lines(("• {}", 19), ("{}", 1)), {}, "0.950 of the lines begin with a bullet, more than max_bullet_lines 0.9"),
        (lines(("{}…", 4), ("{}", 6)), {}, "0.400 of the lines end in an ellipsis, more than max_ellipsis_lines 0.3"),
        (prose(79) + " 1234" * 21, {}, "0.790 of the words hold a letter, less than min_alpha_words 0.8"),
        (prose(60).replace("and", "The"), {}, "1 different stop word, fewer than min_stop_words 2"),
        (prose(88) + " #" * 10, {"max_symbols": 0.102}, '0.10204 "#" a word, more than max_symbols 0.102'),
    ],
)  # fmt: skip
def test_the_detail_of_a_drop_is_for_people(text: str, settings: dict[str, Any], detail: str) -> None:
    """A share has the digits that tell it from the threshold."""
    found = quality.check(split(text), quality.Config(**settings))
    assert found is not None
    assert found.detail == detail


def test_the_detail_of_repetition_is_for_people() -> None:
    def detail(text: str, **settings: Any) -> str:
        found = repetition.check(split(text), repetition.Config(**settings))
        return found.detail if found else ""

    again = f"{distinct(10)} {distinct(40, start=1000)} {distinct(10)}"
    assert [
        detail(pieces("\n\n", "a", 5, 7)),
        detail(pieces("\n", distinct(40), 2, 3), **NO_NGRAMS),
        detail(again, max_top_ngrams={}, max_dup_ngrams={10: 0.1}),
        detail("a b " * 20),
    ] == [
        "0.333 of the paragraphs occurred before, more than max_dup_paragraphs 0.3",
        "0.235 of the characters are in repeated lines, more than max_dup_line_chars 0.2",
        "0.143 of the characters are in repeated 10-grams, more than max_dup_ngrams.10 0.1",
        "0.750 of the characters are in the most frequent 2-gram, more than max_top_ngrams.2 0.2",
    ]


@pytest.mark.parametrize(
    ("text", "words", "with_a_letter"),
    [
        ("one two", 0, 0),
        ('"Yes," he said (twice).', 6, 0),
        ("don't rock’n’roll", 3, 3),
        ("well-known 1914-1918 x-1 and/or", 6, 2),
        ("J. Smith, e.g. Dr. Who.", 2, 0),
        ("example.com/a-b f(x). -----", 2, 0),
        ("--- !!! #", 0, 0),
        ("end!!! (", 1, 0),
    ],
)
def test_marks_and_parts_can_count_as_words(text: str, words: int, with_a_letter: int) -> None:
    pieces = split(text)
    found = quality._count_parts(pieces.data, pieces.words, quality.FLAGS, quality.ABBREVIATION_CODES)
    assert found == (words, with_a_letter)


def test_marks_lower_the_share_of_words_with_a_letter() -> None:
    text = prose(90) + ", 1" * 12
    assert quality_reason(text) == ""
    assert quality_reason(text, marks_are_words=True) == "gopher_alpha"
    assert quality_reason(prose(90) + " # x," * 10) == ""
    assert quality_reason(prose(88) + " #" * 10) == "gopher_symbols"
    assert quality_reason(prose(88) + " #" * 10 + " a, b.", marks_are_words=True) == ""


def distinct(num_words: int, start: int = 0) -> str:
    """Words of six letters of which no two are equal."""
    return " ".join(
        "".join(chr(97 + number // 26**k % 26) for k in range(6)) for number in range(start, start + num_words)
    )


def pieces(separator: str, repeated: str, times: int, num_others: int, words: int = 30) -> str:
    others = [distinct(words, start=1000 * number) for number in range(1, num_others + 1)]
    return separator.join([*others, *[repeated] * times])


NO_NGRAMS: dict[str, Any] = {"max_top_ngrams": {}, "max_dup_ngrams": {}}


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        (pieces("\n\n", "a", 4, 7), pieces("\n\n", "a", 5, 7), "gopher_dup_paragraphs"),
        (pieces("\n\n", distinct(30), 2, 4), pieces("\n\n", distinct(40), 2, 3), "gopher_dup_paragraph_chars"),
        (pieces("\n", "a", 4, 7), pieces("\n", "a", 5, 7), "gopher_dup_lines"),
        (pieces("\n", distinct(30), 2, 4), pieces("\n", distinct(40), 2, 3), "gopher_dup_line_chars"),
    ],
)
def test_repeated_lines_and_paragraphs(good: str, bad: str, reason: str) -> None:
    off = NO_NGRAMS | ({"max_dup_paragraphs": 1, "max_dup_paragraph_chars": 1} if "line" in reason else {})
    assert repetition_reason(good, **off) == ""
    assert repetition_reason(bad, **off) == reason


@pytest.mark.parametrize(("n", "most"), [(2, 0.20), (3, 0.18), (4, 0.16)])
def test_the_most_frequent_ngram(n: int, most: float) -> None:
    only: dict[str, Any] = {"max_top_ngrams": {n: most}, "max_dup_ngrams": {}}
    turns = " ".join(f"{distinct(n)} {distinct(3, start=100 + 10 * turn)}" for turn in range(5))
    num_chars = (7 * n - 1) * 5  # of the five equal n-grams of six-letter words
    num_edge = int((num_chars / most - len(turns)) / 7)  # further words that make them about the limit
    for num_words, reason in ((num_edge + 2, ""), (num_edge - 2, f"gopher_top_{n}gram")):
        text = f"{turns} {distinct(num_words, start=1000)}"
        assert (num_chars / len(text) > most) == bool(reason)
        assert repetition_reason(text, **only) == reason


@pytest.mark.parametrize(("n", "most"), [(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)])
def test_repeated_ngrams(n: int, most: float) -> None:
    only: dict[str, Any] = {"max_top_ngrams": {}, "max_dup_ngrams": {n: most}}
    num_edge = int(6 * n / most / 7)  # words of a text in which one repetition is about the limit
    for num_words, reason in ((num_edge + 3, ""), (num_edge - 3, f"gopher_dup_{n}gram")):
        text = f"{distinct(n)} {distinct(num_words - 2 * n, start=1000)} {distinct(n)}"
        assert (6 * n / len(text) > most) == bool(reason)
        assert repetition_reason(text, **only) == reason
    assert repetition_reason(f"{distinct(n - 1)} {distinct(3, start=99)} {distinct(n - 1)}", **only) == ""


def test_empty_text_repeats_nothing() -> None:
    assert repetition_reason("") == ""


def docstrings() -> Iterator[str]:
    for name in ("argparse", "datetime", "decimal", "numpy", "numpy.linalg", "pandas", "pydantic", "pyarrow", "typing"):
        try:
            module = import_module(name)
        except ImportError:
            continue
        for _, member in sorted(inspect.getmembers(module), key=lambda pair: pair[0]):
            yield inspect.getdoc(member) or ""


def datatrove_reasons(text: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Its verdicts on quality and repetition, in our names, when its splitter finds these words."""
    reasons = []
    for module_name, class_name, names in (
        ("gopher_quality_filter", "GopherQualityFilter", QUALITY),
        ("gopher_repetition_filter", "GopherRepetitionFilter", REPETITION),
    ):
        module = import_module(f"datatrove.pipeline.filters.{module_name}")
        monkeypatch.setattr(module, "split_into_words", lambda text, language: words)
        answer = getattr(module, class_name)().filter(import_module("datatrove.data").Document(text=text, id="0"))
        reasons.append("" if answer is True else names[answer[1]])
    return reasons[0], reasons[1]


def assert_equal_decisions(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """With our splitter's words on both sides."""
    seen: Counter[str] = Counter()
    for text in filter(None, texts):  # datatrove divides by the length
        ours = quality_reason(text), repetition_reason(text)
        assert ours == datatrove_reasons(text, split(text).strings(split(text).words), monkeypatch), text[:300]
        seen.update(ours)
    return seen


def test_decisions_equal_datatrove_on_docstrings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = assert_equal_decisions(sorted(set(docstrings())), monkeypatch)
    assert seen[""] > 200
    assert len(seen) >= 6, seen


def test_decisions_equal_datatrove_on_made_up_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        " ".join(distinct(words, start * 7) for start in range(repeats)) + separator + prose(fill)
        for words in (3, 6, 12) for repeats in (2, 5, 20) for separator in (" ", "\n", "\n\n") for fill in (5, 40, 200)
    ]  # fmt: skip
    texts += [separator.join([distinct(n)] * times) for n in (1, 4, 9) for times in (2, 9) for separator in (" ", "\n")]
    assert len(assert_equal_decisions(texts, monkeypatch)) >= 6


@pytest.fixture(scope="module")
def english(real_data: Path) -> list[str]:
    """Repaired texts of news pages and of book pages, as they reach the filters."""
    pages, _ = read_all("cc_news", real_data, "news/CC-NEWS*.warc.gz")
    books, _ = read_all("bookcorpus", real_data, "books/english_novels.zip")
    cuts = [book.text[at:] for book in books.values() for at in range(60_000, len(book.text), 200_000)]
    texts = [unicode.repair(text[:3000]) for text in (*(page.text for page in pages.values()), *cuts)]
    return [text for text in texts if language.load().predict(language.sample(text, 1000))[0] == "en"]


@pytest.mark.real
def test_decisions_equal_datatrove_on_real_texts(
    english: list[str], real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    articles, _ = read_all("wikipedia", real_data, "wikipedia/enwiki-table*", "wikipedia/ltgwiki*")
    texts = english[:120] + [unicode.repair(article.text) for article in list(articles.values())[:300]]
    seen = assert_equal_decisions(texts, monkeypatch)
    assert seen[""] > 150
    assert len(seen) >= 8, json.dumps(seen)


@pytest.mark.real
def test_what_differs_from_datatrove_comes_from_the_splitter(
    english: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """datatrove with spaCy's words, we with ours: 98 % of the decisions; we with spaCy's words: every reason."""
    tokenize = import_module("datatrove.utils.word_tokenizers").load_word_tokenizer("eng").word_tokenize
    agreed: Counter[str] = Counter()
    for text in english:
        words = tokenize(text)
        theirs = datatrove_reasons(text, words, monkeypatch)
        same_words = split_by(text, words)
        assert theirs == (quality_reason(same_words), repetition_reason(same_words)), text[:300]
        ours = quality_reason(text, marks_are_words=True), repetition_reason(text)
        agreed["quality"] += bool(ours[0]) == bool(theirs[0])
        agreed["repetition"] += bool(ours[1]) == bool(theirs[1])
    assert len(english) > 130
    assert agreed["quality"] >= 0.98 * len(english), (agreed, len(english))
    assert agreed["repetition"] >= 0.98 * len(english), (agreed, len(english))
