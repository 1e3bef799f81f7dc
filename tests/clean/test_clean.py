"""The stage: one verdict a document, edits that add up, the same bytes again; and what it does to the sample."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.clean.run import CleanConfig, JudgeTask, build, judge, judge_split, run
from pipeline.clean.verdict import Drop, Replace
from pipeline.clean.words import split
from pipeline.core.ledger import Ledger
from pipeline.core.manifest import read_manifest
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.core.tables import DocumentWriter, read_documents
from pipeline.sources import bookcorpus, cc_news, wikipedia
from pipeline.sources.run import run as read_sources

PROSE = (
    "The old weir above the town mill was opened on Friday, after a winter in which the river had risen twice above "
    "the level that the council calls alarming. The miller, who has looked after the sluice since his father died, "
    "says that there was no choice: if the gate had not moved, the water would have taken the bridge and the path."
)


def document(text: str, number: int = 0) -> Document:
    return Document(number.to_bytes(16, "big"), "test", f"key {number}", "file:0", text)


def verdicts(folder: Path) -> list[tuple[str, str, str]]:
    rows = pq.read_table(folder / "ledger.parquet").to_pylist()
    return [(row["verdict"], row["reason"], row["detail"]) for row in rows]


def test_one_verdict_for_every_document(tmp_path: Path) -> None:
    texts = [PROSE, PROSE + " Write to miller@mill.example.", f"Share\r\n{PROSE}", "short", "Das ist ein Wehr. " * 30]
    filters = build(CleanConfig())
    with DocumentWriter(tmp_path, "clean") as writer:
        for number, text in enumerate(texts):
            judge(document(text, number), filters, writer)
    found = verdicts(tmp_path)
    assert [(verdict, reason) for verdict, reason, _ in found] == [
        ("kept", ""), ("edited", "pii"), ("edited", "unicode+boilerplate"), ("dropped", found[3][1]),
        ("dropped", "language"),
    ]  # fmt: skip
    assert found[0][2].startswith("en ")
    assert found[3][1] in ("language", "gopher_short")
    kept = list(read_documents(tmp_path / "documents.parquet"))
    assert [item.text for item in kept] == [PROSE, PROSE + " Write to [EMAIL].", PROSE]
    assert [item.meta.get("edits", "") for item in kept] == ["", "pii", "unicode+boilerplate"]
    assert {item.language for item in kept} == {"en"}


def test_a_text_that_edits_empty_is_dropped(tmp_path: Path) -> None:
    def erase(item: Document) -> Replace:
        return Replace(replace(item, text=" \n"), "eraser")

    def never(item: Document) -> Drop:
        raise AssertionError("a dropped document reached the next filter")

    with DocumentWriter(tmp_path, "clean") as writer:
        judge(document("text"), [erase, never], writer)
    assert verdicts(tmp_path) == [("dropped", "empty", "nothing left after eraser")]


def test_filters_are_chosen_by_name() -> None:
    config = CleanConfig.model_validate({"filters": ["unicode", {"name": "quality", "max_words": None}]})
    assert [section.name for section in config.filters] == ["unicode", "quality"]
    assert config.model_dump(mode="json")["filters"][1]["max_words"] is None
    with pytest.raises(ValueError, match="did you mean 'quality'"):
        CleanConfig.model_validate({"filters": ["qualty"]})


@pytest.fixture(scope="module")
def folders(sample: Path, workers: Workers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("cleaned")
    config = [wikipedia.Config(name="wikipedia"), bookcorpus.Config(name="bookcorpus"), cc_news.Config(name="cc_news")]
    documents = read_sources(config, sample, root, workers)
    return {"sources": documents, "clean": run(CleanConfig(), documents, root, workers)}


def test_splits_are_cleaned_to_the_same_bytes_again(folders: dict[str, Path], tmp_path: Path) -> None:
    path = folders["sources"] / "cc_news-00000.documents.parquet"
    judge_split(JudgeTask("clean", tuple(CleanConfig().filters), path, {}, {}), tmp_path)
    for name in ("documents.parquet", "ledger.parquet"):
        assert (tmp_path / name).read_bytes() == (folders["clean"] / f"cc_news-00000.{name}").read_bytes()


def test_the_pieces_of_a_text_do_not_lie_beside_the_next_document(folders: dict[str, Path], tmp_path: Path) -> None:
    path = folders["sources"] / "cc_news-00000.documents.parquet"
    judge_split(JudgeTask("clean", tuple(CleanConfig().filters), path, {}, {}), tmp_path)
    assert split.cache_info().currsize == 0


def test_what_goes_in_is_counted_out(folders: dict[str, Path]) -> None:
    before, after = (read_manifest(folders[stage]).counts for stage in ("sources", "clean"))
    assert after["in"] == before["documents"] == after["documents"] + after["dropped"]
    assert after["bytes_in"] == before["bytes"]
    assert set(after["sources"]) == {"wikipedia", "bookcorpus", "cc_news"}
    assert after["errors"] == 0


def test_planted_documents_of_the_sample(sample: Path, folders: dict[str, Path]) -> None:
    fates = {(fate.source, fate.key): fate for fate in Ledger(folders).fates()}
    texts = {
        (item.source, item.key): item.text
        for path in folders["clean"].glob("*.documents.parquet")
        for item in read_documents(path)
    }
    truth = [json.loads(line) for line in (sample / "truth.jsonl").read_text().splitlines()]
    wanted = {
        "short": ("gopher_short",), "language": ("language",), "broken": ("bad_body", "damaged", "malformed"),
        "gibberish": ("language", "gopher_stop_words", "gopher_word_length", "gopher_alpha", "gopher_dup_paragraphs"),
    }  # fmt: skip
    for row in truth:
        name = (row["source"], row["key"])
        fate = fates[name]
        if row["kind"] in wanted:
            assert fate.verdict == "dropped", row
            assert fate.reason in wanted[row["kind"]], (row, fate)
            assert fate.kind == ("error" if row["kind"] == "broken" else "quality")
        elif row["kind"] == "exact_duplicate":
            of = (row["of"]["source"], row["of"]["key"])
            assert (name in texts) == (of in texts), row
            assert squeezed(texts.get(name, "")) == squeezed(texts.get(of, "")), row
        elif row["kind"] == "pii" and name in texts:
            assert fate.reason == "pii"
            assert not [value for value in row["planted"] if value in texts[name]], row
    errors = [fate for fate in fates.values() if fate.kind == "error"]
    assert len(errors) == sum(row["kind"] == "broken" for row in truth)


def test_ordinary_documents_of_the_sample_are_kept(sample: Path, folders: dict[str, Path]) -> None:
    planted = {
        (row["source"], row["key"]) for row in map(json.loads, (sample / "truth.jsonl").read_text().splitlines())
    }
    fates = Ledger(folders).fates()
    ordinary = [fate for fate in fates if (fate.source, fate.key) not in planted and fate.stage == "clean"]
    kept = [fate for fate in ordinary if fate.verdict != "dropped"]
    assert len(ordinary) > 500
    assert len(kept) > 0.95 * len(ordinary)


def squeezed(text: str) -> str:
    return "".join(text.split()).lower()
