"""The dedup stage: documents in, each text once out; a ledger row for every document, naming the survivor.

1. sign    per file: exact hash, MinHash signature, band hashes               signatures.py   (Ray)
2. rank    all documents in the order in which they are preferred: newest capture, source priority, length, doc_id
3. join    per band: pairs of ranks with equal hash and similar signatures    lsh.py          (Ray)
4. cluster pairs -> components; the smallest rank of a cluster survives       components.py
5. decide  per file: keep or drop                                             (Ray)

Since ranks come from the documents alone, the result does not depend on workers, on how the documents are spread over
files, or on the order of files. The driver holds about 100 bytes per document.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.core.config import Config
from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.ledger import tally
from pipeline.core.manifest import SCRATCH, committed_files, run_stage
from pipeline.core.shard_map import Counts, Split, Workers
from pipeline.core.tables import DOCUMENTS_FILE, DocumentWriter, read_documents
from pipeline.dedup.components import roots
from pipeline.dedup.lsh import EDGES_FILE, EXCLUDED, JoinTask, join_band, read_edges, write_ranks
from pipeline.dedup.minhash import similarity
from pipeline.dedup.signatures import SIGNATURES_FILE, Signatures, SignTask, sign_file
from pipeline.sources.base import source_of

logger = logging.getLogger(__name__)

STAGE = "dedup"
VERSION = 3
Array = np.ndarray[Any, Any]


class DedupConfig(Config):
    urls: bool = True
    """Of several captures of one web page keep the newest, whatever their texts."""
    exact: bool = True
    """Drop texts that differ in case and white space at most."""
    near: bool = True
    """Drop texts that share most of their word n-grams."""
    ngram: int = Field(5, ge=1)
    """Words in a row that are compared; shorter documents are compared exactly only."""
    bands: int = Field(14, ge=1)
    """Bands of the MinHash signature; more bands find less similar pairs."""
    rows: int = Field(8, ge=1)
    """Signature entries per band; more rows need more similar pairs."""
    min_jaccard: float = Field(0.7, ge=0, le=1)
    """A pair found by a band is linked when its estimated similarity is at least this; 0 links every such pair."""
    source_priority: tuple[str, ...] = ()
    """Of two duplicates the one from the source that comes first here stays; then the others, by name."""


class Fate(IntEnum):
    keep = 0
    same_record = 1  # one record of a source that was read twice
    same_url = 2  # an older capture of a page
    exact_duplicate = 3  # its text is the survivor's, but for case and white space
    near_duplicate = 4


VERDICTS = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("fate", pa.int8()),
        ("survivor", pa.binary(16)),
        ("jaccard", pa.float64()),  # estimated, with the survivor
        ("cluster_size", pa.int64()),  # documents that the survivor stands for, itself included
    ]
)


def run(config: DedupConfig, documents: Path, root: Path, workers: Workers) -> Path:
    """The finished folder under `root`; `documents` is a finished stage folder."""

    def body(folder: Path) -> Mapping[str, Any]:
        files = committed_files(documents, DOCUMENTS_FILE)
        if not files:
            raise UserError(f"{documents} holds no documents (no *{DOCUMENTS_FILE})")
        _warn_of_unknown(config, files)
        scratch = folder / SCRATCH
        signed = _sign(config, files, scratch / "signatures", workers)
        table = Signatures(signed)
        nodes = _rank(table, [_source_priority(config, file) for file in files], config.urls)
        near = _join(config, signed, nodes, scratch, workers) if config.near else []
        clusters = _cluster(nodes, [*nodes.copies(config.exact), *near])
        verdicts = _write_verdicts(table, nodes, clusters, files, scratch / "verdicts")
        splits = [Split(_id(file), DecideTask(file, verdict), file.stat().st_size)
                  for file, verdict in zip(files, verdicts, strict=True)]  # fmt: skip
        counts = tally(STAGE, folder, workers.map(decide_file, splits, folder, label="dedup"))
        return counts | {"clusters": int((np.bincount(clusters, minlength=1) > 1).sum())}

    return run_stage(STAGE, VERSION, config, [documents], root, body)


# ---- 1: sign -----------------------------------------------------------------------------------------------------


def _sign(config: DedupConfig, files: Sequence[Path], out: Path, workers: Workers) -> tuple[Path, ...]:
    tasks = [SignTask(file, config.ngram, config.bands, config.rows) for file in files]
    splits = [Split(_id(task.documents), task, task.documents.stat().st_size) for task in tasks]
    workers.map(sign_file, splits, out, label="dedup: sign")
    return tuple(out / f"{split.id}{SIGNATURES_FILE}" for split in splits)


# ---- 2: rank -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Nodes:
    """All documents by rank; rank 0 is preferred to all others."""

    row_of: Array  # int64 [n]: rank -> row of the signature table
    doc_id: Array  # uint64 [n, 2]
    exact: Array  # uint64 [n, 2]
    first_of_record: Array  # uint32 [n]: the smallest rank with the same doc_id
    first_of_page: Array  # uint32 [n]: the rank of the newest capture of the same page
    first_of_text: Array  # uint32 [n]: the smallest rank with the same exact hash
    has_ngrams: Array  # bool [n]

    def copies(self, exact: bool) -> list[Array]:
        """Edges from every node to the first of its record, of its page, and of its text."""
        own = np.arange(len(self.row_of), dtype=np.uint32)
        firsts = [self.first_of_record, self.first_of_page]
        if exact:  # the text of an older capture stands for nothing: it would link its page with another
            firsts.append(np.where(self.first_of_page == own, self.first_of_text, own))
        return [np.stack([first, own], axis=1)[first != own] for first in firsts]


def _rank(table: Signatures, priorities: Sequence[tuple[int, str]], urls: bool) -> Nodes:
    """`priorities`: of each file's source. Older captures of a page come after all other documents."""
    order_of = {priority: number for number, priority in enumerate(sorted(set(priorities)))}
    source = np.repeat([order_of[priority] for priority in priorities], table.lengths)
    doc_id, exact = table.words("doc_id"), table.words("exact")
    page = table.words("page") if urls else np.zeros_like(doc_id)
    is_old = _is_old(page, table.numbers("crawled"), doc_id)
    row_of = np.lexsort((doc_id[:, 1], doc_id[:, 0], -table.numbers("num_bytes"), source, is_old))
    doc_id, exact, page = doc_id[row_of], exact[row_of], page[row_of]
    own = np.arange(len(row_of), dtype=np.uint32)
    first_of_page = np.where(page.any(axis=1), _first_equal(page), own)
    has_ngrams = table.numbers("num_ngrams")[row_of] > 0
    return Nodes(row_of, doc_id, exact, _first_equal(doc_id), first_of_page, _first_equal(exact), has_ngrams)


