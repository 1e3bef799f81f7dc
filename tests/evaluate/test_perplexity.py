import gzip
import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.core.errors import ArtifactError, ConfigError, UserError
from pipeline.core.manifest import read_manifest, stage_folders
from pipeline.evaluate.perplexity import Config, bytes_per_token, text_windows
from pipeline.evaluate.run import evaluate, print_results
from pipeline.model.pretrained import load_decoder, load_tokenizer
from pipeline.shards.read import open_corpora, read_shards_manifest
from pipeline.verify import verify
from tests.models import CONTEXT, write_decoder, write_jsonl

TEXTS = ["the old hammer near a plum é\n", "we saw the small apple there and it was on the big saw here"]


def nats_by_hand(folder: Path, tokens: list[int], first: int = 1) -> float:
    """Sum of -ln p of tokens[first:], each given all before it."""
    with torch.inference_mode():
        logits = load_decoder(folder)(torch.tensor([tokens])).logits[0].double()
    chances = logits.log_softmax(-1)
    return -sum(float(chances[at - 1, tokens[at]]) for at in range(first, len(tokens)))


def documents(folder: Path) -> list[list[int]]:
    tokenizer = load_tokenizer(folder)
    return [[2, *tokenizer(text)["input_ids"], 2] for text in TEXTS]


