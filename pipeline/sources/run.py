"""Raw corpora in; DOCUMENTs and the first LEDGER out.

1. config      -> files, by glob, in sorted order; their names, sizes and times make the fingerprint of the input
2. files       -> ranges (each source's own `splits`), grouped into splits of about 32 MB
3. split       -> LABEL-00003.documents.parquet and LABEL-00003.ledger.parquet
4. all splits  -> manifest.json, after the ledger is counted and every record has its verdict

| a large file of this kind                          | is |
|----------------------------------------------------|----|
| plain XML, jsonl, WARC, ARC                        | cut anywhere, or between records |
| WARC of a gzip member or zstd frame a record       | cut between members, or frames |
| bzip2 of many streams (Wikipedia)                  | cut between streams |
| Parquet, Arrow; zip                                | cut between row groups, record batches; members |
| gzip or zstd of one member; any packed jsonl; xz   | one split: there is no way into the middle of a |
|                                                    | stream, and a line of jsonl may lie in two members |
| tar                                                | one split: it has no directory |
| behind a URL                                       | one split: it is copied whole first |
| UTF-16                                             | one split: recode it to UTF-8 |

README.md says what to do with a large file that is one split.

The same files give the same splits and the same bytes, whatever the number of workers. A file that changes meanwhile
stops the stage: the fingerprint would lie. What a pattern finds that is no file is an error in the ledger,
"not_a_file"; a file without a byte is "empty_file".
"""

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipeline.core.errors import UserError
from pipeline.core.ledger import LEDGER_FILES, tally
from pipeline.core.manifest import MANIFEST, committed_files, run_stage
from pipeline.core.schema import Document, Rejected, valid_text
from pipeline.core.shard_map import Counts, Split, Workers
from pipeline.core.storage import is_url
from pipeline.core.tables import DocumentWriter
from pipeline.sources import remote
from pipeline.sources.base import InputFile, Range, SourceConfig, broken, group, plugin, reject
from pipeline.sources.walk import matching, what_it_is

logger = logging.getLogger(__name__)

STAGE = "sources"
VERSION = 8
TOLERATED_ERRORS = 3  # one broken record in a corpus of ten is no reason to stop
LOSSES = ("damaged", "too_large", "no_pages", "not_a_file")  # errors that may stand for any number of records
SHOWN_LOSSES = 20


def run(config: Sequence[SourceConfig], input: Path | str, root: Path, workers: Workers) -> Path:
    """The finished folder of the stage; raises UserError when the input cannot be what was meant."""
    files = [(source, find_files(source, input)) for source in sorted(config, key=lambda source: source.source)]
    _refuse_twins(files)
    sections = {"sources": [_section(source) for source, _ in files]}
    return run_stage(
        STAGE, VERSION, sections, {"raw": fingerprint(files)}, root, lambda folder: _read_all(files, folder, workers)
    )


def _section(config: SourceConfig) -> dict[str, Any]:
    """For the fingerprint: the order of the patterns changes nothing, nor what stops the stage."""
    return config.model_dump(mode="json", exclude={"max_error_rate"}) | {"paths": sorted(set(config.paths))}


def find_files(config: SourceConfig, input: Path | str) -> list[InputFile]:
    """The files of one source, sorted by name; raises UserError when there is none or one cannot be read.

    `input`: a folder, or a URL that fsspec reads.
    """
    far = [pattern for pattern in sorted(config.paths) if is_url(input) or is_url(pattern)]
    found = {file.name: file for pattern in far for file in remote.find(config.source, input, pattern)}
    if not is_url(input):
        near = [pattern for pattern in sorted(config.paths) if pattern not in far]
        found |= _find_local(config, near, Path(input), must_exist=bool(near))
    if not found:
        patterns = " or ".join(f"'{pattern}'" for pattern in config.paths)
        holds = "" if is_url(input) else f"; {_what_is_in(Path(input))}"
        raise UserError(f"source {config.source}: no file matches {patterns} in {input}{holds}")
    return [found[name] for name in sorted(found)]


