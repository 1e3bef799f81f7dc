"""The tokenizer stage: lossless, the same everywhere, and a gate that refuses what is not."""

import io
import json
import os
import subprocess
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.config import load
from pipeline.core.errors import ArtifactError, ConfigError, UserError
from pipeline.core.manifest import read_manifest
from pipeline.tokenizer import gate, huggingface
from pipeline.tokenizer.run import run, write_tokenizer
from pipeline.tokenizer.sample import SampleText, draw_sample, longest_prefix
from pipeline.tokenizer.tokenizer import Tokenizer
from pipeline.tokenizer.train import TokenizerConfig, sentences, train
from tests.dedup.documents import docstrings, documents, write_stage

CONFIG = TokenizerConfig(vocab_size=800)


@pytest.fixture(scope="session")
def documents_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = docstrings()
    files = {"manual-00000": documents("manual", texts[:200]), "notes-00000": documents("notes", texts[200:])}
    return write_stage(tmp_path_factory.mktemp("documents"), files)


@pytest.fixture(scope="session")
def folder(documents_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(CONFIG, documents_folder, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back_without_control_tokens(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not gate.control_ids(tokenizer) & set(ids)


@given(st.lists(st.sampled_from(["<s>", "</s>", "<pad>", " ", "\n", "\t", "the", "é", "\u2581", "<0x41>", "\0"])))
@settings(max_examples=200, deadline=None)
def test_control_text_is_text(tokenizer: Tokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not gate.control_ids(tokenizer) & set(ids)


def test_ids_and_pieces(tokenizer: Tokenizer) -> None:
    assert (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (0, 1, 2, 3)
    assert tokenizer.vocab_size == 800
    assert len(tokenizer.encode("\n\n\t")) == 3  # symbols of their own
    assert len(tokenizer.encode("1234567890")) == 10  # digits are split
    assert tokenizer.decode([1, *tokenizer.encode("a b"), 2, 3]) == "a b"


def test_manifest_counts(folder: Path, documents_folder: Path, tokenizer: Tokenizer) -> None:
    counts = read_manifest(folder).counts
    assert counts["vocab_size"] == 800
    assert counts["sha256"] == tokenizer.sha256
    assert counts["sample_documents"] == len(docstrings())
    assert counts["sample_bytes"] == sum(len(text.encode()) for text in docstrings())
    assert set(counts["sources"]) == {"manual", "notes"}
    for source in counts["sources"].values():
        assert source["bytes_per_token"] == round(source["bytes"] / source["tokens"], 3)
        assert 2 < source["bytes_per_token"] < 6
    assert sum(source["documents"] for source in counts["sources"].values()) == len(docstrings())
    assert {entry.name for entry in read_manifest(folder).files} == {
        "tokenizer.model", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip


def test_same_bytes_again_and_nothing_of_this_machine(folder: Path, documents_folder: Path, tmp_path: Path) -> None:
    again = run(CONFIG, documents_folder, tmp_path)
    assert (again / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    for file in again.iterdir():
        for part in (tmp_path.name, documents_folder.parent.name, os.uname().nodename):
            assert part.encode() not in file.read_bytes()


def test_training_is_silent() -> None:
    program = (
        "from pipeline.tokenizer.train import *\n"
        "train(TokenizerConfig(vocab_size=300), [f'{n} words and {n * n} more' for n in range(3000)])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout + result.stderr == ""


def test_the_export_is_what_transformers_loads(folder: Path, tokenizer: Tokenizer) -> None:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(folder)
    for text in [*docstrings()[:20], " a  b\n\t<s></s> é \U0001f469", "", "   "]:
        assert loaded(text)["input_ids"] == tokenizer.encode(text)
        assert loaded.decode(loaded(text)["input_ids"]) == text
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (1, 2, 3)


def test_unigram_passes_the_gate(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, train(TokenizerConfig(vocab_size=500, model_type="unigram"), docstrings()[:60]))
    figures = gate.check(tmp_path, [("manual", text) for text in docstrings()[:60]])
    assert figures["manual"].documents == 60


def plant(folder: Path, **flags: Any) -> None:
    """A tokenizer trained with other flags than ours (without `flags`, it passes)."""
    model = io.BytesIO()
    options = {
        "vocab_size": 500, "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False, "add_dummy_prefix": False, "allow_whitespace_only_pieces": True,
        "user_defined_symbols": ["\n", "\t"], "unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": 3, "minloglevel": 2,
    }  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(docstrings()[:60]), model_writer=model, **(options | flags)
    )
    write_tokenizer(folder, model.getvalue())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"remove_extra_whitespaces": True}, r"does not come back: ' +' became ''"),
        ({"add_dummy_prefix": True}, r"differ on|does not come back"),
        ({"normalization_rule_name": "nmt_nfkc"}, r"does not come back"),
        ({"byte_fallback": False}, r"yields unknown or control tokens|does not come back"),
        ({"user_defined_symbols": ["<s>"], "bos_id": -1}, "the model has no control token <s>"),
    ],
)
def test_the_gate_refuses_other_flags_and_names_a_string(tmp_path: Path, flags: dict[str, Any], message: str) -> None:
    plant(tmp_path, **flags)
    with pytest.raises(UserError, match=f"tokenizer gate: .*({message})"):
        gate.check(tmp_path, [("manual", docstrings()[0])])


def test_the_planted_tokenizer_passes_without_its_flaw(tmp_path: Path) -> None:
    plant(tmp_path)
    assert gate.check(tmp_path, [("manual", docstrings()[0])])["manual"].documents == 1


def test_the_gate_refuses_default_flags(tmp_path: Path) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(docstrings()[:60]), model_writer=model, vocab_size=400, pad_id=3, minloglevel=2
    )
    (tmp_path / "tokenizer.json").write_text(huggingface.convert(train(CONFIG, docstrings())).to_str())
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(UserError, match=r"tokenizer gate: an adversarial string does not come back: ' ' became ''"):
        gate.check(tmp_path, [])


def test_the_gate_refuses_a_tokenizer_json_of_another_model(folder: Path, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, train(TokenizerConfig(vocab_size=700), docstrings()))
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match=r"tokenizer\.json and tokenizer\.model differ on '.{1,20}': \["):
        gate.check(tmp_path, [("manual", text) for text in docstrings()])
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is missing"):
        gate.check(tmp_path, [])


def test_shortest_failing_part() -> None:
    assert gate.shortest_failing("a" * 700 + "xy" + "b" * 900, lambda part: "xy" in part) == "xy"
    assert gate.shortest_failing("q", lambda part: "q" in part) == "q"


@pytest.mark.parametrize(
    ("config", "texts", "message"),
    [
        ({"vocab_size": 90000}, docstrings()[:20], r"vocab_size \(90,000\) is too large .* set it to \d+ or less"),
        ({"vocab_size": 200}, docstrings()[:20], r"vocab_size \(200\) is too small .* set it to \d+ or more"),
        ({}, ["", "\n"], "there is no text to train a tokenizer on"),
    ],
)
def test_mistakes_in_training(config: dict[str, Any], texts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(TokenizerConfig(**config), texts)


def test_config_bounds() -> None:
    with pytest.raises(ConfigError, match="model_type: expected 'bpe' or 'unigram', found 'word'"):
        load(TokenizerConfig, None, ["model_type=word"])


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no text to train a tokenizer on"):
        run(CONFIG, write_stage(tmp_path, {"a-00000": []}), tmp_path)


def test_no_line_is_ignored_for_its_length() -> None:
    text = "word " * 5000 + "x" * 20_000 + "\nshort\n" + "é" * 9000
    parts = list(sentences([text]))
    assert "".join(parts) == text.replace("\n", "")
    assert max(len(part.encode()) for part in parts) <= 4000


def test_sample_is_a_function_of_the_documents(tmp_path: Path) -> None:
    rows = documents("manual", docstrings())
    one = write_stage(tmp_path / "one", {"manual-00000": rows})
    two = write_stage(tmp_path / "two", {"manual-00000": rows[300:], "manual-00001": rows[:300][::-1]})
    samples = [draw_sample(sorted(folder.glob("*.documents.parquet")), 20_000, 3) for folder in (one, two)]
    assert samples[0] == samples[1]
    size = sum(len(item.text.encode()) for item in samples[0])
    assert 15_000 < size <= 20_000
    assert samples[0] == sorted(samples[0])
    assert draw_sample(sorted(one.glob("*.documents.parquet")), 20_000, 4) != samples[0]
    assert len(draw_sample(sorted(one.glob("*.documents.parquet")), 1, 3)) == 1
    assert len(draw_sample(sorted(one.glob("*.documents.parquet")), 10**9, 3)) == len(rows)


@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=8), limit=st.integers(1, 30), data=st.data())
@settings(max_examples=300, deadline=None)
def test_the_sample_is_the_longest_prefix_in_any_order(sizes: list[int], limit: int, data: st.DataObject) -> None:
    samples = [SampleText(n / 10, bytes([n]), "manual", "x" * size) for n, size in enumerate(sizes)]
    ends = list(accumulate(sizes))
    expected = samples[: max(1, sum(end <= limit for end in ends))]
    assert longest_prefix(data.draw(st.permutations(samples)), limit) == expected


def test_load_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"tokenizer\.model is missing"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="is not a SentencePiece model"):
        Tokenizer.load(tmp_path)


def test_tokenizer_config_is_not_a_llama_tokenizer(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["split_special_tokens"] is True
