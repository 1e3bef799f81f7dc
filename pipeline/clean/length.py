"""Documents of a reasonable length.

| reason       | dropped when |
|--------------|--------------|
| length_short | shorter than `min_chars` or `min_words` |
| length_long  | longer than `max_chars` or `max_words` |

Source: `min_chars` is SlimPajama's (Soboleva et al. 2023: documents under 200 characters go); no other limit is set by
default. Words are the splitter's, so that Chinese and Thai count too.
"""

from pydantic import Field

from pipeline.clean.verdict import Drop, Filter, Verdict, above, below
from pipeline.clean.words import split
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document


class Config(PluginConfig):
    """Length."""

    name: str = "length"
    min_chars: int = Field(200, ge=0)
    """Characters, at least."""
    max_chars: int | None = Field(None, ge=1)
    """Characters, at most; default: no limit."""
    min_words: int = Field(0, ge=0)
    """Words, at least."""
    max_words: int | None = Field(None, ge=1)
    """Words, at most; default: no limit."""


def build(config: Config) -> Filter:
    counts_words = config.min_words > 0 or config.max_words is not None

    def judge(document: Document) -> Verdict:
        verdict = _limit(len(document.text), "characters", "chars", config.min_chars, config.max_chars)
        if verdict or not counts_words:
            return verdict
        return _limit(len(split(document.text).words), "words", "words", config.min_words, config.max_words)

    return judge


def _limit(number: int, what: str, field: str, least: int, most: int | None) -> Drop | None:
    if number < least:
        return below("length_short", number, what, **{f"min_{field}": least})
    if most is not None and number > most:
        return above("length_long", number, what, **{f"max_{field}": most})
    return None
