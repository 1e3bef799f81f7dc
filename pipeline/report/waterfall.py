"""`penstock ledger summary DIR`: per source what came in, what each rule took, in stage order, and what is left.

Documents and bytes both add up: in = what rules dropped + what edits took + kept. A text's bytes are those of UTF-8; a
raw record that became no document counts with its raw bytes.
"""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.core.ledger import Flow, Ledger, Loss
from pipeline.core.manifest import is_done, read_manifest, unused_folders
from pipeline.core.sizes import in_units

ALL = "all sources"


@dataclass(frozen=True)
class Unused:
    """A stage folder of other settings than those of the last run; nothing reads it."""

    name: str
    num_bytes: int


@dataclass(frozen=True)
class Summary:
    data: str
    stages: tuple[str, ...]
    flows: tuple[Flow, ...]  # by source; the last is of all sources, where there are several
    unused: tuple[Unused, ...]


@dataclass(frozen=True)
class Bar:
    """One row of a waterfall: what is taken, and what is left below it."""

    stage: str
    name: str
    documents: int
    num_bytes: int
    share: float  # of the documents that came in
    left: float  # share of the documents that are left after it


def summarise(data: Path) -> Summary:
    ledger = Ledger.of(data)
    flows = ledger.flows()
    if len(flows) > 1:
        flows.append(_total(flows, ledger.stages))
    is_whole = is_done(data) and read_manifest(data).stage == "prepare"
    unused = [Unused(path.name, _size(path)) for path in unused_folders(data)] if is_whole else []
    return Summary(str(data), ledger.stages, tuple(flows), tuple(unused))


def bars(flow: Flow) -> list[Bar]:
    """In, every loss, kept."""
    whole, left = max(1, flow.documents_in), flow.documents_in
    rows = [Bar("", "in", flow.documents_in, flow.bytes_in, left / whole, left / whole)]
    for loss in flow.losses:
        left -= loss.documents
        rows.append(Bar(loss.stage, loss.reason, loss.documents, loss.num_bytes, loss.documents / whole, left / whole))
    return [*rows, Bar("", "kept", flow.documents_kept, flow.bytes_kept, left / whole, left / whole)]


def _total(flows: list[Flow], stages: tuple[str, ...]) -> Flow:
    sums: dict[tuple[str, str, str], tuple[int, int]] = {}
    for loss in (loss for flow in flows for loss in flow.losses):
        documents, num_bytes = sums.get(rule := (loss.stage, loss.kind, loss.reason), (0, 0))
        sums[rule] = (documents + loss.documents, num_bytes + loss.num_bytes)
    losses = [Loss(*rule, *amount) for rule, amount in sums.items()]
    losses.sort(key=lambda loss: (stages.index(loss.stage), loss.kind == "edit", -loss.documents, loss.reason))
    return Flow(
        ALL, sum(f.documents_in for f in flows), sum(f.bytes_in for f in flows), tuple(losses),
        sum(f.documents_kept for f in flows), sum(f.bytes_kept for f in flows),
    )  # fmt: skip


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def show(summary: Summary) -> None:
    console = Console(highlight=False, markup=False)
    for flow in summary.flows:
        table = Table(title=flow.source, title_justify="left", title_style="bold")
        for column in ("stage", "reason", "documents", "size", "share", "left"):
            table.add_column(column, justify="left" if column in ("stage", "reason") else "right")
        for bar in bars(flow):
            sign = "-" if bar.stage else ""
            documents = f"{sign}{bar.documents:,}" if bar.documents or not bar.stage else ""
            size = in_units(-bar.num_bytes if bar.stage else bar.num_bytes)
            share = f"{bar.share:.1%}" if documents else ""
            table.add_row(bar.stage, bar.name, documents, size, share, f"{bar.left:.1%}")
        console.print(table)
    if summary.unused:
        size = in_units(sum(folder.num_bytes for folder in summary.unused))
        names = ", ".join(folder.name for folder in summary.unused)
        console.print(f"unused stage folders of other settings, which may go: {names} ({size})")
