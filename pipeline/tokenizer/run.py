"""The tokenizer stage: a folder of documents in; tokenizer.model, tokenizer.json and tokenizer_config.json out.

    documents -> sample by doc_id -> SentencePiece -> the same for `tokenizers` -> the gate

counts of the manifest: vocab_size, sha256 (of tokenizer.model), sample_documents, sample_bytes, and what the gate saw:
sources: {source: {documents, bytes, tokens, bytes_per_token}}.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.core.errors import UserError
from pipeline.core.files import sync, write_json
from pipeline.core.manifest import committed_files, run_stage
from pipeline.core.tables import DOCUMENTS_FILE
from pipeline.tokenizer import gate, huggingface
from pipeline.tokenizer.sample import draw_sample
from pipeline.tokenizer.tokenizer import MODEL_FILE, Tokenizer
from pipeline.tokenizer.train import TokenizerConfig, train

STAGE = "tokenizer"
VERSION = 2


def run(config: TokenizerConfig, documents: Path, root: Path) -> Path:
    """The finished folder under `root`; `documents` is a finished stage folder."""

    def body(folder: Path) -> Mapping[str, Any]:
        files = committed_files(documents, DOCUMENTS_FILE)
        sample = draw_sample(files, config.sample_bytes, config.seed)
        if not any(item.text for item in sample):
            raise UserError(f"{documents} holds no text to train a tokenizer on")
        write_tokenizer(folder, train(config, (item.text for item in sample)))
        figures = gate.check(folder, ((item.source, item.text) for item in sample))
        tokenizer = Tokenizer.load(folder)
        return {
            "vocab_size": tokenizer.vocab_size,
            "sha256": tokenizer.sha256,
            "sample_documents": len(sample),
            "sample_bytes": sum(len(item.text.encode()) for item in sample),
            "sources": {
                source: asdict(figure) | {"bytes_per_token": round(figure.bytes / max(1, figure.tokens), 3)}
                for source, figure in sorted(figures.items())
            },
        }

    return run_stage(STAGE, VERSION, config, [documents], root, body)


def write_tokenizer(folder: Path, model: bytes) -> None:
    """All three files of a SentencePiece model; a later crash leaves no manifest, so order does not matter."""
    (folder / MODEL_FILE).write_bytes(model)
    # not `save`, whose error is no OSError
    (folder / "tokenizer.json").write_text(huggingface.convert(model).to_str(pretty=True), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", huggingface.CONFIG)
    for name in (MODEL_FILE, "tokenizer.json"):
        sync(folder / name)
