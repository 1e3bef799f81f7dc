"""Small model folders, as `penstock export` writes them, with a real tokenizer; and text for them to learn.

Fixtures for the tests of what comes after pretraining; a folder's conftest.py imports those it needs.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.model.pretrained import offline
from pipeline.tokenizer.run import write_tokenizer
from pipeline.tokenizer.train import TokenizerConfig, train

FRUIT = ["apple", "pear", "plum", "cherry", "grape", "lemon", "melon", "fig"]
TOOLS = ["hammer", "saw", "drill", "wrench", "plane", "chisel", "file", "clamp"]
FILLER = [
    "the",
    "a",
    "one",
    "old",
    "new",
    "big",
    "small",
    "and",
    "with",
    "on",
    "under",
    "near",
    "found",
    "was",
    "is",
    "here",
    "there",
    "we",
    "they",
    "saw",
    "it",
]
CONTEXT = 64


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These models are too small to share out; threads that wait for each other only steal time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def base(tokenizer_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights, 64 tokens of context."""
    return write_decoder(tmp_path_factory.mktemp("export") / "model", tokenizer_files)


def small_tokenizer(folder: Path, vocab_size: int = 400) -> Path:
    """A SentencePiece BPE over `sentence`s."""
    rng = random.Random(0)
    texts = [sentence(rng, rng.choice((FRUIT, TOOLS))) for _ in range(500)]
    write_tokenizer(folder, train(TokenizerConfig(vocab_size=vocab_size), texts))
    return folder


def write_decoder(folder: Path, tokenizer_files: Path, *, qwen: bool = False, **changes: Any) -> Path:
    """LlamaForCausalLM (or Qwen3) with random weights: 2 layers, hidden 32, 4 heads, 2 key/value heads."""
    offline()
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_files)
    shape = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": CONTEXT,
             "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3, "initializer_range": 0.1} | changes  # fmt: skip
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**shape)) if qwen else LlamaForCausalLM(LlamaConfig(**shape))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sentence(rng: random.Random, topic: list[str]) -> str:
    """About ten words, two of them of the topic."""
    words = rng.choices(FILLER, k=rng.randint(4, 10)) + rng.choices(topic, k=2)
    rng.shuffle(words)
    return " ".join(words) + "."


def toy_rows(num_rows: int = 200, seed: int = 0) -> list[dict[str, str]]:
    """Two classes that a few words tell apart; seven in ten rows are fruit."""
    rng = random.Random(seed)
    rows = []
    for number in range(num_rows):
        label, topic = ("fruit", FRUIT) if number % 10 < 7 else ("tools", TOOLS)
        split = {0: "validation", 1: "test"}.get(number // 10 % 5, "train")
        rows.append({"text": sentence(rng, topic), "label": label, "split": split})
    return rows


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