def test_text_equals_the_sum_by_hand(base: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])
    scores = evaluate(base, ["perplexity"], tmp_path / "out", data)["tasks"]["perplexity"]
    found = documents(base)
    num_tokens = sum(len(tokens) - 1 for tokens in found)
    nats = sum(nats_by_hand(base, tokens) for tokens in found)
    assert all(len(tokens) - 1 <= CONTEXT for tokens in found)  # one window each
    assert scores["num_tokens"] == num_tokens
    assert scores["num_bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert scores["nats_per_token"] == pytest.approx(nats / num_tokens, rel=1e-5)
    assert scores["perplexity"] == pytest.approx(math.exp(nats / num_tokens), rel=1e-4)
    assert scores["bits_per_byte"] == pytest.approx(nats / math.log(2) / scores["num_bytes"], rel=1e-5)
    shares = [count / num_tokens for count in Counter(token for tokens in found for token in tokens[1:]).values()]
    assert scores["unigram_entropy"] == pytest.approx(-sum(share * math.log(share) for share in shares))
    assert json.loads((tmp_path / "out" / "results.json").read_bytes())["tasks"]["perplexity"] == scores


def test_a_long_text_is_scored_in_windows_that_overlap(base: Path, tmp_path: Path) -> None:
    text = " ".join(TEXTS * 6)
    data = tmp_path / "text.txt.gz"
    with gzip.open(data, "wt") as file:
        file.write(text)
    task = Config(name="perplexity", context=32, stride=8, batch_size=3)
    scores = evaluate(base, [task], tmp_path / "out", data)["tasks"]["perplexity"]
    tokens = [2, *load_tokenizer(base)(text)["input_ids"], 2]
    nats, scored, start = nats_by_hand(base, tokens[:33]), 33, 8
    while scored < len(tokens):
        window = tokens[start : start + 33]
        nats += nats_by_hand(base, window, first=scored - start)
        scored, start = start + len(window), start + 8
    assert scores["num_tokens"] == len(tokens) - 1
    assert scores["nats_per_token"] == pytest.approx(nats / (len(tokens) - 1), rel=1e-5)


@pytest.mark.parametrize("num_tokens", [2, 9, 10, 11, 30, 31, 32])
@pytest.mark.parametrize("stride", [1, 3, 10])
def test_windows_score_every_token_once(num_tokens: int, stride: int) -> None:
    windows = list(text_windows(list(range(num_tokens)), context=10, stride=stride, source="text"))
    scored = [int(token) for window in windows for token in window.tokens[1:][window.first :]]
    assert scored == list(range(1, num_tokens))
    for window in windows[1:]:
        assert window.first >= 10 - stride - (10 - (len(window.tokens) - 1))
        assert len(window.tokens) <= 11


def test_bytes_of_every_token(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    sizes = bytes_per_token(tokenizer)
    for text in (*TEXTS, "  \t\n", "😀 <s> ü", "\x00\r"):
        assert int(sizes[tokenizer(text)["input_ids"]].sum()) == len(text.encode()), text
    assert sizes[:4].tolist() == [0, 0, 0, 0]


@pytest.fixture(scope="module")
def model(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with the tokenizer of `prepared`."""
    folder = tmp_path_factory.mktemp("export") / "model"
    tokenizer = stage_folders(prepared)["tokenizer"]
    write_decoder(folder, tokenizer)
    (folder / "tokenizer.model").write_bytes((tokenizer / "tokenizer.model").read_bytes())
    return folder


def test_shards_equal_the_sum_by_hand(prepared: Path, model: Path, tmp_path: Path) -> None:
    scores = evaluate(model, ["perplexity"], tmp_path / "out", prepared)["tasks"]["perplexity"]
    shards = stage_folders(prepared)["shards"]
    for source, corpus in open_corpora(shards, "test").items():
        tokens = np.concatenate(corpus.batches()).astype(np.int64).tolist()
        num_samples = (len(tokens) - 1) // CONTEXT
        nats = sum(nats_by_hand(model, tokens[i * CONTEXT : (i + 1) * CONTEXT + 1]) for i in range(num_samples))
        assert num_samples > 5
        assert scores["by_source"][source]["num_tokens"] == num_samples * CONTEXT
        assert scores["by_source"][source]["nats_per_token"] == pytest.approx(nats / num_samples / CONTEXT, rel=1e-5)
    both = scores["by_source"].values()
    assert scores["num_tokens"] == sum(row["num_tokens"] for row in both)
    total = sum(row["nats_per_token"] * row["num_tokens"] for row in both)
    assert scores["nats_per_token"] == pytest.approx(total / scores["num_tokens"])
    # The manifest counts the bytes of all documents; only what is left of each file's end was not scored.
    counted = read_shards_manifest(shards).counts["splits"]["test"]
    written = sum(row["bytes"] for row in counted.values())
    assert 0.9 * written < scores["num_bytes"] <= written


def test_the_table(prepared: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    task = Config(name="perplexity", split="validation", max_windows=2)
    results = evaluate(model, [task], tmp_path / "out", prepared)
    assert results["tasks"]["perplexity"]["num_tokens"] == 2 * 2 * CONTEXT
    print_results(results)
    shown = capsys.readouterr().out
    assert "books" in shown
    assert f"{results['tasks']['perplexity']['bits_per_byte']:.3f}" in shown


@pytest.mark.parametrize("ending", ["tokens.arrow", "docs.arrow"])
def test_a_flipped_bit_in_a_shard_is_refused(prepared: Path, model: Path, tmp_path: Path, ending: str) -> None:
    data = shutil.copytree(prepared, tmp_path / "data")
    file = next(stage_folders(data)["shards"].glob(f"books-*.test.*.{ending}"))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 128
    file.write_bytes(raw)
    with pytest.raises(ArtifactError, match=rf"{file} is damaged: its bytes do not match the manifest's checksum"):
        evaluate(model, ["perplexity"], tmp_path / "out", data)
    assert not (tmp_path / "out").exists()


def test_the_result_is_an_artifact(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It can be verified; the same evaluation is read, another one refused."""
    out, data = tmp_path / "out", write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])
    results = evaluate(base, ["perplexity"], out, data)
    assert verify(out) == ([], 1)
    assert read_manifest(out).config["tasks"][0]["batch_size"] == 8
    caplog.set_level("INFO")
    moved = shutil.copy(data, tmp_path / "moved.jsonl")
    assert evaluate(base, ["perplexity"], out, Path(moved)) == results
    assert f"evaluate is done already: {out}" in caplog.text
    with pytest.raises(UserError, match="holds another finished evaluate; name another folder"):
        evaluate(base, [Config(name="perplexity", stride=9)], out, data)
    write_jsonl(data, [{"text": TEXTS[0]}])
    with pytest.raises(UserError, match="holds another finished evaluate"):
        evaluate(base, ["perplexity"], out, data)
    (out / "results.json").write_text("{}")
    assert verify(out) == ([f"{out / 'results.json'}: damaged (its bytes do not match the manifest's checksum)"], 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moved.jsonl", "out", "texts.jsonl"]


def test_mistakes(base: Path, prepared: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "results.json").touch()
    with pytest.raises(ConfigError, match=r"^tasks.0: unknown name 'perplxity'; did you mean 'perplexity'[^\n]*$"):
        evaluate(base, ["perplxity"], out, prepared)
    changed = write_decoder(tmp_path / "model", stage_folders(prepared)["tokenizer"])
    (changed / "tokenizer.model").write_bytes(b"another")
    with pytest.raises(UserError, match="no task to score; known: classification, perplexity"):
        evaluate(base, [], out, prepared)
    with pytest.raises(UserError, match=r"results.json exists and is not a finished evaluate; name another folder"):
        evaluate(base, ["perplexity"], tmp_path / "results.json", prepared)
    with pytest.raises(ArtifactError, match=r"was written with tokenizer \w{12}, the model has \w{12}"):
        evaluate(changed, ["perplexity"], out, prepared)
    with pytest.raises(UserError, match=r"perplexity: .*none does not exist"):
        evaluate(base, ["perplexity"], out, tmp_path / "none")
    with pytest.raises(UserError, match="perplexity: no data to score on; give --data"):
        evaluate(base, ["perplexity"], out)
    with pytest.raises(UserError, match=r"context \(65\) is beyond the 64 tokens that the model sees"):
        evaluate(base, [Config(name="perplexity", context=65)], out, prepared)
    empty = tmp_path / "empty.txt"
    empty.touch()
    with pytest.raises(UserError, match="holds no text"):
        evaluate(base, ["perplexity"], out, empty)
    with pytest.raises(UserError, match=r"stride \(9\) must not be beyond context \(8\)"):
        evaluate(base, [Config(name="perplexity", context=8, stride=9)], out, empty)
    with pytest.raises(UserError, match=r"split \(test\) is for prepare folders"):
        evaluate(base, [Config(name="perplexity", split="test")], out, empty)
    with pytest.raises(UserError, match=r"line 1: 'text' must be a text, found 3"):
        evaluate(base, ["perplexity"], out, write_jsonl(tmp_path / "rows.jsonl", [{"text": 3}]))
    with pytest.raises(UserError, match=r"holds another finished prepare; name another folder"):
        evaluate(model, ["perplexity"], prepared, prepared)
    with pytest.raises(UserError, match=r"is not a model folder"):
        evaluate(tmp_path, ["perplexity"], out, prepared)
    assert not out.exists()
