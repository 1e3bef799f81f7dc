"""DOCUMENTs in; the good ones out, repaired, and a verdict on every one.

1. a split is one documents file of the stage before
2. filters that must know the whole input make a first pass over it                                  survey.py
3. each document goes through the filters in their order: an edit is seen by the next, a drop ends it
4. ledger: one row per document: kept, edited (names of the edits joined by "+") or dropped (reason, score)
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from pipeline.clean.survey import PACKAGE, Surveys, build_filters, inputs, require_as_read, take
from pipeline.clean.verdict import Filter, decide
from pipeline.clean.words import SPLITTER
from pipeline.core.config import Config
from pipeline.core.ledger import tally
from pipeline.core.manifest import SCRATCH, committed_files, run_stage
from pipeline.core.plugins import PluginConfig, parse
from pipeline.core.schema import Document
from pipeline.core.shard_map import Counts, Split, Workers
from pipeline.core.tables import DOCUMENTS_FILE, DocumentWriter, read_documents

STAGE = "clean"
VERSION = 3
# repair first, then what needs no quality to judge, edits before the rules that count words, masking last
DEFAULT_FILTERS = ("unicode", "language", "boilerplate", "quality", "repetition", "pii")


class CleanConfig(Config):
    """Which documents are good enough, and what is repaired in them."""

    filters: list[Annotated[SerializeAsAny[PluginConfig], BeforeValidator(partial(parse, PACKAGE))]] = Field(
        default_factory=lambda: [parse(PACKAGE, name) for name in DEFAULT_FILTERS]
    )
    """Filters in order: names, or mappings with `name` and the filter's own thresholds."""

    recipe: str = ""
    """Name of a pinned recipe that `filters` are (see recipe.py); changes nothing."""

    pin: str = ""
    """What the recipe's filters and the splitter hash to; another hash is refused."""

    @model_validator(mode="after")
    def _is_as_pinned(self) -> "CleanConfig":
        found = pin_of(self.filters)
        if (self.recipe or self.pin) and self.pin != found:
            raise ValueError(
                f"recipe '{self.recipe}' is pinned to '{self.pin}', but its filters and splitter are now '{found}'; "
                f"give what was changed a name of its own and that pin, or set both to ''"
            )
        return self


def pin_of(filters: Sequence[PluginConfig]) -> str:
    """12 hex digits over every threshold, defaults included, and the splitter but for its Unicode version, which is
    Python's."""
    said = [SPLITTER.split()[0], [section.model_dump(mode="json") for section in filters]]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def run(config: CleanConfig, documents: Path, root: Path, workers: Workers) -> Path:
    """The finished folder of the stage; `documents` is the finished folder of the stage before."""
    section = config.model_dump(mode="json", include={"filters"})
    read = inputs(config.filters)
    section |= {"splitter": SPLITTER, "inputs": read}
    files = committed_files(documents, DOCUMENTS_FILE)

    def body(folder: Path) -> dict[str, Any]:
        surveys = take(config.filters, files, folder / SCRATCH, workers, read)
        splits = [
            Split(path.name.removesuffix(DOCUMENTS_FILE), (config, path, surveys, read), path.stat().st_size)
            for path in files
        ]
        return tally(STAGE, folder, workers.map(clean_split, splits, folder, label=STAGE))

    return run_stage(STAGE, VERSION, section, [documents], root, body)


def clean_split(task: tuple[CleanConfig, Path, Surveys, dict[str, str]], folder: Path) -> Counts:
    """Runs in the worker."""
    config, path, surveys, read = task
    filters = build(config, surveys)
    require_as_read(config.filters, read)
    with DocumentWriter(folder, STAGE) as writer:
        for document in read_documents(path):
            judge(document, filters, writer)
    return writer.counts


def build(config: CleanConfig, surveys: Surveys | None = None) -> list[Filter]:
    return build_filters(config.filters, surveys or {})


def judge(document: Document, filters: Sequence[Filter], writer: DocumentWriter) -> None:
    """One document through all filters, into the writer with its verdict."""
    outcome = decide(document, filters)
    bytes_in = len(document.text.encode())
    if outcome.drop:
        writer.drop(document.doc_id, document.source, document.key, kind="quality", reason=outcome.drop.reason,
                    detail=outcome.drop.detail, bytes_in=bytes_in)  # fmt: skip
        return
    edits, kept = "+".join(outcome.edits), outcome.document
    if edits:
        kept = replace(kept, meta=kept.meta | {"edits": edits})
    writer.keep(kept, edits, " ".join(outcome.details), bytes_in)
