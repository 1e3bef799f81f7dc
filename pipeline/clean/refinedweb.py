"""RefinedWeb's line rules, as DCLM-Baseline runs them: lines of menus, counters and buttons are removed; a page that
was largely made of them is dropped.

| a line goes, or a part of it       | when |
|------------------------------------|------|
| capitals                           | more than `max_uppercase` of its characters are capital letters |
| numbers                            | all of its characters are digits |
| counters                           | "12k likes", "3 comments" and kin, alone on the line |
| short                              | fewer than `min_line_words` words, by white space |
| "items in cart"                    | these words, in lines of `short_line_words` or less |
| "Read more..."                     | the same, at the line's end |
| "Sign-in"                          | the same, at the line's beginning |

| reason             | dropped when |
|--------------------|--------------|
| refinedweb_removed | these rules removed more than `max_removed_words` of the words |

| edit       | when |
|------------|------|
| refinedweb | at least one line or part was removed |

Source: Penedo et al. 2023, arXiv 2306.01116, appendix G.2; thresholds of DCLM's `dclm_baseline_refinedweb.yaml`. There
the dots of "Read more..." stand for any three characters; here they are dots, or one "…".
"""

import re
from dataclasses import replace

from pydantic import Field

from pipeline.clean.verdict import Filter, Replace, Verdict, above
from pipeline.clean.words import split
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

COUNTED = "likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers"
_COUNTER = re.compile(rf"\W*\d[\d.,]*[kmb]?\s+(?:{COUNTED})\W*", re.IGNORECASE)
_BUTTONS = (
    re.compile(r"\s?items in cart", re.IGNORECASE),
    re.compile(r"\s?read more(?:\.\.\.|…)$", re.IGNORECASE),
    re.compile(r"^sign-in\s?", re.IGNORECASE),
)


class Config(PluginConfig):
    """RefinedWeb lines."""

    name: str = "refinedweb"
    max_uppercase: float = Field(0.5, ge=0, le=1)
    """Largest share of capital letters in a line."""
    min_line_words: int = Field(2, ge=0)
    """Shorter lines are removed."""
    short_line_words: int = Field(10, ge=0)
    """In longer lines, what buttons say is text."""
    max_removed_words: float = Field(0.05, ge=0, le=1)
    """When more of the words are removed, the page is dropped."""


def build(config: Config) -> Filter:
    def judge(document: Document) -> Verdict:
        text = without_buttons(document.text, config)
        if text == document.text:
            return None
        before = len(split(document.text).words)
        share = 1 - len(split(text).words) / max(1, before)
        if share > config.max_removed_words:
            return above(
                "refinedweb_removed", share, "of the words removed", max_removed_words=config.max_removed_words
            )
        return Replace(replace(document, text=text), "refinedweb")

    return judge


def without_buttons(text: str, config: Config) -> str:
    kept = []
    for line in text.split("\n"):
        left = _without_button(line, config) if line else line
        if left is not None:
            kept.append(left)
    return text if len(kept) == text.count("\n") + 1 and "\n".join(kept) == text else "\n".join(kept).strip("\n")


def _without_button(line: str, config: Config) -> str | None:
    """What is left of a line; None if nothing is."""
    if sum(map(str.isupper, line)) / len(line) > config.max_uppercase or line.isdigit() or _COUNTER.fullmatch(line):
        return None
    num_words = len(line.split())
    if num_words < config.min_line_words:
        return None
    if num_words <= config.short_line_words:
        for button in _BUTTONS:
            left = button.sub("", line)
            if left != line and not left.strip():
                return None
            line = left
    return line
