"""Words that stand twice are cut the second time: as a search through all texts says, in whatever files they lie."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.clean.verdict import Drop, Replace
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.dedup.passages import occurrences, substrings
from tests.dedup.documents import documents
from tests.dedup.passages.first_pass import surveyed

N = 4


def random_documents(rng: random.Random) -> list[Document]:
    """Few words, so that much is repeated; some documents share whole passages, some are too short or empty."""
    shared = [" ".join(rng.choices("abcdefgh", k=rng.randrange(3, 9))) for _ in range(4)]
    texts = []
    for _ in range(rng.randrange(1, 9)):
        parts = [rng.choice([*shared, " ".join(rng.choices("ABCDEFGH", k=rng.randrange(6)))]) for _ in range(5)]
        texts.append(rng.choice([" ", ", ", "\n\n"]).join(parts))
    return documents("test", texts)


def left_by_search(rows: list[Document]) -> dict[bytes, list[str]]:
    """Words that stay, by comparing every `N` words with all others before them."""
    seen: set[tuple[str, ...]] = set()
    left = {}
    for row in sorted(rows, key=lambda row: row.doc_id):
        words = row.text.lower().replace(",", "").split()
        repeated: set[int] = set()
        for at in range(len(words) - N + 1):
            if (passage := tuple(words[at : at + N])) in seen:
                repeated.update(range(at, at + N))
            seen.add(passage)
        left[row.doc_id] = [word for at, word in enumerate(words) if at not in repeated]
    return left


@pytest.mark.parametrize("seed", range(12))
def test_what_stays_is_what_a_search_leaves(
    seed: int, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occurrences, "RUN_ROWS", 7)  # several runs a file
    monkeypatch.setattr(occurrences, "RANGE_ROWS", 50)  # and several ranges
    rng = random.Random(seed)
    rows = random_documents(rng)
    files: list[list[Document]] = [[] for _ in range(rng.randrange(1, 4))]
    for row in rng.sample(rows, len(rows)):
        rng.choice(files).append(row)
    judge = surveyed(substrings, substrings.Config(min_words=N), files, tmp_path / "passes", workers)
    expected = left_by_search(rows)
    for row in rows:
        verdict = judge(row)
        text = verdict.document.text if isinstance(verdict, Replace) else row.text
        assert text.lower().replace(",", "").split() == expected[row.doc_id]
        assert (verdict is None) == (text == row.text)


def test_a_document_with_a_repeat_is_dropped_if_so_set(workers: Workers, tmp_path: Path) -> None:
    passage = "The sluice is opened at dawn, and closed at dusk."
    rows = sorted(documents("test", [f"One. {passage}", f"Two words here. {passage.upper()} Three."]),
                  key=lambda row: row.doc_id)  # fmt: skip
    config = substrings.Config(min_words=10, action="drop")
    judge = surveyed(substrings, config, [rows], tmp_path / "passes", workers)
    assert judge(rows[0]) is None
    verdict = judge(rows[1])
    assert isinstance(verdict, Drop)
    assert verdict.reason == "repeated_passage"
    found = json.loads(verdict.detail)
    assert found["words"] == 10
    assert found["passages"] == 1
    assert found["begins"].lower() == passage.lower()[:-1]
    config = substrings.Config(min_words=11, action="drop")
    judge = surveyed(substrings, config, [rows], tmp_path / "longer", workers)
    assert [judge(row) for row in rows] == [None, None]


@pytest.mark.parametrize("action", ["cut", "drop"])
def test_what_a_dropped_document_had_first_is_lost_and_is_not_when_it_is_cut(
    action: Any, workers: Workers, tmp_path: Path
) -> None:
    """As the docstring says: B repeats A, C repeats another part of B."""
    rows = sorted(documents("test", ["a", "b", "c"]), key=lambda row: row.doc_id)
    texts = ("One two three four.", "One two three four. Five six seven eight.", "Five six seven eight.")
    rows = [replace(row, text=text) for row, text in zip(rows, texts, strict=True)]
    judge = surveyed(substrings, substrings.Config(min_words=4, action=action), [rows], tmp_path / "passes", workers)
    left = []
    for row in rows:
        verdict = judge(row)
        left.append(verdict.document.text if isinstance(verdict, Replace) else "" if verdict else row.text)
    assert left == ([texts[0], texts[2], ""] if action == "cut" else [texts[0], "", ""])


def test_a_repeat_within_a_document_goes(workers: Workers, tmp_path: Path) -> None:
    (row,) = documents("test", ["alpha beta gamma delta.\n\nmiddle\n\nAlpha, beta, gamma, delta end"])
    judge = surveyed(substrings, substrings.Config(min_words=4), [[row]], tmp_path / "passes", workers)
    verdict = judge(row)
    assert isinstance(verdict, Replace)
    assert verdict.edit == "repeated_passages"
    assert verdict.document.text == "alpha beta gamma delta.\n\nmiddle\n\nend"
