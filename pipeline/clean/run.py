"""DOCUMENTs in; the good ones out, repaired, and a verdict on every one.

1. a split is one documents file of the stage before
2. filters that must know the whole input make a first pass over it                                  survey.py
3. each document goes through the filters in their order: an edit is seen by the next, a drop ends it
4. ledger: one row per document: kept, edited (names of the edits joined by "+") or dropped (reason, score)
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from pipeline.clean.survey import PACKAGE, Surveys, build_filters, inputs, require_as_read, take
from pipeline.clean.verdict import Filter, decide
from pipeline.clean.words import SPLITTER, split
from pipeline.core.config import Config
from pipeline.core.files import SCRATCH
from pipeline.core.ledger import tally
from pipeline.core.manifest import committed_files, run_stage
from pipeline.core.plugins import PluginConfig, parse
from pipeline.core.schema import Document
from pipeline.core.shard_map import Counts, Split, Workers
from pipeline.core.tables import DOCUMENTS_FILE, DocumentWriter, read_documents

STAGE = "clean"
VERSION = 4
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
    return run_filters(STAGE, VERSION, config.filters, documents, root, workers)


def run_filters(
    stage: str, version: int, filters: Sequence[PluginConfig], documents: Path, root: Path, workers: Workers
) -> Path:
    """A stage that is a list of filters."""
    read = inputs(filters)
    said = [section.model_dump(mode="json") for section in filters]
    section = {"filters": said, "splitter": SPLITTER, "inputs": read}

    def body(folder: Path) -> dict[str, Any]:
        files = committed_files(documents, DOCUMENTS_FILE)
        surveys = take(filters, files, folder / SCRATCH, workers, read)
        splits = [
            Split(path.name.removesuffix(DOCUMENTS_FILE), JudgeTask(stage, tuple(filters), path, surveys, read),
                  path.stat().st_size) for path in files
        ]  # fmt: skip
        return tally(stage, folder, workers.map(judge_split, splits, folder, label=stage))

    return run_stage(stage, version, section, [documents], root, body)


@dataclass(frozen=True)
class JudgeTask:
    stage: str
    sections: tuple[PluginConfig, ...]
    path: Path
    surveys: Surveys
    read: Mapping[str, str]


def judge_split(task: JudgeTask, folder: Path) -> Counts:
    """Runs in the worker."""
    filters = build_filters(task.sections, task.surveys)
    require_as_read(task.sections, task.read)
    with DocumentWriter(folder, task.stage) as writer:
        for document in read_documents(task.path):
            judge(document, filters, writer)
            split.cache_clear()  # else its pieces lie beside the next document
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
        earlier = document.meta.get("edits")  # of another stage of filters
        kept = replace(kept, meta=kept.meta | {"edits": f"{earlier}+{edits}" if earlier else edits})
    writer.keep(kept, edits, " ".join(outcome.details), bytes_in)
