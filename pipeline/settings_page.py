"""docs/settings.md: all that a config of `penstock prepare` may say, written from the models and their docstrings.

python -m pipeline.settings_page      writes it; a test fails when the page is not what this would write
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from pipeline.core.config import Config
from pipeline.core.manual import settings_table
from pipeline.prepare import PrepareConfig

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
INTRODUCTION = """
Written by `python -m pipeline.settings_page` from the code; edit the docstrings there, not this page.

`penstock prepare --config FILE --out DIR` takes a YAML file of these sections; `--set dedup.bands=20` sets one of them.
A misspelt setting is refused. The files in `configs/data/` are such configs.
"""
LISTS = {
    "sources": "A list of sources, each with settings of its own: [Sources](sources.md).",
    "clean": "`filters` is a list of filters, each with settings of its own, or comes with a recipe: "
             "[Filters and recipes](filters.md).",
}  # fmt: skip


def write() -> str:
    """The whole page."""
    sections = dict(_sections(PrepareConfig))
    lines = ["# Settings of penstock prepare", INTRODUCTION]
    lines += settings_table(PrepareConfig, without=sections.keys() | LISTS.keys())
    for name in PrepareConfig.model_fields:
        if name in sections or name in LISTS:
            lines += [f"## {name}", ""]
        if name in LISTS:
            lines += [LISTS[name], ""]
        if name in sections:
            lines += _section(name, sections[name])
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, model: type[BaseModel]) -> Iterator[str]:
    inner = dict(_sections(model))
    if inner:
        yield from ("Each of its sections is off unless it is given, `{}` gives it with its defaults.", "")
    yield from settings_table(model, without={"filters", *inner})
    for key, section in inner.items():
        yield from (f"### {name}.{key}", "", model.model_fields[key].description or "", "")
        yield from settings_table(section)


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Fields that are models themselves."""
    for key, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Config):
                yield key, kind


if __name__ == "__main__":
    PAGE.write_text(write(), encoding="utf-8")
