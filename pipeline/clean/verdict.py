"""What a filter says about a document.

pipeline/clean/NAME.py holds
    class Config(PluginConfig)                    its thresholds, with their source in the module's docstring
    def build(config) -> Filter                   called once per worker; a filter is a pure function

None                       keep it as it is
Replace(document, edit)    keep this instead; `edit` names the rule if the text changed, "" if only facts did
Drop(reason, detail)       drop it
"""

from collections.abc import Callable
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
