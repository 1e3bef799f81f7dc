"""The records of the embedded corpus: documents, where they are hidden, and what is true about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Source = Literal["wikipedia", "bookcorpus", "cc_news"]
Kind = Literal["exact_duplicate", "near_duplicate", "gibberish", "short", "language", "pii", "broken"]


@dataclass(frozen=True, slots=True)
class Section:
    """Paragraphs under a heading; an empty heading is not printed."""

    heading: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One text. The title is not part of it; the headings of its sections are."""

    title: str
    sections: tuple[Section, ...]
    area: str = ""  # the package or standard library area that it documents
    language: str = "en"

    @property
    def lines(self) -> list[str]:
        """Headings and paragraphs in reading order: what a perfect reader would extract, one per line."""
        return [line for part in self.sections for line in (part.heading, *part.paragraphs) if line]

    @property
    def paragraphs(self) -> list[str]:
        return [paragraph for part in self.sections for paragraph in part.paragraphs]

    @property
    def num_bytes(self) -> int:
        return sum(len(line.encode()) + 1 for line in self.lines)


@dataclass(frozen=True, slots=True)
class Item:
    """A document under the key it has in its raw format: page title, file path or URL."""

    key: str
    document: Document
    is_broken: bool = False  # the writer damages this record


@dataclass(frozen=True, slots=True)
class Truth:
    """One line of truth.jsonl: a document that the pipeline should treat in a particular way, and why."""

    kind: Kind
    source: Source
    key: str
    note: str
    of: tuple[Source, str] | None = None
    language: str | None = None
    planted: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        record: dict[str, object] = {"kind": self.kind, "source": self.source, "key": self.key}
        if self.of:
            record["of"] = {"source": self.of[0], "key": self.of[1]}
        if self.language:
            record["language"] = self.language
        if self.planted:
            record["planted"] = list(self.planted)
        return record | {"note": self.note}


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything that will be written, before any format."""

    items: dict[Source, list[Item]] = field(default_factory=dict)
    truth: list[Truth] = field(default_factory=list)

    @property
    def text_bytes(self) -> int:
        """Bytes of UTF-8 text that an extractor could recover: broken records do not count."""
        return sum(item.document.num_bytes for items in self.items.values() for item in items if not item.is_broken)


def plain(title: str, paragraphs: Sequence[str], area: str = "", language: str = "en") -> Document:
    """A document of paragraphs alone, which reads the same in every format."""
    return Document(title, (Section("", tuple(paragraphs)),), area, language)
