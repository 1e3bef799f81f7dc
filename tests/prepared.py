"""A small prepare folder and runs trained on it, made by the real stages: documents, tokenizer, shards, checkpoints.

Fixtures for the tests of what comes after pretraining; a folder's conftest.py imports those it needs.
"""

import random
from pathlib import Path
from typing import Any

import pytest
import xxhash

from pipeline.core.manifest import Manifest, input_marks, run_stage, write_manifest
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.core.tables import DocumentWriter
from pipeline.shards import run as shards
from pipeline.shards.run import ShardsConfig
from pipeline.tokenizer import run as tokenizer
from pipeline.tokenizer.train import TokenizerConfig
from pipeline.train.config import PretrainConfig
from tests.models import FRUIT, TOOLS, sentence

SEQ_LEN = 32
VOCAB = 300


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, workers: Workers) -> Path:
    """Two sources, 60 documents each; splits train, validation and test."""
    return prepare(tmp_path_factory.mktemp("prepared") / "data", workers)


def prepare(root: Path, workers: Workers, seed: int = 0) -> Path:
    rng = random.Random(seed)
    texts = {source: [" ".join(sentence(rng, topic) for _ in range(8)) + " é€😀\n" for _ in range(60)]
             for source, topic in (("books", FRUIT), ("news", TOOLS))}  # fmt: skip
    documents = run_stage("dedup", 1, {"seed": seed}, {}, root, lambda folder: _write_documents(folder, texts))
    model = tokenizer.run(TokenizerConfig(vocab_size=VOCAB, sample_bytes=1 << 20), documents, root)
    split = ShardsConfig(validation_fraction=0.2, test_fraction=0.3)
    folders = {"dedup": documents, "tokenizer": model, "shards": shards.run(split, documents, model, root, workers)}
    stages = {name: folder.name for name, folder in folders.items()}
    inputs = input_marks(list(folders.values()))
    write_manifest(root, Manifest("prepare", 1, "0" * 32, {}, inputs, {"stages": stages}, ()))
    return root


def _write_documents(folder: Path, texts: dict[str, list[str]]) -> dict[str, Any]:
    for source, own in texts.items():
        private = folder / "scratch" / source
        private.mkdir(parents=True)
        with DocumentWriter(private, "dedup") as writer:
            for number, text in enumerate(own):
                doc_id = xxhash.xxh3_128_digest(f"{source} {number}".encode())
                writer.keep(Document(doc_id, source, f"{number}", f"file:{number}", text))
        for path in private.iterdir():
            path.rename(folder / f"{source}-00000.{path.name}")
    return {}


def pretrain_config(data: Path, **model: Any) -> PretrainConfig:
    shape = {"num_layers": 2, "hidden_size": 32, "num_heads": 4, "num_kv_heads": 2, "ffn_size": 48, "init_std": 0.1}
    return PretrainConfig.model_validate(
        {
            "model": shape | model,
            "data": {"path": str(data), "seq_len": SEQ_LEN},
            "batch": {"global_batch": 2},
            "optim": {"lr": 1e-3},
            "steps": 10,
            "precision": "fp32",
        }
    )
