"""The gate: a tokenizer that loses or invents anything goes no further.

Over sample documents and over strings made to break tokenizers, a text

1. decodes to itself, exactly,
2. yields no unknown and no control id, whatever it spells out ("<s>" is text),
3. has the same ids in tokenizer.json; of a unigram model it must come back from there too, but ids may differ: the two
   libraries choose differently among segmentations of equal score (a run of spaces has many).

The first text that fails is cut down to its failing part and named in a UserError.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import models

from pipeline.core.errors import ArtifactError, UserError
from pipeline.tokenizer.tokenizer import SPACE_SYMBOL, Tokenizer

MAX_BYTES = 16 << 20  # of documents for 1 and 2
MAX_EQUALITY_BYTES = 2 << 20  # of documents for 3
CHUNK = 4096  # code points per string when going through the planes of Unicode


@dataclass
class Fertility:
    """What a source costs in tokens."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0


def check(folder: Path, documents: Iterable[tuple[str, str]]) -> dict[str, Fertility]:
    """Figures by source over `documents`, pairs of (source, text); raises UserError on the first text that fails."""
    tokenizer = Tokenizer.load(folder)
    exported = _load_exported(folder)
    _check_special(tokenizer)
    for text in adversarial_strings():
        _check_text(tokenizer, text, "an adversarial string")
        _check_equal(tokenizer, exported, text)
    figures: dict[str, Fertility] = {}
    num_bytes = 0
    for source, text in documents:
        if num_bytes < MAX_EQUALITY_BYTES:
            _check_equal(tokenizer, exported, text)
        figure = figures.setdefault(source, Fertility())
        figure.tokens += _check_text(tokenizer, text, f"a document of '{source}'")
        figure.documents += 1
        figure.bytes += len(text.encode())
        num_bytes += len(text.encode())
        if num_bytes >= MAX_BYTES:
            break
    return figures


def adversarial_strings() -> Iterator[str]:
    yield from (
        "",
        " ",
        "  leading",
        "trailing  ",
        " " * 1000,
        "\t\t \n \n\n\t",
        "\n" * 500,
        "a\r\nb\rc",
        "\0",
        "a\0\0b",
    )
    yield from ("<s>", "</s>", "<unk>", "<pad>", "a<s>b</s> <pad><unk>", "<s>\n<s>", "<0x41>", "<0x0A><0xFF>", " <s> ")
    yield from ("\u0301", "e\u0301\u0302\u0323", "\u0301 \u0301", "\ufeffbom", "\u00a0\u2003\u3000\u200b\u2028\u2029")
    yield from ("שלום עולם", "مرحبا بالعالم ١٢٣", "\u202eabc\u202c \u2067x\u2069", "한국어 かな 汉字", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢")
    yield from (
        "\U0001f469\u200d\U0001f469\u200d\U0001f467",
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "\ufffd\uffff\U0010ffff",
    )
    yield from (SPACE_SYMBOL, f"a{SPACE_SYMBOL}b {SPACE_SYMBOL}{SPACE_SYMBOL} ", f"\n{SPACE_SYMBOL}\t")
    yield from ("a" * 5000, "ab" * 3000, "0123456789" * 100, "\x85\x1c\x1d\x1e\x1f\x7f")
    assigned = [*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE0200)]  # surrogates are no characters
    others = [*range(0x40000, 0xE0000, 61), *range(0xE0200, 0x110000, 61)]  # of planes that hold nothing yet
    characters = [chr(code) for code in assigned + others]
    yield from ("".join(characters[start : start + CHUNK]) for start in range(0, len(characters), CHUNK))


def _check_special(tokenizer: Tokenizer) -> None:
    ids = {"<unk>": tokenizer.unk_id, "<s>": tokenizer.bos_id, "</s>": tokenizer.eos_id, "<pad>": tokenizer.pad_id}
    missing = [piece for piece, id in ids.items() if id < 0]
    if missing:
        raise UserError(f"tokenizer gate: the model has no control token {', '.join(missing)}")


def _check_text(tokenizer: Tokenizer, text: str, what: str) -> int:
    """Number of tokens."""
    ids = tokenizer.encode(text)
    if tokenizer.decode(ids) != text:
        part = shortest_failing(text, lambda part: tokenizer.decode(tokenizer.encode(part)) != part)
        raise UserError(
            f"tokenizer gate: {what} does not come back: {part!r} became {tokenizer.decode(tokenizer.encode(part))!r}"
        )
    if not control_ids(tokenizer).isdisjoint(ids):
        part = shortest_failing(text, lambda part: not control_ids(tokenizer).isdisjoint(tokenizer.encode(part)))
        raise UserError(f"tokenizer gate: {what} yields unknown or control tokens: {part!r}: {tokenizer.encode(part)}")
    return len(ids)


def _check_equal(tokenizer: Tokenizer, exported: tokenizers.Tokenizer, text: str) -> None:
    text = text.replace(SPACE_SYMBOL, "")  # the one known difference, see huggingface.py

    def differ(part: str) -> bool:
        ids = exported.encode(part, add_special_tokens=False).ids
        if isinstance(exported.model, models.BPE):
            return ids != tokenizer.encode(part)
        return exported.decode(ids, skip_special_tokens=False) != part

    if differ(text):
        part = shortest_failing(text, differ)
        raise UserError(
            f"tokenizer gate: tokenizer.json and tokenizer.model differ on {part!r}: "
            f"{exported.encode(part, add_special_tokens=False).ids} and {tokenizer.encode(part)}"
        )


def control_ids(tokenizer: Tokenizer) -> set[int]:
    return {tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id}


def shortest_failing(text: str, fails: Callable[[str], bool]) -> str:
    """A part of `text` that still fails, found by leaving out halves, quarters, ... from both ends."""
    step = len(text) // 2
    while step:
        if fails(text[step:]):
            text = text[step:]
        elif fails(text[:-step]):
            text = text[:-step]
        else:
            step //= 2
        step = min(step, len(text) - 1)
    return text


def _load_exported(folder: Path) -> tokenizers.Tokenizer:
    path = folder / "tokenizer.json"
    if not path.exists():
        raise ArtifactError(f"{path} is missing")
    exported = tokenizers.Tokenizer.from_file(str(path))
    exported.encode_special_tokens = True  # what split_special_tokens of tokenizer_config.json does in transformers
    return exported
