"""From raw corpora to token shards: the data stages in order, each in its own folder under OUT.

    raw files -> sources -> clean -> dedup -> tokenizer -> shards -> OUT/manifest.json

OUT/manifest.json names the stage folders that belong together (`counts.stages`): whoever reads OUT reads it first.
OUT/summary.json holds the figures shown at the end; OUT/events.jsonl when each stage ran and for how long.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console
from rich.table import Table

from pipeline.clean.run import CleanConfig
from pipeline.clean.run import run as clean
from pipeline.core.config import Config
from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.files import checksum, exclusive, write_json
from pipeline.core.ledger import Ledger
from pipeline.core.manifest import (
    MANIFEST,
    Manifest,
    committed_files,
    fingerprint,
    input_marks,
    is_done,
    read_manifest,
    write_manifest,
)
from pipeline.core.shard_map import Workers
from pipeline.core.tables import DOCUMENTS_FILE
from pipeline.dedup.run import DedupConfig
from pipeline.dedup.run import run as dedup
from pipeline.shards.run import ShardsConfig
from pipeline.shards.run import run as shards
from pipeline.sources.base import Sources
from pipeline.sources.run import run as sources
from pipeline.tokenizer.run import TokenizerConfig
from pipeline.tokenizer.run import run as tokenizer

logger = logging.getLogger(__name__)

STAGES_WITH_LEDGER = ("sources", "clean", "dedup", "shards")
TRUTH, SAMPLE = "truth.jsonl", "sample.json"  # of `penstock sample`: what is planted; that it is one


class PrepareConfig(Config):
    input: Path
    """Folder of raw corpora; the sources' `paths` are relative to it."""
    sources: Sources
    clean: CleanConfig = CleanConfig()
    dedup: DedupConfig = DedupConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    shards: ShardsConfig = ShardsConfig()
    num_workers: int | None = Field(default=None, ge=1)
    """Ray workers of one CPU each; default: as many as this process may use. Does not change the output."""


def prepare(config: PrepareConfig, out: Path) -> dict[str, Any]:
    """All stages, done; returns the summary. Raises UserError for bad input, SplitsFailed for our bugs."""
    _require_folder(out)
    with exclusive(out):
        return _prepare(config, out)


def _prepare(config: PrepareConfig, out: Path) -> dict[str, Any]:
    folders: dict[str, Path] = {}
    seconds: dict[str, float] = {}

    def stage(name: str, run: Callable[[], Path]) -> Path:
        start = time.monotonic()
        folders[name] = run()
        seconds[name] = time.monotonic() - start
        with open(out / "events.jsonl", "a", encoding="utf-8") as events:
            line = {"time": time.time(), "stage": name, "folder": folders[name].name, "seconds": seconds[name]}
            events.write(json.dumps(line) + "\n")
        return folders[name]

    with Workers(config.num_workers) as workers:
        documents = stage("sources", lambda: sources(config.sources, config.input, out, workers))
        cleaned = stage("clean", lambda: clean(config.clean, documents, out, workers))
        unique = stage("dedup", lambda: dedup(config.dedup, cleaned, out, workers))
        model = stage("tokenizer", lambda: tokenizer(config.tokenizer, unique, out))
        stage("shards", lambda: shards(config.shards, unique, model, out, workers))
    summary = _summary(config, out, folders) | {"seconds": {name: round(s, 1) for name, s in seconds.items()}}
    write_json(out / "summary.json", summary)
    _write_manifest(out, folders)
    return summary


def stage_folders(data: Path) -> dict[str, Path]:
    """Stage name -> folder of a finished prepare folder; raises ArtifactError."""
    manifest = read_manifest(data)
    if manifest.stage != "prepare" or not manifest.counts.get("stages"):
        raise ArtifactError(f"{data} is a {manifest.stage}, not the output folder of penstock prepare")
    return {name: data / folder for name, folder in manifest.counts["stages"].items()}


def explain_document(data: Path, name: str) -> dict[str, list[dict[str, Any]]]:
    """Id in hex -> verdicts, stage by stage, of every document that `name` may mean."""
    ledger = _ledger(stage_folders(data))
    found = ledger.find(name)
    if not found:
        raise UserError(
            f"no document '{name}' in the ledger of {data} (an id in hex, a page title, a book file or a URL)"
        )
    return {
        doc_id.hex(): [asdict(entry) | {"doc_id": doc_id.hex()} for entry in ledger.entries(doc_id)] for doc_id in found
    }


def _ledger(folders: dict[str, Path]) -> Ledger:
    return Ledger({name: folders[name] for name in STAGES_WITH_LEDGER})


def _require_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder")
    out.mkdir(parents=True, exist_ok=True)
    if (out / MANIFEST).exists() and read_manifest(out).stage != "prepare":
        raise UserError(f"--out {out} holds a {read_manifest(out).stage}; name another folder")


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


