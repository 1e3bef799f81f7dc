"""First passes: what a filter must know of the whole input before it can judge one document.

A filter with `survey` and `merge` (verdict.py) is given, split by split, the documents that reach it: those that the
filters before it have kept, as they have edited them. What it wrote is merged once, into one file that its `build` is
given. Surveys lie in the stage's scratch folder and are resumed split by split, like the stage itself. A filter with
`merge_on` in place of `merge` is given the workers as well.

Filters are found by their section's class, so that other stages have filters of their own (dedup/passages/).
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pipeline.clean.verdict import Filter, decide
from pipeline.core.errors import UserError
from pipeline.core.manifest import committed_files
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document
from pipeline.core.shard_map import Counts, Split, Workers
from pipeline.core.tables import DOCUMENTS_FILE, read_documents

PACKAGE = "pipeline.clean"
MERGED, SURVEY = "merged", "survey"

Surveys = Mapping[int, Path]  # position of a filter -> what its survey was merged into


def plugin_of(section: PluginConfig) -> ModuleType:
    """The module that holds the section's class; imported, since there is one."""
    return sys.modules[type(section).__module__]


def build_filters(sections: Sequence[PluginConfig], surveys: Surveys) -> list[Filter]:
    """Filters in order, each with its survey."""
    return [
        plugin_of(section).build(section, *([surveys[position]] if position in surveys else []))
        for position, section in enumerate(sections)
    ]


def take(sections: Sequence[PluginConfig], files: Sequence[Path], scratch: Path, workers: Workers,
         read: Mapping[str, str]) -> Surveys:  # fmt: skip
    """All surveys, each over what the filters before it leave; `read`: what `inputs` said."""
    surveys: dict[int, Path] = {}
    for position, section in enumerate(sections):
        plugin = plugin_of(section)
        if hasattr(plugin, "survey"):
            out = scratch / f"{position}-{section.name}"
            tasks = [SurveyTask(tuple(sections[: position + 1]), dict(surveys), path, read) for path in files]
            splits = [Split(task.path.name.removesuffix(DOCUMENTS_FILE), task, task.path.stat().st_size)
                      for task in tasks]  # fmt: skip
            workers.map(survey_split, splits, out, label=f"first pass: {section.name}")
            surveyed = committed_files(out, f".{SURVEY}")
            if hasattr(plugin, "merge_on"):
                plugin.merge_on(section, surveyed, out / MERGED, workers)
            else:
                plugin.merge(section, surveyed, out / MERGED)
            surveys[position] = out / MERGED
    return surveys


def take_here(sections: Sequence[PluginConfig], documents: Sequence[Document], scratch: Path) -> Surveys:
    """The same over a few documents, in this process."""
    surveys: dict[int, Path] = {}
    for position, section in enumerate(sections):
        plugin = plugin_of(section)
        if hasattr(plugin, "survey"):
            paths = [scratch / f"{position}-{name}" for name in (SURVEY, MERGED)]
            plugin.survey(section, reaching(documents, build_filters(sections[:position], surveys)), paths[0])
            plugin.merge(section, paths[:1], paths[1])
            surveys[position] = paths[1]
    return surveys


@dataclass(frozen=True)
class SurveyTask:
    sections: tuple[PluginConfig, ...]
    """The filter that surveys is the last one."""
    surveys: Surveys
    path: Path
    read: Mapping[str, str]


def survey_split(task: SurveyTask, folder: Path) -> Counts:
    """Runs in the worker."""
    *before, section = task.sections
    filters = build_filters(before, task.surveys)
    require_as_read(before, task.read)
    documents = reaching(read_documents(task.path), filters)
    plugin_of(section).survey(section, documents, folder / SURVEY)
    return {}


def reaching(documents: Iterable[Document], filters: Sequence[Filter]) -> Iterator[Document]:
    for document in documents:
        outcome = decide(document, filters)
        if outcome.drop is None:
            yield outcome.document


def inputs(sections: Sequence[PluginConfig]) -> dict[str, str]:
    """Files that filters read, and their hashes."""
    found: dict[str, str] = {}
    for section in sections:
        plugin = plugin_of(section)
        if hasattr(plugin, "inputs"):
            found |= plugin.inputs(section)
    return found


def require_as_read(sections: Sequence[PluginConfig], read: Mapping[str, str]) -> None:
    """Raises UserError unless the files of these filters are still those of the fingerprint."""
    for name, mark in inputs(sections).items():
        if mark != read[name]:
            raise UserError(f"{name} changed while the stage ran; run it again when the file is complete")
