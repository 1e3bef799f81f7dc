"""Token shards small enough to train on within a test, written through pipeline/shards."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.core.manifest import run_stage
from pipeline.shards.run import STAGE
from pipeline.shards.write import ShardsConfig, SplitWriter

VOCAB_SIZE, EOS = 60, 0


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"))


def write_shards(root: Path, seed: int = 0) -> Path:
    """A finished shards folder: 2 sources, 24,000 tokens for training, 4,000 for validation.

    A token mostly decides the next one, so a model can do better than the token frequencies.
    """
    random = np.random.default_rng(seed)

    def body(folder: Path) -> dict[str, object]:
        entries = []
        for source, documents in (("left", 160), ("right", 80)):
            for split, number in (("train", documents), ("validation", documents // 6)):
                entries += _write_split(folder, source, split, number, random)
        return {
            "dtype": "uint16",
            "vocab_size": VOCAB_SIZE,
            "eos_id": EOS,
            "tokenizer_sha256": "5" * 64,
            "shards": entries,
        }

    return run_stage(STAGE, 1, {"seed": seed}, {}, root, body)


def _write_split(
    folder: Path, source: str, split: str, num_documents: int, random: np.random.Generator
) -> list[dict[str, object]]:
    tokenizer = SimpleNamespace(vocab_size=VOCAB_SIZE, sha256="5" * 64, eos_id=EOS)
    name = f"{source}-00000.{split}"
    writer = SplitWriter(folder, name, tokenizer, ShardsConfig())  # type: ignore[arg-type]
    for _ in range(num_documents):
        ids = [int(random.integers(1, VOCAB_SIZE))]
        while len(ids) < 99:
            ids.append(
                (ids[-1] * 7 + 3) % (VOCAB_SIZE - 1) + 1
                if random.random() < 0.8
                else int(random.integers(1, VOCAB_SIZE))
            )
        writer.append(random.bytes(16), np.array([*ids, EOS], dtype=np.uint16))
    counts = writer.close()
    return [
        {
            "name": f"{name}.00.tokens.arrow",
            "source": source,
            "split": split,
            "num_tokens": counts[f"{name}.00.tokens"],
            "num_documents": counts[f"{name}.00.documents"],
        }
    ]
