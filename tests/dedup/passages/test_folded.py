"""Words without case and punctuation, where they stand, and texts without some of them."""

import random

import numpy as np
import pytest

from pipeline.clean.characters import FLAGS, OTHER
from pipeline.clean.words import split
from pipeline.dedup.passages.folded import cut, fold, grams, runs

ALPHABET = "abz AZ \n\t'’.,-_…“日本語ไทยéÅİß\u0301\u200d❤\ufe0f😀3½\ud800"


def words(text: str) -> list[str]:
    found = fold(text)
    return [text[start:end] for start, end in zip(found.starts, found.ends, strict=True)]


def test_words_are_the_splitters_once_punctuation_is_blank() -> None:
    rng = random.Random(0)
    for _ in range(500):
        text = "".join(rng.choices(ALPHABET, k=rng.randrange(60)))
        blanks = "".join(" " if char == "_" or FLAGS[ord(char)] & OTHER else char for char in text)
        pieces = split(blanks)
        theirs = [word for word in pieces.strings(pieces.words) if any(map(str.isalnum, word))]
        assert words(text) == theirs, text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Don't STOP—now!", "don’t stop now"),
        ("it 's a film , really", "It's a (film), really."),
        ("well-known café\u0301", "WELL KNOWN CAFÉ\u0301"),
        ("I ❤️ it", "i it"),
    ],
)
def test_case_and_punctuation_do_not_count(one: str, other: str) -> None:
    assert fold(one).hashes.tolist() == fold(other).hashes.tolist()


def test_grams_are_equal_where_words_are() -> None:
    rng = random.Random(1)
    text = [rng.choice("abc") for _ in range(400)]
    hashes = fold(" ".join(text)).hashes
    seen: dict[int, tuple[str, ...]] = {}
    for n in (1, 2, 7):
        found = grams(hashes, n)
        assert len(found) == len(text) - n + 1
        for at, hash in enumerate(found.tolist()):
            assert seen.setdefault(hash, tuple(text[at : at + n])) == tuple(text[at : at + n])
        assert len(set(found.tolist())) == len({tuple(text[at : at + n]) for at in range(len(found))})
    assert len(grams(hashes[:3], 4)) == 0


def test_a_cut_leaves_lines_and_paragraphs_apart() -> None:
    text = "One two.\n\nThree four.\nFive six, seven."
    for word, left in (
        ("two.", "One\n\nThree four.\nFive six, seven."),
        ("Three four.", "One two.\n\nFive six, seven."),
        ("six,", "One two.\n\nThree four.\nFive seven."),
        ("One two.", "Three four.\nFive six, seven."),
        ("seven.", "One two.\n\nThree four.\nFive six,"),
        (text, ""),
    ):
        start = text.index(word)
        assert cut(text, [(start, start + len(word))]) == left
    assert cut(text, []) == text
    assert cut("a b c d e", [(0, 1), (4, 5), (8, 9)]) == "b d"
    assert runs(np.array([1, 1, 0, 1], dtype=bool)) == [(0, 2), (3, 4)]


def test_punctuation_goes_with_the_words_it_clings_to() -> None:
    text = 'He said: "Open (the sluice)!" and—went home.'
    words = fold(text)
    for first, end, taken in ((2, 5, '"Open (the sluice)!"'), (5, 6, "and—"), (6, 7, "—went"), (7, 8, "home.")):
        start, stop = words.range(first, end)
        assert text[start:stop] == taken
