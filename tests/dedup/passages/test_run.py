"""The passages stage: what it takes is in the ledger, and neither files nor workers play a part."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.config import load
from pipeline.core.ledger import Ledger
from pipeline.core.manifest import read_manifest, stage_folders
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.core.tables import read_documents
from pipeline.dedup.passages.run import PassagesConfig, run
from pipeline.report.document import life
from tests.dedup.documents import docstrings, documents, write_stage
from tests.processes import penstock

ITEM = "When the keeper of the weir opens the upper sluice at dawn, which of the fields is flooded first?"
NOTICE = "This story was produced by the agency and may not be published elsewhere."
PASSAGE = " ".join(f"word{number}" for number in range(60))


@pytest.fixture
def config(tmp_path: Path) -> PassagesConfig:
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"ask": ITEM}))
    return PassagesConfig.model_validate(
        {
            "decontaminate": {"sets": [f"{tmp_path}/quiz.jsonl"], "cut_chars": 0},
            "lines": {"min_documents": 3, "keep": "none"},
            "substrings": {},
        }
    )


def corpus() -> list[Document]:
    """Ordinary texts; in three of them a notice, in two a passage, in one an item."""
    rng = random.Random(0)
    plain = [" ".join(rng.choices(docstrings()[0].split(), k=80)) for _ in range(40)]
    texts = [f"{text}\n\n{NOTICE if number < 3 else ''}" for number, text in enumerate(plain)]
    texts[7] = f"{texts[7]}\n\n{ITEM}"
    texts[10:12] = [f"{text}\n\n{PASSAGE}" for text in texts[10:12]]
    return documents("web", [text.strip() for text in texts])


def left(folder: Path) -> dict[str, str]:
    return {row.key: row.text for path in sorted(folder.glob("*.documents.parquet")) for row in read_documents(path)}


def test_passages_go_and_the_ledger_says_so(config: PassagesConfig, workers: Workers, tmp_path: Path) -> None:
    rows = corpus()
    rows[7] = replace(rows[7], meta={"edits": "pii"})  # of the stage clean
    before = write_stage(tmp_path, {"web-00000": rows[:25], "web-00001": rows[25:]}, "dedup")
    after = run(config, before, tmp_path, workers)
    texts, ledger = left(after), Ledger({"dedup": before, "passages": after})
    verdicts = {entry.key: entry for entry in ledger.fates() if entry.verdict == "edited"}
    gone = {"0": NOTICE, "1": NOTICE, "2": NOTICE, "7": ITEM}
    later = max(rows[10:12], key=lambda row: row.doc_id).key
    assert texts == {row.key: row.text.replace(gone.get(row.key, PASSAGE if row.key == later else "?!?"), "").strip()
                     for row in rows}  # fmt: skip
    reasons = {"0": "repeated_lines", "1": "repeated_lines", "2": "repeated_lines", "7": "decontaminated"}
    assert {key: entry.reason for key, entry in verdicts.items()} == reasons | {later: "repeated_passages"}
    (row,) = (row for path in after.glob("*.documents.parquet") for row in read_documents(path) if row.key == "7")
    assert row.meta["edits"] == "pii+decontaminated"
    step = life(ledger, verdicts["7"].doc_id).steps[-1]
    assert json.loads(step.detail)["longest"][0]["item"] == "1"
    assert any(line.startswith("-") and ITEM in line for line in step.diff)
    assert read_manifest(after).counts["edited"] == 5
    assert not (after / "scratch").exists()


def test_files_and_their_order_play_no_part(config: PassagesConfig, workers: Workers, tmp_path: Path) -> None:
    rows = corpus()
    found = []
    for number, files in enumerate(({"a": rows}, {"a": rows[20:], "b": rows[:11], "c": rows[11:20][::-1]})):
        root = tmp_path / f"{number}"
        found.append(left(run(config, write_stage(root, files, "dedup"), root, workers)))
    assert found[0] == found[1]


def test_an_edited_set_is_another_stage(config: PassagesConfig, workers: Workers, tmp_path: Path) -> None:
    before = write_stage(tmp_path, {"a": corpus()[:9]}, "dedup")
    first = run(config, before, tmp_path, workers)
    assert run(config, before, tmp_path, workers) == first
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"ask": "Something else."}))
    second = run(config, before, tmp_path, workers)
    assert second != first
    assert ITEM in left(second)["7"]


@pytest.mark.slow
def test_the_command_runs_the_stage_and_explains_it(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = [{"id": f"text-{number}", "text": text} for number, text in enumerate(docstrings(400))]
    rows[5]["text"] += f"\n\n{ITEM.upper()}"
    (raw / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "a.yaml").write_text(
        f"input: {raw}\nsources: [{{name: jsonl, paths: [a.jsonl], id_field: id}}]\nclean: {{filters: [unicode]}}\n"
        f"passages: {{substrings: {{}}, decontaminate: {{action: drop, sets: [{tmp_path}/quiz.jsonl]}}}}\n"
        "tokenizer: {vocab_size: 400}\nshards: {validation_fraction: 0.2, test_fraction: 0.2}\nnum_workers: 2\n"
    )
    command = ("prepare", "--config", tmp_path / "a.yaml", "--out", tmp_path / "out")
    refused = penstock(*command)
    assert refused.returncode == 2
    assert "no evaluation set at" in refused.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "quiz.jsonl").write_text('{"ask": ')
    refused = penstock(*command)
    assert refused.returncode == 2
    assert "quiz.jsonl is not jsonl: line 1: Expecting" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"ask": ITEM}))
    done = penstock(*command)
    assert done.returncode == 0, done.stderr
    stages = stage_folders(tmp_path / "out")
    assert list(stages) == ["sources", "clean", "dedup", "passages", "tokenizer", "shards"]
    (flow,) = Ledger.of(tmp_path / "out").flows()
    assert flow.dropped()["contaminated"] == 1
    told = penstock("explain", "doc", "text-5", "--data", tmp_path / "out").stdout
    assert "contaminated" in told
    assert '1 evaluation item: 19 words of quiz.jsonl, line 1, field ask: "' in told
    assert ITEM.upper()[:-1] in told


def test_sections_are_parsed_from_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("substrings: {min_words: 30, action: drop}\nlines: {}")
    config = load(PassagesConfig, tmp_path / "a.yaml")
    assert [part.name for part in config.filters] == ["lines", "substrings"]
    assert PassagesConfig().filters == ()
