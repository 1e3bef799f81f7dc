"""`penstock explain doc NAME`: the whole life of a document, from the raw file to where its tokens lie.

1. NAME  -> documents: an id in hex or how it begins (8 digits or more); else a key, title or URL as it is written; else
            a URL in another form, a title in other case, the name of a file (find)
2. id    -> a Life: the verdict of each stage, what it edited as a diff, which document survived it (life)
3. Lives -> lines for people (show)

A name that finds nothing is refused with the nearest names there are.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rich.console import Console
from rich.text import Text

from pipeline.core.errors import UserError
from pipeline.core.ledger import AMONG, Entry, Ledger
from pipeline.core.log import printable
from pipeline.core.manifest import is_done, read_manifest
from pipeline.core.schema import valid_text
from pipeline.report.diff import changes
from pipeline.sources.web.urls import canonical_url

MANY = 1000  # a name that means more documents is refused
SHOWN = 10  # documents in full, and names in a list
EXCERPT_CHARS = 300
QUOTED_CHARS = 99  # of a text in a detail; one of 100 may have been cut by the stage that wrote it
LINKED = "no shared band: linked through other documents"
ID_LEAST = 8  # hex digits of an id; fewer would be a guess
ID_DIGITS = re.compile(rf"[0-9a-f]{{{ID_LEAST},32}}", re.IGNORECASE)


@dataclass(frozen=True)
class Relative:
    """Another document, told by a stage that found the two alike."""

    doc_id: str
    source: str
    key: str
    url: str = ""
    title: str = ""
    jaccard: float | None = None  # estimated similarity
    bands: tuple[int, ...] | None = None  # of the MinHash signature that both have; None: their texts are the same
    true_jaccard: float | None = None  # where the texts were compared
    of_earlier_run: bool = False  # which one is not known: an index may be a copy without its run

    def __str__(self) -> str:
        if not self.source:
            where = "of an earlier run; see dedup.against" if self.of_earlier_run else "not among these documents"
            return f"{self.doc_id}  ({where}){self._alike()}"
        title = f' "{self.title}"' if self.title not in ("", self.key) else ""
        url = f" {self.url}" if self.url not in ("", self.key) else ""
        return f"{self.doc_id}  {self.source}: {self.key}{title}{url}{self._alike()}"

    def _alike(self) -> str:
        if self.jaccard is None:
            return ""
        if self.bands is None:
            return f"  Jaccard {self.jaccard:.2f}"
        alike = f"estimated Jaccard {self.jaccard:.2f}"
        if self.true_jaccard is not None:
            alike = f"Jaccard {self.true_jaccard:.2f} ({alike})"
        return f"  {alike}, " + (f"shared bands {', '.join(map(str, self.bands))}" if self.bands else LINKED)


@dataclass(frozen=True)
class Step:
    """What one stage did with the document."""

    stage: str
    verdict: str
    kind: str
    reason: str
    detail: str
    num_bytes: int  # of the text that came in
    diff: tuple[str, ...] = ()
    survivor: Relative | None = None
    stands_for: tuple[Relative, ...] = ()  # the duplicates that were dropped for it, SHOWN at most


@dataclass(frozen=True)
class Life:
    doc_id: str
    source: str
    key: str
    file: str  # raw file, relative to the input folder
    place: str  # of the raw record in the file: "offset", or "A+B": B bytes into what decompresses from byte A
    title: str
    url: str
    date: str
    language: str
    license: str
    meta: dict[str, str]
    steps: tuple[Step, ...]
    excerpt: str  # the beginning of the last text there was


def explain(data: Path, name: str) -> list[Life]:
    """Of every document that `name` may mean; raises UserError when there is none, or more than can be shown."""
    if not name.strip():
        raise UserError("explain doc: name a document by its id, title, URL or file")
    ledger, name = Ledger.of(data), valid_text(name)
    found = find(ledger, name)
    if not found:
        near = _near(ledger, name)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UserError(
            f"no document '{name}' in the ledger of {data} (id of {ID_LEAST} digits or more, title, URL or file){hint}"
        )
    if len(found) > SHOWN:
        number = f"more than {MANY:,}" if len(found) > MANY else f"{len(found):,}"
        rows = [entry for entry in ledger.entries(*found[:SHOWN]) if entry.stage == ledger.stages[0]]
        some = "".join(f"\n  {row.doc_id.hex()}  {row.source}: {row.key}" for row in rows)
        raise UserError(f"'{name}' means {number} documents; name one of them, for example{some}")
    return [life(ledger, doc_id) for doc_id in found]


# ---- find --------------------------------------------------------------------------------------------------------


def find(ledger: Ledger, name: str) -> list[bytes]:
    """Ids of the documents that `name` may mean, by the first rule that finds any; MANY + 1 at most."""
    if ID_DIGITS.fullmatch(name):
        first, last = bytes.fromhex(name.ljust(32, "0")), bytes.fromhex(name.ljust(32, "f"))
        if found := _ids(ledger, ["doc_id BETWEEN $1 AND $2"], [], first, last):
            return found
    canonical = canonical_url(name) or name
    exact = _ids(ledger, ["key IN ($1, $2)"], ["title = $1", "url IN ($1, $2)"], name, canonical)
    if not exact and "://" in name:
        exact = _ids(ledger, [], ["url_decode(url) IN ($1, $2)"], unquote(name), unquote(canonical))
    return exact or _by_title_or_file(ledger, name)


def _by_title_or_file(ledger: Ledger, name: str) -> list[bytes]:
    """The key of a book, and of a record without a name, is a file: its last parts will do."""
    file = (
        "origin = $2 OR starts_with(origin, $2 || ':') OR ends_with(origin, '/' || $2)"
        " OR contains(origin, '/' || $2 || ':') OR ends_with(key, '/' || $2)"
    )
    title = name.replace("_", " ").lower()
    return _ids(ledger, [f"lower(key) = $1 OR {file}"], ["lower(title) = $1"], title, name)


def _ids(ledger: Ledger, in_ledger: list[str], in_documents: list[str], *values: object) -> list[bytes]:
    """Of the documents that fulfil one condition or another; a query for each, as DuckDB skips what one rules out."""
    columns = "SELECT doc_id, source, key FROM"
    parts = [f"{columns} ledger WHERE stage_number = 0 AND ({condition})" for condition in in_ledger]
    if ledger.has_documents:
        parts += [f"{columns} documents WHERE {condition}" for condition in in_documents]
    if not parts:
        return []
    query = f"SELECT DISTINCT * FROM ({' UNION ALL '.join(parts)}) ORDER BY source, key LIMIT {MANY + 1}"
    return [row[0] for row in ledger.query(query, *values)]


def _near(ledger: Ledger, name: str) -> list[str]:
    names = "SELECT key AS name FROM ledger WHERE stage_number = 0"
    if ledger.has_documents:
        names += " UNION SELECT title FROM documents"
    alike = "jaro_winkler_similarity(lower(name), lower($1)) + 0.2 * contains(lower(name), lower($1))::INTEGER"
    rows = ledger.query(f"SELECT name FROM ({names}) WHERE {alike} > 0.75 ORDER BY {alike} DESC, name LIMIT 3", name)
    return [row[0] for row in rows]


# ---- tell --------------------------------------------------------------------------------------------------------


def life(ledger: Ledger, doc_id: bytes) -> Life:
    entries = ledger.entries(doc_id)
    first, documents = entries[0], [ledger.document(entry) for entry in entries]
    steps, text = [], ""
    for entry, document in zip(entries, documents, strict=True):
        diff = changes(text, document.text) if document and entry.verdict == "edited" else ()
        text = document.text if document else text
        steps.append(
            Step(entry.stage, entry.verdict, entry.kind, entry.reason, entry.detail, entry.num_bytes, diff,
                 survivor(ledger, entry), _stands_for(ledger, entry))
        )  # fmt: skip
    file, colon, place = first.origin.rpartition(":")
    last = next((document for document in reversed(documents) if document), None)
    return Life(
        doc_id.hex(), first.source, first.key, file if colon else place, place if colon else "",
        last.title if last else "", last.url if last else "", last.date if last else "",
        last.language if last else "", last.license if last else "", last.meta if last else {},
        tuple(steps), excerpt(text, EXCERPT_CHARS),
    )  # fmt: skip


def excerpt(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars].rstrip()} …"


def survivor_of(entry: Entry) -> Relative | None:
    """The document for which this one was dropped and how alike the two are, as `detail` tells it."""
    is_told = (entry.stage, entry.verdict) == ("dedup", "dropped") and entry.detail.startswith('{"survivor"')
    if not is_told:  # of a raw record, `detail` quotes whatever stands in it
        return None
    told = json.loads(entry.detail)
    bands = tuple(told["bands"]) if "bands" in told else None
    return Relative(told["survivor"], "", "", jaccard=told.get("jaccard"), bands=bands,
                    true_jaccard=told.get("true_jaccard"))  # fmt: skip


def survivor(ledger: Ledger, entry: Entry) -> Relative | None:
    """`survivor_of`, with its name, or that it is of an earlier run."""
    if not (told := survivor_of(entry)):
        return None
    named = _named(ledger, [told])
    return named[0] if named else replace(told, of_earlier_run=_reads_earlier_runs(Path(entry.file).parent))


def _reads_earlier_runs(dedup: Path) -> bool:
    return is_done(dedup) and any(name.startswith("dedup-index ") for name in read_manifest(dedup).inputs)


def _stands_for(ledger: Ledger, entry: Entry) -> tuple[Relative, ...]:
    if entry.verdict == "dropped" or "cluster_size" not in entry.detail:
        return ()
    dropped = ledger.select(f"WHERE {ledger.within(entry.stage)} AND verdict = 'dropped' AND contains(detail, $1)"
                            f" ORDER BY source, key LIMIT {SHOWN}", entry.doc_id.hex())  # fmt: skip
    relatives = []
    for one in dropped:
        told = survivor_of(one)
        if told and told.doc_id == entry.doc_id.hex():
            relatives.append(replace(told, doc_id=one.doc_id.hex()))
    return tuple(_named(ledger, relatives))


def _named(ledger: Ledger, relatives: list[Relative]) -> list[Relative]:
    """With their names; without those that this ledger does not know, unless it knows no names at all."""
    if not ledger.has_documents or not relatives:
        return relatives
    given = {bytes.fromhex(one.doc_id): one for one in relatives}
    rows = ledger.query(f"SELECT DISTINCT doc_id, source, key, url, title FROM documents WHERE {AMONG}"
                        " ORDER BY source, key", list(given))  # fmt: skip
    return [
        replace(given[doc_id], source=source, key=key, url=url, title=title) for doc_id, source, key, url, title in rows
    ]


# ---- show --------------------------------------------------------------------------------------------------------

ITEMS = {".jsonl": "line", ".txt": "line", ".conll": "line", ".csv": "row", ".tsv": "row"}
DIFF_STYLE = {"+": "green", "-": "red", "@": "cyan"}


def show(lives: list[Life]) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for life in lives:
        console.print(printable(f"{life.doc_id}  {life.source}: {life.key}"), style="bold")
        facts = {"title": life.title if life.title != life.key else "", "url": life.url, "date": life.date,
                 "language": life.language, "license": life.license, "from": _origin(life)}  # fmt: skip
        for name, value in facts.items():
            if value:
                console.print(printable(f"  {name:<9}{value}"))
        for step in life.steps:
            _show_step(console, step)
        if life.excerpt:
            lines = ("    " + printable(line) for line in life.excerpt.splitlines())
            console.print(Text("\n".join(lines), style="dim"))


def readable(detail: str) -> str:
    """What a stage wrote as JSON, in words; any other detail as it is."""
    try:
        told = json.loads(detail) if detail.startswith("{") else None
        return _sentence(told) if isinstance(told, dict) else detail
    except (ValueError, RecursionError):  # a raw record's, which begins like JSON
        return detail


def _sentence(told: dict[str, Any]) -> str:
    match told:
        case {"cluster_size": int(size)}:
            return f"cluster of {size:,} document{'s' * (size != 1)}"
        case {"items": int(number), "longest": [*hits]}:
            return f"{number:,} evaluation item{'s' * (number != 1)}: {'; '.join(map(_hit, hits))}"
        case {"words": int(words), "passages": int(number), "begins": str(begins)}:
            where = "1 passage, which begins" if number == 1 else f"{number:,} passages, the first begins"
            return f"{words:,} words in {where} {_quoted(begins)}"
    return _in_words(told)


def _hit(told: Any) -> str:
    """Items of evaluation sets are called by their place in the file, from 1; those of .json by their keys."""
    match told:
        case {"file": str(file), "item": str(item), "field": str(field), "words": int(words), "text": str(text)}:
            kind = ITEMS.get(Path(file.removesuffix(".gz")).suffix, "item")
            return f"{words:,} words of {file}, {kind} {item}, field {field}: {_quoted(text)}"
    return _in_words(told)


def _quoted(text: str) -> str:
    return f'"{excerpt(" ".join(text.split()), QUOTED_CHARS)}"'


def _in_words(told: Any) -> str:
    if isinstance(told, dict):
        return ", ".join(f"{key} {_in_words(value)}" for key, value in told.items())
    if isinstance(told, list):
        return "; ".join(map(_in_words, told))
    return _quoted(told) if isinstance(told, str) and not told.isalnum() else str(told)


def _show_step(console: Console, step: Step) -> None:
    shown = (f"{step.stage:<9}{step.verdict:<9}", f"{step.num_bytes:,} bytes", step.reason, readable(step.detail))
    console.print(printable("  " + "  ".join(part for part in shown if part)))
    if step.survivor:
        console.print(printable(f"           survivor {step.survivor}"))
    for one in step.stands_for:
        console.print(printable(f"           stands for {one}"))
    show_diff(console, step.diff)


def show_diff(console: Console, diff: tuple[str, ...]) -> None:
    for line in diff:
        console.print(Text(printable(f"           {line}"), style=DIFF_STYLE.get(line[:1], "")))


def _origin(life: Life) -> str:
    if re.fullmatch(r"\d+\+\d+", life.place):
        stream, offset = life.place.split("+")
        return f"{life.file}, byte {int(offset):,} of what decompresses from byte {int(stream):,}"
    return f"{life.file}, at {life.place}" if life.place else life.file
