"""What the shards stage writes: bytes, splits, ledger, round trips."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.config import load
from pipeline.core.errors import ArtifactError, ConfigError, UserError
from pipeline.core.manifest import committed_files, read_manifest, verify
from pipeline.core.schema import DOC_TABLE, LEDGER
from pipeline.core.shard_map import Workers
from pipeline.core.tables import read_documents
from pipeline.shards import run
from pipeline.shards.read import TokenFile
from pipeline.shards.write import EncodeTask, ShardsConfig, dtype_of, encode_file
from pipeline.tokenizer.tokenizer import Tokenizer
from tests.dedup.documents import documents, write_stage
from tests.shards.copies import copy


def read_arrow(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def test_every_document_is_in_one_split_and_comes_back(shards: Path, clean: Path, tokenizer: Path) -> None:
    encoder = Tokenizer.load(tokenizer)
    texts = {}
    for file in committed_files(shards, ".tokens.arrow"):
        tokens = read_arrow(file)["tokens"].to_numpy()
        table = read_arrow(file.with_name(file.name.replace(".tokens.", ".docs.")))
        assert table.schema == DOC_TABLE
        for row in table.to_pylist():
            ids = tokens[row["start"] : row["start"] + row["num_tokens"]]
            assert ids[-1] == encoder.eos_id
            assert row["doc_id"] not in texts
            texts[row["doc_id"]] = encoder.decode(ids[:-1])
    given = {document.doc_id: document.text for file in clean.glob("*.documents.parquet")
             for document in read_documents(file)}  # fmt: skip
    assert texts == given


def test_documents_never_lie_in_two_record_batches_nor_batches_exceed_their_size(shards: Path) -> None:
    num_batches = []
    for file in committed_files(shards, ".tokens.arrow"):
        assert file.stat().st_size < 60_000 + 8_000
        reader = pa.ipc.open_file(pa.memory_map(str(file)))
        docs = pa.ipc.open_file(pa.memory_map(str(file.with_name(file.name.replace(".tokens.", ".docs.")))))
        assert reader.schema.field("tokens").type == pa.uint16()
        assert reader.num_record_batches == docs.num_record_batches
        num_batches.append(reader.num_record_batches)
        start = 0
        for number in range(reader.num_record_batches):
            tokens, table = reader.get_batch(number), docs.get_batch(number)
            assert table["start"][0].as_py() == start
            assert sum(table["num_tokens"].to_pylist()) == len(tokens)
            assert len(tokens) <= 1500 or len(table) == 1
            start += len(tokens)
    assert max(num_batches) > 5


def test_reading_across_record_batches_equals_the_whole(shards: Path) -> None:
    manifest = read_manifest(shards)
    shard = next(entry for entry in manifest.counts["shards"] if entry["split"] == "train")
    file = TokenFile(shards / shard["name"], num_tokens=shard["num_tokens"], dtype="uint16",
                     tokenizer_sha256=manifest.counts["tokenizer_sha256"])  # fmt: skip
    whole = read_arrow(shards / shard["name"])["tokens"].to_numpy()
    rng = np.random.default_rng(0)
    for _ in range(300):
        start, end = np.sort(rng.integers(0, len(whole) + 1, 2))
        assert np.array_equal(file.read(int(start), int(end - start)), whole[start:end])
    with pytest.raises(IndexError, match="which has"):
        file.read(len(whole) - 3, 4)
    view = file.read(0, 5)
    assert not view.flags.owndata
    assert not view.flags.writeable


def test_manifest_counts_and_ledger(shards: Path, clean: Path) -> None:
    counts = read_manifest(shards).counts
    ledger = pa.concat_tables([pq.read_table(file) for file in committed_files(shards, ".ledger.parquet")])
    assert ledger.schema == LEDGER
    splits = counts["splits"]
    num_documents = sum(source["documents"] for split in splits.values() for source in split.values())
    assert counts["in"] == counts["kept"] == len(ledger) == num_documents == read_manifest(clean).counts["documents"]
    assert sum(source["bytes"] for split in splits.values() for source in split.values()) == counts["bytes_in"]
    assert set(splits) == {"train", "validation", "test"}
    assert set(splits["train"]) == {"manual", "notes-on-the-side"}
    assert set(ledger["verdict"].to_pylist()) == {"kept"}
    tokens = sum(source["tokens"] for split in splits.values() for source in split.values())
    spans = [detail.partition(":")[2].split("+") for detail in ledger["detail"].to_pylist()]
    assert sum(int(length) for _, length in spans) == tokens
    shares = {name: sum(s["documents"] for s in split.values()) / num_documents for name, split in splits.items()}
    assert abs(shares["validation"] - 0.1) < 0.05
    assert abs(shares["test"] - 0.05) < 0.04


def test_same_bytes_again_and_with_one_worker(
    shards: Path, clean: Path, tokenizer: Path, config: ShardsConfig, workers: Workers, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(workers, "num_workers", 1)
    again = run.run(config, clean, tokenizer, tmp_path, workers)
    assert again.name == shards.name
    assert [file.name for file in sorted(again.iterdir())] == [file.name for file in sorted(shards.iterdir())]
    assert (again / "manifest.json").read_bytes() == (shards / "manifest.json").read_bytes()
    assert verify(again) == []
    before = (again / "manifest.json").stat().st_mtime_ns
    assert run.run(config, clean, tokenizer, tmp_path, workers) == again
    assert (again / "manifest.json").stat().st_mtime_ns == before


def test_a_half_done_stage_is_resumed_to_the_same_bytes(
    shards: Path, clean: Path, tokenizer: Path, config: ShardsConfig, workers: Workers, tmp_path: Path
) -> None:
    folder = copy(shards, tmp_path / shards.name)
    (folder / "manifest.json").unlink()
    (folder / "receipts" / "manual-00001.json").unlink()
    for file in folder.glob("manual-00001.*"):
        file.write_bytes(b"torn")
    kept = (folder / "manual-00000.ledger.parquet").stat().st_mtime_ns
    assert run.run(config, clean, tokenizer, tmp_path, workers) == folder
    assert (folder / "manifest.json").read_bytes() == (shards / "manifest.json").read_bytes()
    assert verify(folder) == []
    assert (folder / "manual-00000.ledger.parquet").stat().st_mtime_ns == kept


def test_a_document_keeps_its_split_when_others_come_and_go() -> None:
    config = ShardsConfig(validation_fraction=0.2, test_fraction=0.1, seed=9)
    splits = [config.split_of(number.to_bytes(16, "big")) for number in range(5000)]
    assert abs(splits.count("validation") / 5000 - 0.2) < 0.02
    assert abs(splits.count("test") / 5000 - 0.1) < 0.02
    larger = config.model_copy(update={"test_fraction": 0.3})
    for number, split in enumerate(splits):
        assert split == "train" or larger.split_of(number.to_bytes(16, "big")) == split


def test_a_large_vocabulary_is_int32() -> None:
    assert [dtype_of(size) for size in (1000, 65_536, 65_537)] == ["uint16", "uint16", "int32"]


def test_a_document_that_does_not_come_back_is_an_error_that_names_it(
    clean: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [document] = documents("odd", ["some text"])
    folder = write_stage(tmp_path, {"odd-00000": [document]})
    task = EncodeTask(folder / "odd-00000.documents.parquet", tokenizer, ShardsConfig())
    (tmp_path / "out").mkdir()
    assert encode_file(task, tmp_path / "out")["kept"] == 1
    monkeypatch.setattr(Tokenizer, "decode", lambda self, ids: "some  text")
    (tmp_path / "again").mkdir()
    with pytest.raises(UserError, match=f"document {document.doc_id.hex()} .odd: 0. does not survive the tokenizer"):
        encode_file(task, tmp_path / "again")


def test_refusals(clean: Path, tokenizer: Path, workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"validation_fraction \(0\.6\) and test_fraction \(0\.4\) leave nothing"):
        load(ShardsConfig, None, ["validation_fraction=0.6", "test_fraction=0.4"])
    empty = write_stage(tmp_path, {})
    with pytest.raises(UserError, match="holds no documents"):
        run.run(ShardsConfig(), empty, tokenizer, tmp_path, workers)
    mixed = write_stage(tmp_path, {"this-00000": documents("that", ["a text"])})
    task = EncodeTask(mixed / "this-00000.documents.parquet", tokenizer, ShardsConfig())
    (tmp_path / "out").mkdir()
    with pytest.raises(ArtifactError, match="holds a document of source 'that'"):
        encode_file(task, tmp_path / "out")
