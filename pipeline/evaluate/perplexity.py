"""Task: how well a decoder predicts text it has not seen.

In:  a prepare folder (one split of its token shards), or a text file, or documents as JSON lines; each also as .gz.
Out: per source and in all: nats per token, perplexity, bits per byte; and what knowing only how frequent each token is
     would get.

1. Windows      shards: the samples of training, each once (what is left of a file after the last is left out)
                text: </s> DOCUMENT </s> in windows that overlap, so that a token has seen context - stride before it
2. Score        -ln p of every token that no window before has scored, in fp32
3. Sums         nats in float64; bytes from the tokens' pieces

nats per token  = sum of -ln p / tokens                      perplexity = e ^ that
bits per byte   = sum of -log2 p / bytes                     does not depend on the tokenizer
unigram entropy = -sum f ln f, f the share of each token among those scored: nats per token without any context
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field
from rich.table import Table

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.plugins import PluginConfig
from pipeline.core.progress import Bar
from pipeline.finetune.data import open_text, read_rows
from pipeline.model.perplexity import perplexity
from pipeline.model.pretrained import context_size, device, load_decoder, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Array = np.ndarray[Any, Any]


class Config(PluginConfig):
    name: Literal["perplexity"] = "perplexity"
    data: Path | None = None
    """prepare folder, text or JSONL file; default: the command's --data."""
    split: Literal["train", "validation", "test"] | None = None
    """Of a prepare folder; default: test, or validation if there is no test split."""
    text_field: str = "text"
    """Column of a JSONL file."""
    context: int | None = Field(default=None, gt=0)
    """Tokens in a window; default: what the model was trained on."""
    stride: int | None = Field(default=None, gt=0)
    """Of text: how far a window lies from the one before; default: half the context."""
    max_windows: int | None = Field(default=None, gt=0)
    """Stop after so many windows of a source; default: all."""
    batch_size: int = Field(default=8, gt=0)
    """Windows at once."""


@dataclass(frozen=True)
class Window:
    source: str
    tokens: Array
    """int64 [n + 1]: the first n are seen, the last n predicted."""
    first: int = 0
    """Of the predicted tokens, the first that counts; those before were scored by the window before."""


class Tally:
    """Sums over the scored tokens of one source."""

    def __init__(self, vocab_size: int) -> None:
        self.nats, self.num_bytes = 0.0, 0
        self.counts = np.zeros(vocab_size, dtype=np.int64)

    def add(self, nats: Array, tokens: Array, bytes_of: Array) -> None:
        self.nats += float(nats.sum(dtype=np.float64))
        self.num_bytes += int(bytes_of[tokens].sum())
        self.counts += np.bincount(tokens, minlength=len(self.counts))

    def __add__(self, other: "Tally") -> "Tally":
        both = Tally(len(self.counts))
        both.nats, both.num_bytes = self.nats + other.nats, self.num_bytes + other.num_bytes
        both.counts = self.counts + other.counts
        return both

    def scores(self) -> dict[str, float]:
        num_tokens = int(self.counts.sum())
        share = self.counts[self.counts > 0] / num_tokens
        nats = self.nats / num_tokens
        return {
            "nats_per_token": nats,
            "perplexity": perplexity(nats),
            "bits_per_byte": self.nats / math.log(2) / self.num_bytes if self.num_bytes else float("nan"),
            "unigram_entropy": float(-(share * np.log(share)).sum()),
            "num_tokens": num_tokens,
            "num_bytes": self.num_bytes,
        }


def run(config: Config, model: Path, data: Path) -> dict[str, Any]:
    """{"nats_per_token": ..., "by_source": {source: {...}}}; raises UserError."""
    context = config.context or context_size(model)
    if context > context_size(model):
        raise UserError(f"context ({context}) is beyond the {context_size(model)} tokens that the model sees")
    tokenizer, decoder = load_tokenizer(model), load_decoder(model, device())
    windows = _windows(config, model, data, tokenizer, context)
    bytes_of = bytes_per_token(tokenizer)
    tallies: dict[str, Tally] = {}
    with Bar("perplexity", total=len(windows), unit="windows") as bar:
        for batch in _batches(windows, config.batch_size):
            for window, nats in zip(batch, _score(decoder, batch), strict=True):
                tally = tallies.setdefault(window.source, Tally(len(bytes_of)))
                tally.add(nats[window.first :], window.tokens[1:][window.first :], bytes_of)
            bar.advance(len(batch))
    total = sum(tallies.values(), start=Tally(len(bytes_of)))
    by_source = {source: tally.scores() for source, tally in sorted(tallies.items())}
    return {"context": context, **total.scores(), "by_source": by_source}


def tables(scores: dict[str, Any]) -> list[Table]:
    table = Table(title=f"Perplexity (context {scores['context']:,} tokens)", title_justify="left")
    columns = ("source", "tokens", "nats/token", "perplexity", "bits/byte", "unigram entropy")
    for column in columns:
        table.add_column(column, justify="left" if column == "source" else "right")
    for source, row in {**scores["by_source"], "all": scores}.items():
        figures = [f"{row[key]:.3f}" for key in ("nats_per_token", "perplexity", "bits_per_byte", "unigram_entropy")]
        table.add_row(source, f"{row['num_tokens']:,}", *figures)
    return [table]


