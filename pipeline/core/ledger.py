"""The ledger: what became of every document, in every stage. DuckDB over the Parquet files beside each stage's output.

A prepare folder holds one ledger per stage (sources, clean, dedup, shards). A document's fate is the verdict of the
last stage that saw it: dropped there, or kept to the end.

    Ledger.of(folder)    a finished prepare folder, or one stage's folder, finished or not; .up_to: and those before it
    .entries  .fates     verdicts: of some documents, stage by stage; the last one of every document
    .counts   .flows     how many: per source, stage, verdict and reason; per source from the first stage to the last
    .drawn_by .kept_in   a random sample: what a rule dropped or edited; what a stage kept
    .document            a document as it left a stage
    .select  .query      any other question, in SQL
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb

from pipeline.core.errors import ArtifactError
from pipeline.core.files import STAGE_FOLDER
from pipeline.core.manifest import committed_files, is_done, read_manifest, stage_folders
from pipeline.core.schema import DOCUMENT, Document
from pipeline.core.seeds import derive
from pipeline.core.tables import DOCUMENTS_FILE

if TYPE_CHECKING:
    from pipeline.core.shard_map import Receipt

LEDGER_FILES = ".ledger.parquet"
AMONG = "doc_id IN (SELECT unnest($1::BLOB[]))"  # a join: three times as fast as a list for a million rows
_DRAW = "ORDER BY doc_id < $1, doc_id, stage_number LIMIT $2"  # ids are hashes: those after any point are at random


@dataclass(frozen=True)
class Entry:
    """One verdict."""

    doc_id: bytes
    source: str
    key: str
    origin: str
    stage: str
    verdict: str
    kind: str
    reason: str
    detail: str
    num_bytes: int
    file: str  # the ledger file that says so


_ENTRY = ", ".join(field.name for field in fields(Entry))


@dataclass(frozen=True)
class Count:
    """How many documents of a source got a verdict in a stage; `reason` of drops only."""

    source: str
    stage: str
    verdict: str
    kind: str
    reason: str
    documents: int
    num_bytes: int


@dataclass(frozen=True)
class Loss:
    """What one rule of a stage took away. Edits (kind "edit") take bytes, or add some, and no document."""

    stage: str
    kind: str
    reason: str
    documents: int
    num_bytes: int


@dataclass(frozen=True)
class Flow:
    """A source's documents from the first stage to the last: in = losses + kept, in documents and in bytes."""

    source: str
    documents_in: int
    bytes_in: int
    losses: tuple[Loss, ...]  # in stage order; within a stage the largest first
    documents_kept: int
    bytes_kept: int  # as they came into the last stage

    @property
    def errors(self) -> int:
        return sum(loss.documents for loss in self.losses if loss.kind == "error")

    def dropped(self) -> dict[str, int]:
        """Documents by reason, over all stages."""
        reasons: dict[str, int] = {}
        for loss in self.losses:
            if loss.documents:
                reasons[loss.reason] = reasons.get(loss.reason, 0) + loss.documents
        return reasons


