"""C4's rules: lines that do not look like sentences are removed, pages of too few sentences dropped. Two readings.

| rule                                  | `reading: c4`          | `reading: dclm` |
|---------------------------------------|------------------------|-----------------|
| a page is too long                    | never                  | above 190,000 characters |
| a line goes: longest word             | above 1,000 characters | the same |
| a line goes: it does not end in       | `. ? ! " '`            | `. ? ! "` |
| ... and an ellipsis is no end         | `...`                  | `...` and `…` |
| a line goes: words, by white space    | below 3                | below 5; empty lines stay |
| a line goes: it says                  | "javascript", or one of POLICIES | the same |
| citations (`[1]`, `[edit]`) are removed | after the words are counted | before |
| a page goes: a remaining line holds   | "lorem ipsum" or `{`   | the same |
| a page goes: sentences left           | below 5                | below 3 |

| reason           | dropped when |
|------------------|--------------|
| c4_long          | longer than `max_chars` |
| c4_lorem_ipsum   | a line that stays says "lorem ipsum", in any case |
| c4_curly_bracket | a line that stays holds "{" |
| c4_few_sentences | fewer than `min_sentences` in the lines that stay |

| edit | when |
|------|------|
| c4   | at least one line or citation was removed |

Source: Raffel et al. 2020, JMLR 21 (140), section 2.2. `c4` is the paper with what its code (tfds `c4_utils.py`) adds,
as datatrove 0.10's `C4QualityFilter` has it (a test runs both on the same sentences); `dclm` is DCLM's `c4.yaml`. What
else C4 is lies elsewhere: English in `language`, the list of bad words in `blocklist`, repeated lines in dedup.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from pipeline.clean.verdict import Drop, Filter, Replace, Verdict, above, below
from pipeline.clean.words import split
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
MAX_WORD_CHARS = 1000


@dataclass(frozen=True)
class Reading:
    min_line_words: int
    min_sentences: int
    max_chars: int | None
    ends: tuple[str, ...]
    ellipses: tuple[str, ...]
    keeps_empty_lines: bool
    cites_before_words: bool


READINGS = {
    "c4": Reading(3, 5, None, (".", "?", "!", '"', "'"), ("...",), False, False),
    "dclm": Reading(5, 3, 190_000, (".", "?", "!", '"'), ("...", "…"), True, True),
}
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")


class Config(PluginConfig):
    """C4."""

    name: str = "c4"
    reading: Literal["c4", "dclm"] = "c4"
    """Whose numbers: the paper's and its code's, or DCLM's."""
    terminal_punctuation: bool = True
    """Remove lines that do not end a sentence; FineWeb leaves this rule out."""
    min_line_words: int | None = Field(None, ge=0)
    """Fewer words remove the line; default: the reading's."""
    min_sentences: int | None = Field(None, ge=0)
    """Fewer sentences drop the page; default: the reading's."""
    max_chars: int | None = Field(None, ge=1)
    """More characters drop the page; default: the reading's."""


def build(config: Config) -> Filter:
    def judge(document: Document) -> Verdict:
        found = check(document.text, config)
        if isinstance(found, Drop):
            return found
        return None if found == document.text else Replace(replace(document, text=found), "c4")

    return judge


def count_sentences(text: str) -> int:
    return len(split(text).sentences)


def _reading(config: Config) -> Reading:
    given = config.model_dump(include={"min_line_words", "min_sentences", "max_chars"}, exclude_none=True)
    return replace(READINGS[config.reading], **given)


def check(text: str, config: Config, num_sentences: Callable[[str], int] = count_sentences) -> Drop | str:
    """The lines that stay, or why the page goes."""
    reading = _reading(config)
    if reading.max_chars is not None and len(text) > reading.max_chars:
        return above("c4_long", len(text), "characters", max_chars=reading.max_chars)
    kept = []
    for raw in text.split("\n"):
        line = _without_faults(raw.strip(), reading, config.terminal_punctuation)
        if line is None:
            continue
        said = line.lower()
        if "lorem ipsum" in said:
            return Drop("c4_lorem_ipsum", 'a line that stays says "lorem ipsum"')
        if "javascript" in said:
            continue
        if "{" in line:
            return Drop("c4_curly_bracket", 'a line that stays holds "{"')
        if not any(policy in said for policy in POLICIES):
            kept.append(line)
    left = "\n".join(kept).strip()
    number = num_sentences(left)
    if number < reading.min_sentences:
        return below("c4_few_sentences", number, "sentences", min_sentences=reading.min_sentences)
    return left


def _without_faults(line: str, reading: Reading, terminal_punctuation: bool) -> str | None:
    """The line without citations; None if it goes for its length or its end."""
    if not line and reading.keeps_empty_lines:
        return line
    words = line.split()
    if len(line) > MAX_WORD_CHARS and max(map(len, words)) > MAX_WORD_CHARS:
        return None
    line = _CITATION.sub("", line)
    if reading.cites_before_words:
        words = line.split()
    if terminal_punctuation and (not line.endswith(reading.ends) or line.endswith(reading.ellipses)):
        return None
    return None if len(words) < reading.min_line_words else line