# ---- windows ---------------------------------------------------------------------------------------------------


def _windows(
    config: Config, model: Path, data: Path, tokenizer: "PreTrainedTokenizerBase", context: int
) -> list[Window]:
    if data.is_dir():
        return list(shard_windows(data, config.split, context, _sha256(model), config.max_windows))
    if config.split:
        raise UserError(f"split ({config.split}) is for prepare folders; {data} is a file")
    stride = config.stride or max(1, context // 2)
    if stride > context:
        raise UserError(f"stride ({stride}) must not be beyond context ({context}); tokens between would be left out")
    end = tokenizer.eos_token_id
    found = (
        window
        for text in _texts(data, config.text_field)
        for window in text_windows([end, *tokenizer(text)["input_ids"], end], context, stride, data.name)
    )
    windows = list(islice(found, config.max_windows))
    if not windows:
        raise UserError(f"{data} holds no text")
    return windows


def shard_windows(
    data: Path, split: str | None, context: int, tokenizer_sha256: str | None, most: int | None = None
) -> Iterator[Window]:
    """Every sample of a split of a prepare folder, source by source; `most`: of each source."""
    from pipeline.shards.loader import shards_folder
    from pipeline.shards.read import open_corpora, read_shards_manifest

    folder = shards_folder(data)
    counts = read_shards_manifest(folder).counts
    split = split or ("test" if "test" in counts["splits"] else "validation")
    made_by = counts["tokenizer_sha256"]
    if tokenizer_sha256 and tokenizer_sha256 != made_by:
        raise ArtifactError(f"{data} was written with tokenizer {made_by[:12]}, the model has {tokenizer_sha256[:12]}")
    corpora = open_corpora(folder, split, verify=True)
    if not any(corpus.num_samples(context) for corpus in corpora.values()):
        sizes = ", ".join(f"{source} {corpus.num_tokens:,}" for source, corpus in corpora.items())
        raise UserError(f"{data}: no source has {context + 1} tokens in split {split} ({sizes}); use a smaller context")
    for source, corpus in corpora.items():
        for number in range(min(corpus.num_samples(context), most or corpus.num_samples(context))):
            yield Window(source, corpus.sample(number, context).astype(np.int64))


def text_windows(tokens: list[int], context: int, stride: int, source: str) -> Iterator[Window]:
    """Every token but the first is scored once; all but those of the first window see at least context - stride."""
    array, start, scored = np.array(tokens, dtype=np.int64), 0, 0
    while scored < len(array) - 1:
        window = array[start : start + context + 1]
        yield Window(source, window, first=scored - start)
        scored = start + len(window) - 1
        start += stride


def _texts(path: Path, field: str) -> Iterator[str]:
    if ".jsonl" in path.suffixes:
        for row in read_rows(path, [field]):
            if not isinstance(row.values[field], str):
                raise UserError(f"{row.where}: '{field}' must be a text, found {row.values[field]!r:.60}")
            yield row.values[field]
        return
    with open_text(path) as file:
        text = file.read()
    if text:
        yield text


def _sha256(model: Path) -> str | None:
    path = model / "tokenizer.model"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def bytes_per_token(tokenizer: "PreTrainedTokenizerBase") -> Array:
    """How many bytes of text each token stands for: 1 for a byte token, 0 for control tokens."""
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    control = set(tokenizer.all_special_ids)
    return np.array([0 if i in control else _num_bytes(piece) for i, piece in enumerate(pieces)], dtype=np.int64)


def _num_bytes(piece: str) -> int:
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return 1
    return len(piece.replace("\u2581", " ").encode())


# ---- scores ----------------------------------------------------------------------------------------------------


def _batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    rest = iter(windows)
    while batch := list(islice(rest, size)):
        yield batch


def _score(decoder: "PreTrainedModel", batch: list[Window]) -> list[Array]:
    """-ln p of the predicted tokens of each window. Shorter windows are padded behind, where causality hides it."""
    import torch
    import torch.nn.functional as F

    length = max(len(window.tokens) for window in batch)
    padded_BS = torch.zeros(len(batch), length, dtype=torch.int64)
    for row, window in zip(padded_BS, batch, strict=True):
        row[: len(window.tokens)] = torch.from_numpy(window.tokens)
    padded_BS = padded_BS.to(decoder.device)
    with torch.inference_mode():
        logits_BSV = decoder(padded_BS[:, :-1], use_cache=False).logits.float()
        nats_BS = F.cross_entropy(logits_BSV.transpose(1, 2), padded_BS[:, 1:], reduction="none")
    return [nats.cpu().numpy()[: len(window.tokens) - 1] for nats, window in zip(nats_BS, batch, strict=True)]
