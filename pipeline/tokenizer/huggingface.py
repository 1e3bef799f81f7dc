"""The same tokenizer for the `tokenizers` library: tokenizer.json and tokenizer_config.json, equal ids.

BPE: SentencePiece merges the pair whose union has the best score; so the merges are all ways to split a piece into
two pieces, ordered by the score of their union. Differs from `Tokenizer` for a literal U+2581 alone, which this
library (like SentencePiece itself) reads as a space.

tokenizer_class must not be LlamaTokenizer: transformers 5 would rebuild the pipeline, put a space in front and strip
one on decoding. split_special_tokens keeps "<s>" in a text what it is: text.
"""

from typing import Any

import tokenizers
from sentencepiece import sentencepiece_model_pb2 as protocol
from tokenizers import AddedToken, decoders, models, normalizers

from pipeline.tokenizer.tokenizer import SPACE_SYMBOL

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # ModelProto.SentencePiece.Type


def convert(model: bytes) -> tokenizers.Tokenizer:
    proto = protocol.ModelProto.FromString(model)  # type: ignore[attr-defined]  # made when protobuf loads it
    pieces = proto.pieces
    if proto.trainer_spec.model_type == proto.trainer_spec.BPE:
        core: models.Model = _bpe(pieces)
    else:
        core = models.Unigram([(p.piece, _score(p)) for p in pieces], unk_id=0, byte_fallback=True)
    tokenizer = tokenizers.Tokenizer(core)
    tokenizer.normalizer = normalizers.Replace(" ", SPACE_SYMBOL)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE_SYMBOL, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    special = [p.piece for p in pieces if p.type in (UNKNOWN, CONTROL)]
    symbols = [p.piece for p in pieces if p.type == USER_DEFINED]
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    tokenizer.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in symbols])
    return tokenizer


def _score(piece: Any) -> float:
    """Unigram here looks up every piece in the text; "<s>" and "<0x41>" must lose against their own letters."""
    return piece.score if piece.type == NORMAL else -1e4


def _bpe(pieces: Any) -> models.BPE:
    vocab = {p.piece: id for id, p in enumerate(pieces)}
    scores = {p.piece: p.score for p in pieces if p.type == NORMAL}
    merges = sorted(
        (-score, vocab[piece[:cut]], vocab[piece[cut:]], piece[:cut], piece[cut:])
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    )
    pairs = [(left, right) for *_, left, right in merges]
    return models.BPE(vocab=vocab, merges=pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True)


CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "split_special_tokens": True,
    "clean_up_tokenization_spaces": False,
    "padding_side": "right",
}
