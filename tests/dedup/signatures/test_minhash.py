"""MinHash, LSH and components against their definitions."""

import random
import re

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.signatures.exact import exact_hash, exact_hashes, fold_texts
from pipeline.dedup.signatures.minhash import EMPTY, MinHash, Unit, similarity


def words_of(rng: random.Random, count: int) -> list[str]:
    return [f"w{rng.randrange(10**9)}" for _ in range(count)]


def true_jaccard(one: str, other: str, ngram: int) -> float:
    def ngrams(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", text.casefold())
        return {tuple(words[k : k + ngram]) for k in range(len(words) - ngram + 1)}

    return len(ngrams(one) & ngrams(other)) / len(ngrams(one) | ngrams(other))


def pair(rng: random.Random, jaccard: float, num_ngrams: int = 400) -> tuple[str, str]:
    """Two texts of one-word n-grams whose sets have (nearly) this similarity."""
    shared = round(jaccard * 2 * num_ngrams / (1 + jaccard))
    common, rest = words_of(rng, shared), words_of(rng, 2 * (num_ngrams - shared))
    one, other = common + rest[: len(rest) // 2], common + rest[len(rest) // 2 :]
    rng.shuffle(one)
    rng.shuffle(other)
    return " ".join(one), " ".join(other)


@pytest.mark.parametrize("jaccard", [0.5, 0.7, 0.8, 0.9])
def test_estimate_is_unbiased_and_recall_follows_the_s_curve(jaccard: float) -> None:
    minhash, rng, num_pairs = MinHash(1, 14, 8), random.Random(round(jaccard * 100)), 400
    errors, caught = [], 0
    for _ in range(num_pairs):
        one, other = pair(rng, jaccard)
        signed = minhash.sign(fold_texts([one, other]))
        errors.append(similarity(*signed.entries) - true_jaccard(one, other, 1))
        caught += bool((signed.bands[0] == signed.bands[1]).any())
    deviation = np.sqrt(jaccard * (1 - jaccard) / 112)
    assert abs(np.mean(errors)) < 4 * deviation / np.sqrt(num_pairs)
    assert abs(np.std(errors) / deviation - 1) < 0.15
    expected = 1 - (1 - jaccard**8) ** 14
    assert abs(caught / num_pairs - expected) < 4 * np.sqrt(expected * (1 - expected) / num_pairs) + 0.005


def test_ngrams_are_those_of_the_words() -> None:
    minhash, rng = MinHash(5, 14, 8), random.Random(1)
    words = words_of(rng, 3000)
    edited = list(words)
    for at in range(0, 3000, 50):
        edited[at] = "changed"
    one, other = " ".join(words), " ".join(["shifted", *edited])
    (first, num), (second, _) = minhash.signature(one), minhash.signature(other)
    assert num == 2996
    assert abs(similarity(first, second) - true_jaccard(one, other, 5)) < 4 * np.sqrt(0.25 / 112)
    reordered = " ".join(reversed(words))
    assert similarity(first, minhash.signature(reordered)[0]) < 0.1  # the order within an n-gram counts


@pytest.mark.parametrize(
    ("one", "other", "num_ngrams"),
    [
        ("One, two; THREE -- four. five six", "one two three four five six", 2),
        ("“one two” three—four five", "one two three four five", 1),  # general punctuation, no-break space
        ("Straße ÄPFEL groß über fünf", "strasse äpfel gross über fünf", 1),
        ("我们今天去公园。", "我 们 今天去 公园", 3),  # an ideograph is a word
        ("ひらがなの", "ひ ら が な の", 1),
        ("ไทยไทย", "ไ ท ย ไ ท ย", 2),  # nor does Thai put spaces between words
        ("don’t well-known one", "(don't) well — known; one", 1),  # typography does not matter
    ],
)
def test_what_a_word_is(one: str, other: str, num_ngrams: int) -> None:
    minhash = MinHash(5, 4, 2)
    (first, num), (second, other_num) = minhash.signature(one), minhash.signature(other)
    assert num == other_num == num_ngrams
    assert np.array_equal(first, second)


@pytest.mark.parametrize("unit", ["word", "character"])
@pytest.mark.parametrize("text", ["", "   ", " \n\u3000"])
def test_a_text_of_nothing_has_no_ngrams(text: str, unit: Unit) -> None:
    signature, num = MinHash(5, 14, 8, unit).signature(text)
    assert num == 0
    assert (signature == EMPTY).all()


@pytest.mark.parametrize("text", ["...", "«»", "—"])
def test_punctuation_has_no_words(text: str) -> None:
    assert MinHash(5, 14, 8).signature(text)[1] == 0


@pytest.mark.parametrize(
    ("unit", "one", "same", "others"),
    [
        ("word", "one two three four", "One; two, THREE four!", ["one two three", "two one three four", "", "one two"]),
        ("word", "我们今天", "我们，今天。", ["我们今", "我们今天天"]),
        ("character", "abc", " ABC\n", ["ab", "a bc", "abcd", "abcde"]),
    ],
)
def test_texts_shorter_than_an_ngram_are_alike_when_they_are_equal(
    unit: Unit, one: str, same: str, others: list[str]
) -> None:
    minhash = MinHash(5, 14, 8, unit)
    signature, num = minhash.signature(one)
    assert num == 1
    assert np.array_equal(signature, minhash.signature(same)[0])
    for other in others:
        assert similarity(signature, minhash.signature(other)[0]) < 0.05


def test_character_ngrams_are_those_of_the_text() -> None:
    text, other = "The  quick\n brown fox — jumps over it", "the quick brown fox — jumped over it!"

    def ngrams(text: str) -> set[str]:
        text = " ".join(text.casefold().split())
        return {text[k : k + 4] for k in range(len(text) - 3)}

    minhash = MinHash(4, 64, 64, "character")
    one, two = minhash.ngrams(text), minhash.ngrams(other)
    assert (len(one), len(two)) == (len(ngrams(text)), len(ngrams(other)))
    true = len(ngrams(text) & ngrams(other)) / len(ngrams(text) | ngrams(other))
    assert len(np.intersect1d(one, two)) / len(np.union1d(one, two)) == true
    estimate = similarity(minhash.signature(text)[0], minhash.signature(other)[0])
    assert abs(estimate - true) < 4 * np.sqrt(0.25 / 4096)


def test_texts_signed_together_are_as_signed_alone() -> None:
    texts = ["", "one two", "Ein Text\u3000über   etwas anderes", "word " * 50, "…", "我们今天去公园"]
    folded, minhash = fold_texts(texts), MinHash(3, 4, 2)
    signed = minhash.sign(folded)
    for number, text in enumerate(texts):
        signature, num = minhash.signature(text)
        assert np.array_equal(signed.entries[number], signature)
        assert signed.num_ngrams[number] == num
        assert exact_hashes(folded)[number] == exact_hash(text)


@given(st.text(max_size=100))
@settings(max_examples=200, deadline=None)
def test_exact_hash_is_of_the_text_with_white_space_squeezed(text: str) -> None:
    assert exact_hash(text) == xxhash.xxh3_128_digest(" ".join(text.casefold().split()).encode())


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_has_a_signature(text: str) -> None:
    minhash = MinHash(2, 4, 2)
    signature, num = minhash.signature(text)
    assert num >= 0
    assert np.array_equal(signature, minhash.signature(text.casefold())[0])


def test_signatures_never_change() -> None:
    """Signatures may be kept and compared with those of later runs."""
    signature, _ = MinHash(5, 14, 8).signature("The quick brown fox jumps over the lazy dog. " * 3)
    assert signature[:4].tolist() == [447095089, 35932014, 43154627, 5202184]
    assert exact_hash("The  Quick\n") == exact_hash("the quick") != exact_hash("thequick")
