"""`penstock ledger sample DIR --reason R`: random documents that a rule drops or edits, kept text beside each.

    dropped as a duplicate   the text as it came into the stage | the document that survived
    dropped otherwise        the text as it came into the stage | another document of the source that the stage kept
    edited                   the text as it came into the stage | itself, as it left it; shown as a diff

What the first stage drops has no text: its raw record is told by file and place. Of one stage's folder the texts are in
the folders beside it that it was made from; an unfinished one does not know these yet. The same seed draws the same.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.core.errors import UserError
from pipeline.core.ledger import Entry, Ledger
from pipeline.core.log import printable
from pipeline.core.schema import Document, valid_text
from pipeline.report.diff import changes
from pipeline.report.document import Relative, excerpt, readable, show_diff, survivor, survivor_of

TEXT_CHARS = 1000
NO_TEXT = (
    "no text: which folder this stage reads is known when it is done; `penstock ledger sample OUT`, of a finished "
    "prepare folder, shows it"
)


@dataclass(frozen=True)
class Kept:
    """What stays, to compare with."""

    what: str  # "survivor", "edited" or "kept"
    doc_id: str
    key: str
    text: str


@dataclass(frozen=True)
class Example:
    """A document that the rule dropped or edited; texts are cut to TEXT_CHARS."""

    doc_id: str
    source: str
    key: str
    origin: str
    stage: str
    verdict: str
    reason: str
    detail: str
    text: str  # as it came into the stage; "" where the stage reads raw records
    kept: Kept | None
    survivor: Relative | None  # of a duplicate
    diff: tuple[str, ...]  # what the stage edited


def draw(data: Path, reason: str, source: str | None = None, num: int = 5, seed: int = 0) -> list[Example]:
    """`num` at most; raises UserError when the rule did nothing."""
    ledger, reason = Ledger.of(data), valid_text(reason)
    source = valid_text(source) if source is not None else None
    drawn = ledger.drawn_by(reason, source, num, seed)
    if not drawn:
        raise UserError(_nothing(ledger, data, reason, source))
    relatives = [bytes.fromhex(told.doc_id) for entry in drawn if (told := survivor_of(entry))]
    whole = Ledger.up_to(data)
    lives = whole.entries(*(entry.doc_id for entry in drawn), *relatives)
    kept = {where: whole.kept_in(*where, num, seed) for where in {(entry.stage, entry.source) for entry in drawn}}
    return [_example(whole, lives, entry, kept[entry.stage, entry.source][at:]) for at, entry in enumerate(drawn)]


def _example(ledger: Ledger, lives: Sequence[Entry], entry: Entry, others: Sequence[Entry]) -> Example:
    """`lives`: of all documents in question, stage by stage; `others`: that the stage kept."""
    before = _before(ledger, lives, entry)
    what, kept = "", None
    if before and (told := survivor_of(entry)):
        here = (one for one in lives if one.doc_id.hex() == told.doc_id and one.stage == entry.stage)
        what, kept = "survivor", _first_document(ledger, here)
    elif before and entry.verdict == "edited":
        what, kept = "edited", ledger.document(entry)
    elif before:
        what, kept = "kept", _first_document(ledger, others[:1])
    return Example(
        entry.doc_id.hex(), entry.source, entry.key, entry.origin, entry.stage, entry.verdict, entry.reason,
        entry.detail, excerpt(before.text, TEXT_CHARS) if before else "",
        Kept(what, kept.doc_id.hex(), kept.key, excerpt(kept.text, TEXT_CHARS)) if kept else None,
        survivor(ledger, entry),
        changes(before.text, kept.text) if before and kept and what == "edited" else (),
    )  # fmt: skip


def _before(ledger: Ledger, lives: Sequence[Entry], entry: Entry) -> Document | None:
    """As it came into the stage; None for the raw records of the first one."""
    number = ledger.stages.index(entry.stage)
    earlier = ledger.stages[number - 1] if number else ""
    return _first_document(ledger, (one for one in lives if one.doc_id == entry.doc_id and one.stage == earlier))


def _first_document(ledger: Ledger, entries: Iterable[Entry]) -> Document | None:
    return next((document for entry in entries if (document := ledger.document(entry))), None)


def _nothing(ledger: Ledger, data: Path, reason: str, source: str | None) -> str:
    rows = ledger.query("SELECT DISTINCT source, unnest(split(reason, '+')) FROM ledger WHERE reason <> ''")
    sources = sorted({row[0] for row in ledger.query("SELECT DISTINCT source FROM ledger")})
    if source is not None and source not in sources:
        return f"no source '{source}' in {data}; it has {', '.join(sources)}"
    known = sorted({why for where, why in rows if source in (None, where)})
    close = difflib.get_close_matches(reason, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"reasons there: {', '.join(known) or 'none'}"
    return f"nothing was dropped or edited for '{reason}' in {source or data}; {hint}"


def show(examples: list[Example]) -> None:
    console = Console(highlight=False, markup=False)
    for example in examples:
        place = f"  {example.origin}" if example.origin else ""
        console.print(printable(f"{example.doc_id}  {example.source}: {example.key}{place}"), style="bold",
                      soft_wrap=True)  # fmt: skip
        detail = readable(example.detail)
        console.print(printable(f"{example.stage} {example.verdict} {example.reason}  {detail}"), soft_wrap=True)
        if example.survivor:
            console.print(printable(f"survivor {example.survivor}"), soft_wrap=True)
        if example.diff:
            show_diff(console, example.diff)
        elif example.text:
            table = Table("before", expand=True)
            if example.kept:
                table.add_column(printable(f"{example.kept.what}: {example.kept.key}"))
            for column in table.columns:
                column.ratio = 1  # of the width: halves
            texts = (example.text, *([example.kept.text] if example.kept else []))
            table.add_row(*(Text(printable(text)) for text in texts))
            console.print(table)
        elif not example.origin:
            console.print(NO_TEXT, soft_wrap=True)
