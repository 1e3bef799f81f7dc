"""A small corpus of two sources as token shards."""

from pathlib import Path

import pytest

from pipeline.core.shard_map import Workers
from pipeline.shards import run
from pipeline.shards.write import ShardsConfig
from pipeline.tokenizer import run as tokenizer_run
from pipeline.tokenizer.train import TokenizerConfig
from tests.dedup.documents import docstrings, documents, write_stage


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = docstrings()
    third = len(texts) // 3
    files = {
        "manual-00000": documents("manual", texts[:third]),
        "manual-00001": documents("manual", texts[third : 2 * third]),
        "notes-on-the-side-00000": documents("notes-on-the-side", texts[2 * third :]),
    }
    return write_stage(tmp_path_factory.mktemp("clean"), files)


@pytest.fixture(scope="session")
def tokenizer(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenizer_run.run(TokenizerConfig(vocab_size=1000), clean, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def config() -> ShardsConfig:
    """Small batches and files, so that samples cross the one and sources have several of the other."""
    return ShardsConfig(validation_fraction=0.1, test_fraction=0.05, batch_tokens=1500, max_shard_bytes=60_000)


@pytest.fixture(scope="session")
def shards(
    clean: Path, tokenizer: Path, config: ShardsConfig, workers: Workers, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return run.run(config, clean, tokenizer, tmp_path_factory.mktemp("shards"), workers)
