"""The index: what later runs need in order to name the documents of this one, without reading their texts again.

`keep_index: true` writes it as index/ in the stage's folder: per documents file KNOWN rows (ids, hashes, signatures,
survivors) and a manifest. `against: [DIR]` in a later run reads it, from the stage's folder, from the prepare folder
around it, or from a copy of index/ alone.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.errors import UserError
from pipeline.core.manifest import Manifest, fingerprint, is_done, read_manifest, stage_folders, write_manifest
from pipeline.core.shard_map import Counts, Receipt
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.decide import STAGE, Judged
from pipeline.dedup.spill.plan import FileTask
from pipeline.dedup.spill.rows import EXCLUDED, KNOWN_FILE, Fate, facts, fill, known
from pipeline.dedup.spill.runs import RunWriter, distinct, of_file, places

FOLDER = "index"
INDEX_STAGE = "dedup-index"
VERSION = 3
WRITER_BYTES = 192 << 20  # of which a run is a part: not task_memory_mb, on which no file may depend
SAME = ("unit", "ngram", "bands", "rows")  # settings without which signatures cannot be compared
UNICODE = unicodedata.unidata_version  # what a letter is, and its lower case, is Python's


def index_file(task: FileTask, folder: Path) -> Counts:
    """A record that is in another file, or in an earlier index, is there."""
    plan, kind = task.plan, known(task.plan.config)
    judged = Judged(task)
    excluded = plan.runs(EXCLUDED, "captures", "texts").all(of_file(task.number))
    with RunWriter(folder, kind, WRITER_BYTES) as index:
        for piece in plan.runs_of_file(facts(plan.config), "sign", task.number).pieces(plan.budget, extra=200):
            rows = distinct(piece, "high", "low")
            verdicts = judged.of_ids(rows["high"], rows["low"])
            told = fill(kind, **{name: rows[name] for name in rows.dtype.names or ()})
            for name in ("survivor_high", "survivor_low", "cluster_size"):
                told[name] = verdicts[name]
            told["file"], told["preference"] = KNOWN_FILE, 0
            told["alone"] = places(excluded, rows) < 0
            index.append(told[verdicts["fate"] != Fate.same_record])
    return {"rows": index.num_rows}


def close_index(folder: Path, config: DedupConfig, receipts: Sequence[Receipt]) -> None:
    """Of the files that are committed: an attempt that was killed may have left others."""
    files = tuple(sorted(entry for receipt in receipts for entry in receipt.files))
    for stray in {*folder.glob("*.arrow")} - {folder / entry.name for entry in files}:
        stray.unlink()
    section = config.model_dump(mode="json", include=set(SAME)) | {"unicode": UNICODE}
    mark = fingerprint(INDEX_STAGE, VERSION, section, {entry.name: entry.sha256 for entry in files})
    write_manifest(folder, Manifest(INDEX_STAGE, VERSION, mark, section, {}, {"files": len(files)}, files))


def open_index(folder: Path, config: DedupConfig) -> Path:
    """The index folder that `folder` is or holds; raises UserError if there is none, or none of these settings."""
    found = folder
    if is_done(found) and read_manifest(found).stage == "prepare":
        found = stage_folders(found)[STAGE]
    if is_done(found) and read_manifest(found).stage == STAGE:
        found = found / FOLDER
    if not is_done(found) or read_manifest(found).stage != INDEX_STAGE:
        raise UserError(f"dedup.against: {folder} holds no index; prepare it with dedup.keep_index=true")
    made = read_manifest(found)
    if made.version != VERSION:
        raise UserError(f"dedup.against: {folder} has an index of version {made.version}, this one reads {VERSION}")
    for name in SAME:
        if (value := made.config.get(name)) != getattr(config, name):
            raise UserError(
                f"dedup.against: {folder} was made with {name}={value}, this run has {getattr(config, name)}; "
                f"set dedup.{name}={value}"
            )
    if (value := made.config.get("unicode")) != UNICODE:
        raise UserError(
            f"dedup.against: {folder} was made with Unicode {value}, this Python has {UNICODE}; use a Python that has "
            f"{value}, or make the index again"
        )
    return found
