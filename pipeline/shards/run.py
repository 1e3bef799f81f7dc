"""The shards stage: a folder of documents and a tokenizer in, token shards per source and split out.

counts of the manifest:
    dtype, vocab_size, eos_id, tokenizer_sha256
    splits: {split: {source: {documents, tokens, bytes}}}
    shards: every TOKENS file in reading order: name, source, split, num_tokens, num_documents
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.core.errors import UserError
from pipeline.core.manifest import committed_files, run_stage
from pipeline.core.shard_map import Receipt, Split, Workers
from pipeline.core.tables import DOCUMENTS_FILE
from pipeline.shards.read import STAGE, TOKENS_FILE, Shard
from pipeline.shards.write import EncodeTask, ShardsConfig, dtype_of, encode_file
from pipeline.sources.base import source_of
from pipeline.tokenizer.tokenizer import Tokenizer

VERSION = 2


def run(config: ShardsConfig, documents: Path, tokenizer: Path, root: Path, workers: Workers) -> Path:
    """The finished folder under `root`. `documents` and `tokenizer` are finished stage folders."""

    def body(folder: Path) -> Mapping[str, Any]:
        files = committed_files(documents, DOCUMENTS_FILE)
        if not files:
            raise UserError(f"{documents} holds no documents (no *{DOCUMENTS_FILE})")
        splits = [
            Split(file.name.removesuffix(DOCUMENTS_FILE), EncodeTask(file, tokenizer, config), file.stat().st_size)
            for file in files
        ]
        receipts = workers.map(encode_file, splits, folder, label=STAGE)
        sources = {split.id: source_of(file) for split, file in zip(splits, files, strict=True)}
        return describe(receipts, sources, Tokenizer.load(tokenizer))

    return run_stage(STAGE, VERSION, config, [documents, tokenizer], root, body)


def describe(receipts: list[Receipt], sources: Mapping[str, str], tokenizer: Tokenizer) -> dict[str, Any]:
    shards = [shard for receipt in receipts for shard in _shards(receipt, sources[receipt.split])]
    splits: dict[str, dict[str, dict[str, int]]] = {}
    for shard in shards:
        total = splits.setdefault(shard.split, {}).setdefault(shard.source, {"documents": 0, "tokens": 0, "bytes": 0})
        total["documents"] += shard.num_documents
        total["tokens"] += shard.num_tokens
    for receipt in receipts:
        for split, by_source in splits.items():
            if sources[receipt.split] in by_source:
                by_source[sources[receipt.split]]["bytes"] += receipt.counts.get(f"{split}.bytes", 0)
    counts = {key: sum(receipt.counts[key] for receipt in receipts) for key in ("in", "kept", "bytes_in")}
    assert counts["in"] == sum(shard.num_documents for shard in shards), counts
    return counts | {
        "dtype": dtype_of(tokenizer.vocab_size),
        "vocab_size": tokenizer.vocab_size,
        "eos_id": tokenizer.eos_id,
        "tokenizer_sha256": tokenizer.sha256,
        "splits": splits,
        "shards": [asdict(shard) for shard in shards],
    }


def _shards(receipt: Receipt, source: str) -> list[Shard]:
    """The TOKENS files of one split of work, ordered by split and number (names sort so up to 99 files)."""
    names = [entry.name for entry in receipt.files if entry.name.endswith(TOKENS_FILE)]
    shards = []
    for name in names:
        own = name.removeprefix(f"{receipt.split}.").removesuffix(TOKENS_FILE)  # "train.00"
        split, number = own.split(".")
        shards.append((split, int(number), Shard(name, source, split, receipt.counts[f"{own}.tokens"],
                                                 receipt.counts[f"{own}.documents"])))  # fmt: skip
    return [shard for _, _, shard in sorted(shards, key=lambda item: item[:2])]
