"""The passages stage: documents that are each unique in; out without the passages that they share.

What may not be in the training data, then what is in it too often, in this order:

    decontaminate   items of evaluation sets                                              decontaminate.py
    lines           lines or paragraphs that many documents have                          lines.py
    substrings      words in a row that stand in the corpus twice                         substrings.py

Each is off unless its section is given; with none given there is no such stage. They run after `dedup`, since the
passages of two equal documents would all be repeats, and of an evaluation item that was copied often all would seem
common language. They are filters as those of `clean` are, each with a first pass over what the one before it leaves
(clean/survey.py): their verdicts and edits are in the ledger, and their files are part of the fingerprint.
"""

from pathlib import Path

from pipeline.clean.run import run_filters
from pipeline.core.config import Config
from pipeline.core.plugins import PluginConfig
from pipeline.core.shard_map import Workers
from pipeline.dedup.passages import decontaminate
from pipeline.dedup.passages.decontaminate import Config as DecontaminateConfig
from pipeline.dedup.passages.lines import Config as LinesConfig
from pipeline.dedup.passages.substrings import Config as SubstringsConfig

STAGE = "passages"
VERSION = 1


class PassagesConfig(Config):
    """What is cut out of documents, or drops them, since it stands elsewhere too."""

    decontaminate: DecontaminateConfig | None = None
    """Documents that hold items of evaluation sets."""
    lines: LinesConfig | None = None
    """Lines or paragraphs that many documents have."""
    substrings: SubstringsConfig | None = None
    """Words in a row that stand in the corpus twice."""

    @property
    def filters(self) -> tuple[PluginConfig, ...]:
        """Those that are on, in order."""
        return tuple(part for part in (self.decontaminate, self.lines, self.substrings) if part is not None)


def check(config: PassagesConfig) -> None:
    """Raises UserError for evaluation sets that cannot be used: before the stages that come first, not after them."""
    if config.decontaminate:
        decontaminate.check(config.decontaminate)


def run(config: PassagesConfig, documents: Path, root: Path, workers: Workers) -> Path:
    """The finished folder of the stage; `documents` is the finished folder of the stage before."""
    return run_filters(STAGE, VERSION, config.filters, documents, root, workers)
