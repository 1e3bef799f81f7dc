"""What dedup knows of a document, in fixed-width columns: its facts, sorted by doc_id. The text is read here once.

    documents file -> FACTS      id, hash of the text, page, how much it is preferred, MinHash signature, band hashes
                   -> CAPTURE    the few of them that copies.py reads, by page

An earlier run's index holds KNOWN rows: FACTS, and what became of the document.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.clean.characters import Array
from pipeline.core.shard_map import Counts
from pipeline.core.tables import read_batches
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.signatures.exact import exact_hashes, fold_texts
from pipeline.dedup.signatures.minhash import MinHash
from pipeline.dedup.spill.plan import FileTask, Plan
from pipeline.dedup.spill.rows import CAPTURE, NEW, facts, from_ids
from pipeline.dedup.spill.runs import RunWriter, distinct_ids
from pipeline.sources.base import group, source_of

BYTES_AT_ONCE = 8 << 20
LATEST = 10**14  # after any time as YYYYMMDDhhmmss


def sign_file(task: FileTask, folder: Path) -> Counts:
    plan, file = task.plan, task.plan.files[task.number]
    kind, minhash = facts(plan.config), plan.config.minhash()
    rank = plan.source_rank(source_of(file))
    with RunWriter(folder, kind, plan.budget) as signed, RunWriter(folder, CAPTURE, plan.budget) as captured:
        for batch in _batches(file):
            rows = _facts(batch, plan.config, minhash, rank)
            rows["file"] = task.number
            signed.append(rows)
            captured.append(_captures(rows, plan.config.urls))
    return {"rows": signed.num_rows}


def recall_file(task: FileTask, folder: Path) -> Counts:
    """CAPTURE rows of an index file of an earlier run."""
    plan = task.plan
    with RunWriter(folder, CAPTURE, plan.budget) as captured:
        needed = ("preference", "file", "page_high", "page_low", "exact_high", "exact_low", "crawled")
        for rows in plan.known_run(task.number).only("high", "low", *needed).pieces(plan.budget):
            captured.append(_captures(rows, plan.config.urls))
    return {"rows": captured.num_rows}


def lookup(plan: Plan, rows: Array, id_fields: tuple[str, str], *fields: str) -> Array:
    """Per row the facts of the document with the id in these two fields, as an earlier run has them if it knows it."""
    ids, place = distinct_ids(*(rows[name] for name in id_fields))
    found, missing = plan.known_runs.lookup(ids, fields)
    if missing.any():
        found[missing], unknown = plan.runs(facts(plan.config), "sign").lookup(ids[missing], fields)
        assert not unknown.any(), "an id that no document has"
    return found.take(place)


def recall(plan: Plan, rows: Array, id_fields: tuple[str, str], *fields: str) -> tuple[Array, Array]:
    """The same of earlier runs alone, and for which rows these know nothing."""
    ids, place = distinct_ids(*(rows[name] for name in id_fields))
    found, missing = plan.known_runs.lookup(ids, fields)
    return found.take(place), missing[place]


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    for batch in read_batches(file, ["doc_id", "date", "text", "meta"]):
        for start, end in group(pc.binary_length(batch["text"]).to_pylist(), BYTES_AT_ONCE):
            yield batch.slice(start, end - start)


def _facts(batch: pa.RecordBatch, config: DedupConfig, minhash: MinHash, source_rank: int) -> Array:
    texts = fold_texts(batch["text"].to_pylist())
    signed = minhash.sign(texts)
    rows = facts(config).empty(len(batch))
    pages = [xxhash.xxh3_128_digest(page.encode()) if page else bytes(16) for page in _meta(batch, "page")]
    for name, column in (("exact_", exact_hashes(texts)), ("page_", pages)):
        rows[f"{name}high"], rows[f"{name}low"] = from_ids(pa.array(column, pa.binary(16)))
    rows["high"], rows["low"] = from_ids(batch["doc_id"])
    dates = zip(_meta(batch, "crawled"), batch["date"].to_pylist(), strict=True)
    rows["crawled"] = [_as_number(crawled or date) for crawled, date in dates]
    qualities = [_as_quality(number) if number else -np.inf for number in _meta(batch, config.quality_field)]
    rows["preference"] = preference(source_rank, qualities, np.asarray(pc.binary_length(batch["text"])))
    rows["num_ngrams"], rows["bands"], rows["signature"] = signed.num_ngrams, signed.bands, signed.entries
    return rows


def preference(source_rank: int, quality: Sequence[float], num_bytes: Array) -> Array:
    """uint64, smaller is better: 7 bits of the source, 23 of the quality (four digits), 32 of the length."""
    bits = np.asarray(quality, dtype=np.float32).view(np.uint32)
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))  # the order of the numbers
    falling = (~rising >> np.uint32(9)).astype(np.uint64)
    shortness = np.uint64(2**32 - 1) - num_bytes.astype(np.uint64)
    return NEW | np.uint64(source_rank) << np.uint64(55) | falling << np.uint64(32) | shortness


def _captures(rows: Array, by_page: bool) -> Array:
    result = CAPTURE.empty(len(rows))
    paged = by_page & ((rows["page_high"] | rows["page_low"]) != 0)
    for half in ("high", "low"):
        result[f"key_{half}"] = np.where(paged, rows[f"page_{half}"], rows[half])
        result[f"newer_{half}"] = ~rows[half]
        result[f"exact_{half}"] = rows[f"exact_{half}"]
    age = np.where(paged, LATEST - rows["crawled"], 0).astype(np.uint64)
    result["order"] = age | (rows["preference"] & NEW)
    result["file"] = rows["file"]
    return result


def _meta(batch: pa.RecordBatch, key: str) -> list[str | None]:
    return pc.map_lookup(batch["meta"], pa.scalar(key), "first").to_pylist() if key else [None] * len(batch)


def _as_number(date: str) -> int:
    """2026-01-15T06:00:00Z -> 20260115060000; what is left out is 0, and so is what does not begin with a year."""
    if not date[:4].isdecimal():
        return 0
    return int("".join(sign for sign in date if "0" <= sign <= "9")[:14].ljust(14, "0"))


def _as_quality(number: str) -> float:
    """What is no number counts as the lowest."""
    try:
        value = float(number)
    except ValueError:
        return -np.inf
    return -np.inf if np.isnan(value) else value
