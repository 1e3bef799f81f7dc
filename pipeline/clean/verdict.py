"""What a filter says about a document, and what a chain of filters makes of it.

pipeline/clean/NAME.py holds
    class Config(PluginConfig)                    its thresholds, with their source in the module's docstring
    def build(config) -> Filter                   called once per worker; a filter is a pure function

None                       keep it as it is
Replace(document, edit)    keep this instead; `edit` names the rule if the text changed, "" if only facts did
Drop(reason, detail)       drop it; the detail is for people: `below` and `above` say a number and its threshold

More functions, for those that need them:
    def inputs(config) -> dict[str, str]          files a verdict depends on, and their hashes, for the fingerprint
    def survey(config, documents, path) -> None   a first pass, per split, over the documents that reach the filter
    def merge(config, paths, out) -> None         all splits' surveys into one file; then it is `build(config, out)`
    def merge_on(config, paths, out, workers)     the same, spread over workers
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.core.schema import Document


@dataclass(frozen=True)
class Replace:
    document: Document
    edit: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Drop:
    reason: str
    detail: str = ""


Verdict = Drop | Replace | None
Filter = Callable[[Document], Verdict]


@dataclass(frozen=True)
class Outcome:
    """What the filters made of a document."""

    document: Document
    """As edited, up to the filter that dropped it."""
    edits: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    drop: Drop | None = None


def below(reason: str, number: float, what: str, **least: float) -> Drop:
    """below("gopher_short", 7, "words", min_words=50) drops for "7 words, fewer than min_words 50"."""
    ((field, bound),) = least.items()
    less = "fewer" if isinstance(number, int) else "less"
    return Drop(reason, f"{_counted(number, what, bound)}, {less} than {field} {bound:,.15g}")


def above(reason: str, number: float, what: str, **most: float) -> Drop:
    """above("gopher_dup_lines", 0.35, "of the lines occurred before", max_dup_lines=0.3), in the same words."""
    ((field, bound),) = most.items()
    return Drop(reason, f"{_counted(number, what, bound)}, more than {field} {bound:,.15g}")


def _counted(number: float, what: str, bound: float) -> str:
    """`what` is a plural if the number is a count. A share has 3 decimals, or those that tell it from the bound."""
    if isinstance(number, int):
        return f"{number:,} {what.removesuffix('s') if number == 1 else what}"
    decimals = next((some for some in range(3, 17) if round(number, some) != bound), 17)
    return f"{number:,.{decimals}f} {what}"


def decide(document: Document, filters: Sequence[Filter]) -> Outcome:
    """An edit is seen by the next filter, a drop ends it; a text that edits have emptied is dropped."""
    edits: list[str] = []
    details: list[str] = []
    for filter in filters:
        verdict = filter(document)
        if verdict is None:
            continue
        if isinstance(verdict, Drop):
            return Outcome(document, tuple(edits), tuple(details), verdict)
        document = verdict.document
        edits += [verdict.edit] * bool(verdict.edit)
        details += [verdict.detail] * bool(verdict.detail)
        if not document.text.strip():
            drop = Drop("empty", f"nothing left after {'+'.join(edits) or 'reading'}")
            return Outcome(document, tuple(edits), tuple(details), drop)
    return Outcome(document, tuple(edits), tuple(details))
