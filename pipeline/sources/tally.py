"""Conservation, counted in the ledger itself: what a stage promises about its documents in its manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.core.ledger import Ledger
from pipeline.core.shard_map import Receipt


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
