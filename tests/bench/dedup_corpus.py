"""A corpus of any size with planted duplicates whose true similarity is known, as a finished stage folder.

Every document has WORDS words drawn from millions, so that no two 5-grams of the corpus are equal by chance. Of ten
documents one is a copy of another one with r words replaced, far apart, r = 1 .. 8 in turn: of n = WORDS - 4 5-grams
5 r are other ones, so that the true similarity is (n - 5 r) / (n + 5 r), 0.905 to 0.429. One of a hundred is a copy in
capitals.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.manifest import run_stage
from pipeline.core.schema import DOCUMENT
from pipeline.dedup.signatures.exact import FoldedTexts

WORDS, LETTERS = 104, 5
EDITS = range(1, 9)
AT_ONCE = 20_000


def true_jaccard(edits: int, num_words: int = WORDS) -> float:
    return (num_words - 4 - 5 * edits) / (num_words - 4 + 5 * edits)


def write(root: Path, num_documents: int, num_files: int, seed: int = 0) -> Path:
    """Documents are dealt to the files at random; `key` tells what is planted: "base", "base/edits" or "base/exact"."""

    def body(folder: Path) -> dict[str, int]:
        rng = np.random.default_rng(seed)
        names = [f"web-{number:05d}" for number in range(num_files)]
        writers = [
            pq.ParquetWriter(folder / f"{name}.documents.parquet", DOCUMENT, compression="zstd") for name in names
        ]
        for table in _tables(num_documents, rng):
            file_of = rng.integers(0, num_files, len(table))
            for number, writer in enumerate(writers):
                writer.write_table(table.filter(pa.array(file_of == number)))
        for writer in writers:
            writer.close()
        return {"documents": num_documents}

    return run_stage("clean", 1, {"bench": num_documents, "files": num_files, "seed": seed}, {}, root, body)


def _tables(num_documents: int, rng: np.random.Generator) -> Iterator[pa.Table]:
    """Copies come with what they are copies of; the files are dealt at random."""
    for start in range(0, num_documents, AT_ONCE):
        count = min(AT_ONCE, num_documents - start)
        num_near, num_exact = count // 10, count // 100
        base = words(count - num_near - num_exact, rng)
        edits = np.arange(num_near) % len(EDITS) + 1
        near = edited(base[:num_near], edits, rng)
        exact = base[num_near : num_near + num_exact].copy()
        exact[..., :LETTERS] -= 32
        keys = [f"{start + number}" for number in range(len(base))]
        keys += [f"{start + number}/{times}" for number, times in enumerate(edits.tolist())]
        keys += [f"{start + num_near + number}/exact" for number in range(num_exact)]
        yield _table(np.concatenate([base, near, exact]), keys, rng)


def words(count: int, rng: np.random.Generator, num_words: int = WORDS) -> np.ndarray:
    """uint8 [count, num_words, LETTERS + 1]: letters and a space."""
    letters = rng.integers(97, 123, (count, num_words, LETTERS + 1), dtype=np.uint8)
    letters[..., LETTERS] = 32
    return letters


def edited(texts: np.ndarray, edits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Copies with so many words replaced: at least five from each other and from both ends."""
    result = texts.copy()
    other = words(1, rng, texts.shape[1])[0]
    for number, times in enumerate(edits.tolist()):
        places = 6 + 12 * np.arange(times)
        result[number, places] = other[places]
    return result


def folded(texts: np.ndarray) -> FoldedTexts:
    return FoldedTexts(texts.ravel(), np.arange(len(texts) + 1) * texts[0].size)


def _table(letters: np.ndarray, keys: list[str], rng: np.random.Generator) -> pa.Table:
    count = len(letters)
    offsets = np.arange(count + 1, dtype=np.int32) * (WORDS * (LETTERS + 1))
    texts = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters)))
    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(rng.bytes(16 * count))])
    empty = pa.repeat("", count)
    meta = pa.MapArray.from_arrays(pa.array(np.zeros(count + 1, dtype=np.int32)), pa.array([], pa.string()),
                                   pa.array([], pa.string()))  # fmt: skip
    columns = dict.fromkeys(DOCUMENT.names, empty) | {
        "doc_id": ids, "source": pa.repeat("web", count), "key": pa.array(keys), "text": texts, "meta": meta,
    }  # fmt: skip
    return pa.table([columns[name] for name in DOCUMENT.names], schema=DOCUMENT)
