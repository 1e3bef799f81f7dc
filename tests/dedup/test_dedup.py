"""The dedup stage on planted duplicates: who survives, what the ledger says, and that nothing else decides."""

import json
import random
import re
import resource
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.config import load
from pipeline.core.errors import ArtifactError, ConfigError, UserError, storage_error
from pipeline.core.manifest import committed_files, read_manifest, verify
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.core.tables import read_documents
from pipeline.dedup.decide import decide_file
from pipeline.dedup.run import DedupConfig, run
from pipeline.dedup.spill.plan import FileTask, Plan
from pipeline.dedup.spill.rows import EDGE, MAX_SOURCES
from pipeline.dedup.spill.runs import RunWriter
from pipeline.sources.cc_news import Config as Pages
from pipeline.sources.run import run as read_sources
from tests.dedup.documents import docstrings, documents, write_stage
from tests.sources.reading import source
from tests.sources.warcs import html, http, record


def ledger_of(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(file) for file in committed_files(folder, ".ledger.parquet")]
    rows = pa.concat_tables(tables).to_pylist()
    return [row | {"detail": json.loads(row["detail"] or "{}")} for row in rows]


def fates(folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """(source, key) -> (reason or "", survivor)"""
    return {(row["source"], row["key"]): (row["reason"], row["detail"].get("survivor", ""))
            for row in ledger_of(folder)}  # fmt: skip


def changed(text: str, share: float, seed: int) -> str:
    """The text with a share of its words replaced."""
    rng = random.Random(seed)
    words = text.split(" ")
    for at in rng.sample(range(len(words)), max(1, int(share * len(words)))):
        words[at] = f"word{rng.randrange(10**6)}"
    return " ".join(words)


def long_texts(count: int) -> list[str]:
    """Distinct texts of a few hundred words."""
    parts = docstrings()
    return ["\n".join(parts[number * 6 : number * 6 + 6]) for number in range(count)]


@pytest.fixture(scope="session")
def corpus() -> list[Document]:
    """Forty texts of "web"; of the first thirty, copies in "books" or "web"."""
    texts = long_texts(40)
    web = documents("web", [*texts, texts[0], "Hello World", "hello\n\n world ", "too short"])
    near = [changed(text, 0.01, seed) for seed, text in enumerate(texts[10:20])]
    books = documents("books", [*(text.upper().replace(" ", "  ") for text in texts[20:30]), *near, "too short"])
    return [*web, *books]


def in_files(corpus: Iterable[Document], num_files: int, seed: int) -> dict[str, list[Document]]:
    """Documents shuffled over files of their source."""
    files: dict[str, list[Document]] = {}
    rng = random.Random(seed)
    for document in rng.sample(list(corpus), len(list(corpus))):
        files.setdefault(f"{document.source}-{rng.randrange(num_files):05d}", []).append(document)
    return files


def test_survivors_and_reasons(corpus: list[Document], workers: Workers, tmp_path: Path) -> None:
    clean = write_stage(tmp_path, in_files(corpus, 2, 0))
    folder = run(DedupConfig(source_priority=("books",)), clean, tmp_path, workers)
    by_key = {(document.source, document.key): document for document in corpus}
    found = fates(folder)
    for number in range(20, 30):  # books first, though web has fewer bytes
        assert found["web", str(number)] == ("exact_duplicate", by_key["books", str(number - 20)].doc_id.hex())
    for number in range(10, 20):
        assert found["web", str(number)] == ("near_duplicate", by_key["books", str(number)].doc_id.hex())
    copies = [by_key["web", "0"].doc_id, by_key["web", "40"].doc_id]
    assert {found["web", "0"], found["web", "40"]} == {("", ""), ("exact_duplicate", min(copies).hex())}
    # "hello\n\n world " is longer than "Hello World" and so stays
    assert found["web", "41"] == ("exact_duplicate", by_key["web", "42"].doc_id.hex())
    assert found["web", "43"] == ("exact_duplicate", by_key["books", "20"].doc_id.hex())
    dropped = {key for key, (reason, _) in found.items() if reason}
    assert len(dropped) == 10 + 10 + 1 + 1 + 1
    for row in ledger_of(folder):
        if row["reason"] == "near_duplicate":
            assert 0.7 <= row["detail"]["jaccard"] < 1
            assert row["kind"] == "quality"
        if row["reason"] == "exact_duplicate":
            assert row["detail"]["jaccard"] == 1
        assert row["detail"].get("cluster_size", 2) == 2


def test_conservation_and_kept_documents_are_unchanged(
    corpus: list[Document], workers: Workers, tmp_path: Path
) -> None:
    clean = write_stage(tmp_path, in_files(corpus, 3, 1))
    folder = run(DedupConfig(), clean, tmp_path, workers)
    counts, ledger = read_manifest(folder).counts, ledger_of(folder)
    kept = [document for file in committed_files(folder, ".documents.parquet") for document in read_documents(file)]
    assert counts["in"] == len(corpus) == len(ledger)
    assert counts["in"] == counts["documents"] + counts["dropped"]
    assert counts["errors"] == 0
    assert counts["documents"] == len(kept)
    reasons = Counter((row["source"], row["reason"]) for row in ledger if row["verdict"] == "dropped")
    told = {(name, reason): number for name, source in counts["sources"].items()
            for reason, number in source["reasons"].items()}  # fmt: skip
    assert reasons == told
    assert {reason for _, reason in told} == {"exact_duplicate", "near_duplicate"}
    assert counts["clusters"] == 23
    assert not (folder / "scratch").exists()
    assert {d.doc_id: d for d in kept} == {d.doc_id: d for d in corpus if d.doc_id in {k.doc_id for k in kept}}


def test_a_verdict_that_is_missing_in_the_ledger_is_noticed(workers: Workers, tmp_path: Path) -> None:
    clean = write_stage(tmp_path, {"web-00000": documents("web", long_texts(3))})
    folder = run(DedupConfig(), clean, tmp_path, workers)
    (folder / "manifest.json").unlink()
    receipt = folder / "receipts/web-00000.json"
    receipt.write_text(receipt.read_text().replace('"in": 3', '"in": 4'))
    with pytest.raises(AssertionError, match="dedup: the ledger has 3 in, the splits report 4"):
        run(DedupConfig(), clean, tmp_path, workers)


def test_a_document_that_no_split_has_read_is_noticed(workers: Workers, tmp_path: Path) -> None:
    clean = write_stage(tmp_path, {"web-00000": documents("web", long_texts(3))})
    manifest = clean / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"documents": 3', '"documents": 4'))
    with pytest.raises(AssertionError, match=rf"dedup: the ledger has 3 in, {clean.name} has 4"):
        run(DedupConfig(), clean, tmp_path, workers)


def test_a_full_disk_is_told_from_our_bugs(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error, RunWriter(tmp_path, EDGE, 1 << 30) as writer:
            writer.append(EDGE.empty(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(storage_error(error.value), UserError)


def test_result_is_independent_of_files_order_and_workers(
    corpus: list[Document], workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for seed, num_files, num_workers in ((1, 1, 2), (2, 3, 1), (3, 5, 2)):
        monkeypatch.setattr(workers, "num_workers", num_workers)
        clean = write_stage(tmp_path / str(seed), in_files(corpus, num_files, seed))
        folder = run(DedupConfig(), clean, tmp_path / str(seed), workers)
        results.append(sorted((row["doc_id"], row["reason"], str(row["detail"])) for row in ledger_of(folder)))
    assert results[0] == results[1] == results[2]


def test_same_bytes_with_one_worker(
    corpus: list[Document], workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = write_stage(tmp_path, in_files(corpus, 2, 5))
    two = run(DedupConfig(), clean, tmp_path / "two", workers)
    monkeypatch.setattr(workers, "num_workers", 1)
    one = run(DedupConfig(), clean, tmp_path / "one", workers)
    assert (one / "manifest.json").read_bytes() == (two / "manifest.json").read_bytes()


def test_a_half_done_stage_is_resumed_to_the_same_bytes(
    corpus: list[Document], workers: Workers, tmp_path: Path
) -> None:
    clean = write_stage(tmp_path, in_files(corpus, 2, 6))
    folder = run(DedupConfig(), clean, tmp_path, workers)
    before = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").unlink()
    (folder / "receipts" / "web-00000.json").unlink()
    torn = folder / "scratch/192-mb/sign/web-00000.facts-000.arrow"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"torn")
    assert run(DedupConfig(), clean, tmp_path, workers) == folder
    assert (folder / "manifest.json").read_bytes() == before
    assert verify(folder) == []


class Stopping:
    """Workers that are stopped in a step, when its first split is done."""

    def __init__(self, workers: Workers, step: str) -> None:
        self.workers, self.label = workers, f"dedup: {step}"

    def map(self, function: Any, splits: Any, out: Path, label: str) -> Any:
        if label != self.label:
            return self.workers.map(function, splits, out, label)
        self.workers.map(function, splits[:1], out, label)
        raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["captures", "join", "decide"])
def test_a_stopped_run_goes_on_with_other_memory(
    corpus: list[Document], workers: Workers, tmp_path: Path, step: str
) -> None:
    """To the same bytes: a span that the first attempt has done is not taken for one of the second."""
    rng = random.Random(0)
    many = documents("many", [" ".join(rng.choices(docstrings()[0].split(), k=30)) for _ in range(1500)])
    near = documents("near", [changed(row.text, 0.001, 1) + " again" for row in many[::5]])
    clean = write_stage(tmp_path, in_files([*corpus, *many, *near], 2, 6))
    expected = (run(DedupConfig(), clean, tmp_path / "fresh", workers) / "manifest.json").read_bytes()
    stopping: Any = Stopping(workers, step)
    with pytest.raises(KeyboardInterrupt):
        run(DedupConfig(task_memory_mb=1), clean, tmp_path / "stopped", stopping)
    folder = run(DedupConfig(), clean, tmp_path / "stopped", workers)
    assert (folder / "manifest.json").read_bytes() == expected


def test_a_record_read_twice_is_kept_once(workers: Workers, tmp_path: Path) -> None:
    texts = long_texts(3)
    once = documents("web", texts)
    clean = write_stage(tmp_path, {"web-00000": [*once, once[1]], "web-00001": [once[0]]})
    for config in (DedupConfig(), DedupConfig(exact=False, near=False)):
        folder = run(config, clean, tmp_path, workers)
        rows = ledger_of(folder)
        assert Counter(row["reason"] for row in rows) == {"": 3, "same_record": 2}
        assert {row["doc_id"] for row in rows if row["verdict"] == "kept"} == {d.doc_id for d in once}
        for row in rows:
            if row["reason"]:
                assert row["detail"]["survivor"] == row["doc_id"].hex()
                assert row["detail"]["cluster_size"] == 1


def captures(*facts: tuple[str, str, str, str]) -> list[Document]:
    """(key, page, crawled, text)"""
    rows = documents("news", [text for *_, text in facts])
    return [replace(row, key=key, meta={"page": page, "crawled": crawled})
            for row, (key, page, crawled, _) in zip(rows, facts, strict=True)]  # fmt: skip


def test_of_several_captures_of_a_page_the_newest_stays(workers: Workers, tmp_path: Path) -> None:
    """Whatever their texts, and though the older one is longer, or equal to another page's text."""
    text, other, update = long_texts(3)
    rows = captures(
        ("old", "a.example/1", "2026-01-15T00:00:00Z", text + " and a line that is there no more"),
        ("new", "a.example/1", "2026-03-01", update),
        ("older", "a.example/1", "2025-12-31T23:59:59Z", other),
        ("twin", "a.example/2", "2025-01-01", other),
        ("of no page", "", "2025-01-01", "a text of its own"),
        ("of no page too", "", "2025-01-01", "and another"),
    )
    newest = rows[1].doc_id.hex()
    for seed in (1, 2):
        clean = write_stage(tmp_path / str(seed), in_files([*rows, rows[0]], 3, seed))
        folder = run(DedupConfig(), clean, tmp_path / str(seed), workers)
        ledger = ledger_of(folder)
        assert sum(row["reason"] == "same_record" for row in ledger) == 1
        found = {row["key"]: (row["reason"], row["detail"].get("survivor", "")) for row in ledger
                 if row["reason"] != "same_record"}  # fmt: skip
        assert found == {
            "old": ("same_url", newest), "older": ("same_url", newest), "new": ("", ""), "twin": ("", ""),
            "of no page": ("", ""), "of no page too": ("", ""),
        }  # fmt: skip
        assert {row["detail"].get("cluster_size") for row in ledger if row["key"] in ("old", "new")} == {3}
    by_text = ledger_of(run(DedupConfig(urls=False), clean, tmp_path, workers))
    assert Counter(row["reason"] for row in by_text) == {"": 5, "exact_duplicate": 1, "same_record": 1}


def test_one_document_on_two_pages_is_refused(workers: Workers, tmp_path: Path) -> None:
    """No source of ours writes that; which of the two rows would be the other's repeat could not be told."""
    (first,) = captures(("a", "a.example/1", "2026-01-15", "a text"))
    second = replace(first, meta=first.meta | {"page": "b.example/1"})
    clean = write_stage(tmp_path, {"one-00000": [first], "two-00000": [second]})
    with pytest.raises(UserError, match=f"has document {first.doc_id.hex()} twice, with two `page` of `meta`"):
        run(DedupConfig(), clean, tmp_path, workers)


def test_an_older_capture_points_to_what_stands_for_the_newest(workers: Workers, tmp_path: Path) -> None:
    text, other = long_texts(2)
    rows = captures(("old", "a.example/1", "2026-01-01", other), ("new", "a.example/1", "2026-02-01", text),
                    ("longer", "b.example/1", "2020-01-01", text + " "))  # fmt: skip
    found = fates(run(DedupConfig(), write_stage(tmp_path, {"news-00000": rows}), tmp_path, workers))
    survivor = rows[2].doc_id.hex()
    assert found["news", "new"] == ("exact_duplicate", survivor)
    assert found["news", "old"] == ("same_url", survivor)
    assert found["news", "longer"] == ("", "")


def test_a_page_is_one_in_all_sources(workers: Workers, tmp_path: Path) -> None:
    """From raw files, whatever the texts: the newest stays, and what has no date is the oldest."""
    raw, page = tmp_path / "raw", "http://www.a.example/story"
    raw.mkdir()
    dated = [(page, ""), (f"{page}?utm_source=x", "2026-01-14"), ("http://b.example/", "2026-01-02"),
             ("https://b.example", "Monday 31"), ("", "2026-01-01"), (None, "2026-01-01")]  # fmt: skip
    rows = [{"id": number, "text": f"{number} {text}", "url": url, "date": date}
            for number, (text, (url, date)) in enumerate(zip(long_texts(6), dated, strict=True))]  # fmt: skip
    (raw / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.table({"text": ["a text of its own"], "url": ["https://b.example/#top"], "date": ["2026-01-03"]}),
                   raw / "b.parquet")  # fmt: skip
    (raw / "c.warc").write_bytes(record(http(html().encode()), "https://a.example/story/"))  # of 2026-01-15
    config = [source("*.jsonl", label="lines", id_field="id"), source("*.parquet", label="rows"),
              Pages(name="cc_news", paths=("*.warc",))]  # fmt: skip
    folder = run(DedupConfig(), read_sources(config, raw, tmp_path, workers), tmp_path, workers)
    warc, parquet = ("cc_news", "https://a.example/story/"), ("rows", "b.parquet:1")
    ids = {(row["source"], row["key"]): row["doc_id"].hex() for row in ledger_of(folder)}
    assert fates(folder) == {
        warc: ("", ""), parquet: ("", ""), ("lines", "4"): ("", ""), ("lines", "5"): ("", ""),
        **{("lines", key): ("same_url", ids[warc]) for key in "01"},
        **{("lines", key): ("same_url", ids[parquet]) for key in "23"},
    }  # fmt: skip


def test_different_documents_are_never_merged(workers: Workers, tmp_path: Path) -> None:
    clean = write_stage(tmp_path, {"manual-00000": documents("manual", long_texts(80))})
    counts = read_manifest(run(DedupConfig(), clean, tmp_path, workers)).counts
    assert counts["documents"] == counts["in"] == 80


def test_longest_survives_and_min_jaccard_bounds_merging(workers: Workers, tmp_path: Path) -> None:
    text = "\n".join(docstrings()[:40])
    variants = [changed(text, 0.005, 1), text + " and one more line", changed(text, 0.005, 2), changed(text, 0.6, 3)]
    rows = documents("web", variants)
    clean = write_stage(tmp_path, {"web-00000": rows})
    found = fates(run(DedupConfig(), clean, tmp_path, workers))
    longest = max(rows[:3], key=lambda document: len(document.text.encode()))
    for document in rows[:3]:
        expected = ("", "") if document is longest else ("near_duplicate", longest.doc_id.hex())
        assert found["web", document.key] == expected
    assert found["web", "3"] == ("", "")
    strict = fates(run(DedupConfig(min_jaccard=0.999), clean, tmp_path, workers))
    assert {reason for reason, _ in strict.values()} == {""}


def test_empty_files_and_empty_corpora(workers: Workers, tmp_path: Path) -> None:
    clean = write_stage(tmp_path / "some", {"a-00000": [], "b-00000": documents("b", ["one text", "One  Text"])})
    counts = read_manifest(run(DedupConfig(), clean, tmp_path, workers)).counts
    assert (counts["documents"], counts["dropped"]) == (1, 1)
    clean = write_stage(tmp_path / "nothing", {"a-00000": []})
    assert read_manifest(run(DedupConfig(), clean, tmp_path, workers)).counts["in"] == 0
    with pytest.raises(UserError, match="holds no documents"):
        run(DedupConfig(), write_stage(tmp_path / "none", {}), tmp_path, workers)


def test_more_sources_than_it_tells_apart_are_refused(workers: Workers, tmp_path: Path) -> None:
    names = [f"s{number:03}" for number in range(MAX_SOURCES + 1)]
    clean = write_stage(tmp_path, {f"{name}-00000": documents(name, [f"text of {name}"]) for name in names})
    with pytest.raises(UserError, match="dedup knows 128 sources apart, and these documents are of 129; give some"):
        run(DedupConfig(), clean, tmp_path, workers)


def test_an_unknown_source_in_the_priorities_is_warned_of(
    workers: Workers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clean = write_stage(tmp_path, {"books-00000": documents("books", ["one text"])})
    run(DedupConfig(source_priority=("boks", "books")), clean, tmp_path, workers)
    assert "dedup.source_priority names boks, but the documents are of books" in caplog.text


def test_documents_that_changed_meanwhile_are_refused(tmp_path: Path) -> None:
    clean = write_stage(tmp_path, {"a-00000": documents("a", ["one"])})
    (tmp_path / "out").mkdir()
    with pytest.raises(ArtifactError, match="changed while it was deduplicated"):  # it has one that was not signed
        decide_file(FileTask(Plan(DedupConfig(), clean, (), tmp_path / "scratch"), 0), tmp_path / "out")


def true_jaccard(one: str, other: str, ngram: int = 5) -> float:
    sets = []
    for text in (one, other):
        words = re.findall(r"\w+", text.casefold())
        sets.append({tuple(words[at : at + ngram]) for at in range(len(words) - ngram + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_verified_pairs_are_linked_by_their_texts(workers: Workers, tmp_path: Path) -> None:
    """Pairs around the bound: none is linked or told apart by the luck of the signatures, and the figure is kept."""
    rng = random.Random(0)
    texts = [" ".join(f"w{rng.randrange(10**9)}" for _ in range(204)) for _ in range(60)]
    edits = {number: 4 + number % 5 for number in range(60)}  # J from 0.82 to 0.67 ...
    near = []
    for number, text in enumerate(texts):
        words = text.split()
        for at in range(edits[number]):
            words[10 + 12 * at] = f"x{rng.randrange(10**9)}"
        near.append(" ".join(words))
    rows = documents("web", [*texts, *near])
    alike = {number: true_jaccard(texts[number], near[number]) for number in range(60)}
    assert {round(value, 3) for value in alike.values()} == {0.818, 0.778, 0.739, 0.702, 0.667}
    clean = write_stage(tmp_path, in_files(rows, 2, 4))
    text_of = {document.doc_id.hex(): document.text for document in rows}
    for memory_mb in (192, 1):
        folder = run(DedupConfig(verify=True, bands=40, rows=4, min_jaccard=0.74, task_memory_mb=memory_mb), clean,
                     tmp_path / str(memory_mb), workers)  # fmt: skip
        dropped = {row["key"]: row for row in ledger_of(folder) if row["reason"]}
        found = {int(key) % 60 for key in dropped}
        assert found == {number for number, value in alike.items() if value >= 0.74}
        assert len(found) == 24
        for row in dropped.values():
            true = true_jaccard(text_of[row["doc_id"].hex()], text_of[row["detail"]["survivor"]])
            assert row["detail"]["true_jaccard"] == round(true, 4)
            assert row["detail"]["bands"]
    by_estimate = run(DedupConfig(bands=40, rows=4, min_jaccard=0.74), clean, tmp_path, workers)
    assert {int(row["key"]) % 60 for row in ledger_of(by_estimate) if row["reason"]} != found


def test_verified_with_copies_and_earlier_runs(workers: Workers, tmp_path: Path) -> None:
    """The survivor may be a copy whose text no candidate has; and the text of an earlier run's is not here."""
    one, two = long_texts(2)
    old = documents("old", [two])
    earlier = run(DedupConfig(keep_index=True), write_stage(tmp_path / "old", {"old-00000": old}), tmp_path, workers)
    near = [changed(text, 0.01, 1) for text in (one, two)]
    rows = documents("new", [near[0], one, one + " " * 10_000, near[1], "short one", "Short. One!"])
    clean = write_stage(tmp_path, {"new-00000": rows[:3], "new-00001": rows[3:]})
    folder = run(DedupConfig(verify=True, against=(earlier,)), clean, tmp_path, workers)
    found = {row["key"]: row for row in ledger_of(folder)}
    assert found["0"]["detail"]["survivor"] == rows[2].doc_id.hex()
    assert found["0"]["detail"]["true_jaccard"] == round(true_jaccard(one, near[0]), 4)
    assert (found["1"]["reason"], "true_jaccard" in found["1"]["detail"]) == ("exact_duplicate", False)
    assert found["3"]["detail"]["survivor"] == old[0].doc_id.hex()
    assert "true_jaccard" not in found["3"]["detail"]
    assert {found[key]["detail"].get("true_jaccard") for key in ("4", "5")} == {None, 1.0}


def test_quality_is_preferred_to_length_and_source_to_both(workers: Workers, tmp_path: Path) -> None:
    text = long_texts(1)[0]
    variants = [text, text + " and more of it", text + " and still more of it than that", text + " as well"]
    rows = documents("web", variants) + documents("books", [text + " in books"])
    scored = [replace(row, meta={"score": score})
              for row, score in zip(rows, ("0.91", "0.92", "no number", "-5", "0.1"), strict=True)]  # fmt: skip
    clean = write_stage(tmp_path, in_files(scored, 2, 1))

    def kept(**settings: Any) -> tuple[str, str]:
        (row,) = (row for row in ledger_of(run(DedupConfig(**settings), clean, tmp_path, workers)) if not row["reason"])
        return row["source"], row["key"]

    assert kept(source_priority=("web",)) == ("web", "2"), "the longest"
    assert kept(source_priority=("web",), quality_field="score") == ("web", "1"), "the best"
    assert kept(quality_field="score") == ("books", "0"), "the source that comes first"


def test_clusters_are_told_to_the_next_stage(corpus: list[Document], workers: Workers, tmp_path: Path) -> None:
    folder = run(DedupConfig(), write_stage(tmp_path, in_files(corpus, 2, 0)), tmp_path, workers)
    told = pa.concat_tables([pq.read_table(file) for file in committed_files(folder, ".clusters.parquet")]).to_pylist()
    ledger = {row["doc_id"]: row for row in ledger_of(folder)}
    members = Counter(row["cluster"] for row in told)
    assert len(members) == 23
    for row in told:
        verdict = ledger[row["doc_id"]]
        assert row["kept"] == (verdict["verdict"] == "kept") == (row["cluster"] == row["doc_id"])
        assert row["cluster"].hex() == verdict["detail"].get("survivor", row["doc_id"].hex())
        assert row["cluster_size"] == members[row["cluster"]] == verdict["detail"]["cluster_size"]
    assert {row["doc_id"] for row in told} == {doc_id for doc_id, row in ledger.items() if row["detail"]}


def test_config_bounds() -> None:
    with pytest.raises(ConfigError, match=r"bands.*\n?.*min_jaccard"):
        load(DedupConfig, None, ["bands=0", "min_jaccard=1.5"])
