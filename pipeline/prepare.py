"""From raw corpora to token shards: the data stages in order, each in its own folder under OUT.

    raw files -> sources -> clean -> dedup -> (passages) -> tokenizer -> shards -> OUT/manifest.json

OUT/manifest.json names the stage folders that belong together (`counts.stages`): whoever reads OUT reads it first.
OUT/summary.json holds the figures shown at the end; OUT/events.jsonl when each stage ran and for how long;
OUT/progress.json and OUT/events/ what runs now and what each attempt did (core/stage_log.py).

Where OUT is a URL, all of this lies in a work folder, and what is committed at OUT as well (core/mirror.py): the
stages, then summary.json, then manifest.json. progress.json, events/ and events.jsonl stay in the work folder.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field
from rich.console import Console
from rich.table import Table

from pipeline.clean.run import CleanConfig
from pipeline.clean.run import run as clean
from pipeline.clean.survey import inputs
from pipeline.core.config import Config
from pipeline.core.errors import UserError, storage_error
from pipeline.core.files import LOCK, STAGE_FOLDER, TEMPORARY, checksum, exclusive, write_json
from pipeline.core.ledger import LEDGER_FILES, Flow, Ledger
from pipeline.core.manifest import (
    MANIFEST,
    SUMMARY,
    Manifest,
    committed_files,
    fingerprint,
    input_marks,
    is_done,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from pipeline.core.mirror import Mirror, mark, marked
from pipeline.core.shard_map import Workers
from pipeline.core.sizes import in_units
from pipeline.core.storage import is_url
from pipeline.core.tables import DOCUMENTS_FILE
from pipeline.dedup.index import open_index
from pipeline.dedup.passages.run import PassagesConfig
from pipeline.dedup.passages.run import check as check_passages
from pipeline.dedup.passages.run import run as passages
from pipeline.dedup.run import DedupConfig
from pipeline.dedup.run import run as dedup
from pipeline.shards.run import ShardsConfig
from pipeline.shards.run import run as shards
from pipeline.sources.base import Sources
from pipeline.sources.run import run as sources
from pipeline.tokenizer.run import TokenizerConfig
from pipeline.tokenizer.run import run as tokenizer

logger = logging.getLogger(__name__)

TRUTH, SAMPLE = "truth.jsonl", "sample.json"  # of `penstock sample`: what is planted; that it is one


class PrepareConfig(Config):
    input: Annotated[Path | str, AfterValidator(lambda given: given if is_url(given) else Path(given))]
    """Folder of raw corpora, or its URL for fsspec (s3://bucket/corpus); the sources' `paths` are relative to it."""
    sources: Sources
    clean: CleanConfig = CleanConfig()
    dedup: DedupConfig = DedupConfig()
    passages: PassagesConfig = PassagesConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    shards: ShardsConfig = ShardsConfig()
    num_workers: int | None = Field(default=None, ge=1)
    """Ray workers of one CPU each; default: as many as this process may use, on a cluster as many as fit. Does not
    change the output."""
    worker_memory: float = Field(default=1.0, gt=0)
    """GiB that Ray sets aside for a worker: on a node no more run at once than fit. Does not change the output."""


class Planted(BaseModel, frozen=True):
    """Documents of one kind that the sample holds on purpose."""

    planted: int
    found: int
    missed: tuple[str, ...]


class Summary(BaseModel, frozen=True):
    """OUT/summary.json."""

    out: str
    sources: tuple[Flow, ...]
    tokens: dict[str, Any]  # `counts` of the shards' manifest
    tokenizer: dict[str, Any]  # `counts` of the tokenizer's manifest
    planted: dict[str, Planted]  # by kind; empty unless the input is the sample
    seconds: dict[str, float]  # of each stage


def prepare(config: PrepareConfig, out: str | Path, work: Path | None = None) -> Summary:
    """All stages, done. `work`: the folder to work in where `out` is a URL.

    Raises UserError for bad input, SplitsFailed for our bugs.
    """
    folder = _work_folder(out, work)
    _refuse_others(folder)
    # a list, a set or an index that is not there or not to be used, a language that is none: said now, not after the
    # stages before
    inputs(config.clean.filters)
    check_passages(config.passages)
    for index in config.dedup.against:
        open_index(index, config.dedup)
    with exclusive(folder):
        for left in folder.glob(f".*{TEMPORARY}"):  # of a run that was killed; those of the stages go with them
            left.unlink()
        if is_url(out):
            _refuse_others_at(Mirror(folder, str(out)))
            mark(folder, str(out))
        try:
            return _prepare(config, folder, str(out))
        except OSError as error:
            mistake = storage_error(error, folder)
            if mistake is None:
                raise
            raise mistake from error


def _work_folder(out: str | Path, work: Path | None) -> Path:
    if is_url(out):
        if str(out).partition("://")[0].endswith("memory"):
            raise UserError(f"--out {out} is the memory of one process, and the stages run in several; name a bucket")
        if work is None:
            raise UserError(f"--out {out} needs --work DIR: the stages work there; on a cluster all nodes must see it")
        return work
    if work is not None:
        raise UserError(f"--work {work} is for an --out that is a URL; the stages work in --out {out}")
    if url := marked(Path(out)):
        raise UserError(f"--out {out} is the work folder of {url}; say --out {url} --work {out}")
    return Path(out)


def _prepare(config: PrepareConfig, out: Path, said: str) -> Summary:
    folders: dict[str, Path] = {}
    seconds: dict[str, float] = {}

    def stage(name: str, run: Callable[[], Path]) -> Path:
        start = time.monotonic()
        folders[name] = run()
        seconds[name] = time.monotonic() - start
        with open(out / "events.jsonl", "a", encoding="utf-8") as events:
            line = {"time": time.time(), "stage": name, "folder": folders[name].name, "seconds": seconds[name]}
            events.write(json.dumps(line) + "\n")
        _require_documents(folders[name])
        return folders[name]

    with Workers(config.num_workers, int(config.worker_memory * 2**30), log=out) as workers:
        documents = stage("sources", lambda: sources(config.sources, config.input, out, workers))
        cleaned = stage("clean", lambda: clean(config.clean, documents, out, workers))
        unique = stage("dedup", lambda: dedup(config.dedup, cleaned, out, workers))
        if config.passages.filters:
            unique = stage("passages", lambda: passages(config.passages, unique, out, workers))
        model = stage("tokenizer", lambda: tokenizer(config.tokenizer, unique, out))
        stage("shards", lambda: shards(config.shards, unique, model, out, workers))
    mirror = Mirror.of(out)
    if mirror:
        _bring_shown(mirror, folders, is_sample=_is_sample(config))
    summary = _summary(config, said, folders, seconds)
    write_json(out / SUMMARY, summary.model_dump(mode="json"))
    _write_manifest(out, folders)
    if mirror:
        mirror.replace(out / MANIFEST, out / SUMMARY)
    return summary


def _bring_shown(mirror: Mirror, folders: dict[str, Path], is_sample: bool) -> None:
    """What the summary reads: the ledgers, and the texts in which it looks for what is planted in them."""
    for stage, folder in folders.items():
        shown = (LEDGER_FILES, DOCUMENTS_FILE) if is_sample and stage == "dedup" else (LEDGER_FILES,)
        mirror.bring(folder, [file for file in read_manifest(folder).files if file.name.endswith(shown)])


def _require_documents(folder: Path) -> None:
    """Raises UserError when a stage left none of its documents, with its reasons: the next ones have nothing to do."""
    counts = read_manifest(folder).counts
    if counts.get("documents") == 0 and "in" in counts:
        reasons: Counter[str] = Counter()
        for source in counts["sources"].values():
            reasons.update(source["reasons"])
        shown = ", ".join(f"{reason} {number:,}" for reason, number in reasons.most_common(5))
        raise UserError(
            f"of {counts['in']:,} documents none is left ({shown}); 'penstock ledger sample {folder} --reason "
            f"{reasons.most_common(1)[0][0]}' shows some"
        )


def _refuse_others(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder")
    if (out / MANIFEST).exists() and read_manifest(out).stage != "prepare":
        raise UserError(f"--out {out} is the output of '{read_manifest(out).stage}'; name another folder")
    _refuse_names(f"--out {out}", {path.name for path in out.iterdir()} if out.exists() else set())


def _refuse_others_at(mirror: Mirror) -> None:
    """Asks the URL for the first time: what does not answer, or not to us, is said before anything is done."""
    url = mirror.far.url
    _refuse_names(f"--out {url}", mirror.far.names())
    there = mirror.far.read(MANIFEST)
    if there is not None and (stage := parse_manifest(there, f"{url}/{MANIFEST}").stage) != "prepare":
        raise UserError(f"--out {url} is the output of '{stage}'; name another one")


def _refuse_names(out: str, names: set[str]) -> None:
    if names and not any(name in (LOCK, MANIFEST) or STAGE_FOLDER.search(name) for name in names):
        raise UserError(f"{out} has other files in it ({min(names)}); name a new folder, or that of a prepare")


def _write_manifest(out: Path, folders: dict[str, Path]) -> None:
    """The folders that belong together; their manifests are the files, so `verify` reaches every byte."""
    inputs = input_marks(list(folders.values()))
    counts = {"stages": {name: folder.name for name, folder in folders.items()}}
    mark = fingerprint("prepare", 1, {}, inputs)
    if is_done(out) and read_manifest(out).fingerprint == mark:
        return
    files = tuple(checksum(folder / MANIFEST, f"{folder.name}/{MANIFEST}") for folder in folders.values())
    write_manifest(out, Manifest("prepare", 1, mark, {}, inputs, counts, files))


# ---- what the run did, for people ------------------------------------------------------------------------------


def _summary(config: PrepareConfig, out: str, folders: dict[str, Path], seconds: dict[str, float]) -> Summary:
    ledger = Ledger(folders)
    planted = {}
    if _is_sample(config):
        chosen = {source.source for source in config.sources}
        planted = _planted(Path(config.input) / TRUTH, chosen, ledger, folders["dedup"])
    return Summary(
        out=out,
        sources=tuple(ledger.flows()),
        tokens=read_manifest(folders["shards"]).counts,
        tokenizer=read_manifest(folders["tokenizer"]).counts,
        planted=planted,
        seconds={name: round(s, 1) for name, s in seconds.items()},
    )


def _is_sample(config: PrepareConfig) -> bool:
    return (Path(config.input) / SAMPLE).exists()  # a URL is none


def print_summary(summary: Summary) -> None:
    console = Console(markup=False)
    table = Table(title="Documents", title_justify="left")
    for column in ("source", "in", "size in", "kept", "size kept", "dropped, by reason"):
        table.add_column(column, justify="left" if column in ("source", "dropped, by reason") else "right")
    for flow in summary.sources:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(flow.dropped().items(), key=lambda x: -x[1]))
        table.add_row(flow.source, f"{flow.documents_in:,}", in_units(flow.bytes_in), f"{flow.documents_kept:,}",
                      in_units(flow.bytes_kept), reasons or "-")  # fmt: skip
    console.print(table)
    if summary.planted:
        planted = Table(title="Planted in the sample", title_justify="left")
        for column in ("what", "planted", "found", "missed"):
            planted.add_column(column, justify="left" if column in ("what", "missed") else "right")
        for kind, row in summary.planted.items():
            planted.add_row(kind, str(row.planted), str(row.found), ", ".join(row.missed) or "-")
        console.print(planted)
    seconds = "  ".join(f"{name} {s:.0f} s" for name, s in summary.seconds.items())
    console.print(f"{seconds}\n{summary.out}", highlight=False)


# ---- the sample's planted documents ----------------------------------------------------------------------------

EXPECTED_REASON: dict[str, Callable[[str], bool]] = {
    "exact_duplicate": lambda reason: reason == "exact_duplicate",
    "near_duplicate": lambda reason: reason in ("near_duplicate", "exact_duplicate"),
    "gibberish": lambda reason: reason != "" and not reason.endswith("duplicate"),
    "short": lambda reason: reason == "gopher_short",
    "language": lambda reason: reason == "language",
}


def _planted(truth: Path, sources: set[str], ledger: Ledger, cleaned: Path) -> dict[str, Planted]:
    """Per kind of document planted in these sources: how many, how many were found, and the names of those missed."""
    fates = {(fate.source, fate.key): fate for fate in ledger.fates()}
    found: dict[str, dict[str, bool]] = {}
    for line in truth.read_text(encoding="utf-8").splitlines():
        planted = json.loads(line)
        kind, twin = planted["kind"], planted.get("of", {})
        if not {planted["source"], twin.get("source", planted["source"])} <= sources:
            continue
        fate = fates.get((planted["source"], planted["key"]))
        if kind == "broken":
            seen = fate is not None and fate.kind == "error"
        elif kind == "pii":
            seen = fate is not None and not _text_holds(cleaned, fate.doc_id, planted["planted"])
        else:  # of two duplicates either one may be the survivor
            both = (fate, fates.get((twin.get("source"), twin.get("key"))))
            seen = any(f is not None and EXPECTED_REASON[kind](f.reason) for f in both)
        found.setdefault(kind, {})[planted["key"]] = seen
    return {
        kind: Planted(planted=len(seen), found=sum(seen.values()), missed=tuple(k for k, s in seen.items() if not s))
        for kind, seen in found.items()
    }


def _text_holds(documents: Path, doc_id: bytes, strings: list[str]) -> bool:
    """Whether any of the strings stands in the document's cleaned text."""
    import pyarrow.dataset as ds

    files = [str(path) for path in committed_files(documents, DOCUMENTS_FILE)]
    rows = ds.dataset(files).to_table(columns=["text"], filter=ds.field("doc_id") == doc_id)
    return any(string in text for text in rows.column("text").to_pylist() for string in strings)
