"""Batches for the trainer: positions of the order in, (tokens, labels) out.

    loader = Loader(prepared, split="train", seq_len=1024, seed=1, mixture={"wikipedia": 0.6, "books": 0.4})
    for tokens, labels in loader.micro_batches(position, global_batch=256, micro_batch=4, dp_rank=3, dp_size=8): ...

1. the global batch is positions g .. g + global_batch - 1, whatever the number of ranks
2. this rank's rows of it: batch.view(accumulation, dp_size, micro_batch)[:, dp_rank]
3. position -> (source, epoch, sample)          order.py
4. sample -> seq_len + 1 tokens                 read.py, memory-mapped
5. tokens = the first seq_len, labels = the last seq_len of them

A loader holds no position: to resume is to ask for another one. The only file of the data stages that imports torch.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.manifest import read_manifest
from pipeline.shards.order import Order, Stage, proportional
from pipeline.shards.read import STAGE, Span, open_corpora, read_shards_manifest

logger = logging.getLogger(__name__)


class Loader:
    """Over one split of a prepare folder (or of a shards folder). `mixture` None: by the sources' sizes."""

    num_samples: int
    """Samples of the sources in the mixture: one epoch, when the mixture is by size."""
    vocab_size: int
    tokenizer_sha256: str
    fingerprint: str
    """Of everything that decides which tokens lie at a position: files, split, sequence length, seed, mixture."""

    def __init__(
        self,
        data: Path,
        *,
        split: str,
        seq_len: int,
        seed: int,
        mixture: dict[str, float] | None = None,
        verify: bool = False,
    ) -> None:
        if seq_len < 1:
            raise UserError(f"seq_len must be 1 or more, not {seq_len}")
        folder = shards_folder(data)
        manifest = read_shards_manifest(folder)
        self.seq_len = seq_len
        self.vocab_size = manifest.counts["vocab_size"]
        self.tokenizer_sha256 = manifest.counts["tokenizer_sha256"]
        self._corpora = open_corpora(folder, split, verify=verify)
        samples = {source: corpus.num_samples(seq_len) for source, corpus in self._corpora.items()}
        weights = self._weights(samples, mixture, split)
        self._order = Order(samples, seed, [Stage(0, weights)])
        self.num_samples = sum(samples[source] for source, weight in weights.items() if weight > 0)
        said = [[entry.sha256 for entry in manifest.files], split, seq_len, self._order.state(0)]
        self.fingerprint = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]

    def _weights(self, samples: dict[str, int], mixture: dict[str, float] | None, split: str) -> dict[str, float]:
        """`mixture`, or one by size; refuses a source that is wanted but too short for a single sample."""
        short = [source for source, number in samples.items() if number == 0]
        wanted = set(samples) if mixture is None else {name for name, weight in mixture.items() if weight > 0}
        if (mixture is not None and wanted & set(short)) or len(short) == len(samples):
            sizes = ", ".join(f"{source} {self._corpora[source].num_tokens:,}" for source in short)
            raise UserError(
                f"seq_len {self.seq_len} is longer than the shards of {', '.join(short)} ({split} tokens: {sizes}); "
                "use a shorter seq_len or leave the source out"
            )
        if mixture is not None:
            return mixture
        if short:
            logger.warning("%s: no sample of %d tokens in %s; left out", split, self.seq_len, ", ".join(short))
        return proportional({source: number for source, number in samples.items() if number})

    def micro_batches(
        self, position: int, *, global_batch: int, micro_batch: int, dp_rank: int, dp_size: int
    ) -> list[tuple[Tensor, Tensor]]:
        """(tokens, labels) of this rank, int64 [micro_batch, seq_len], in order of accumulation."""
        if global_batch % (micro_batch * dp_size):
            raise UserError(
                f"global_batch ({global_batch}) must divide by micro_batch x data parallel size "
                f"({micro_batch} x {dp_size} = {micro_batch * dp_size})"
            )
        positions = np.arange(position, position + global_batch).reshape(-1, dp_size, micro_batch)[:, dp_rank]
        rows = torch.from_numpy(self._rows(positions.ravel())).view(-1, micro_batch, self.seq_len + 1)
        return [(batch[:, :-1].contiguous(), batch[:, 1:].contiguous()) for batch in rows]

    def token_counts(self) -> np.ndarray:
        """How often each token occurs in the split, int64 [vocab_size]."""
        counts = np.zeros(self.vocab_size, dtype=np.int64)
        for corpus in self._corpora.values():
            for batch in corpus.batches():
                self._check_range(batch)
                counts += np.bincount(batch, minlength=self.vocab_size)
        return counts

    def state(self, position: int) -> dict[str, Any]:
        """For a checkpoint: what the position means."""
        return self._order.state(position) | {"seq_len": self.seq_len, "fingerprint": self.fingerprint}

    def documents_of(self, position: int) -> list[Span]:
        """The documents that the sample at `position` is made of."""
        place = self._order.locate(np.array([position]))
        source = self._order.sources[int(place.source[0])]
        return self._corpora[source].documents(int(place.sample[0]), self.seq_len)

    def _rows(self, positions: np.ndarray) -> np.ndarray:
        """int64 [len(positions), seq_len + 1]."""
        places = self._order.locate(positions)
        rows = np.empty((len(positions), self.seq_len + 1), dtype=np.int64)
        for row, source, sample in zip(rows, places.source.tolist(), places.sample.tolist(), strict=True):
            row[:] = self._corpora[self._order.sources[source]].sample(sample, self.seq_len)
        self._check_range(rows)
        return rows

    def _check_range(self, tokens: np.ndarray) -> None:
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.vocab_size:
            raise ArtifactError(
                f"tokens {tokens.min()}..{tokens.max()} in the shards, but the vocabulary has {self.vocab_size}: "
                "a damaged file; run `penstock verify`"
            )


def shards_folder(data: Path) -> Path:
    """The shards folder of a prepare folder; checked against the tokenizer that lies beside it."""
    manifest = read_manifest(data)
    if manifest.stage == STAGE:
        return data
    stages = manifest.counts.get("stages")
    if not isinstance(stages, dict) or STAGE not in stages:
        raise ArtifactError(f"{data} was made by stage '{manifest.stage}'; expected a prepare or a shards folder")
    folder = data / stages[STAGE]
    if "tokenizer" in stages:
        wanted = read_shards_manifest(folder).inputs.get("tokenizer")
        found = read_manifest(data / stages["tokenizer"]).fingerprint
        if wanted != found:
            raise ArtifactError(
                f"{folder} was written with tokenizer {str(wanted)[:12]}, but {stages['tokenizer']} is {found[:12]}"
            )
    return folder
