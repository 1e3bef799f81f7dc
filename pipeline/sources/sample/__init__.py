"""The embedded corpus: five megabytes of prose in the three raw formats, for `make demo` and for the tests.

In:  the documentation that every installation carries. Out:

    OUT/wikipedia/    a MediaWiki export, bz2 multistream with its index     mediawiki.py
    OUT/bookcorpus/   `.txt` and `.epub` books                               gutenberg.py
    OUT/cc_news/      `.warc.gz` of news pages                               warc.py
    OUT/finetune/     topics.jsonl: paragraphs and the library area they are about (they overlap the corpus)
    OUT/truth.jsonl   what is planted: duplicates, gibberish, short pages, languages, personal data, broken records
    OUT/sample.json   fingerprint and summary: its presence means done

The same seed and the same installed versions give the same bytes.

1. harvest.py   installed files -> passages of prose
2. plan.py      passages -> documents under keys, and the truth about the planted ones
3. the writers  documents -> raw formats
"""

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.sources.sample import gutenberg, harvest, mediawiki, plan, topics, warc
from pipeline.sources.sample.records import Corpus

SAMPLE_VERSION = 1  # raise it when the same versions would give other bytes
MARKER = "sample.json"
_DISTRIBUTION_OF = {"sklearn": "scikit-learn", "huggingface_hub": "huggingface-hub"}


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What was written. `text_bytes` is UTF-8 text after the format overhead is removed."""

    num_wikipedia: int
    num_bookcorpus: int
    num_cc_news: int
    num_topics: int
    num_truth: int
    text_bytes: int


def write_sample(out: Path, *, seed: int = 0) -> SampleSummary:
    """Write the corpus to the folder `out`, or leave it as it is when it holds this very sample already.

    A sample made by other versions or another seed is replaced; any other `out` that exists is a UserError.
    """
    fingerprint, versions = fingerprint_of(seed)
    earlier = read_marker(out)
    if earlier and earlier["fingerprint"] == fingerprint:
        return SampleSummary(**earlier["summary"])
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    aside = folder.with_name(f"{folder.name}-old")
    try:
        summary = fill(folder, seed)
        marker = {"fingerprint": fingerprint, "seed": seed, "versions": versions, "summary": asdict(summary)}
        files.write_json(folder / MARKER, marker)
        for path in folder.rglob("*"):
            files.sync(path)
        folder.chmod(0o755)  # mkdtemp makes it private
        if earlier:  # aside, not away: killed in the middle of a removal, `out` would be no sample any more
            os.rename(out, aside)
        os.rename(folder, out)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # gone already when all went well
    return summary


def fill(folder: Path, seed: int) -> SampleSummary:
    rng = Random(seed)
    passages = harvest.harvest()
    corpus = plan.plan_corpus(passages, rng)
    rows = topics.topic_rows(passages, rng)
    for name in (*corpus.items, "finetune"):
        (folder / name).mkdir()
    mediawiki.write_mediawiki(folder / "wikipedia", corpus.items["wikipedia"], rng)
    gutenberg.write_books(folder / "bookcorpus", corpus.items["bookcorpus"], rng)
    warc.write_warcs(folder / "cc_news", corpus.items["cc_news"], rng)
    write_jsonl(folder / "finetune" / "topics.jsonl", rows)
    write_jsonl(folder / "truth.jsonl", [truth.as_json() for truth in corpus.truth])
    return summarize(corpus, len(rows))


def summarize(corpus: Corpus, num_topics: int) -> SampleSummary:
    counts = {f"num_{source}": len(items) for source, items in corpus.items.items()}
    return SampleSummary(**counts, num_topics=num_topics, num_truth=len(corpus.truth), text_bytes=corpus.text_bytes)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def fingerprint_of(seed: int) -> tuple[str, dict[str, str]]:
    """What the bytes depend on: this code's version, the seed, and the versions whose documentation is read."""
    packages = sorted({place.partition("/")[0] for place, _ in harvest.SOURCES} - {harvest.STANDARD_LIBRARY})
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(_DISTRIBUTION_OF.get(package, package))
        except PackageNotFoundError:
            versions[package] = "not installed"
    text = json.dumps([SAMPLE_VERSION, seed, versions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest(), versions


def read_marker(out: Path) -> dict[str, Any] | None:
    """The marker of a finished sample; None when `out` does not exist."""
    if not out.exists():
        return None
    try:
        marker = json.loads((out / MARKER).read_text(encoding="utf-8"))
        if {"fingerprint", "summary"} <= marker.keys():
            return marker
    except (OSError, ValueError, AttributeError):
        pass
    raise UserError(f"{out} exists and is not an earlier sample; choose another folder or remove it")
