"""Duplicates in real files: editions of one book, planted articles (marker `real`)."""

import csv
import gzip
import itertools
import json
from pathlib import Path

import pytest

from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.dedup.run import DedupConfig, run
from tests.dedup.documents import documents, write_stage
from tests.dedup.test_dedup import ledger_of
from tests.sources.reading import read_all

pytestmark = pytest.mark.real

Pairs = set[frozenset[str]]


def cluster_pairs(folder: Path) -> Pairs:
    """Of keys: every two documents of a cluster."""
    members: dict[bytes, list[str]] = {}
    for row in ledger_of(folder):
        survivor = row["detail"].get("survivor")
        members.setdefault(bytes.fromhex(survivor) if survivor else row["doc_id"], []).append(row["key"])
    return {frozenset(pair) for keys in members.values() for pair in itertools.combinations(keys, 2)}


@pytest.fixture(scope="module")
def books(real_data: Path) -> dict[str, Document]:
    return read_all("bookcorpus", real_data, "books/*.zip", "books/*.epub", "books/botchan.txt.gz")[0]


def book_of(real_data: Path) -> dict[str, str]:
    with open(real_data / "books/gutenberg_editions_groundtruth.tsv", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return {row["file"].removeprefix("../"): row["book"] for row in rows}


@pytest.mark.parametrize("verify", [False, True])
def test_editions_of_a_book_are_found_and_no_two_books_are_merged(
    real_data: Path, books: dict[str, Document], workers: Workers, tmp_path: Path, verify: bool
) -> None:
    """Pair recall and precision are 1. The second part of a long book is a document by itself."""
    names = book_of(real_data)

    def name(key: str) -> tuple[str, str]:
        file, _, part = key.removeprefix("gutenberg_editions.zip/").partition("#")
        return names.get(file, file), part

    true = {frozenset(pair) for pair in itertools.combinations(books, 2) if name(pair[0]) == name(pair[1])}
    clean = write_stage(tmp_path, {"books-00000": list(books.values())})
    found = cluster_pairs(run(DedupConfig(verify=verify), clean, tmp_path, workers))
    assert found <= true, "precision"
    assert found >= true, "recall"
    assert len(true) == 44


def test_planted_articles(real_data: Path, workers: Workers, tmp_path: Path) -> None:
    """All ten pairs among a thousand articles and no other, with word and with character n-grams, and verified."""
    with gzip.open(real_data / "dedup/plagiarism_articles_1000.jsonl.gz", "rt", encoding="utf-8") as lines:
        articles = {row["id"]: row["text"] for row in map(json.loads, lines)}
    truth = (real_data / "dedup/plagiarism_articles_1000.pairs.tsv").read_text().splitlines()
    rows = [Document(**{**vars(d), "key": key})
            for key, d in zip(articles, documents("news", articles.values()), strict=True)]  # fmt: skip
    clean = write_stage(tmp_path, {"news-00000": rows})
    for config in (DedupConfig(), DedupConfig(verify=True), DedupConfig(unit="character", ngram=24)):
        found = cluster_pairs(run(config, clean, tmp_path, workers))
        assert found == {frozenset(line.split()) for line in truth}
        assert len(found) == 10
