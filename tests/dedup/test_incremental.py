"""New documents against the index of earlier runs: as in one run over all, and without the old texts."""

import json
import random
import shutil
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.manifest import read_manifest, verify
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.dedup.index import VERSION
from pipeline.dedup.run import DedupConfig, run
from pipeline.dedup.spill.runs import PARTS
from pipeline.report.document import explain
from tests.dedup.documents import documents, write_stage
from tests.dedup.test_dedup import captures, changed, fates, in_files, ledger_of, long_texts

Verdicts = dict[str, tuple[str, str, Any]]


def verdicts(folder: Path, source: str) -> Verdicts:
    """key -> reason, survivor, similarity"""
    return {row["key"]: (row["reason"], row["detail"].get("survivor", ""), row["detail"].get("jaccard"))
            for row in ledger_of(folder) if row["source"] == source}  # fmt: skip


def indexed(root: Path, rows: Iterable[Document], workers: Workers, **settings: Any) -> Path:
    """A copy of the index alone: its texts are gone."""
    clean = write_stage(root / "old", in_files(rows, 2, 1))
    folder = run(DedupConfig(keep_index=True, **settings), clean, root / "old", workers)
    assert verify(folder) == []
    shutil.copytree(folder / "index", root / "index")
    assert verify(root / "index") == []
    shutil.rmtree(root / "old")
    return root / "index"


@pytest.fixture(scope="module")
def old_and_new() -> tuple[list[Document], list[Document]]:
    """Old: twenty texts, of five also near copies. New: near and exact copies of old ones, kept and dropped, of each
    other, and other texts."""
    texts = long_texts(40)
    near_copies = [changed(text, 0.01, 100 + number) for number, text in enumerate(texts[:5])]
    old = documents("old", [*texts[:20], *near_copies, "short one", "Another"])
    new = documents("new", [
        *(changed(text, 0.01, number) for number, text in enumerate(texts[5:10])),  # near an old one
        *(changed(text, 0.004, number) for number, text in enumerate(near_copies)),  # near two
        *(text.upper() for text in [*texts[10:13], *near_copies[:3]]),
        *texts[20:30], *(changed(text, 0.01, number) for number, text in enumerate(texts[20:25])), texts[26].upper(),
        "short, one!", "short two",
    ])  # fmt: skip
    return old, new


def test_verdicts_are_those_of_one_run_over_all(
    old_and_new: tuple[list[Document], list[Document]], workers: Workers, tmp_path: Path
) -> None:
    old, new = old_and_new
    config: dict[str, Any] = {"source_priority": ("old", "new")}  # so that one run also keeps what is old
    together = run(DedupConfig(**config), write_stage(tmp_path / "all", in_files([*old, *new], 3, 1)),
                   tmp_path / "all", workers)  # fmt: skip
    index = indexed(tmp_path, old, workers, **config)
    for memory_mb in (192, 1):
        later = run(DedupConfig(**config, against=(index,), task_memory_mb=memory_mb),
                    write_stage(tmp_path / f"new-{memory_mb}", in_files(new, 2, 2)),
                    tmp_path / f"new-{memory_mb}", workers)  # fmt: skip
        found = verdicts(later, "new")
        assert found == verdicts(together, "new")
        assert len(found) == len(new)
    old_ids = {document.doc_id.hex() for document in old}
    lives = [explain(later, key)[0] for key, (_, survivor, _) in found.items() if survivor]
    told = [str(life.steps[-1].survivor) for life in lives if life.source == "new"]
    assert sum("(of an earlier run; see dedup.against)" in text for text in told) == 5 + 5 + 6 + 1
    assert not [text for text in told if "not among" in text]
    by_old = [reason for reason, survivor, _ in found.values() if survivor in old_ids]
    assert len(by_old) == 5 + 5 + 6 + 1
    assert sum(reason == "" for reason, _, _ in found.values()) == 10 + 1


