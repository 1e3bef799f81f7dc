"""The loader against a naive concatenation of the corpus, and its refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.manifest import input_marks, read_manifest, run_stage
from pipeline.shards.loader import Loader
from pipeline.shards.read import open_corpora
from pipeline.tokenizer.tokenizer import Tokenizer
from tests.shards.copies import copy, edit_manifest

SEQ_LEN = 64


@pytest.fixture(scope="session")
def loader(shards: Path) -> Loader:
    return Loader(shards, split="train", seq_len=SEQ_LEN, seed=1)


def global_batch(loader: Loader, position: int, size: int, micro: int, dp_size: int) -> torch.Tensor:
    """The rows of all ranks, put back in the order of positions."""
    ranks = [
        torch.stack([tokens for tokens, _ in loader.micro_batches(
            position, global_batch=size, micro_batch=micro, dp_rank=rank, dp_size=dp_size)])
        for rank in range(dp_size)
    ]  # fmt: skip
    return torch.stack(ranks, dim=1).reshape(size, loader.seq_len)


@pytest.mark.parametrize(("micro", "dp_size"), [(1, 1), (4, 1), (2, 2), (1, 4), (3, 4), (12, 2), (24, 1)])
def test_global_batches_do_not_depend_on_ranks(loader: Loader, micro: int, dp_size: int) -> None:
    for position in (0, 24, 5000):
        expected = global_batch(loader, position, 24, 1, 1)
        assert torch.equal(global_batch(loader, position, 24, micro, dp_size), expected)


def test_restart_at_any_position(loader: Loader, shards: Path) -> None:
    again = Loader(shards, split="train", seq_len=SEQ_LEN, seed=1)
    straight = global_batch(loader, 0, 96, 8, 1)
    for position in (1, 8, 17, 95):
        assert torch.equal(global_batch(again, position, 96 - position, 1, 1), straight[position:])
    assert again.fingerprint == loader.fingerprint
    assert again.state(17) == loader.state(17)
    assert len(json.dumps(loader.state(10**12))) < 1024


def test_labels_are_the_next_tokens(loader: Loader) -> None:
    [(tokens, labels)] = loader.micro_batches(3, global_batch=8, micro_batch=8, dp_rank=0, dp_size=1)
    assert tokens.shape == labels.shape == (8, SEQ_LEN)
    assert tokens.dtype == labels.dtype == torch.int64
    assert torch.equal(tokens[:, 1:], labels[:, :-1])


def naive_samples(shards: Path, split: str, source: str) -> dict[bytes, tuple[int, int]]:
    """Every sample of a source from its files read whole: {its bytes: (file, number)}"""
    samples = {}
    for shard in read_manifest(shards).counts["shards"]:
        if (shard["split"], shard["source"]) == (split, source):
            tokens = np.concatenate(open_tokens(shards / shard["name"])).astype(np.int64)
            for number in range((len(tokens) - 1) // SEQ_LEN):
                samples[tokens[number * SEQ_LEN : number * SEQ_LEN + SEQ_LEN + 1].tobytes()] = (shard["name"], number)
    return samples


def open_tokens(path: Path) -> list[np.ndarray]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file:
        return [batch.column(0).to_numpy() for batch in pa.ipc.open_file(file).read_all().to_batches()]


def test_one_epoch_of_a_source_is_every_naive_sample_once(shards: Path) -> None:
    for source in ("manual", "notes-on-the-side"):
        one = Loader(shards, split="train", seq_len=SEQ_LEN, seed=4, mixture={source: 1.0})
        naive = naive_samples(shards, "train", source)
        assert one.num_samples == len(naive) > 100
        assert len({file for file, _ in naive.values()}) > 1  # several files
        batches = one.micro_batches(0, global_batch=one.num_samples, micro_batch=1, dp_rank=0, dp_size=1)
        seen = [torch.cat([tokens[0], labels[0, -1:]]).numpy().tobytes() for tokens, labels in batches]
        assert sorted(seen) == sorted(naive)


def test_mixture_by_size_uses_all_sources(loader: Loader, shards: Path) -> None:
    counts = read_manifest(shards).counts["splits"]["train"]
    places = loader._order.locate(np.arange(4096))
    share = (places.source == 0).mean()
    total = sum(source["tokens"] for source in counts.values())
    assert abs(share - counts["manual"]["tokens"] / total) < 0.02


def test_token_counts_are_those_of_the_documents(loader: Loader, shards: Path) -> None:
    found = np.zeros(loader.vocab_size, dtype=np.int64)
    for shard in read_manifest(shards).counts["shards"]:
        if shard["split"] == "train":
            for batch in open_tokens(shards / shard["name"]):
                found += np.bincount(batch, minlength=loader.vocab_size)
    assert np.array_equal(loader.token_counts(), found)
    splits = read_manifest(shards).counts["splits"]["train"]
    assert found.sum() == sum(source["tokens"] for source in splits.values())
    assert found[2] == sum(source["documents"] for source in splits.values())  # one </s> each


def test_documents_of_a_position_are_those_in_the_batch(loader: Loader, clean: Path, tokenizer: Path) -> None:
    texts = {}
    for file in clean.glob("*.documents.parquet"):
        for row in pq.read_table(file, columns=["doc_id", "text"]).to_pylist():
            texts[row["doc_id"]] = row["text"]
    encoder = Tokenizer.load(tokenizer)
    for position in range(30):
        [(tokens, labels)] = loader.micro_batches(position, global_batch=1, micro_batch=1, dp_rank=0, dp_size=1)
        sample = [*tokens[0].tolist(), int(labels[0, -1])]
        rebuilt = []
        for span in loader.documents_of(position):
            ids = [*encoder.encode(texts[span.doc_id]), encoder.eos_id]
            rebuilt += ids[span.first_token : span.first_token + span.num_tokens]
        assert rebuilt == sample


def test_fingerprint_names_the_order(loader: Loader, shards: Path) -> None:
    others: list[dict[str, Any]] = [
        {"seed": 2}, {"seq_len": 32}, {"split": "validation"}, {"mixture": {"manual": 0.5, "notes-on-the-side": 0.5}},
    ]  # fmt: skip
    prints = {loader.fingerprint}
    for other in others:
        prints.add(Loader(shards, **{"split": "train", "seq_len": SEQ_LEN, "seed": 1} | other).fingerprint)
    assert len(prints) == 5


def test_refuses_what_does_not_fit(shards: Path) -> None:
    with pytest.raises(UserError, match="has no split 'dev'; it has test, train, validation"):
        Loader(shards, split="dev", seq_len=8, seed=1)
    with pytest.raises(UserError, match="seq_len 900000 is longer than the shards of manual, notes-on-the-side"):
        Loader(shards, split="train", seq_len=900000, seed=1)
    with pytest.raises(UserError, match="seq_len must be 1 or more, not 0"):
        Loader(shards, split="train", seq_len=0, seed=1)
    with pytest.raises(UserError, match="mixture names source 'books', but the data holds manual, notes-on-the-side"):
        Loader(shards, split="train", seq_len=8, seed=1, mixture={"books": 1.0})
    with pytest.raises(UserError, match=r"sum to 1, not to 0\.5"):
        Loader(shards, split="train", seq_len=8, seed=1, mixture={"manual": 0.5})
    with pytest.raises(UserError, match=r"global_batch \(10\) must divide by .* \(2 x 2 = 4\)"):
        Loader(shards, split="train", seq_len=8, seed=1).micro_batches(
            0, global_batch=10, micro_batch=2, dp_rank=0, dp_size=2
        )


def test_a_source_too_short_is_left_out_of_a_mixture_by_size_but_not_of_a_wanted_one(shards: Path) -> None:
    tokens = {name: corpus.num_tokens for name, corpus in open_corpora(shards, "test").items()}
    small = min(tokens, key=lambda name: tokens[name])
    length = tokens[small] + 1
    assert length < max(tokens.values()) - 1
    left = Loader(shards, split="test", seq_len=length, seed=1)
    assert left.state(0)["stages"][0]["weights"] == {name: 1.0 for name in tokens if name != small}
    with pytest.raises(UserError, match=f"is longer than the shards of {small}"):
        Loader(shards, split="test", seq_len=length, seed=1, mixture=dict.fromkeys(tokens, 0.5))


def test_refuses_damaged_files(shards: Path, tmp_path: Path) -> None:
    name = read_manifest(shards).counts["shards"][0]["name"]
    assert ".train." in name or ".test." in name

    def load(folder: Path, **more: bool) -> Loader:
        return Loader(folder, split=name.split(".")[1], seq_len=8, seed=1, **more)

    truncated = copy(shards, tmp_path / "truncated")
    (truncated / name).write_bytes((truncated / name).read_bytes()[:-64])
    with pytest.raises(ArtifactError, match="truncated or edited"):
        load(truncated)

    flipped = copy(shards, tmp_path / "flipped")
    body = bytearray((flipped / name).read_bytes())
    body[len(body) // 2] ^= 1
    (flipped / name).write_bytes(body)
    load(flipped)
    with pytest.raises(ArtifactError, match="do not match the manifest's checksum"):
        load(flipped, verify=True)

    missing = copy(shards, tmp_path / "missing")
    (missing / name).unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        load(missing)

    unfinished = copy(shards, tmp_path / "unfinished")
    (unfinished / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"it has no manifest\.json"):
        load(unfinished)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tokenizer_sha256", "0" * 64, "was written with tokenizer .* but its manifest says 000000000000"),
        ("dtype", "int32", r"holds \['tokens'\] of uint16, but its manifest says tokens of int32"),
        ("vocab_size", 40, r"but the vocabulary has 40: a damaged file"),
    ],
)
def test_refuses_files_of_other_origin(shards: Path, tmp_path: Path, key: str, value: Any, message: str) -> None:
    folder = copy(shards, tmp_path / "copy")
    edit_manifest(folder, key, value)
    with pytest.raises(ArtifactError, match=message):
        Loader(folder, split="train", seq_len=8, seed=1).micro_batches(
            0, global_batch=64, micro_batch=64, dp_rank=0, dp_size=1
        )


def test_refuses_a_file_with_other_tokens_than_the_manifest_says(shards: Path, tmp_path: Path) -> None:
    folder = copy(shards, tmp_path / "copy")
    listed = read_manifest(folder).counts["shards"]
    edit_manifest(folder, "shards", [entry | {"num_tokens": entry["num_tokens"] + 1} for entry in listed])
    with pytest.raises(ArtifactError, match=r"holds .* tokens, but its manifest says"):
        Loader(folder, split="train", seq_len=8, seed=1).token_counts()


def test_a_prepare_folder_leads_to_its_shards(shards: Path, tokenizer: Path, clean: Path, tmp_path: Path) -> None:
    def prepared(tokenizer: Path, root: Path) -> Path:
        def body(folder: Path) -> dict[str, Any]:
            copy(shards, folder / shards.name)
            copy(tokenizer, folder / tokenizer.name)
            return {"stages": {"shards": shards.name, "tokenizer": tokenizer.name}}

        return run_stage("prepare", 1, {}, {"tokenizer": tokenizer.name}, root, body)

    loader = Loader(prepared(tokenizer, tmp_path), split="train", seq_len=SEQ_LEN, seed=1)
    assert loader.tokenizer_sha256 == Tokenizer.load(tokenizer).sha256
    assert loader.vocab_size == 1000
    assert input_marks([tokenizer]) == {"tokenizer": read_manifest(shards).inputs["tokenizer"]}

    other = tmp_path / "tokenizer-other"
    copy(tokenizer, other)
    body = json.loads((other / "manifest.json").read_bytes()) | {"fingerprint": "f" * 32}
    (other / "manifest.json").write_text(json.dumps(body))
    with pytest.raises(ArtifactError, match=r"was written with tokenizer .* but tokenizer-other is ffffffffffff"):
        Loader(prepared(other, tmp_path), split="train", seq_len=SEQ_LEN, seed=1)
    with pytest.raises(ArtifactError, match="was made by stage 'clean'; expected a prepare or a shards folder"):
        Loader(clean, split="train", seq_len=SEQ_LEN, seed=1)
