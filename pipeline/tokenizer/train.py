"""Train a lossless SentencePiece model: every text, whatever its characters, comes back exactly.

Lossless means: identity normalisation, no space removed, none put in front, bytes for rare characters, line ends and
tabs as symbols of their own. The bytes of the model depend on the texts and the config alone: texts go in and the
model comes out through memory (a trainer that reads files writes their paths into the model), and the number of
threads is fixed (unigram sums floats per thread).
"""

import io
import re
from collections.abc import Iterable, Iterator
from typing import Literal

import sentencepiece
from pydantic import Field

from pipeline.core.config import Config
from pipeline.core.errors import UserError

THREADS = 8
ONLY_ERRORS = 2  # SentencePiece's C++ log goes straight to file descriptor 2
PIECE_BYTES = 4000  # a sentence for the trainer; longer lines are cut at a space, never ignored


class TokenizerConfig(Config):
    model_type: Literal["bpe", "unigram"] = "bpe"
    """bpe has equal ids in tokenizer.json; of unigram that is not promised (see gate.py)."""
    vocab_size: int = Field(32000, ge=1)
    """Pieces in all: 4 special, 256 bytes, line end and tab, and the learned ones."""
    sample_bytes: int = Field(64 << 20, ge=1)
    """Most UTF-8 bytes of documents to train on; drawn by doc_id."""
    seed: int = 0
    """Which documents these are."""
    split_digits: bool = True
    """Every digit a piece of its own, so that numbers are read the same way wherever they stand."""


def train(config: TokenizerConfig, texts: Iterable[str]) -> bytes:
    """tokenizer.model; raises UserError when the vocabulary does not suit the texts."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences(texts), model_writer=model, model_type=config.model_type,
            vocab_size=config.vocab_size, unk_id=0, bos_id=1, eos_id=2, pad_id=3,  # <unk> <s> </s> <pad>
            byte_fallback=True, split_digits=config.split_digits,
            normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False,
            allow_whitespace_only_pieces=True, user_defined_symbols=["\n", "\t"],
            max_sentence_length=4 * PIECE_BYTES, num_threads=THREADS, minloglevel=ONLY_ERRORS,
        )  # fmt: skip
    except RuntimeError as error:
        raise _user_error(config, str(error)) or error from None
    return model.getvalue()


def sentences(texts: Iterable[str]) -> Iterator[str]:
    """Lines, the long ones cut at spaces; what SentencePiece would skip (empty, NUL) does not reach it."""
    for text in texts:
        for line in text.replace("\0", "\n").split("\n"):
            while len(line.encode()) > PIECE_BYTES:
                cut = line.rfind(" ", 1, PIECE_BYTES // 4)
                cut = cut if cut > 0 else PIECE_BYTES // 4  # characters; one has at most four bytes
                yield line[:cut]
                line = line[cut:]
            if line:
                yield line


def _user_error(config: TokenizerConfig, message: str) -> UserError | None:
    if found := re.search(r"Vocabulary size too high.*<= (\d+)", message):
        return UserError(
            f"tokenizer.vocab_size ({config.vocab_size:,}) is too large for this corpus, "
            f"which yields {int(found[1]):,} pieces; set it to {found[1]} or less, or add text"
        )
    if found := re.search(r"smaller than required_chars. \d+ vs (\d+)", message):
        return UserError(
            f"tokenizer.vocab_size ({config.vocab_size:,}) is too small for the characters of this corpus; "
            f"set it to {found[1]} or more"
        )
    if "empty" in message.lower() or "!sentences_.empty()" in message:
        return UserError("there is no text to train a tokenizer on: the stage before kept nothing")
    return None