def _summary(config: PrepareConfig, out: Path, folders: dict[str, Path]) -> dict[str, Any]:
    rows = _ledger(folders).summary()
    per_source: dict[str, dict[str, Any]] = {}
    for row in rows:
        source = per_source.setdefault(
            row["source"], {"in": 0, "bytes_in": 0, "kept": 0, "bytes_kept": 0, "dropped": {}, "errors": 0}
        )
        if row["stage"] == STAGES_WITH_LEDGER[0]:
            source["in"] += row["documents"]
            source["bytes_in"] += row["bytes"]
        if row["verdict"] == "dropped":
            source["dropped"][row["reason"]] = source["dropped"].get(row["reason"], 0) + row["documents"]
            source["errors"] += row["documents"] if row["kind"] == "error" else 0
        elif row["stage"] == STAGES_WITH_LEDGER[-1]:
            source["kept"] += row["documents"]
            source["bytes_kept"] += row["bytes"]
    for name, source in per_source.items():
        assert source["in"] == source["kept"] + sum(source["dropped"].values()), (name, source)
    truth = config.input / TRUTH
    return {
        "out": str(out),
        "sources": per_source,
        "tokens": read_manifest(folders["shards"]).counts,
        "tokenizer": read_manifest(folders["tokenizer"]).counts,
        "planted": _planted(truth, folders) if (config.input / SAMPLE).exists() else None,
    }


def print_summary(summary: dict[str, Any]) -> None:
    console = Console()
    table = Table(title="Documents", title_justify="left")
    for column in ("source", "in", "MB in", "kept", "MB kept", "dropped, by reason"):
        table.add_column(column, justify="left" if column in ("source", "dropped, by reason") else "right")
    for name, row in summary["sources"].items():
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(row["dropped"].items(), key=lambda x: -x[1]))
        megabytes = [f"{row[key] / 1e6:.2f}" for key in ("bytes_in", "bytes_kept")]
        table.add_row(name, f"{row['in']:,}", megabytes[0], f"{row['kept']:,}", megabytes[1], reasons or "-")
    console.print(table)
    if summary["planted"]:
        planted = Table(title="Planted in the sample", title_justify="left")
        for column in ("what", "planted", "found", "missed"):
            planted.add_column(column, justify="left" if column in ("what", "missed") else "right")
        for kind, row in summary["planted"].items():
            missed = ", ".join(row["missed"]) or "-"
            planted.add_row(kind, str(row["planted"]), str(row["found"]), missed)
        console.print(planted)
    seconds = "  ".join(f"{name} {s:.0f} s" for name, s in summary["seconds"].items())
    console.print(f"{seconds}\n{summary['out']}", highlight=False)


# ---- the sample's planted documents ----------------------------------------------------------------------------

EXPECTED_REASON: dict[str, Callable[[str], bool]] = {
    "exact_duplicate": lambda reason: reason == "exact_duplicate",
    "near_duplicate": lambda reason: reason in ("near_duplicate", "exact_duplicate"),
    "gibberish": lambda reason: reason != "" and not reason.endswith("duplicate"),
    "short": lambda reason: reason == "gopher_short",
    "language": lambda reason: reason == "language",
}


def _planted(truth: Path, folders: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Per kind of planted document: how many, how many the pipeline found, and the names of those it missed."""
    fates = {(fate.source, fate.key): fate for fate in _ledger(folders).fates()}
    result: dict[str, dict[str, Any]] = {}
    for line in truth.read_text(encoding="utf-8").splitlines():
        planted = json.loads(line)
        kind, name = planted["kind"], (planted["source"], planted["key"])
        row = result.setdefault(kind, {"planted": 0, "found": 0, "missed": []})
        row["planted"] += 1
        fate, twin = fates.get(name), fates.get((planted.get("of", {}).get("source"), planted.get("of", {}).get("key")))
        if kind == "broken":
            found = fate is not None and fate.kind == "error"
        elif kind == "pii":
            found = fate is not None and not _text_holds(folders["dedup"], fate.doc_id, planted["planted"])
        else:  # of two duplicates either one may be the survivor
            found = any(f is not None and EXPECTED_REASON[kind](f.reason) for f in (fate, twin))
        row["found"] += found
        row["missed"] += [] if found else [name[1]]
    return result


def _text_holds(documents: Path, doc_id: bytes, strings: list[str]) -> bool:
    """Whether any of the strings stands in the document's cleaned text."""
    import pyarrow.dataset as ds

    files = [str(path) for path in committed_files(documents, DOCUMENTS_FILE)]
    rows = ds.dataset(files).to_table(columns=["text"], filter=ds.field("doc_id") == doc_id)
    return any(string in text for text in rows.column("text").to_pylist() for string in strings)