def test_a_cluster_of_new_documents_is_found_beside_a_known_one(workers: Workers, tmp_path: Path) -> None:
    """Sizes: the old cluster and what is new in it."""
    text, other = long_texts(2)
    index = indexed(tmp_path, documents("old", [text, changed(text, 0.01, 1)]), workers)
    new = documents("new", [changed(text, 0.01, 2), changed(text, 0.01, 3), other, changed(other, 0.01, 4)])
    rows = ledger_of(run(DedupConfig(against=(index,)), write_stage(tmp_path, {"new-00000": new}), tmp_path, workers))
    sizes = {row["key"]: (row["reason"], row["detail"]["cluster_size"]) for row in rows}
    assert (sizes["0"], sizes["1"]) == (("near_duplicate", 4), ("near_duplicate", 4))
    assert sorted((sizes["2"], sizes["3"])) == [("", 2), ("near_duplicate", 2)]


def test_records_and_pages_that_are_known(workers: Workers, tmp_path: Path) -> None:
    """What an earlier run kept stays, though a newer capture comes; what it dropped is a copy of what it kept."""
    text, other, third, fourth = long_texts(4)
    old = captures(("a", "a.example/1", "2026-01-01", text), ("b", "", "", other), ("c", "", "", other.upper()))
    index = indexed(tmp_path, old, workers)
    later = captures(("a", "a.example/1", "2026-01-01", text), ("b", "", "", other), ("c", "", "", other.upper()),
                     ("d", "a.example/1", "2026-02-01", third), ("e", "e.example/1", "2026-02-01", fourth))  # fmt: skip
    clean = write_stage(tmp_path, in_files(later, 2, 3))
    kept = min((old[1], old[2]), key=lambda document: document.doc_id)
    found = {row["key"]: (row["reason"], row["detail"].get("survivor", ""))
             for row in ledger_of(run(DedupConfig(against=(index,)), clean, tmp_path, workers))}  # fmt: skip
    assert found == {
        "a": ("same_record", old[0].doc_id.hex()), "d": ("same_url", old[0].doc_id.hex()), "e": ("", ""),
        "b": ("same_record", kept.doc_id.hex()), "c": ("same_record", kept.doc_id.hex()),
    }  # fmt: skip


def test_several_indexes_and_an_index_of_an_incremental_run(workers: Workers, tmp_path: Path) -> None:
    one, two, three = long_texts(3)
    first = indexed(tmp_path / "1", documents("one", [one]), workers)
    root = tmp_path / "2"
    rows = documents("two", [changed(one, 0.01, 1), two])
    second = run(DedupConfig(against=(first,), keep_index=True), write_stage(root, {"two-00000": rows}), root, workers)
    new = documents("three", [changed(one, 0.01, 2), changed(two, 0.01, 3), three])
    clean = write_stage(tmp_path, {"three-00000": new})
    found = fates(run(DedupConfig(against=(first, second)), clean, tmp_path, workers))
    assert found["three", "0"] == ("near_duplicate", documents("one", [one])[0].doc_id.hex())
    assert found["three", "1"] == ("near_duplicate", rows[1].doc_id.hex())
    assert found["three", "2"] == ("", "")


def test_another_index_is_another_run_and_its_place_is_not(workers: Workers, tmp_path: Path) -> None:
    texts = long_texts(3)
    index = indexed(tmp_path / "1", documents("one", texts[:1]), workers)
    other = indexed(tmp_path / "2", documents("one", texts[1:2]), workers)
    moved = tmp_path / "moved"
    shutil.copytree(index, moved)
    clean = write_stage(tmp_path, {"new-00000": documents("new", texts)})
    folders = [run(DedupConfig(against=against, task_memory_mb=memory_mb), clean, tmp_path, workers)
               for against, memory_mb in (((index,), 192), ((moved,), 7), ((other,), 192), ((), 192))]  # fmt: skip
    assert folders[0] == folders[1]
    assert len(set(folders)) == 3


