"""The tokenizer as everything downstream uses it: text in, ids out, and the same text back.

SentencePiece writes a space as U+2581 and so cannot tell a real U+2581 from one. Here a real one is encoded as its
three bytes, which decode to it exactly; every other character goes through SentencePiece as it is.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

from pipeline.core.errors import ArtifactError

MODEL_FILE = "tokenizer.model"
SPACE_SYMBOL = "\u2581"


class Tokenizer:
    vocab_size: int
    eos_id: int
    sha256: str
    """Of tokenizer.model; stands in the manifest of every token shard."""

    def __init__(self, model: bytes) -> None:
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size = self._processor.get_piece_size()
        self.bos_id, self.eos_id = self._processor.bos_id(), self._processor.eos_id()
        self.unk_id, self.pad_id = self._processor.unk_id(), self._processor.pad_id()
        self.sha256 = hashlib.sha256(model).hexdigest()
        self._space_symbol = [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_SYMBOL.encode()]

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """From a folder with a tokenizer.model: a stage's, a checkpoint's, an export's."""
        path = folder / MODEL_FILE
        try:
            return cls(path.read_bytes())
        except FileNotFoundError:
            raise ArtifactError(f"{path} is missing") from None
        except RuntimeError as error:
            raise ArtifactError(f"{path} is not a SentencePiece model: {error}") from None

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone: no <s>, no </s>; "<s>" in a text is three characters."""
        if SPACE_SYMBOL not in text:
            return self._processor.encode(text)
        first, *rest = text.split(SPACE_SYMBOL)
        ids = self._processor.encode(first)
        for part in rest:
            ids += self._space_symbol + self._processor.encode(part)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Control ids decode to nothing."""
        return self._processor.decode([int(id) for id in ids])
