"""Gopher's quality rules: Rae et al. 2021, arXiv 2112.11446, appendix A.1.1; thresholds as in datatrove 0.10.

The decisions equal datatrove's `GopherQualityFilter` when that is given our splitter (a test runs both).

| reason             | detail           | dropped when |
|--------------------|------------------|--------------|
| gopher_short       | number of words  | fewer than `min_words` words that are not punctuation |
| gopher_long        | number of words  | more than `max_words` of them |
| gopher_word_length | mean length      | below `min_word_length` or above `max_word_length` characters |
| gopher_symbols     | symbols per word | more than `max_symbols` "#" or ellipses per word |
| gopher_bullets     | share of lines   | more than `max_bullet_lines` of the lines begin with "-" or "•" |
| gopher_ellipsis    | share of lines   | more than `max_ellipsis_lines` of the lines end in an ellipsis |
| gopher_alpha       | share of words   | fewer than `min_alpha_words` of the words hold a letter |
| gopher_stop_words  | how many         | fewer than `min_stop_words` different STOP_WORDS occur, in lower case |

Books are longer than web pages: raise `max_words` for them (null: no limit).
"""

from pydantic import Field

from pipeline.clean.verdict import Drop, Filter, Verdict
from pipeline.clean.words import split
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
# datatrove's set, so that the decisions are the same
PUNCTUATION = frozenset(
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
) | frozenset(chr(code) for start, end in ((0, 9), (11, 13), (13, 32), (127, 160)) for code in range(start, end))


class Config(PluginConfig):
    """Gopher quality."""

    name: str = "quality"
    min_words: int = Field(50, ge=0)
    max_words: int | None = Field(100_000, ge=1)
    min_word_length: float = 3
    max_word_length: float = 10
    max_symbols: float = 0.1
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_alpha_words: float = 0.8
    min_stop_words: int = 2


def build(config: Config) -> Filter:
    def judge(document: Document) -> Verdict:
        return check(document.text, split(document.text), config)

    return judge


def check(text: str, words: tuple[str, ...], config: Config) -> Drop | None:
    """The first rule that the text breaks, or None."""
    lengths = [len(word) for word in words if not PUNCTUATION.issuperset(word)]
    if len(lengths) < max(1, config.min_words):
        return Drop("gopher_short", str(len(lengths)))
    if config.max_words is not None and len(lengths) > config.max_words:
        return Drop("gopher_long", str(len(lengths)))
    mean = sum(lengths) / len(lengths)
    if not config.min_word_length <= mean <= config.max_word_length:
        return Drop("gopher_word_length", f"{mean:.2f}")
    symbols = max(text.count("#"), text.count("...") + text.count("…")) / len(words)
    if symbols > config.max_symbols:
        return Drop("gopher_symbols", f"{symbols:.3f}")
    lines = text.splitlines()
    bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines)
    if bullets > config.max_bullet_lines:
        return Drop("gopher_bullets", f"{bullets:.3f}")
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines)
    if ellipses > config.max_ellipsis_lines:
        return Drop("gopher_ellipsis", f"{ellipses:.3f}")
    alpha = sum(word.isalpha() or any(map(str.isalpha, word)) for word in words) / len(words)
    if alpha < config.min_alpha_words:
        return Drop("gopher_alpha", f"{alpha:.3f}")
    num_stop_words = len(STOP_WORDS.intersection(words))
    if num_stop_words < config.min_stop_words:
        return Drop("gopher_stop_words", str(num_stop_words))
    return None
