"""What every task of the dedup stage is told: the settings, and where things lie."""

import glob
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.core.manifest import committed_files, read_manifest
from pipeline.core.tables import DOCUMENTS_FILE
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.spill.rows import known
from pipeline.dedup.spill.runs import Kind, Runs, Span
from pipeline.sources.base import source_of


@dataclass(frozen=True)
class Plan:
    """Of one run; goes to every task."""

    config: DedupConfig
    documents: Path  # the stage folder that is read
    known: tuple[Path, ...]  # index folders of earlier runs
    scratch: Path

    @property
    def budget(self) -> int:
        return self.config.task_memory_mb << 20

    @property
    def files(self) -> tuple[Path, ...]:
        """The documents files; a file's number is its place here."""
        return _files(self.documents)

    def runs(self, kind: Kind, *steps: str) -> Runs:
        """What these steps wrote of a kind."""
        return Runs(kind, [file for step in steps for file in _written(self.scratch / step, kind)])

    def runs_of_file(self, kind: Kind, step: str, number: int) -> Runs:
        """What a step wrote of a kind for one documents file."""
        return Runs(kind, _written(self.scratch / step, kind, glob.escape(file_id(self.files[number]))))

    @property
    def known_runs(self) -> Runs:
        """The documents of earlier runs, in the files that the manifests prove, whatever lies beside these."""
        files = [folder / entry.name for folder in self.known for entry in read_manifest(folder).files]
        return Runs(known(self.config), files)

    def known_run(self, number: int) -> Runs:
        """Those of one index file."""
        return Runs(known(self.config), [self.known_runs.files[number]])

    def source_rank(self, source: str) -> int:
        """Its place when all sources are sorted as they are preferred."""
        listed = self.config.source_priority
        place = {name: (listed.index(name) if name in listed else len(listed), name) for name in self.sources}
        return sorted(place.values()).index(place[source])

    @property
    def sources(self) -> set[str]:
        return {source_of(file) for file in self.files}


def file_id(documents: Path) -> str:
    """Name of a documents file's splits."""
    return documents.name.removesuffix(DOCUMENTS_FILE)


def _written(folder: Path, kind: Kind, split: str = "*") -> list[Path]:
    return sorted(folder.glob(f"{split}.{kind.name}-*.arrow"))


@lru_cache(maxsize=4)
def _files(documents: Path) -> tuple[Path, ...]:
    return tuple(committed_files(documents, DOCUMENTS_FILE))


@dataclass(frozen=True)
class KeyTask:
    """One step over a span of keys."""

    plan: Plan
    span: Span
    reads: str = ""  # the step whose rows it reads, for steps that are taken more than once


@dataclass(frozen=True)
class FileTask:
    """One step over one of the plan's documents files, or of its index files of earlier runs."""

    plan: Plan
    number: int
    reads: str = ""
