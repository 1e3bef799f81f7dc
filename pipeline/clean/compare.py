"""Two recipes over the same documents: which documents flip, and by which rule.

1. sample  the `num` documents with the smallest ids: ids are hashes, so these are a fair sample, and the same one each time
2. decide  both recipes on every document
3. flips   documents that one keeps and the other drops, with the rule that dropped them; texts kept by both, but edited
           differently, are counted

A filter that makes a first pass over its input (`survey`) makes it over the sample.
"""  # noqa: E501

import heapq
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pipeline.clean.run import CleanConfig
from pipeline.clean.survey import build_filters, take_here
from pipeline.clean.verdict import Outcome, decide
from pipeline.core.errors import UserError
from pipeline.core.log import printable
from pipeline.core.manifest import committed_files, is_done, read_manifest
from pipeline.core.schema import Document
from pipeline.core.tables import DOCUMENTS_FILE, read_documents

SHOWN_EXAMPLES = 3


@dataclass(frozen=True)
class Flip:
    doc_id: str
    source: str
    key: str
    keeps: str
    """The recipe that keeps it."""
    drops: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Comparison:
    names: tuple[str, str]
    num_documents: int
    num_kept: tuple[int, int]
    num_edited_differently: int
    flips: tuple[Flip, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(names: tuple[str, str], recipes: tuple[CleanConfig, CleanConfig], folder: Path, num: int) -> Comparison:
    """`folder`: see `documents_files`."""
    documents = sample(documents_files(folder), num)
    first, second = (_decide_all(recipe, documents) for recipe in recipes)
    flips, edited = [], 0
    for document, *outcomes in zip(documents, first, second, strict=True):
        dropped = [outcome.drop for outcome in outcomes]
        if not any(dropped):
            edited += outcomes[0].document.text != outcomes[1].document.text
        for at, drop in enumerate(dropped):
            if drop and not dropped[1 - at]:
                flips.append(Flip(document.doc_id.hex(), document.source, document.key, names[1 - at], names[at],
                                  drop.reason, drop.detail))  # fmt: skip
    kept = tuple(sum(outcome.drop is None for outcome in outcomes) for outcomes in (first, second))
    return Comparison(names, len(documents), (kept[0], kept[1]), edited, tuple(flips))


def _decide_all(recipe: CleanConfig, documents: Sequence[Document]) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        surveys = take_here(recipe.filters, documents, Path(folder))
        filters = build_filters(recipe.filters, surveys)
        return [decide(document, filters) for document in documents]


def documents_files(folder: Path) -> list[Path]:
    """Of a prepare folder its sources; else those in the folder itself; raises UserError when there are none."""
    if is_done(folder) and (sources := read_manifest(folder).counts.get("stages", {}).get("sources")):
        folder = folder / sources
    files = committed_files(folder, DOCUMENTS_FILE) if folder.is_dir() else []
    if not files:
        raise UserError(f"{folder} is no finished prepare folder and holds no documents (no *{DOCUMENTS_FILE})")
    return files


def sample(files: Sequence[Path], num: int) -> list[Document]:
    """In the order of their ids."""
    ids = (row for path in files for row in pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist())
    chosen = set(heapq.nsmallest(num, ids))
    found = {document.doc_id: document for path in files for document in read_documents(path)
             if document.doc_id in chosen}  # fmt: skip
    return [found[doc_id] for doc_id in sorted(found)]


def print_comparison(comparison: Comparison) -> None:
    console = Console(markup=False)
    table = Table("kept by", "dropped by", "rule", "documents", "for example",
                  title=f"{len(comparison.flips):,} of {comparison.num_documents:,} documents flip",
                  title_justify="left")  # fmt: skip
    rules = Counter((flip.keeps, flip.drops, flip.reason) for flip in comparison.flips)
    for (keeps, drops, reason), count in sorted(rules.items(), key=lambda item: (-item[1], item[0])):
        keys = [f"{flip.key} ({flip.detail})" if flip.detail else flip.key for flip in comparison.flips
                if (flip.keeps, flip.drops, flip.reason) == (keeps, drops, reason)]  # fmt: skip
        table.add_row(keeps, drops, reason, f"{count:,}", printable("\n".join(keys[:SHOWN_EXAMPLES])))
    console.print(table)
    for name, kept in zip(comparison.names, comparison.num_kept, strict=True):
        console.print(f"{name} keeps {kept:,}", highlight=False)
    console.print(f"{comparison.num_edited_differently:,} are kept by both, but edited differently", highlight=False)