class Ledger:
    """Over stage folders, in stage order; those without a ledger are left out."""

    def __init__(self, stages: Mapping[str, Path]) -> None:
        if gone := [str(folder) for folder in stages.values() if not folder.is_dir()]:
            raise ArtifactError(f"{', '.join(gone)} is gone; run prepare again to make it")
        files = {name: committed_files(folder, LEDGER_FILES) for name, folder in stages.items()}
        self._files = {name: found for name, found in files.items() if found}
        self.stages = tuple(self._files)
        if not self.stages:
            raise ArtifactError(f"no ledger (*{LEDGER_FILES}) in {', '.join(map(str, stages.values()))}")
        documents = committed_files(stages[self.stages[0]], DOCUMENTS_FILE)
        self.has_documents = bool(documents)
        self._database = duckdb.connect()
        self.query(f"CREATE VIEW ledger AS {_union(list(self._files.values()))}")
        if documents:
            self.query(f"CREATE VIEW documents AS SELECT * FROM read_parquet({_listed(documents)})")

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Of a finished prepare folder, or of one stage's folder, finished or not."""
        if is_done(folder) and read_manifest(folder).counts.get("stages"):
            return cls(stage_folders(folder))
        if not folder.is_dir():
            raise ArtifactError(f"{folder} is not a folder")
        if not committed_files(folder, LEDGER_FILES) and (inside := sorted(folder.glob(f"*/*{LEDGER_FILES}"))):
            names = ", ".join(sorted({path.parent.name for path in inside}))
            raise ArtifactError(f"{folder} is not finished; name one of the stages in it: {names}")
        return cls({folder.name.rpartition("-")[0] or folder.name: folder})

    @classmethod
    def up_to(cls, folder: Path) -> Self:
        """The same, and before one finished stage those that it was made from, as its manifest names them, where they
        lie beside it."""
        found = {folder.name.rpartition("-")[0]: folder} if STAGE_FOLDER.search(folder.name) else {}
        above = folder if found else None
        while above and is_done(above):
            inputs = read_manifest(above).inputs.items()
            beside = ((stage, folder.parent / f"{stage}-{mark[:12]}") for stage, mark in inputs)
            before = {stage: path for stage, path in beside if path.is_dir() and committed_files(path, LEDGER_FILES)}
            found = before | found
            above = next(iter(before.values()), None)
        return cls(found) if len(found) > 1 else cls.of(folder)

    def entries(self, *ids: bytes) -> list[Entry]:
        """The lives of documents, stage by stage. A split has one name in all stages: the first one says which files
        to open of the others."""
        found = self.query(f"SELECT DISTINCT file FROM ledger WHERE stage_number = 0 AND {AMONG}", ids)
        names = {Path(file).name for (file,) in found}
        files = {str(path) for paths in self._files.values() for path in paths if path.name in names}
        return self._select_in(files, f"WHERE {AMONG} ORDER BY stage_number, verdict, doc_id", ids)

    def document(self, entry: Entry) -> Document | None:
        """As it left the stage; None where it was dropped, or where the stage writes no documents."""
        path = Path(entry.file.removesuffix(LEDGER_FILES) + DOCUMENTS_FILE)
        if entry.verdict == "dropped" or not path.exists():
            return None
        columns = ", ".join(DOCUMENT.names)
        rows = self.query(f"SELECT {columns} FROM read_parquet({_listed([path])}) WHERE doc_id = $1", entry.doc_id)
        return Document(**dict(zip(DOCUMENT.names, rows[0], strict=True))) if rows else None

    def fates(self) -> list[Entry]:
        """The last verdict on every document: exactly one row per document id."""
        last = "row_number() OVER (PARTITION BY doc_id ORDER BY stage_number DESC, verdict DESC) = 1"
        return self.select(f"QUALIFY {last} ORDER BY doc_id")

    def counts(self) -> list[Count]:
        rows = self.query(
            """SELECT source, stage, verdict, kind, CASE verdict WHEN 'dropped' THEN reason ELSE '' END AS why,
                      count(*) AS documents, sum(num_bytes)::BIGINT
               FROM ledger GROUP BY source, stage_number, stage, verdict, kind, why
               ORDER BY source, stage_number, verdict, documents DESC, kind, why"""
        )
        return [Count(*row) for row in rows]

    def flows(self) -> list[Flow]:
        """Per source; raises ArtifactError when a stage did not see what the one before it kept."""
        counts = self.counts()
        sources = sorted({count.source for count in counts})
        return [_flow(source, self.stages, [c for c in counts if c.source == source]) for source in sources]

    def drawn_by(self, reason: str, source: str | None, num: int, seed: int) -> list[Entry]:
        """A random sample of what the rule `reason` dropped or edited; the same seed draws the same."""
        rule = "verdict <> 'kept' AND list_contains(split(reason, '+'), $3) AND source = coalesce($4, source)"
        return self._draw(rule, _start(seed), num, reason, source)

    def kept_in(self, stage: str, source: str, num: int, seed: int) -> list[Entry]:
        """A random sample of what a stage kept of a source."""
        kept = f"{self.within(stage)} AND verdict <> 'dropped' AND source = $3"
        return self._draw(kept, _start(seed), num, source)

    def _draw(self, condition: str, *values: Any) -> list[Entry]:
        """The ids say which files hold the draw; the other columns are read of these alone."""
        drawn = f"WHERE {condition} {_DRAW}"
        files = {file for (file,) in self.query(f"SELECT file FROM ledger {drawn}", *values)}
        return self._select_in(files, drawn, *values)

    def within(self, stage: str) -> str:
        """The condition for rows of one stage; the files of the others are not even opened."""
        return f"stage_number = {self.stages.index(stage)}"

    def select(self, rest: str, *values: Any) -> list[Entry]:
        """`SELECT ... FROM ledger` and `rest`; its columns are those of LEDGER, `stage_number` and `file`."""
        return [Entry(*row) for row in self.query(f"SELECT {_ENTRY} FROM ledger {rest}", *values)]

    def _select_in(self, files: Set[str], rest: str, *values: Any) -> list[Entry]:
        """`select` from these files of the ledger."""
        if not files:
            return []
        some = _union([[path for path in paths if str(path) in files] for paths in self._files.values()])
        return [Entry(*row) for row in self.query(f"SELECT {_ENTRY} FROM ({some}) {rest}", *values)]

    def query(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Any SQL over the views `ledger` and `documents` (what the first stage wrote, if it wrote any)."""
        try:
            return self._database.execute(query, list(values)).fetchall()
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.BinderException) as error:
            first = str(error).splitlines()[0]
            raise ArtifactError(f"the ledger cannot be read ({first}); `penstock verify` names damaged files") from None


def _union(stages: Sequence[Sequence[Path]]) -> str:
    """In SQL, the rows of these ledger files, by stage."""
    return " UNION ALL ".join(
        f"SELECT *, {number} AS stage_number FROM read_parquet({_listed(files)}, filename = 'file')"
        for number, files in enumerate(stages) if files
    )  # fmt: skip


def _listed(paths: Sequence[Path]) -> str:
    """As a list in SQL."""
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"


def _start(seed: int) -> bytes:
    return derive(seed, "draw").to_bytes(8, "big")


def _flow(source: str, stages: Sequence[str], counts: Sequence[Count]) -> Flow:
    losses: list[Loss] = []
    came: list[tuple[int, int]] = []  # documents and bytes, as they came into each stage
    kept = (0, 0)
    for number, stage in enumerate(stages):
        here = [count for count in counts if count.stage == stage]
        came.append((sum(count.documents for count in here), sum(count.num_bytes for count in here)))
        if number and came[-1][0] != kept[0]:
            raise ArtifactError(
                f"source {source}: {stages[number - 1]} kept {kept[0]:,} documents, {came[-1][0]:,} came into {stage}; "
                "`penstock verify` names damaged files"
            )
        if number and came[-1][1] != kept[1]:
            losses.append(Loss(stages[number - 1], "edit", "edits", 0, kept[1] - came[-1][1]))
        drops = [Loss(stage, c.kind, c.reason, c.documents, c.num_bytes) for c in here if c.verdict == "dropped"]
        losses += drops
        kept = (
            came[-1][0] - sum(drop.documents for drop in drops),
            came[-1][1] - sum(drop.num_bytes for drop in drops),
        )
    return Flow(source, *came[0], tuple(losses), *kept)


def tally(stage: str, folder: Path, receipts: "Sequence[Receipt]") -> dict[str, Any]:
    """Totals, and per source documents, bytes and reasons; asserts that every record has exactly one verdict."""
    counts: dict[str, Any] = {"in": 0, "documents": 0, "edited": 0, "dropped": 0, "errors": 0,
                              "bytes_in": 0, "bytes": sum(receipt.counts["bytes_kept"] for receipt in receipts),
                              "sources": {}}  # fmt: skip
    for row in Ledger({stage: folder}).counts():
        new: dict[str, Any] = {"in": 0, "documents": 0, "dropped": 0, "errors": 0, "bytes_in": 0, "reasons": {}}
        source = counts["sources"].setdefault(row.source, new)
        for level in (counts, source):
            level["in"] += row.documents
            level["bytes_in"] += row.num_bytes
            level["documents"] += row.documents * (row.verdict != "dropped")
            level["dropped"] += row.documents * (row.verdict == "dropped")
            level["errors"] += row.documents * (row.kind == "error")
        counts["edited"] += row.documents * (row.verdict == "edited")
        if row.verdict == "dropped":
            source["reasons"][row.reason] = row.documents
    for name, told in (("in", "in"), ("documents", "kept"), ("dropped", "dropped"), ("errors", "errors")):
        promised = sum(receipt.counts[told] for receipt in receipts)
        assert counts[name] == promised, f"{stage}: the ledger has {counts[name]} {name}, the splits report {promised}"
    return counts
