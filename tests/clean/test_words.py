"""The splitter: the documented rules by example, and the kernels against a plain definition on any text."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.clean import quality
from pipeline.clean.characters import CLOSERS, FLAGS, JOINERS, STOPS, TERMINALS, UNSPACED
from pipeline.clean.run import CleanConfig, build
from pipeline.clean.verdict import Drop, Replace
from pipeline.clean.words import ABBREVIATIONS, SPLITTER, hash_word, locate, split, split_by
from pipeline.core.schema import Document


def words(text: str) -> list[str]:
    return split(text).strings(split(text).words)


def sentences(text: str) -> list[str]:
    return split(text).strings(split(text).sentences)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The dam, (old) well-known.", "The|dam|old|well-known"),
        ("don't numpy.linalg 3.14 and/or f(x) a--b", "don't|numpy.linalg|3.14|and/or|f|x|a|b"),
        ("a — b ... c -- end... #", "a|—|b|...|c|--|end|#"),
        ("naïve café don’t rock’n’roll’", "naïve|café|don’t|rock’n’roll"),
        ("日本語 text かなabcカー", "日|本|語|text|か|な|abc|カ|ー"),
        ("〇一 ที่นี่ ๒๕", "〇|一|ที่|นี่|๒๕"),
        ("नमस्ते दुनिया, می‌خواهم", "नमस्ते|दुनिया|می‌خواهم"),
        ("cafe\u0301s \u0301a", "cafe\u0301s|a"),
        ("so 👩‍👩‍👧 ☺️, a☺️ ☺️", "so|👩‍👩‍👧|☺️,|a|☺️"),
        ("x² snake_case _ ½", "x²|snake_case|_|½"),
        ("a\x00b \x00 c", "a|b|\x00|c"),
        ("  \n ", ""),
        ("", ""),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert "|".join(words(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?! Four… Five", "One.|Two!|Three?!|Four…|Five"),
        ("A title\nIts text. \n\n And more", "A title|Its text.|And more"),
        ("He said “Go.” Then (so he says.) he went.", "He said “Go.”|Then (so he says.) he went."),
        ("Mr. Smith met Dr. J. R. Jones, Vol. 2, e.g. at 3.14 p.m. on Jan. 3.", ""),
        ("The U.S. Army of St. Louis.", ""),
        ("It is true. 2020 was wet. “Yes.” No", "It is true.|2020 was wet.|“Yes.”|No"),
        ("日本語。かな！「はい。」次", "日本語。|かな！|「はい。」|次"),
        ("नमस्ते। दुनिया॥ क्या", "नमस्ते।|दुनिया॥|क्या"),
        ("هل هذا؟ نعم۔ حسنا", "هل هذا؟|نعم۔|حسنا"),
        ("...", "..."),
        ("example.com is a site", ""),
        (" \n \n", None),
    ],
)
def test_sentences(text: str, expected: str | None) -> None:
    """ "" stands for the whole text, None for no sentence."""
    assert sentences(text) == ([] if expected is None else (expected or text).split("|"))


def test_lines_and_paragraphs() -> None:
    pieces = split("\n a\nb \n\n\nc\n \nd\n\n")
    assert pieces.strings(pieces.lines) == ["", " a", "b ", "", "", "c", " ", "d", "", ""]
    assert pieces.strings(pieces.paragraphs) == ["a\nb ", "c\n \nd"]
    assert split("").lines.tolist() == [[0, 0]]
    assert split(" \n\n ").paragraphs.tolist() == []


def test_abbreviations_fit_their_table() -> None:
    assert all(1 < len(abbreviation) <= 8 and abbreviation.islower() for abbreviation in ABBREVIATIONS)


def test_numbers_of_words() -> None:
    pieces = split("der Bär und der bär, 日")
    assert pieces.lengths.tolist() == [3, 3, 3, 3, 3, 1]
    assert pieces.firsts.tolist() == [0, 1, 2, 0, 4, 5]
    assert [int(number) for number in pieces.hashes] == list(map(hash_word, words(pieces.text)))
    assert len(set(pieces.hashes.tolist())) == 5


def test_the_splitter_is_named_with_its_unicode_version() -> None:
    assert SPLITTER.split() == ["penstock-words-2", f"unicode-{unicodedata.unidata_version}"]


def test_words_of_another_splitter() -> None:
    pieces = split_by("Bär (alt), Bär.", ["Bär", "(", "alt", ")", ",", "Bär", "."], ["Bär (alt),", "Bär."])
    assert pieces.strings(pieces.words) == ["Bär", "(", "alt", ")", ",", "Bär", "."]
    assert pieces.strings(pieces.sentences) == ["Bär (alt),", "Bär."]
    assert pieces.firsts.tolist() == [0, 1, 2, 3, 4, 0, 6]
    assert split_by("a b.", ["a"]).strings(split("a b.").sentences) == ["a b."]
    with pytest.raises(ValueError, match="substring not found"):
        locate("one two", ["two", "one"])


# The plain definition.


def kind(character: str) -> str:
    code = ord(character)
    if character.isspace():
        return "space"
    if character.isalnum() or character == "_":
        unspaced = any(first <= code <= last for first, last in UNSPACED) and not character.isdecimal()
        return "alone" if unspaced else "letter"
    return "mark" if unicodedata.category(character)[0] == "M" or character in "\u200c\u200d" else "other"


def plain_words(text: str) -> list[str]:
    clusters: list[tuple[str, str]] = []  # characters with their marks, and the kind of the character
    for character in text:
        what = kind(character)
        if what == "mark" and clusters and clusters[-1][1] != "space":
            clusters[-1] = (clusters[-1][0] + character, clusters[-1][1])
        else:
            clusters.append((character, "other" if what == "mark" else what))
    codes = "".join(
        {"space": " ", "letter": "a", "alone": "1", "other": "."}[what] if cluster not in JOINERS else "-"
        for cluster, what in clusters
    )
    pattern = r"1|a+(?:-a+)*|(?<![^ ])[.-]+(?![^ ])"
    return ["".join(cluster for cluster, _ in clusters[found.start() : found.end()])
            for found in re.finditer(pattern, codes)]  # fmt: skip


def plain_sentences(text: str) -> list[str]:
    mark = f"[{re.escape(TERMINALS + STOPS)}…]"
    found = []
    for line in text.split("\n"):
        start = 0
        for ending in re.finditer(rf"{mark}+", line):
            end = ending.end()
            while end < len(line) and (line[end] in CLOSERS or kind(line[end]) == "mark"):
                end += 1
            if ends_sentence(line, ending.start(), end):
                found.append(line[start:end].strip())
                start = end
        found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def ends_sentence(line: str, mark: int, end: int) -> bool:
    if line[mark] in STOPS or end == len(line):
        return True
    if not line[end].isspace() or line[end:].lstrip()[:1].islower():
        return False
    if line[mark:end] != ".":
        return True
    before = re.search(r"(?<![A-Za-z.\u0080-\U0010ffff])[A-Za-z.]{1,8}\Z", line[:mark])
    return not before or not (
        re.search(r"(?:\A|\.)[A-Za-z]\Z", before[0]) or before[0].lower().lstrip(".") in ABBREVIATIONS
    )


letters = st.characters(codec=None)
pieces_of_text = st.sampled_from(
    [" ", "\n", "\n\n", ".", "...", ". ", "! ", "? ", "。", "'", "’", "-", "--", ")", "”", "」", "a", "B", "Mr", "e.g",
     "7", "_", "é", "e\u0301", "\u0301", "\u200d", "日", "本", "ที่", "☺️", "नमस्ते", "#", "(", "\u00a0", "\x00", "\x85"]
)  # fmt: skip
texts = st.lists(pieces_of_text | letters).map("".join)


@settings(max_examples=400, deadline=None)
@given(texts)
@example("a'\u0301b 日\u0301-日 \u0301")
def test_words_are_the_plain_definition(text: str) -> None:
    assert words(text) == plain_words(text)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_sentences_are_the_plain_definition(text: str) -> None:
    assert sentences(text) == plain_sentences(text)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_lines_and_paragraphs_are_the_plain_definition(text: str) -> None:
    pieces = split(text)
    assert pieces.strings(pieces.lines) == text.split("\n")
    assert pieces.strings(pieces.paragraphs) == (re.split(r"\n{2,}", text.strip()) if text.strip() else [])
    strings = pieces.strings(pieces.words)
    assert pieces.lengths.tolist() == list(map(len, strings))
    assert pieces.firsts.tolist() == [strings.index(word) for word in strings]


def test_every_character_is_of_one_kind() -> None:
    bits = {"letter": 1, "alone": 2, "space": 4, "mark": 8, "other": 16}
    expected = np.fromiter((bits[kind(chr(code))] for code in range(0x110000)), np.uint16, 0x110000)
    assert np.array_equal(FLAGS & 31, expected)


SHAPES = [
    "x",
    "a ",
    "\x00",
    "\x00 ",
    ".",
    ". ",
    "日",
    "\n",
    " ",
    "-",
    "a-",
    "a'",
    "é",
    "\u0301",
    "😀",
    "a\n\n",
    "J. ",
    "。",
]


def num_array_bytes(text: str) -> int:
    """What the pieces of a text hold, and what is derived from them."""
    pieces = split(text)
    held = (pieces.data, pieces.words, pieces.lines, pieces.sentences, pieces.paragraphs)
    return sum(part.nbytes for part in (*held, pieces.lengths, pieces.hashes, pieces.firsts))


@pytest.mark.parametrize("shape", SHAPES)
def test_hostile_shapes_take_memory_in_proportion(shape: str) -> None:
    """One line, one word, one letter words, nothing but marks or NUL or white space: so many bytes per byte."""
    small, large = (num_array_bytes(shape * times) for times in (3_000, 30_000))
    assert large <= 10 * small + 100
    assert large <= 40 * len((shape * 30_000).encode())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_rule_has_a_verdict_on_hostile_shapes(shape: str) -> None:
    config = CleanConfig.model_validate({"filters": ["unicode", "language", "boilerplate", "quality", "repetition"]})
    for times in (1, 100, 50_000):
        text = shape * times
        document = Document(b"0" * 16, "test", "key", "file:0", text)
        for filter in build(config):
            assert isinstance(filter(document), Drop | Replace | None)
        assert isinstance(quality.check(split(text), quality.Config()), Drop)
