from pathlib import Path

import pytest
import torch

from pipeline import cli
from pipeline.core.errors import UserError
from pipeline.model.generate import generate
from pipeline.model.pretrained import load_decoder, load_tokenizer
from tests.models import CONTEXT, write_decoder


def argmax_loop(folder: Path, prompt: str, num_tokens: int) -> str:
    """Greedy decoding written out, without a cache."""
    tokenizer, model = load_tokenizer(folder), load_decoder(folder)
    ids = tokenizer(prompt)["input_ids"] or [tokenizer.eos_token_id]
    start = len(ids)
    while len(ids) - start < num_tokens:
        with torch.inference_mode():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[start:], skip_special_tokens=True)


@pytest.mark.parametrize("qwen", [False, True], ids=["llama", "qwen3"])
@pytest.mark.parametrize("prompt", ["the old hammer", "", "é <s> 😀"])
def test_greedy_is_the_argmax(tokenizer_files: Path, tmp_path: Path, qwen: bool, prompt: str) -> None:
    folder = write_decoder(tmp_path / "model", tokenizer_files, qwen=qwen)
    text = generate(folder, prompt, max_new_tokens=20)
    assert text == argmax_loop(folder, prompt, 20)
    assert text


def test_a_seed_decides_what_is_drawn(base: Path) -> None:
    drawn = [generate(base, "the", max_new_tokens=16, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    greedy = generate(base, "the", max_new_tokens=16)
    assert generate(base, "the", max_new_tokens=16, temperature=1.0, top_k=1, seed=3) == greedy
    assert generate(base, "the", max_new_tokens=16, temperature=1.0, top_p=1e-6, seed=3) == greedy


def test_a_stream_adds_up_to_the_text(base: Path) -> None:
    pieces: list[str] = []
    text = generate(base, "the", max_new_tokens=24, temperature=1.0, seed=4, on_text=pieces.append)
    assert "".join(pieces) == "the" + text
    assert len(pieces) > 3


def test_the_command_shows_text_as_it_is_made(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt and what follows it, in many writes."""
    writes: list[str] = []
    monkeypatch.setattr(cli.typer, "echo", lambda text="", nl=True: writes.append(text + "\n" * nl))
    cli.generate(base, "the old", max_new_tokens=16)
    assert "".join(writes) == f"the old{generate(base, 'the old', max_new_tokens=16)}\n"
    assert len(writes) > 5
    writes.clear()
    with pytest.raises(UserError):
        cli.generate(base, "the old" * 100)
    assert writes == []


def test_the_model_ends_where_its_context_does(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = load_tokenizer(base)
    prompt = " apple" * 50
    length = len(tokenizer(prompt)["input_ids"])
    assert CONTEXT - 20 < length < CONTEXT
    text = generate(base, prompt, max_new_tokens=200)
    assert f"max_new_tokens cut from 200 to {CONTEXT - length}" in caplog.text
    assert text == argmax_loop(base, prompt, CONTEXT - length)
    with pytest.raises(UserError, match=rf"the prompt has \d+ tokens, the model sees {CONTEXT}; shorten it"):
        generate(base, prompt * 2)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": -1.0}, r"temperature \(-1.0\) must be 0 \(greedy\), or lie between 0.01 and 100"),
        ({"top_k": -1}, r"top_k \(-1\) must be 0 \(all tokens\) or more"),
        ({"top_p": 0.0}, r"top_p \(0.0\) must lie in \(0, 1\]"),
        ({"seed": -1}, r"seed \(-1\) must lie in 0 .. 4294967295"),
        ({"seed": 2**32}, r"seed \(4294967296\) must lie in 0 .. 4294967295"),
        ({"prompt": "the \udcff"}, "the prompt is not UTF-8: see what follows its first 4 characters"),
        ({"max_new_tokens": 0}, r"max_new_tokens \(0\) must be at least 1"),
    ],
)
def test_bad_settings(base: Path, setting: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(base, **{"prompt": "the", **setting})
