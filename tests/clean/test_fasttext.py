"""The model's answers are fastText's own; files of other kinds are refused."""

import struct
from pathlib import Path
from typing import Any

import fasttext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clean.fasttext import MAGIC, FastText
from pipeline.clean.language import MODEL

TEXTS = [
    "The old weir above the town mill was opened on Friday.", "Das alte Wehr über der Stadtmühle", "日本語のテキスト",
    "Старая плотина над мельницей", "السد القديم فوق الطاحونة", "de la in and", "a", "", " ", "x\x00y\x00 z",
    "👩‍👩‍👧 👧", "of the <b> > <", "a" * 5000,
]  # fmt: skip


@pytest.fixture(scope="module")
def models() -> tuple[FastText, Any]:
    return FastText.load(MODEL), fasttext.load_model(str(MODEL))


def assert_equal_answers(models: tuple[FastText, Any], text: str) -> None:
    ours, library = models
    language, score = ours.predict(text)
    labels, scores = library.predict(text)
    assert score == pytest.approx(min(1.0, scores[0]), abs=1e-4), text
    if score > 0.01:  # of equally unlikely ones, either
        assert f"__label__{language}" == labels[0], text


@pytest.mark.parametrize("text", TEXTS)
def test_answers_are_those_of_fasttext(models: tuple[FastText, Any], text: str) -> None:
    assert_equal_answers(models, text)


@settings(max_examples=200, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(TEXTS) | st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)
    ).map("".join)
)
def test_answers_are_those_of_fasttext_on_any_text(models: tuple[FastText, Any], text: str) -> None:
    assert_equal_answers(models, text)


def header(magic: int = MAGIC, version: int = 12, word_ngrams: int = 1, loss: int = 1) -> bytes:
    return struct.pack("<ii12id", magic, version, 16, 5, 5, 1, 5, word_ngrams, loss, 3, 100, 2, 4, 100, 0.1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header(magic=1), "not a fastText model of version 12"),
        (header(version=11), "not a fastText model of version 12"),
        (header(word_ngrams=2), "only classifiers with hierarchical softmax and without word n-grams are read"),
        (header(loss=3), "only classifiers with hierarchical softmax and without word n-grams are read"),
        (header() + struct.pack("<iiiqq", 0, 0, 0, 0, -1) + b"\0", "only quantised models are read"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        FastText.load(path)
