"""DOCUMENTs in; the good ones out, repaired, and a verdict on every one.

1. a split is one documents file of the stage before
2. each document goes through the filters in their order: an edit is seen by the next, a drop ends it
3. ledger: one row per document: kept, edited (names of the edits joined by "+") or dropped (reason, score)
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny

from pipeline.clean.verdict import Drop, Filter
from pipeline.clean.words import SPLITTER
from pipeline.core.config import Config
from pipeline.core.ledger import tally
from pipeline.core.manifest import committed_files, run_stage
from pipeline.core.plugins import PluginConfig, load, parse
from pipeline.core.schema import Document
from pipeline.core.shard_map import Counts, Split, Workers
from pipeline.core.tables import DOCUMENTS_FILE, DocumentWriter, read_documents

STAGE = "clean"
VERSION = 2
PACKAGE = "pipeline.clean"
# repair first, then what needs no quality to judge, edits before the rules that count words, masking last
DEFAULT_FILTERS = ("unicode", "language", "boilerplate", "quality", "repetition", "pii")


class CleanConfig(Config):
    """Which documents are good enough, and what is repaired in them."""

    filters: list[Annotated[SerializeAsAny[PluginConfig], BeforeValidator(partial(parse, PACKAGE))]] = Field(
        default_factory=lambda: [parse(PACKAGE, name) for name in DEFAULT_FILTERS]
    )
    """Filters in order: names, or mappings with `name` and the filter's own thresholds."""


def run(config: CleanConfig, documents: Path, root: Path, workers: Workers) -> Path:
    """The finished folder of the stage; `documents` is the finished folder of the stage before."""
    section = config.model_dump(mode="json") | {"splitter": SPLITTER}
    splits = [
        Split(path.name.removesuffix(DOCUMENTS_FILE), (config, path), path.stat().st_size)
        for path in committed_files(documents, DOCUMENTS_FILE)
    ]

    def body(folder: Path) -> dict[str, Any]:
        return tally(STAGE, folder, workers.map(clean_split, splits, folder, label=STAGE))

    return run_stage(STAGE, VERSION, section, [documents], root, body)


def clean_split(task: tuple[CleanConfig, Path], folder: Path) -> Counts:
    """Runs in the worker."""
    config, path = task
    filters = build(config)
    with DocumentWriter(folder, STAGE) as writer:
        for document in read_documents(path):
            judge(document, filters, writer)
    return writer.counts


def build(config: CleanConfig) -> list[Filter]:
    return [load(PACKAGE, section.name).build(section) for section in config.filters]


def judge(document: Document, filters: list[Filter], writer: DocumentWriter) -> None:
    """One document through all filters, into the writer with its verdict."""
    bytes_in = len(document.text.encode())
    edits, details = [], []
    for filter in filters:
        verdict = filter(document)
        if verdict is None:
            continue
        if not isinstance(verdict, Drop):
            document = verdict.document
            edits += [verdict.edit] * bool(verdict.edit)
            details += [verdict.detail] * bool(verdict.detail)
            if document.text.strip():
                continue
            verdict = Drop("empty", f"nothing left after {'+'.join(edits) or 'reading'}")
        writer.drop(document.doc_id, document.source, document.key, kind="quality", reason=verdict.reason,
                    detail=verdict.detail, bytes_in=bytes_in)  # fmt: skip
        return
    if edits:
        document = replace(document, meta=document.meta | {"edits": "+".join(edits)})
    writer.keep(document, "+".join(edits), " ".join(details), bytes_in)
