"""The ledger: what became of every document, in every stage. DuckDB over the Parquet files beside each stage's output.

A prepare folder holds one ledger per stage (sources, clean, dedup, shards). A document's fate is the verdict of the
last stage that saw it: dropped there, or kept to the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.core.manifest import committed_files
from pipeline.core.shard_map import Receipt

LEDGER_FILES = ".ledger.parquet"


@dataclass(frozen=True)
class Entry:
    """One verdict."""

    doc_id: bytes
    source: str
    key: str
    stage: str
    verdict: str
    kind: str
    reason: str
    detail: str
    num_bytes: int


class Ledger:
    """Over the stage folders of one prepare run, in stage order."""

    def __init__(self, stages: dict[str, Path]) -> None:
        self.stages = stages
        self._database = duckdb.connect()
        parts = []
        for number, folder in enumerate(stages.values()):
            files = [str(path) for path in committed_files(folder, LEDGER_FILES)]
            if files:
                parts.append(f"SELECT *, {number} AS stage_number FROM read_parquet({files!r})")
        self._database.execute(f"CREATE VIEW ledger AS {' UNION ALL '.join(parts)}")

    def entries(self, doc_id: bytes) -> list[Entry]:
        """The life of one document, stage by stage."""
        return self._select("WHERE doc_id = ? ORDER BY stage_number", [doc_id])

    def find(self, name: str) -> list[bytes]:
        """Ids of the documents that `name` may mean: an id in hex (or how it begins), a title, a file, a URL."""
        rows = self._database.execute(
            "SELECT DISTINCT doc_id FROM ledger WHERE key = ? OR starts_with(hex(doc_id), upper(?)) ORDER BY ALL",
            [name, name if len(name) >= 8 else "-"],  # fewer digits would be a guess
        ).fetchall()
        return [row[0] for row in rows]

    def summary(self) -> list[dict[str, Any]]:
        """Per source, stage, verdict, kind and reason: documents and bytes."""
        query = """SELECT source, stage, verdict, kind, CASE verdict WHEN 'dropped' THEN reason ELSE '' END AS reason,
                          count(*) AS documents, sum(num_bytes) AS bytes
                   FROM ledger GROUP BY source, stage_number, stage, verdict, kind, 5
                   ORDER BY source, stage_number, verdict, documents DESC, kind, reason"""
        result = self._database.execute(query)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def fates(self) -> list[Entry]:
        """The last verdict on every document: exactly one row per document id."""
        last = "row_number() OVER (PARTITION BY doc_id ORDER BY stage_number DESC, verdict DESC) = 1"
        return self._select(f"QUALIFY {last} ORDER BY doc_id")

    def _select(self, rest: str, values: list[Any] | None = None) -> list[Entry]:
        columns = "doc_id, source, key, stage, verdict, kind, reason, detail, num_bytes"
        return [
            Entry(*row)
            for row in self._database.execute(f"SELECT {columns} FROM ledger {rest}", values or []).fetchall()
        ]


def tally(stage: str, folder: Path, receipts: Sequence[Receipt]) -> dict[str, Any]:
    """Totals, and per source documents, bytes and reasons; asserts that every record has exactly one verdict."""
    counts: dict[str, Any] = {"in": 0, "documents": 0, "edited": 0, "dropped": 0, "errors": 0,
                              "bytes_in": 0, "bytes": sum(receipt.counts["bytes_kept"] for receipt in receipts),
                              "sources": {}}  # fmt: skip
    for row in Ledger({stage: folder}).summary():
        new: dict[str, Any] = {"in": 0, "documents": 0, "dropped": 0, "errors": 0, "bytes_in": 0, "reasons": {}}
        source = counts["sources"].setdefault(row["source"], new)
        number, size = int(row["documents"]), int(row["bytes"])
        for level in (counts, source):
            level["in"] += number
            level["bytes_in"] += size
            level["documents"] += number * (row["verdict"] != "dropped")
            level["dropped"] += number * (row["verdict"] == "dropped")
            level["errors"] += number * (row["kind"] == "error")
        counts["edited"] += number * (row["verdict"] == "edited")
        if row["verdict"] == "dropped":
            source["reasons"][row["reason"]] = number
    for name, told in (("in", "in"), ("documents", "kept"), ("dropped", "dropped"), ("errors", "errors")):
        promised = sum(receipt.counts[told] for receipt in receipts)
        assert counts[name] == promised, f"{stage}: the ledger has {counts[name]} {name}, the splits report {promised}"
    return counts
