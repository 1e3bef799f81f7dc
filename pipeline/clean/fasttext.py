"""A fastText classifier, asked cheaply: its file is read once, its sums are a numba kernel over the text's bytes.

    words between white space -> the word, and its n-grams of `minn` to `maxn` characters, "<" before and ">" behind
        -> a row of the input matrix each; their mean -> down the Huffman tree of the labels -> label, probability

fastText's own library decodes the quantised rows anew for every n-gram and takes four times as long. The answers are
the same (a test asks both), but for "</s>" and "__label__...": for the library the first ends the line and the second
is nothing; here they are words. Read: quantised classifiers with hierarchical softmax and without word n-grams, as
lid.176.ftz is; other files raise ValueError.

Source: fastText's file format and formulas, Joulin et al. 2016, arXiv 1607.01759 and 1612.03651.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.clean.characters import Array
from pipeline.core.kernels import kernel

MAGIC, VERSION, HIERARCHICAL, SUPERVISED = 793712314, 12, 1, 3
LABEL = b"__label__"
END_OF_LINE = 0  # the id of "</s>", which fastText appends to every line


@dataclass(frozen=True, eq=False)
class FastText:
    labels: list[str]
    minn: int
    maxn: int
    vectors: Array
    """float32 [words + n-gram buckets kept, dim]."""
    slots: Array
    """int32, a hash table of the words' ids."""
    hashes: Array
    """uint64 [words]."""
    buckets: Array
    """int32 [buckets]: row of an n-gram's bucket in `vectors`, -1 where it was pruned."""
    nodes: Array
    """float32 [labels - 1, dim]: of the inner nodes of the tree."""
    children: Array
    """int32 [labels - 1, 2]: a label, or len(labels) plus an inner node."""

    @classmethod
    def load(cls, path: Path) -> "FastText":
        read = _Reader(path.read_bytes())
        if read("ii") != (MAGIC, VERSION):
            raise ValueError(f"{path}: not a fastText model of version {VERSION}")
        dim, _, _, _, _, word_ngrams, loss, model, num_buckets, minn, maxn, _, _ = read("12id")
        if (word_ngrams, loss, model) != (1, HIERARCHICAL, SUPERVISED):
            raise ValueError(f"{path}: only classifiers with hierarchical softmax and without word n-grams are read")
        size, num_words, _, _, num_kept = read("iiiqq")
        entries = [(read.until_zero(), read("qb")[0]) for _ in range(size)]
        kept = read.array("<i4", 2 * max(0, num_kept)).reshape(-1, 2)
        if not read("?")[0]:
            raise ValueError(f"{path}: only quantised models are read")
        vectors = _dequantised(read, dim)
        if read("?")[0]:
            raise ValueError(f"{path}: only models whose output is not quantised are read")
        num_rows, _ = read("qq")
        nodes = read.array("<f4", num_rows * dim).reshape(num_rows, dim)
        buckets = np.full(num_buckets, -1, dtype=np.int32)
        buckets[kept[:, 0]] = num_words + kept[:, 1]
        words = (np.frombuffer(word, dtype=np.uint8) for word, _ in entries[:num_words])
        hashes = np.array([_hash(word, 0, len(word)) for word in words], dtype=np.uint64)
        labels = entries[num_words:]
        return cls(
            [label.removeprefix(LABEL).decode() for label, _ in labels], minn, maxn, vectors, _slots(hashes), hashes,
            buckets, nodes[: len(labels) - 1].copy(), _huffman([count for _, count in labels]),
        )  # fmt: skip

    def predict(self, line: str) -> tuple[str, float]:
        """The most likely label and its probability."""
        data = np.frombuffer(line.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        hidden = _hidden(data, self.slots, self.hashes, self.buckets, self.vectors, self.minn, self.maxn)
        label, probability = _best(hidden, self.nodes, self.children)
        return self.labels[label], min(1.0, probability)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __call__(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self._data, self._at)
        self._at += struct.calcsize(f"<{layout}")
        return values

    def array(self, dtype: str, count: int) -> Array:
        values = np.frombuffer(self._data, dtype, count, self._at)
        self._at += values.nbytes
        return values

    def until_zero(self) -> bytes:
        start, self._at = self._at, self._data.index(b"\0", self._at) + 1
        return self._data[start : self._at - 1]


def _dequantised(read: _Reader, dim: int) -> Array:
    """float32 [rows, dim] of a product-quantised matrix: a byte chooses each few columns, another the row's norm."""
    has_norms, num_rows, _, num_codes = read("?qqi")
    codes = read.array("u1", num_codes).reshape(num_rows, -1)
    rows = _centroids(read, codes)
    if has_norms:
        norm_codes = read.array("u1", num_rows).reshape(num_rows, 1)
        rows = rows * _centroids(read, norm_codes)
    return np.ascontiguousarray(rows, dtype=np.float32)


def _centroids(read: _Reader, codes: Array) -> Array:
    dim, num_parts, width, last_width = read("4i")
    centroids = read.array("<f4", dim * 256)
    ends = [256 * width * part for part in range(num_parts)] + [dim * 256]
    parts = [centroids[start:end].reshape(256, -1) for start, end in pairwise(ends)]
    assert parts[-1].shape[1] == last_width
    return np.concatenate([part[codes[:, number]] for number, part in enumerate(parts)], axis=1)


def _slots(hashes: Array) -> Array:
    slots = np.full(4 * len(hashes), -1, dtype=np.int32)
    for number, hash in enumerate(hashes.tolist()):
        slot = hash % len(slots)
        while slots[slot] >= 0:
            slot = (slot + 1) % len(slots)
        slots[slot] = number
    return slots


def _huffman(counts: list[int]) -> Array:
    """int32 [labels - 1, 2]: the children of each inner node; the labels come most frequent first."""
    unused = 10**15
    counts = counts + [unused] * (len(counts) - 1)
    num_labels = (len(counts) + 1) // 2
    children = np.empty((num_labels - 1, 2), dtype=np.int32)
    leaf, node = num_labels - 1, num_labels
    for parent in range(num_labels, len(counts)):
        for side in range(2):
            if leaf >= 0 and counts[leaf] < counts[node]:
                chosen, leaf = leaf, leaf - 1
            else:
                chosen, node = node, node + 1
            children[parent - num_labels, side] = chosen
        counts[parent] = sum(counts[child] for child in children[parent - num_labels])
    return children


@kernel
def _hash(data, start, end):  # type: ignore[no-untyped-def]
    hash = np.uint64(0xCBF29CE484222325)
    for at in range(start, end):
        hash = np.uint64((hash ^ np.uint64(data[at])) * np.uint64(0x100000001B3))
    return hash ^ (hash >> np.uint64(32))


@kernel
def _is_space(byte):  # type: ignore[no-untyped-def]
    return byte == 32 or 9 <= byte <= 13 or byte == 0


@kernel
def _hidden(data, slots, hashes, buckets, vectors, minn, maxn):  # type: ignore[no-untyped-def]
    """float32 [dim]: the mean of the rows of all words and n-grams, and of the end of the line."""
    hidden = vectors[END_OF_LINE].copy()
    num_rows = 1
    word = np.empty(len(data) + 2, dtype=np.uint8)
    word[0] = 60  # "<"
    at = 0
    while at < len(data):
        if _is_space(data[at]):
            at += 1
            continue
        size = 1
        while at < len(data) and not _is_space(data[at]):
            word[size] = data[at]
            size += 1
            at += 1
        number = _find(word, size, slots, hashes)
        if number >= 0:
            hidden += vectors[number]
            num_rows += 1
        word[size] = 62  # ">"
        num_rows += _add_ngrams(word, size + 1, buckets, vectors, minn, maxn, hidden)
    return hidden / np.float32(num_rows)


@kernel
def _find(word, size, slots, hashes):  # type: ignore[no-untyped-def]
    """The id of the word after the "<", or -1."""
    hash = _hash(word, 1, size)
    slot = np.int64(hash % np.uint64(len(slots)))
    while slots[slot] >= 0 and hashes[slots[slot]] != hash:
        slot = (slot + 1) % len(slots)
    return slots[slot]


@kernel
def _add_ngrams(word, size, buckets, vectors, minn, maxn, hidden):  # type: ignore[no-untyped-def]
    """Adds the rows of the word's n-grams; returns how many there were."""
    num_rows = 0
    for start in range(size):
        if word[start] & 0xC0 == 0x80:
            continue
        hash = np.uint32(2166136261)
        at, n = start, 0
        while at < size and n < maxn:
            n += 1
            while True:  # one character
                # FNV-1a over signed bytes, as fastText has it
                byte = np.uint32(word[at]) | (np.uint32(0xFFFFFF00) if word[at] >= 128 else np.uint32(0))
                hash = np.uint32((hash ^ byte) * np.uint32(16777619))
                at += 1
                if at >= size or word[at] & 0xC0 != 0x80:
                    break
            if n >= minn and not (n == 1 and (start == 0 or at == size)):
                row = buckets[hash % np.uint32(len(buckets))]
                if row >= 0:
                    num_rows += 1
                    for column in range(len(hidden)):
                        hidden[column] += vectors[row, column]
    return num_rows


@kernel
def _best(hidden, nodes, children):  # type: ignore[no-untyped-def]
    """(label, probability) of the likeliest leaf; a child has a smaller number than its parent."""
    num_labels = len(nodes) + 1
    scores = np.zeros(num_labels + len(nodes), dtype=np.float64)
    for node in range(len(nodes) - 1, -1, -1):
        product = 0.0
        for column in range(len(hidden)):
            product += nodes[node, column] * hidden[column]
        right = 1 / (1 + np.exp(-product))
        score = scores[num_labels + node]
        scores[children[node, 0]] = score + np.log(1 - right + 1e-5)
        scores[children[node, 1]] = score + np.log(right + 1e-5)
    best = np.argmax(scores[:num_labels])
    return best, np.exp(scores[best])
