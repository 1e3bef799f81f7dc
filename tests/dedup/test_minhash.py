"""MinHash, LSH and components against their definitions."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup import lsh
from pipeline.dedup.components import roots
from pipeline.dedup.exact import exact_hash
from pipeline.dedup.minhash import MinHash, similarity


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
        (first, _), (second, _) = minhash.signature(one), minhash.signature(other)
        errors.append(similarity(first, second) - true_jaccard(one, other, 1))
        caught += bool((minhash.band_hashes(first) == minhash.band_hashes(second)).any())
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
    ],
)
def test_what_a_word_is(one: str, other: str, num_ngrams: int) -> None:
    minhash = MinHash(5, 4, 2)
    (first, num), (second, other_num) = minhash.signature(one), minhash.signature(other)
    assert num == other_num == num_ngrams
    assert np.array_equal(first, second)


@pytest.mark.parametrize("text", ["", "   ", "one two three four", "...", "«»", "我们今天"])
def test_short_texts_have_no_ngrams(text: str) -> None:
    assert MinHash(5, 14, 8).signature(text)[1] == 0


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


@given(edges=st.lists(st.tuples(st.integers(0, 49), st.integers(0, 49)), max_size=80), seed=st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_components_against_a_plain_search(edges: list[tuple[int, int]], seed: int) -> None:
    neighbours: dict[int, set[int]] = {node: set() for node in range(50)}
    for left, right in edges:
        neighbours[left].add(right)
        neighbours[right].add(left)
    smallest: dict[int, int] = {}
    for start in range(50):
        stack = [start]
        while stack:
            node = stack.pop()
            if node not in smallest:
                smallest[node] = start
                stack += neighbours[node]
    random.Random(seed).shuffle(edges)
    found = roots(50, np.array(edges, dtype=np.uint32).reshape(-1, 2))
    assert found.tolist() == [smallest[node] for node in range(50)]


def test_all_pairs_of_a_bucket_are_compared_and_others_are_not() -> None:
    """In a chain A ~ B ~ C with A unlike C, all three are found, whatever their order."""
    a, c = np.zeros(112, dtype=np.uint32), np.ones(112, dtype=np.uint32)
    b = np.where(np.arange(112) % 2, a, c).astype(np.uint32)
    other = np.full(112, 7, dtype=np.uint32)
    for order in ([a, b, c, other], [a, c, b, other], [c, other, a, b]):
        edges = lsh._link(np.array([0, 4]), np.array(order), 56, lsh.WINDOW)
        linked = roots(4, edges.astype(np.uint32))
        alone = [number for number, signature in enumerate(order) if signature is other]
        assert [number for number in range(4) if (linked == linked[number]).sum() == 1] == alone
        assert len(edges) == 2
    split = lsh._link(np.array([0, 1, 4]), np.array([a, a, c, other]), 56, lsh.WINDOW)
    assert len(split) == 0  # another bucket


def test_a_large_bucket_of_equal_signatures_is_one_cluster() -> None:
    signatures = np.zeros((1000, 8), dtype=np.uint32)
    signatures[500:600] = np.arange(100)[:, None] + 1  # more strangers than the window holds
    edges = lsh._link(np.array([0, 1000]), signatures, 8, lsh.WINDOW)
    linked = roots(1000, edges.astype(np.uint32))
    assert (linked[:500] == 0).all()
    assert (linked[600:] == 0).all()  # through the first of the bucket
    assert len(np.unique(linked)) == 101
