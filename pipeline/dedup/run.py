"""The dedup stage: documents in, each text once out; a ledger row for every document, naming the survivor.

Every step reads rows sorted by one key and writes rows sorted by the next: a task takes a span of keys, or a documents
file, holds `task_memory_mb` at most, and the rest lies on disk. No process holds all documents, and no document is
known by its place: what meets, meets by doc_id or by a hash.

    signatures/   what is known of one document: the hash of its text, its MinHash signature
    clusters/     documents meet: candidates, edges, components, and who survives
    spill/        what the steps meet in: rows on disk, sorted
    passages/     the stage that follows: not whole documents but lines and passages that stand elsewhere too

| step               | by        | rows in, rows out                                           | module              |
|--------------------|-----------|-------------------------------------------------------------|---------------------|
| sign               | file      | documents -> FACTS (signature, band hashes), CAPTURE        | signatures/sign     |
| captures           | page      | CAPTURE -> EDGE to the newest of a page, TEXT of that       | clusters/copies     |
| texts              | text      | TEXT -> EDGE between equal texts                            | clusters/copies     |
| bands              | file      | FACTS of one document of each text -> ENTRY per band        | clusters/join       |
| join               | band hash | ENTRY -> PAIR in a bucket                                   | clusters/join       |
| attach, compare    | document  | PAIR -> EDGE, if the signatures are similar enough          | clusters/compare    |
| verify (optional)  | document  | PAIR -> EDGE, if the texts are                              | clusters/texts      |
| components         | document  | EDGE -> LABEL: the smallest document of the cluster         | clusters/components |
| members, survivors | cluster   | LABEL -> MEMBER -> VERDICT                                  | clusters/survivors  |
| beside, evidence   | document  | PAIR of document and survivor -> EVIDENCE: estimate, bands  | clusters/compare    |
| decide             | file      | documents, VERDICT, EVIDENCE -> documents that stay, ledger | decide              |
| index (optional)   | file      | FACTS, VERDICT -> KNOWN, for later runs, which `recall` it  | index               |

The result depends on the documents and the settings alone: not on workers, memory, files, or their order.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.errors import UserError
from pipeline.core.files import SCRATCH, write_json
from pipeline.core.ledger import tally
from pipeline.core.manifest import read_manifest, run_stage
from pipeline.core.shard_map import Counts, Receipt, Split, Workers
from pipeline.core.tables import DOCUMENTS_FILE
from pipeline.dedup import decide, index
from pipeline.dedup.clusters import compare, components, copies, join, survivors, texts
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.signatures.sign import recall_file, sign_file
from pipeline.dedup.spill.plan import FileTask, KeyTask, Plan, file_id
from pipeline.dedup.spill.rows import CAPTURE, EDGE, ENTRY, LABEL, MAX_SOURCES, MEMBER, PAIR, TEXT, signed
from pipeline.dedup.spill.runs import spans

logger = logging.getLogger(__name__)

VERSION = 6


def run(config: DedupConfig, documents: Path, root: Path, workers: Workers) -> Path:
    """The finished folder under `root`; `documents` is a finished stage folder."""
    known = [index.open_index(folder, config) for folder in config.against]

    def body(folder: Path) -> Mapping[str, Any]:
        # spans depend on the memory: what a run with another setting has left is of no use
        plan = Plan(config, documents, tuple(known), folder / SCRATCH / f"{config.task_memory_mb}-mb")
        if not plan.files:
            raise UserError(f"{documents} holds no documents (no *{DOCUMENTS_FILE})")
        if len(plan.sources) > MAX_SOURCES:
            raise UserError(f"dedup knows {MAX_SOURCES} sources apart, and these documents are of {len(plan.sources)}; "
                            "give some of them one label")  # fmt: skip
        _warn_of_unknown(config, plan.sources)
        steps = Steps(plan, workers)
        num_clusters = cluster(steps, _link(steps))
        _judge(steps)
        receipts = steps.by_file(decide.decide_file, "decide", folder)
        if config.keep_index:
            indexed = steps.by_file(index.index_file, "index", folder / index.FOLDER)
            index.close_index(folder / index.FOLDER, config, indexed)
        counts = tally(decide.STAGE, folder, receipts)
        given = read_manifest(documents).counts["documents"]
        assert counts["in"] == given, f"dedup: the ledger has {counts['in']} in, {documents.name} has {given}"
        return counts | {"clusters": num_clusters}

    section = config.model_dump(mode="json", exclude={"against", "task_memory_mb"})  # neither where nor how
    section["unicode"] = index.UNICODE
    return run_stage(decide.STAGE, VERSION, section, [documents], root, body, also=known)


class Steps:
    """Runs a step over all its tasks; what it writes lies in a scratch folder of its name."""

    def __init__(self, plan: Plan, workers: Workers) -> None:
        self.plan, self._workers = plan, workers

    def by_file(self, function: Callable[[FileTask, Path], Counts], step: str, out: Path | None = None,
                reads: str = "") -> list[Receipt]:  # fmt: skip
        splits = [Split(file_id(file), FileTask(self.plan, number, reads), file.stat().st_size)
                  for number, file in enumerate(self.plan.files)]  # fmt: skip
        return self._map(function, splits, step, out)

    def by_known(self, function: Callable[[FileTask, Path], Counts], step: str) -> list[Receipt]:
        """By index file of earlier runs."""
        splits = [Split(f"known-{number:05d}", FileTask(self.plan, number), file.stat().st_size)
                  for number, file in enumerate(self.plan.known_runs.files)]  # fmt: skip
        return self._map(function, splits, step)

    def by_key(self, function: Callable[[Any, Path], Counts], step: str, num_rows: int, row_bytes: int,
               reads: str = "") -> list[Receipt]:  # fmt: skip
        """By as many spans of keys as so many rows need."""
        tasks = [KeyTask(self.plan, span, reads) for span in spans(num_rows, row_bytes, self.plan.budget)]
        splits = [Split(f"span-{number:05d}", task) for number, task in enumerate(tasks)]
        return self._map(function, splits, step)

    def _map(self, function: Callable[[Any, Path], Counts], splits: list[Split], step: str,
             out: Path | None = None) -> list[Receipt]:  # fmt: skip
        return self._workers.map(function, splits, out or self.plan.scratch / step, label=f"dedup: {step}")


def total(receipts: list[Receipt], count: str = "rows") -> int:
    return sum(receipt.counts[count] for receipt in receipts)


def _link(steps: Steps) -> int:
    """Number of EDGE rows between documents of one cluster."""
    config = steps.plan.config
    num_documents = total(steps.by_file(sign_file, "sign"))
    num_documents += total(steps.by_known(recall_file, "recall"))
    captures = steps.by_key(copies.group_captures, "captures", num_documents, CAPTURE.row_bytes)
    num_edges = total(captures, "edges")
    if config.exact:
        num_edges += total(steps.by_key(copies.group_texts, "texts", total(captures, "texts"), TEXT.row_bytes), "edges")
    return num_edges + (link_near(steps) if config.near else 0)


def link_near(steps: Steps) -> int:
    """Number of EDGE rows between texts that share most of their n-grams."""
    bands = [*steps.by_file(join.bands_of_file, "bands"), *steps.by_known(join.bands_of_known, "bands")]
    pairs = total(steps.by_key(join.join_bands, "join", total(bands), ENTRY.row_bytes))
    width = signed(steps.plan.config).row_bytes
    pairs = total(steps.by_key(compare.attach, "attach", pairs, PAIR.row_bytes + width, reads="join"))
    compared = steps.by_key(compare.compare_candidates, "compare", pairs, 2 * width, reads="attach")
    if not steps.plan.config.verify:
        return total(compared)
    _read_texts(steps, "compare", total(compared, "pairs"))
    verified = steps.by_key(texts.link_texts, "verify", total(compared, "pairs"), PAIR.row_bytes, reads="compare")
    return total(compared) + total(verified)


def _read_texts(steps: Steps, step: str, num_pairs: int) -> None:
    """NGRAM rows of all documents in the pairs that `step` wrote."""
    steps.by_key(texts.need, f"{step}-needed", num_pairs, 2 * PAIR.row_bytes, reads=step)
    steps.by_file(texts.ngrams_of_file, texts.ngrams_of(step), reads=f"{step}-needed")


def cluster(steps: Steps, num_edges: int) -> int:
    """Number of clusters. In one task if the edges fit into its memory, else in rounds over spans of keys."""
    if num_edges * components.UNITE_ROW_BYTES <= steps.plan.budget:
        return total(steps.by_key(components.unite, "components", 0, 0), "clusters")
    found = steps.plan.scratch / "components" / "found.json"  # a resumed run would begin with the first round
    if not found.exists():
        write_json(found, cluster_in_rounds(steps, num_edges))
    return int(json.loads(found.read_bytes()))


def cluster_in_rounds(steps: Steps, num_edges: int) -> int:
    edges = total(steps.by_key(components.both_ways, "round-000", num_edges, EDGE.row_bytes))
    for number in range(components.MAX_ROUNDS):
        last, half, following = (steps.plan.scratch / name for name in (
            f"round-{number:03d}", f"half-{number:03d}", f"round-{number + 1:03d}"))  # fmt: skip
        large = steps.by_key(components.large_star, half.name, edges, EDGE.row_bytes, reads=last.name)
        if not total(large, "open"):
            labels = steps.by_key(components.labels_of_stars, "components", edges, EDGE.row_bytes, reads=last.name)
            return total(labels, "clusters")
        edges = total(
            steps.by_key(components.small_star, following.name, total(large), EDGE.row_bytes, reads=half.name)
        )
        for read in (last, half) if number else (half,):  # the first round's is kept: a resumed run begins with it
            shutil.rmtree(read)
    raise AssertionError(f"no stars after {components.MAX_ROUNDS} rounds")


def _judge(steps: Steps) -> None:
    """VERDICT and EVIDENCE, and TRUTH if texts are compared."""
    labels = steps.plan.runs(LABEL, "components").count()
    members = steps.by_key(survivors.rank_members, "members", labels, LABEL.row_bytes + MEMBER.row_bytes)
    pairs = total(steps.by_key(survivors.choose, "survivors", total(members), 2 * MEMBER.row_bytes))
    width = signed(steps.plan.config).row_bytes
    attached = steps.by_key(compare.attach, "beside", pairs, PAIR.row_bytes + width, reads="survivors")
    steps.by_key(compare.compare_duplicates, "evidence", total(attached), 2 * width, reads="beside")
    if steps.plan.config.verify:
        _read_texts(steps, "survivors", pairs)
        steps.by_key(texts.judge_texts, "truth", pairs, PAIR.row_bytes, reads="survivors")


def _warn_of_unknown(config: DedupConfig, sources: set[str]) -> None:
    """Not refused: one list may serve several choices of sources."""
    if unknown := [source for source in config.source_priority if source not in sources]:
        logger.warning("dedup.source_priority names %s, but the documents are of %s",
                       ", ".join(unknown), ", ".join(sorted(sources)))  # fmt: skip
