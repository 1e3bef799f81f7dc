"""A fastText classifier, asked cheaply: its file is read once, its sums are a numba kernel over the text's bytes.

    words between white space -> the word, and its n-grams of `minn` to `maxn` characters, "<" before and ">" behind
        -> a row of the input matrix each; their mean -> softmax over the labels, flat or down their Huffman tree
        -> label, probability

fastText's own library decodes the quantised rows anew for every n-gram and takes four times as long. The answers are
the same (a test asks both), but for "</s>" and "__label__...": for the library the first ends the line and the second
is nothing; here they are words. Read: classifiers with either softmax and without word n-grams, quantised as
lid.176.ftz is or whole as GlotLID's .bin, which is mapped, so that all workers of a machine share its gigabyte. Other
files raise ValueError.

Source: fastText's file format and formulas, Joulin et al. 2016, arXiv 1607.01759 and 1612.03651.
"""

import mmap
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.clean.characters import Array
from pipeline.core.kernels import kernel

MAGIC, VERSION, SUPERVISED = 793712314, 12, 3
HIERARCHICAL, SOFTMAX = 1, 3
LABEL = b"__label__"
SEEN_WORDS = 16384  # a power of two
END_OF_LINE = b"</s>"  # the word that fastText appends to every line


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
    end_of_line: int
    """The row of END_OF_LINE, -1 if it has none."""
    num_buckets: int
    kept: Array
    """uint64 [buckets / 64, rounded up]: a bit for each bucket of n-grams, 0 where it was pruned."""
    rows: Array
    """int32, beside `kept`: the row in `vectors` of the first bucket kept of the 64; the others' follow."""
    outputs: Array
    """float32 [labels, dim], or [labels - 1, dim] of the inner nodes of the tree."""
    children: Array
    """int32 [labels - 1, 2]: a label, or len(labels) plus an inner node; [0, 2] where there is no tree."""
    seen: "_Seen"

    @classmethod
    def load(cls, path: Path) -> "FastText":
        try:
            with open(path, "rb") as file:
                return cls._read(_Reader(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        except (ValueError, struct.error) as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def _read(cls, read: "_Reader") -> "FastText":
        if read("ii") != (MAGIC, VERSION):
            raise ValueError(f"not a fastText model of version {VERSION}")
        dim, _, _, _, _, word_ngrams, loss, model, num_buckets, minn, maxn, _, _ = read("12id")
        if word_ngrams != 1 or loss not in (HIERARCHICAL, SOFTMAX) or model != SUPERVISED:
            raise ValueError("only classifiers with softmax, flat or hierarchical, and without word n-grams are read")
        size, num_words, _, _, num_kept = read("iiiqq")
        entries = [(read.until_zero(), read("qb")[0]) for _ in range(size)]
        kept = read.array("<i4", 2 * max(0, num_kept)).reshape(-1, 2)
        is_quantised = read("?")[0]
        vectors = _dequantised(read, dim) if is_quantised else read.matrix()
        has_quantised_outputs = read("?")[0] and is_quantised
        outputs = _dequantised(read, dim) if has_quantised_outputs else read.matrix().copy()
        is_kept = np.ones(num_buckets, dtype=np.bool_)
        if num_kept >= 0:
            is_kept[:] = False
            is_kept[kept[:, 0]] = True
            ordered = num_words + kept[np.argsort(kept[:, 0]), 1]
            vectors = np.concatenate([vectors[:num_words], vectors[ordered]])
        words = [word for word, _ in entries[:num_words]]
        end_of_line = words.index(END_OF_LINE) if END_OF_LINE in words else -1
        hashes = [_hash(np.frombuffer(word, dtype=np.uint8), 0, len(word)) for word in words]
        labels = [label.removeprefix(LABEL).decode() for label, _ in entries[num_words:]]
        children = np.empty((0, 2), dtype=np.int32)
        if loss == HIERARCHICAL:
            outputs, children = outputs[: len(labels) - 1], _huffman([count for _, count in entries[num_words:]])
        return cls(labels, minn, maxn, vectors, _slots(hashes), np.array(hashes, dtype=np.uint64), end_of_line,
                   num_buckets, *_packed(is_kept, num_words), outputs, children, _Seen.none(dim))  # fmt: skip

    def predict(self, line: str) -> tuple[str, float]:
        """The most likely label and its probability."""
        data = np.frombuffer(line.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        hidden = _hidden(data, self.slots, self.hashes, self.end_of_line, self.num_buckets, self.kept, self.rows,
                         self.vectors, self.minn, self.maxn, self.seen)  # fmt: skip
        if len(self.children):
            label, probability = _best(hidden, self.outputs, self.children)
        else:
            scores = self.outputs @ hidden
            label = int(scores.argmax())
            probability = 1 / float(np.exp(scores - scores[label]).sum())
        return self.labels[label], min(1.0, probability)


class _Seen(NamedTuple):
    """Sums of words met before, in the slots that their hashes name: most words of a text are the same few thousand.
    What a slot holds depends on the word alone, so nothing depends on the texts before."""

    hashes: Array
    """uint64 [SEEN_WORDS]."""
    counts: Array
    """int32 [SEEN_WORDS]: how many rows are in the sum; -1 of an empty slot."""
    sums: Array
    """float32 [SEEN_WORDS, dim]."""

    @classmethod
    def none(cls, dim: int) -> "_Seen":
        counts = np.full(SEEN_WORDS, -1, dtype=np.int32)
        return cls(np.zeros(SEEN_WORDS, dtype=np.uint64), counts, np.zeros((SEEN_WORDS, dim), dtype=np.float32))


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 0

    def __call__(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self._data, self._at)
        self._at += struct.calcsize(f"<{layout}")
        return values

    def array(self, dtype: str, count: int) -> Array:
        values = np.frombuffer(self._data, dtype, count, self._at)
        self._at += values.nbytes
        return values

    def matrix(self) -> Array:
        num_rows, num_columns = self("qq")
        return self.array("<f4", num_rows * num_columns).reshape(num_rows, num_columns)

    def until_zero(self) -> bytes:
        start, self._at = self._at, self._data.find(b"\0", self._at) + 1
        if not self._at:
            raise ValueError("the file ends within its words")
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


def _packed(is_kept: Array, num_words: int) -> tuple[Array, Array]:
    """`kept` and `rows` of a FastText: 0.4 MB for two million buckets, which stay in a core's cache as 8 would not."""
    blocks = np.zeros((-(-len(is_kept) // 64), 64), dtype=np.bool_)
    blocks.reshape(-1)[: len(is_kept)] = is_kept
    counts = blocks.sum(axis=1)
    kept = np.packbits(blocks, axis=1, bitorder="little").view("<u8").reshape(-1)
    return kept, (num_words + np.cumsum(counts) - counts).astype(np.int32)


def _slots(hashes: list[int]) -> Array:
    slots = np.full(4 * len(hashes) + 1, -1, dtype=np.int32)
    for number, hash in enumerate(hashes):
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
def _hidden(data, slots, hashes, end_of_line, num_buckets, kept, rows, vectors, minn, maxn, seen):  # type: ignore[no-untyped-def]
    """float32 [dim]: the mean of the rows of all words and n-grams, and of the end of the line."""
    hidden = np.zeros(vectors.shape[1], dtype=np.float32)
    num_rows = 0
    if end_of_line >= 0:
        hidden += vectors[end_of_line]
        num_rows += 1
    at = 0
    while at < len(data):
        if _is_space(data[at]):
            at += 1
            continue
        start = at
        while at < len(data) and not _is_space(data[at]):
            at += 1
        hash = _hash(data, start, at)
        slot = np.int64(hash % np.uint64(len(seen.hashes)))
        if seen.counts[slot] < 0 or seen.hashes[slot] != hash:
            seen.sums[slot] = 0
            seen.counts[slot] = _add_word(data[start:at], _find(hash, slots, hashes), num_buckets, kept, rows,
                                          vectors, minn, maxn, seen.sums[slot])  # fmt: skip
            seen.hashes[slot] = hash
        for column in range(len(hidden)):
            hidden[column] += seen.sums[slot, column]
        num_rows += seen.counts[slot]
    return hidden / np.float32(max(num_rows, 1))


@kernel
def _find(hash, slots, hashes):  # type: ignore[no-untyped-def]
    """The id of the word, or -1."""
    slot = np.int64(hash % np.uint64(len(slots)))
    while slots[slot] >= 0 and hashes[slots[slot]] != hash:
        slot = (slot + 1) % len(slots)
    return slots[slot]


@kernel
def _add_word(text, number, num_buckets, kept, rows, vectors, minn, maxn, sums):  # type: ignore[no-untyped-def]
    """Adds the rows of the word, if it is known, and of its n-grams; returns how many there were."""
    num_rows = 0
    if number >= 0:
        sums += vectors[number]
        num_rows += 1
    word = np.empty(len(text) + 2, dtype=np.uint8)
    word[0], word[1:-1], word[-1] = 60, text, 62  # "<", ">"
    return num_rows + _add_ngrams(word, num_buckets, kept, rows, vectors, minn, maxn, sums)


@kernel
def _add_ngrams(word, num_buckets, kept, rows, vectors, minn, maxn, sums):  # type: ignore[no-untyped-def]
    """Adds the rows of the word's n-grams; returns how many there were."""
    num_rows = 0
    size = len(word)
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
                row = _row(np.int64(hash % np.uint32(num_buckets)), kept, rows)
                if row >= 0:
                    num_rows += 1
                    for column in range(len(sums)):
                        sums[column] += vectors[row, column]
    return num_rows


@kernel
def _row(bucket, kept, rows):  # type: ignore[no-untyped-def]
    """The bucket's row in the matrix, or -1."""
    bits, bit = kept[bucket >> 6], np.uint64(bucket & 63)
    if not (bits >> bit) & np.uint64(1):
        return np.int64(-1)
    return np.int64(rows[bucket >> 6]) + _num_ones(bits & ((np.uint64(1) << bit) - np.uint64(1)))


@kernel
def _num_ones(bits):  # type: ignore[no-untyped-def]
    """In 64 bits: of pairs, of fours, of eights, then all eights summed by a product."""
    bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x5555555555555555))
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _best(hidden, nodes, children):  # type: ignore[no-untyped-def]
    """(label, probability) of the likeliest leaf; below a node that is less likely than a leaf nothing is likelier."""
    num_labels = len(nodes) + 1
    waiting = np.empty(num_labels, dtype=np.int64)
    scores = np.empty(num_labels, dtype=np.float64)
    waiting[0], scores[0], count = num_labels + len(nodes) - 1, 0.0, 1
    best, best_score = 0, -np.inf
    while count:
        count -= 1
        node, score = waiting[count], scores[count]
        if score <= best_score:
            continue
        if node < num_labels:
            best, best_score = node, score
            continue
        product = 0.0
        for column in range(len(hidden)):
            product += nodes[node - num_labels, column] * hidden[column]
        right = 1 / (1 + np.exp(-product))
        below = np.log(1 - right + 1e-5), np.log(right + 1e-5)
        likelier = int(below[1] > below[0])
        for side in (1 - likelier, likelier):  # the last is looked at first
            waiting[count], scores[count] = children[node - num_labels, side], score + below[side]
            count += 1
    return best, np.exp(best_score)