def test_files_that_the_manifest_of_an_index_does_not_name_are_not_read(workers: Workers, tmp_path: Path) -> None:
    """Those of another index, which a copy over it left there, and a broken one."""
    texts = long_texts(3)
    index = indexed(tmp_path / "1", documents("one", texts[:1]), workers)
    other = indexed(tmp_path / "2", documents("one", texts[1:2]), workers)
    (stray,) = (path for path in other.glob("*.arrow") if path.stat().st_size > 0)
    shutil.copy(stray, index / "another.known-000.arrow")
    (index / "empty.known-000.arrow").touch()
    clean = write_stage(tmp_path, {"new-00000": documents("new", texts)})
    assert [reason for reason, _ in fates(run(DedupConfig(against=(index,)), clean, tmp_path, workers)).values()] == [
        "exact_duplicate", "", ""]  # fmt: skip


def test_what_cannot_be_compared_is_refused(workers: Workers, tmp_path: Path) -> None:
    rows = documents("old", long_texts(2))
    index = indexed(tmp_path, rows, workers)
    clean = write_stage(tmp_path, {"new-00000": rows})
    with pytest.raises(UserError, match=r"index was made with bands=14, this run has 20; set dedup.bands=14"):
        run(DedupConfig(bands=20, against=(index,)), clean, tmp_path, workers)
    with pytest.raises(UserError, match="was made with unit=word, this run has character"):
        run(DedupConfig(unit="character", against=(index,)), clean, tmp_path, workers)
    without = run(DedupConfig(), clean, tmp_path, workers)
    for folder in (without, tmp_path / "nothing", clean):
        with pytest.raises(UserError, match=r"holds no index; prepare it with dedup\.keep_index=true"):
            run(DedupConfig(against=(folder,)), clean, tmp_path, workers)
    manifest = json.loads((index / "manifest.json").read_text())
    (index / "manifest.json").write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(UserError, match=f"has an index of version 99, this one reads {VERSION}"):
        run(DedupConfig(against=(index,)), clean, tmp_path, workers)
    assert manifest["config"]["unicode"] == read_manifest(without).config["unicode"] == unicodedata.unidata_version
    other = manifest | {"config": manifest["config"] | {"unicode": "3.2.0"}}
    (index / "manifest.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match=r"was made with Unicode 3\.2\.0, this Python has"):
        run(DedupConfig(against=(index,)), clean, tmp_path, workers)
    (index / "manifest.json").write_text(json.dumps(manifest))
    file = next(index.glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="damaged"):
        run(DedupConfig(against=(index,)), clean, tmp_path, workers)


def test_the_index_is_the_same_whatever_the_memory_and_what_a_killed_attempt_left(
    workers: Workers, tmp_path: Path
) -> None:
    rows = documents("old", [f"{text} {number}" for number in range(8) for text in long_texts(40)])
    clean = write_stage(tmp_path, {"old-00000": rows})
    folders = [run(DedupConfig(keep_index=True, task_memory_mb=memory_mb), clean, tmp_path / str(memory_mb), workers)
               for memory_mb in (192, 1)]  # fmt: skip
    expected = (folders[0] / "index/manifest.json").read_bytes()
    file = next(folders[0].glob("index/*.arrow"))
    assert file.stat().st_size > 2 * (1 << 20) // PARTS
    assert (folders[1] / "index/manifest.json").read_bytes() == expected
    assert (folders[1] / "manifest.json").read_bytes() == (whole := (folders[0] / "manifest.json").read_bytes())
    for gone in ("manifest.json", "index/manifest.json", "index/receipts/old-00000.json"):
        (folders[0] / gone).unlink()
    shutil.copy(file, file.with_name(file.name.replace("000.arrow", "001.arrow")))
    assert run(DedupConfig(keep_index=True), clean, tmp_path / "192", workers) == folders[0]
    assert (folders[0] / "index/manifest.json").read_bytes() == expected
    assert (folders[0] / "manifest.json").read_bytes() == whole
    assert len(list(folders[0].glob("index/*.arrow"))) == 1


def test_the_index_holds_no_text(workers: Workers, tmp_path: Path) -> None:
    words = [f"uncommon{number}" for number in range(200)]
    random.Random(0).shuffle(words)
    index = indexed(tmp_path, documents("old", [" ".join(words)]), workers)
    assert read_manifest(index).counts == {"files": 1}
    for file in index.rglob("*"):
        assert not file.is_file() or b"uncommon" not in file.read_bytes().lower()