def _is_old(page: Array, crawled: Array, doc_id: Array) -> Array:
    """bool [n]: whether there is a newer capture of the same page; of two of one moment the greater id is newer."""
    order = np.lexsort((doc_id[:, 1], doc_id[:, 0], crawled, page[:, 1], page[:, 0]))
    ordered = page[order]
    ends = np.append((ordered[1:] != ordered[:-1]).any(axis=1), True)[: len(order)]
    newest = order[np.flatnonzero(ends)][np.cumsum(ends) - ends]
    result = np.zeros(len(order), dtype=bool)
    result[order] = (doc_id[order] != doc_id[newest]).any(axis=1) & ordered.any(axis=1)
    return result


def _first_equal(keys: Array) -> Array:
    """uint32 [n]: for every key (uint64 [n, 2]) the index of the first one equal to it."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: equal keys stay in the order of their indices
    ordered = keys[order]
    starts = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])[: len(keys)]
    firsts = order[starts][np.cumsum(starts) - 1]
    result = np.empty(len(keys), dtype=np.uint32)
    result[order] = firsts
    return result


def _source_priority(config: DedupConfig, file: Path) -> tuple[int, str]:
    """Sorts as sources are preferred."""
    source = source_of(file)
    listed = config.source_priority
    return (listed.index(source) if source in listed else len(listed), source)


# ---- 3 and 4: join, cluster ---------------------------------------------------------------------------------------


def _join(config: DedupConfig, signed: tuple[Path, ...], nodes: Nodes, scratch: Path, workers: Workers) -> list[Array]:
    """Edges of all bands, between first copies only: buckets do not fill with equal texts."""
    own = np.arange(len(nodes.row_of), dtype=np.uint32)
    alone = nodes.has_ngrams & (nodes.first_of_record == own) & (nodes.first_of_page == own)
    if config.exact:
        alone &= nodes.first_of_text == own
    ranks = np.full(len(own), EXCLUDED, dtype=np.uint32)
    ranks[nodes.row_of[alone]] = own[alone]
    path = scratch / "ranks.npy"
    write_ranks(path, ranks)
    splits = [Split(f"band-{band:03d}", JoinTask(signed, path, band, config.min_jaccard))
              for band in range(config.bands)]  # fmt: skip
    workers.map(join_band, splits, scratch / "edges", label="dedup: join")
    return [read_edges(scratch / "edges" / f"{split.id}{EDGES_FILE}") for split in splits]


def _cluster(nodes: Nodes, edges: Sequence[Array]) -> Array:
    """uint32 [n]: the survivor's rank."""
    return roots(len(nodes.row_of), np.concatenate(edges) if edges else np.empty((0, 2), dtype=np.uint32))