def _find_local(config: SourceConfig, patterns: Sequence[str], input: Path, must_exist: bool) -> dict[str, InputFile]:
    """Files by name; patterns in order, so that of two that match a file always the same one names it."""
    if must_exist and not input.is_dir():
        raise UserError(f"input folder {input} does not exist" if not input.exists() else f"{input} is not a folder")
    found = {}
    for pattern in patterns:
        prefix = input / _fixed_prefix(pattern)  # an absolute pattern stays as it is
        rest = Path(pattern).parts[len(_fixed_prefix(pattern).parts) :]
        if (input / pattern).is_dir():
            prefix, rest = input / pattern, ("**", "*")
        for path in matching(prefix, rest):
            if path.name == MANIFEST:  # what `penstock fetch` says of the files beside it
                continue
            not_a_file = what_it_is(path)
            if not not_a_file and not os.access(path, os.R_OK):
                raise UserError(f"source {config.source}: no permission to read {path}")
            name = path.relative_to(input).as_posix() if path.is_relative_to(input) else path.as_posix()
            key = path.relative_to(prefix).as_posix()
            size, mtime_ns = (0, 0) if not_a_file else _size_and_time(path)
            found[name] = InputFile(path, name, key, size, mtime_ns, not_a_file)
    return found


def fingerprint(files: Sequence[tuple[SourceConfig, Sequence[InputFile]]]) -> str:
    """Of names, sizes and times: hashing terabytes to find that nothing changed would take longer than the work."""
    facts = [(s.source, f.name, f.key, f.num_bytes, f.mtime_ns, f.version) for s, found in files for f in found]
    return xxhash.xxh3_128_hexdigest(repr(facts).encode("utf-8", "surrogateescape"))


def _read_all(
    files: Sequence[tuple[SourceConfig, Sequence[InputFile]]], folder: Path, workers: Workers
) -> dict[str, Any]:
    splits = [split for source, found in files for split in _splits(source, found)]
    receipts = workers.map(read_split, splits, folder, label=STAGE)
    counts = tally(STAGE, folder, receipts)
    for source, _ in files:
        of_source = counts["sources"].get(source.source, {"in": 0, "documents": 0, "errors": 0})
        errors = _errors(source, folder) if of_source["errors"] else []
        _warn_of_losses(source, errors)
        _check_errors(source, of_source, errors, folder)
    if not counts["documents"]:
        reasons: Counter[str] = Counter()
        for one in counts["sources"].values():
            reasons.update(one["reasons"])
        why = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(5)) or "the files are empty"
        raise UserError(f"empty corpus: {counts['in']} records read, not one document ({why})")
    return counts | {"files": sum(len(found) for _, found in files)}


def _splits(config: SourceConfig, files: Sequence[InputFile]) -> Iterator[Split]:
    """Large files come as several ranges; small files are read together, as every split costs two files."""
    ranges = [part for file in files for part in _ranges(config, file)]
    sizes = [part.num_bytes for part in ranges]
    for number, (start, end) in enumerate(group(sizes)):
        yield Split(f"{config.source}-{number:05d}", (config, ranges[start:end]), sum(sizes[start:end]))


def _ranges(config: SourceConfig, file: InputFile) -> list[Range]:
    """Of a file that can be opened and holds anything; `_read_local` says what is wrong with the others. A remote one
    is a whole, for the worker that copies it."""
    if file.url or file.not_a_file or not file.num_bytes:
        return [Range(file, file.num_bytes)]
    try:
        return plugin(config).splits(config, file)
    except OSError as error:
        raise UserError(f"source {config.source}: cannot read {file.path}: {error.strerror or error}") from error


def read_split(task: tuple[SourceConfig, list[Range]], folder: Path) -> Counts:
    """Runs in the worker: every record of the ranges, in order, into documents and ledger."""
    config, ranges = task
    with DocumentWriter(folder, STAGE) as writer:
        for part in ranges:
            for record in _read(config, part, folder):
                if isinstance(record, Rejected):
                    writer.drop(record.doc_id, record.source, valid_text(record.key), kind=record.kind,
                                reason=record.reason, detail=valid_text(record.detail),
                                bytes_in=record.num_bytes,
                                origin=valid_text(record.origin or part.file.name))  # fmt: skip
                else:
                    document = _encodable(record)
                    writer.keep(document, origin=document.origin)
    return writer.counts


def _read(config: SourceConfig, part: Range, scratch: Path) -> Iterator[Document | Rejected]:
    if not part.file.url:
        yield from _read_local(config, part)
        return
    with remote.copied(part.file, scratch) as file:
        for piece in _ranges(config, file):
            yield from _read_local(config, piece)


