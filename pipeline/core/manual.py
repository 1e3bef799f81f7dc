"""Pages of docs/ that are written from the code: tables of settings and of reasons.

Settings come from the fields of a config model and the docstrings under them, reasons from the tables in the docstrings
of modules.
"""

import json
from collections.abc import Collection, Iterator, Mapping

from pydantic import BaseModel


def settings_table(model: type[BaseModel], without: Collection[str] = ("name",)) -> Iterator[str]:
    """A row a field; nothing where there is none."""
    fields = {key: field for key, field in model.model_fields.items() if key not in without}
    if not fields:
        return
    yield from ("| setting | default | what it does |", "|---|---|---|")
    for key, field in fields.items():
        default = json.dumps(field.get_default(call_default_factory=True), default=str)
        shown = "-" if field.is_required() else f"`{default}`"
        yield f"| `{key}` | {shown} | {' '.join(_described(model, key).split())} |"
    yield ""


def _described(model: type[BaseModel], key: str) -> str:
    """Of a field that is declared again with another default, what its base says."""
    models = [base for base in model.__mro__ if issubclass(base, BaseModel) and key in base.model_fields]
    return next((said for base in models if (said := base.model_fields[key].description)), "")


def reasons(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """First cells of the tables whose head is "reason" or "edit", with the name of their text."""
    for name, text in texts.items():
        listed = False
        for line in text.splitlines():
            first = line.split("|")[1].strip() if line.startswith("|") else ""
            if not first:
                listed = False
            elif first in ("reason", "edit"):
                listed = True
            elif listed and not first.startswith("-"):
                yield first, name