# ---- 5: decide ----------------------------------------------------------------------------------------------------


def _write_verdicts(table: Signatures, nodes: Nodes, clusters: Array, files: Sequence[Path], out: Path) -> list[Path]:
    """One VERDICTS file per documents file, row by row."""
    out.mkdir(parents=True, exist_ok=True)
    own = np.arange(len(clusters), dtype=np.uint32)
    repeated = nodes.first_of_record != own
    same_text = (nodes.exact == nodes.exact[clusters]).all(axis=1)
    fate = np.select(
        [repeated, clusters == own, nodes.first_of_page != own, same_text],
        [Fate.same_record, Fate.keep, Fate.same_url, Fate.exact_duplicate],
        default=Fate.near_duplicate,
    ).astype(np.int8)
    jaccard = np.ones(len(own))
    unlike = np.flatnonzero((fate == Fate.near_duplicate) | (fate == Fate.same_url))
    for part in np.array_split(unlike, len(own) // 100_000 + 1):
        survivors = nodes.row_of[clusters[part]]
        jaccard[part] = similarity(table.signatures(nodes.row_of[part]), table.signatures(survivors))
    survivor = nodes.doc_id[np.where(repeated, nodes.first_of_record, clusters)]
    cluster_size = np.bincount(clusters[~repeated], minlength=len(own))[clusters]

    rank_of = np.empty(len(own), dtype=np.int64)
    rank_of[nodes.row_of] = own
    ends = np.cumsum(table.lengths)
    paths = [out / f"{_id(file)}.verdicts.arrow" for file in files]
    for path, end, length in zip(paths, ends, table.lengths, strict=True):
        ranks = rank_of[end - length : end]
        columns = [_ids(nodes.doc_id[ranks]), pa.array(fate[ranks]), _ids(survivor[ranks]), pa.array(jaccard[ranks]),
                   pa.array(cluster_size[ranks])]  # fmt: skip
        temporary = path.with_suffix(".tmp")
        with pa.ipc.new_file(temporary, VERDICTS) as writer:
            writer.write_table(pa.Table.from_arrays(columns, schema=VERDICTS))
        os.replace(temporary, path)
    return paths


def _ids(words: Array) -> pa.Array:
    """uint64 [n, 2] as the 16 bytes they were."""
    data = pa.py_buffer(words.astype(">u8").tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(words), [None, data])


@dataclass(frozen=True)
class DecideTask:
    documents: Path
    verdicts: Path


def decide_file(task: DecideTask, folder: Path) -> Counts:
    """`documents.parquet` and `ledger.parquet`."""
    verdicts = pa.ipc.open_file(pa.memory_map(str(task.verdicts))).read_all().to_pylist()
    with DocumentWriter(folder, STAGE) as writer:
        for document, verdict in zip(read_documents(task.documents), verdicts, strict=True):
            if document.doc_id != verdict["doc_id"]:
                raise ArtifactError(f"{task.documents} changed while it was deduplicated")
            fate, size = Fate(verdict["fate"]), verdict["cluster_size"]
            if fate == Fate.keep:
                writer.keep(document, detail=json.dumps({"cluster_size": size}) if size > 1 else "")
                continue
            detail = {"survivor": verdict["survivor"].hex(), "jaccard": round(verdict["jaccard"], 4),
                      "cluster_size": size}  # fmt: skip
            writer.drop(document.doc_id, document.source, document.key, kind="quality", reason=fate.name,
                        detail=json.dumps(detail), bytes_in=len(document.text.encode()))  # fmt: skip
    return writer.counts


def _id(file: Path) -> str:
    return file.name.removesuffix(DOCUMENTS_FILE)


def _warn_of_unknown(config: DedupConfig, files: Sequence[Path]) -> None:
    """Not refused: one list may serve several choices of sources."""
    sources = {source_of(file) for file in files}
    if unknown := [source for source in config.source_priority if source not in sources]:
        logger.warning("dedup.source_priority names %s, but the documents are of %s",
                       ", ".join(unknown), ", ".join(sorted(sources)))  # fmt: skip
