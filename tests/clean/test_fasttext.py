"""The answers are fastText's own, of the bundled model and of one of yours; files of other kinds are refused."""

import hashlib
import struct
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clean import language
from pipeline.clean.fasttext import MAGIC, FastText
from pipeline.clean.language import MODEL
from pipeline.clean.verdict import Drop, Replace
from pipeline.core.errors import UserError
from pipeline.core.schema import Document

TEXTS = [
    "The old weir above the town mill was opened on Friday.", "Das alte Wehr über der Stadtmühle", "日本語のテキスト",
    "Старая плотина над мельницей", "السد القديم فوق الطاحونة", "de la in and", "a", "", " ", "x\x00y\x00 z",
    "👩‍👩‍👧 👧", "of the <b> > <", "a" * 5000,
]  # fmt: skip


@pytest.fixture(scope="module")
def models() -> tuple[FastText, Any]:
    return FastText.load(MODEL), fasttext.load_model(str(MODEL))


WORDS = ["mill", "</s>", "the", "Mühle", "die", "水", "old"]
LABELS = ["eng_Latn", "deu_Latn", "jpn_Jpan", "fra_Latn", "und_Zzzz"]


def write_model(path: Path, loss: str, words: list[str], maxn: int = 5) -> None:
    """A classifier that is not quantised, as GlotLID's is, in the layout of fastText's `FastText::saveModel`."""
    draw, dim, buckets = np.random.default_rng(0), 8, 50
    data = struct.pack("<ii12id", MAGIC, 12, dim, 5, 5, 1, 5, 1, {"hs": 1, "softmax": 3}[loss], 3, buckets, 2, maxn,
                       100, 1e-4)  # fmt: skip
    data += struct.pack("<iiiqq", len(words) + len(LABELS), len(words), len(LABELS), 1000, -1)
    for number, (entry, kind) in enumerate([*((word, 0) for word in words), *((f"__label__{la}", 1) for la in LABELS)]):
        data += entry.encode() + b"\0" + struct.pack("<qb", 1000 - number, kind)
    for num_rows in (len(words) + buckets, len(LABELS)):
        matrix = draw.normal(size=(num_rows, dim)).astype("<f4")
        data += b"\0" + struct.pack("<qq", *matrix.shape) + matrix.tobytes()
    path.write_bytes(data)


@pytest.mark.parametrize("loss", ["softmax", "hs"])
@pytest.mark.parametrize(("words", "maxn"), [(WORDS, 5), (["mill", "old"], 5), (WORDS, 0)])
def test_models_that_are_not_quantised_are_read(tmp_path: Path, loss: str, words: list[str], maxn: int) -> None:
    """Flat or in a tree, with or without a word for the line's end, with or without n-grams."""
    write_model(tmp_path / "model.bin", loss, words, maxn)
    models = FastText.load(tmp_path / "model.bin"), fasttext.load_model(str(tmp_path / "model.bin"))
    for text in [*TEXTS[:6], "old mill", "die Mühle", "水", "x" * 500, *LABELS]:
        if models[1].predict(text)[0]:  # nothing at all is known: the library says nothing
            assert_equal_answers(models, text)
    assert models[0].labels == LABELS


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
        (header(word_ngrams=2), "only classifiers with softmax, flat or hierarchical, and without word n-grams"),
        (header(loss=2), "only classifiers with softmax, flat or hierarchical, and without word n-grams"),
        (header() + struct.pack("<iiiqq", 9, 9, 0, 0, -1) + b"word", "the file ends within its words"),
        (header()[:9], "requires a buffer of at least"),
        (b"", "cannot mmap an empty file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        FastText.load(path)


def test_the_filter_takes_a_model_of_yours_with_its_labels(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    write_model(path, "softmax", WORDS)
    config = language.Config(model=str(path), keep=("eng_Latn", "jpn_Jpan"), min_score=0)
    judge = language.build(config)
    library = fasttext.load_model(str(path))
    seen = set()
    for text in ("mill", "old", "weir", "x"):
        label = library.predict(text)[0][0].removeprefix("__label__")
        verdict = judge(Document(b"0" * 16, "test", "key", "file:0", text))
        if label in config.keep:
            assert isinstance(verdict, Replace)
            assert verdict.document.language == label
        else:
            assert isinstance(verdict, Drop)
            assert verdict.detail.startswith(f"{label} ")
        seen.add(label in config.keep)
    assert seen == {True, False}
    before = language.inputs(config)
    assert before == {str(path): hashlib.sha256(path.read_bytes()).hexdigest()}
    write_model(path, "hs", WORDS)
    assert language.inputs(config) != before
    assert language.load(str(path)).predict("mill") == FastText.load(path).predict("mill")
    assert language.inputs(language.Config()) == {}


def test_a_model_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.bin").write_text("no model, but long enough for a header of fastText " * 9)
    write_model(tmp_path / "model.bin", "softmax", WORDS)
    for name, keep, message in (
        ("none.bin", "en", r"cannot read language model .*none.bin: No such file"),
        ("text.bin", "en", r"cannot read language model .*text.bin: not a fastText model of version 12"),
        ("model.bin", "en", r"language: keep: .*model.bin does not know en; did you mean eng_Latn\?"),
        ("model.bin", "xx", r"language: keep: .*model.bin does not know xx; its 5 labels: .*deu_Latn, eng_Latn"),
        ("", "xyz", r"language: keep: the model does not know xyz; its 176 labels: af, als, .*, yue, zh$"),
    ):
        with pytest.raises(UserError, match=message):
            language.build(language.Config(model=name and str(tmp_path / name), keep=(keep,)))


@pytest.mark.parametrize(
    ("said", "code"),
    [("english", "en"), ("German", "de"), ("englsh", "en"), ("en-US", "en"), ("EN", "en"), ("zh_Hans", "zh")],
)
def test_a_language_that_is_no_code_is_refused_with_the_code(said: str, code: str) -> None:
    with pytest.raises(UserError, match=rf"the model does not know {said}; did you mean {code}\?$"):
        language.inputs(language.Config(keep=(said,)))
