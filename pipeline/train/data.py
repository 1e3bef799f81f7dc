"""What a plan wants to know of prepared data, from its manifests alone: no token is read, torch is not imported."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import ArtifactError
from pipeline.core.manifest import is_done, read_manifest

TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True)
class DataFacts:
    vocab_size: int
    fingerprint: str
    """Of the shards."""
    shard_tokens: dict[str, list[int]]
    """Split -> tokens of each of its shards."""
    sources: tuple[str, ...]
    """Of the training split."""

    def num_samples(self, split: str, seq_len: int) -> int:
        """Samples in one epoch; one token more than seq_len is needed for the last label."""
        return sum(max(0, (tokens - 1) // seq_len) for tokens in self.shard_tokens.get(split, []))


def data_facts(data: Path) -> DataFacts | None:
    """Of a prepare folder, or of its shards folder; None if there is no finished one at this path."""
    if not is_done(data):
        return None
    manifest = read_manifest(data)
    if manifest.stage != "shards":
        stages = manifest.counts.get("stages", {})
        if "shards" not in stages:
            raise ArtifactError(f"{data} was made by '{manifest.stage}'; data.path is the output of `penstock prepare`")
        manifest = read_manifest(data / stages["shards"])
    shard_tokens: dict[str, list[int]] = {}
    for shard in manifest.counts["shards"]:
        shard_tokens.setdefault(shard["split"], []).append(shard["num_tokens"])
    sources = sorted({shard["source"] for shard in manifest.counts["shards"] if shard["split"] == TRAIN})
    return DataFacts(manifest.counts["vocab_size"], manifest.fingerprint, shard_tokens, tuple(sources))