def _read_local(config: SourceConfig, part: Range) -> Iterator[Document | Rejected]:
    """The records of a range; raises UserError when the file is not, or no longer, what the splits were made for."""
    if part.file.not_a_file:
        yield broken(config, part.file.key, b"", "not_a_file", part.file.not_a_file)
        return
    _require_unchanged(part.file)
    if not part.file.num_bytes:
        yield reject(config, part.file.key, b"", "empty_file")
        return
    try:
        yield from plugin(config).read(config, part)
    except OSError as error:  # of the disk, and without a name
        raise OSError(error.errno, error.strerror, str(part.file.path)) from error
    _require_unchanged(part.file)


def _require_unchanged(file: InputFile) -> None:
    try:
        size, mtime_ns = _size_and_time(file.path)
    except FileNotFoundError:
        raise UserError(f"{file.path} is gone; it was there when the job began. Run it again") from None
    if (size, mtime_ns) != (file.num_bytes, file.mtime_ns):
        raise UserError(
            f"{file.path} changed while it was read: {file.num_bytes:,} bytes when the job began, {size:,} now, "
            f"written {abs(mtime_ns - file.mtime_ns) / 1e9:.3f} s apart. Run it again when the file is complete"
        )


def _size_and_time(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _encodable(document: Document) -> Document:
    return replace(
        document, key=valid_text(document.key), origin=valid_text(document.origin), text=valid_text(document.text),
        url=valid_text(document.url), title=valid_text(document.title), date=valid_text(document.date),
        meta={name: valid_text(value) for name, value in document.meta.items()},
    )  # fmt: skip


@dataclass(frozen=True)
class Unreadable:
    """A ledger row of kind "error"."""

    key: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason} {self.detail}".strip()


def _errors(config: SourceConfig, folder: Path) -> list[Unreadable]:
    found: list[Unreadable] = []
    for path in committed_files(folder, LEDGER_FILES):
        table = pq.read_table(path, columns=["source", "key", "kind", "reason", "detail"])
        here = table.filter(pc.and_(pc.equal(table["kind"], "error"), pc.equal(table["source"], config.source)))
        found += [Unreadable(**row) for row in here.select(["key", "reason", "detail"]).to_pylist()]
    return found


def _warn_of_losses(config: SourceConfig, errors: Sequence[Unreadable]) -> None:
    """A file that cannot be read (further) counts as one error, whatever it held: people have to see its name."""
    losses = [error for error in errors if error.reason in LOSSES]
    for loss in losses[:SHOWN_LOSSES]:
        logger.warning("source %s: lost a file or part of it: %s", config.source, loss)
    if len(losses) > SHOWN_LOSSES:
        logger.warning("source %s: and %d more; see the ledger", config.source, len(losses) - SHOWN_LOSSES)


def _check_errors(config: SourceConfig, counts: dict[str, int], errors: Sequence[Unreadable], folder: Path) -> None:
    examples = "; ".join(map(str, errors[:3]))
    if errors and not counts["documents"]:
        raise UserError(
            f"source {config.source}: not one document, and {counts['errors']} of {counts['in']} records could not be "
            f"read: {examples}"
        )
    if counts["errors"] > max(TOLERATED_ERRORS, config.max_error_rate * counts["in"]):
        raise UserError(
            f"source {config.source}: {counts['errors']} of {counts['in']} records could not be read, more than "
            f"max_error_rate {config.max_error_rate:g} allows; for example {examples} "
            f"(`penstock ledger summary {folder}` counts them by reason)"
        )


def _refuse_twins(files: Sequence[tuple[SourceConfig, Sequence[InputFile]]]) -> None:
    labels = Counter(config.source for config, _ in files)
    twins = [label for label, number in labels.items() if number > 1]
    if twins:
        raise UserError(f"two sources are called '{twins[0]}'; give one of them another `label`")


def _fixed_prefix(pattern: str) -> Path:
    """The folders of a glob before its first wildcard."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:fixed])


def _what_is_in(folder: Path) -> str:
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    if not names:
        return "the folder is empty"
    return f"it holds {', '.join(names[:10])}" + (f" and {len(names) - 10} more" if len(names) > 10 else "")
