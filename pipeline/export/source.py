"""What is exported: a checkpoint, the run it belongs to, and the data it was trained on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.checkpoint.layout import INDEX
from pipeline.core.errors import ArtifactError
from pipeline.core.files import checksum
from pipeline.core.manifest import Manifest, read_manifest, verify
from pipeline.model.config import ModelConfig
from pipeline.train.config import PretrainConfig
from pipeline.train.metrics import METRICS, read
from pipeline.train.run import CHECKPOINTS
from pipeline.train.state import RunState

if TYPE_CHECKING:
    from pipeline.checkpoint.load import Reader

TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Source:
    """An open checkpoint whose bytes are proven."""

    reader: "Reader"
    state: RunState

    @property
    def folder(self) -> Path:
        return self.reader.folder

    @property
    def config(self) -> PretrainConfig:
        return self.state.config

    @property
    def model(self) -> ModelConfig:
        return self.config.model

    @property
    def mark(self) -> str:
        """The index holds the checksum of every file, so its own stands for all."""
        return checksum(self.folder / INDEX).xxh3_128

    def validation_losses(self) -> list[tuple[int, float]]:
        """(step, nats per token) up to this checkpoint, from the run's metrics if they lie beside it."""
        records = read(self.folder.parent.parent / METRICS)
        found = [(record["step"], record["validation_loss"]) for record in records if "validation_loss" in record]
        return [(step, loss) for step, loss in found if step <= self.state.step]


def open_source(path: Path) -> Source:
    """A checkpoint folder, or a run folder: its newest checkpoint that verifies. Raises ArtifactError."""
    from pipeline.checkpoint.load import Reader, newest

    reader: Reader | None
    if (path / INDEX).exists():
        reader = Reader(path)
        reader.verify()
    else:
        reader = newest(path / CHECKPOINTS) or newest(path)
        if reader is None:
            raise ArtifactError(f"{path} is neither a checkpoint nor a run with one (penstock pretrain writes them)")
    return Source(reader, RunState.read(reader.folder, reader.extra))


@dataclass(frozen=True)
class Data:
    """The prepare folder of a run, as its manifests tell."""

    tokenizer: Path
    """Folder with TOKENIZER_FILES."""
    shards: Manifest | None


def open_data(source: Source, data: Path | None) -> Data:
    """`data`: where the prepare folder lies now, if not where the run found it. Raises ArtifactError."""
    folder = data or source.config.data.path
    if not folder.exists():
        raise ArtifactError(
            f"{folder}, the data that {source.folder.name} was trained on, does not exist from here; "
            "its tokenizer is needed: run in the folder where the run was started, or name the data"
        )
    stages: dict[str, Any] = read_manifest(folder).counts.get("stages", {})
    if "tokenizer" not in stages:
        raise ArtifactError(f"{folder} names no tokenizer; it is not what penstock prepare wrote")
    tokenizer = folder / stages["tokenizer"]
    if bad := verify(tokenizer):  # the run knows tokenizer.model alone; transformers reads tokenizer.json
        raise ArtifactError("\n".join(bad))
    found = hashlib.sha256((tokenizer / TOKENIZER_FILES[0]).read_bytes()).hexdigest()
    if found != source.state.tokenizer_sha256:
        raise ArtifactError(
            f"{tokenizer} holds tokenizer {found[:16]}, but {source.folder.name} was trained with "
            f"{source.state.tokenizer_sha256[:16]}"
        )
    return Data(tokenizer, read_manifest(folder / stages["shards"]) if "shards" in stages else None)
