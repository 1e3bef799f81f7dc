"""JSON lines, Parquet, Arrow and Hugging Face dataset folders to documents: one record, one document.

JSON lines are plain or packed (gzip, bzip2, xz, zstd), in UTF-8, or with a byte order mark in UTF-16 or UTF-32. A large
plain UTF-8 file is read in byte ranges, a columnar one in row groups or record batches. What a file is, its first bytes
say. Offsets in a packed or UTF-16 file are those of the UTF-8 that comes out.

`meta["page"]` is what http(s) URLs of one page share, as in cc_news: such documents meet in the dedup stage, where the
newest stays, by `date_field`, or by a field called crawled in `meta_fields`. Where all records name one URL, of their
site, say, set `url_field: ""`.

| reason    | kind    | when |
|-----------|---------|------|
| no_text   | quality | the text field is empty |
| not_data  | quality | a file of a dataset folder that holds no rows of it: its description, a cache |
| malformed | error   | the record is not JSON, not an object, not UTF-8, or its text field is no string |
| too_large | error   | the line is longer than MAX_LINE_BYTES, or its text than MAX_TEXT_BYTES |
| damaged   | error   | the packed stream, the Parquet or the Arrow file cannot be read (further) |
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pyarrow as pa
from pydantic import field_validator

from pipeline.core.schema import Document, Rejected, document_id
from pipeline.sources.base import (
    SPLIT_BYTES,
    InputFile,
    Range,
    SourceConfig,
    broken,
    describe,
    group,
    in_the_data,
    placed,
    reject,
)
from pipeline.sources.columns import column_names, form_of, is_data, read_batches, unit_sizes
from pipeline.sources.lines import DAMAGE, Line, compression_of, open_lines, read_lines
from pipeline.sources.web.urls import page_key

PAGE = "page"  # in `meta`: what dedup compares
MAX_TEXT_BYTES = 32 << 20  # the splitter's arrays of a longer text take a worker beyond 1 GiB


class Config(SourceConfig):
    """Documents that are text already. A field of a field is named with a dot: `text_field: article.body`."""

    paths: tuple[str, ...] = ("**/*.jsonl*", "**/*.parquet", "**/*.arrow")

    text_field: str = "text"
    """Field of the record that holds the text."""

    id_field: str = ""
    """Field that names the document in its source; default: "file:offset" of a line, "file:row" of a table."""

    url_field: str = "url"
    """Field with the URL, if there is one."""

    title_field: str = "title"
    """Field with the title, if there is one."""

    date_field: str = "date"
    """Field with the date (ISO 8601), if there is one."""

    meta_fields: tuple[str, ...] = ()
    """Further fields to keep in `meta`, as text."""

    @field_validator("meta_fields")
    @classmethod
    def _page_is_of_the_url(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if PAGE in given:
            raise ValueError(f"'{PAGE}' of `meta` is made of the URL, and documents with one page are duplicates; "
                             "leave it out, or give the field another name")  # fmt: skip
        return given

    @property
    def fields(self) -> frozenset[str]:
        named = (self.text_field, self.id_field, self.url_field, self.title_field, self.date_field, *self.meta_fields)
        return frozenset(named) - {""}


def splits(config: SourceConfig, file: InputFile) -> list[Range]:
    if not is_data(file.name):
        return [Range(file, 0)]
    if form_of(file.path):
        return _ranges_of_units(file)
    if compression_of(file.path):
        return [Range(file, file.num_bytes)]
    starts = range(0, max(file.num_bytes, 1), SPLIT_BYTES)
    return [Range(file, min(SPLIT_BYTES, file.num_bytes - start), start, start + SPLIT_BYTES) for start in starts]


def _ranges_of_units(file: InputFile) -> list[Range]:
    try:
        sizes = unit_sizes(file.path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: a column's name
        if not in_the_data(error):
            raise
        return [Range(file, file.num_bytes)]  # `read` reports it
    return [Range(file, sum(sizes[start:end]), start, end) for start, end in group(sizes)]


def read(config: SourceConfig, part: Range) -> Iterator[Document | Rejected]:
    section = cast(Config, config)
    if not is_data(part.file.name):
        yield reject(config, part.file.name, b"", "not_data")
    elif form_of(part.file.path):
        yield from _read_table(section, part)
    else:
        yield from _read_lines(section, part)


def _read_lines(config: Config, part: Range) -> Iterator[Document | Rejected]:
    file, position = part.file, part.start
    inside = "0+" if compression_of(file.path) else ""
    with open_lines(file.path) as stream:
        lines = read_lines(stream, part.start, part.end)
        while True:
            try:
                line = next(lines, None)
            except DAMAGE as error:
                if not in_the_data(error):
                    raise
                detail = f"after {position} bytes: {describe(error)}"
                yield broken(config, f"{file.name}:{position}", b"", "damaged", detail)
                return
            if line is None:
                return
            position = line.offset + line.num_bytes
            if line.raw.strip():
                origin = f"{file.name}:{inside}{line.offset}"
                yield placed(_read_line(config, f"{file.key}:{line.offset}", origin, line), origin)


def _read_line(config: Config, key: str, origin: str, line: Line) -> Document | Rejected:
    if line.num_bytes > len(line.raw):
        return broken(config, key, line.raw[:1000], "too_large", f"{line.num_bytes} bytes")
    try:
        record = json.loads(line.raw)
    except (ValueError, RecursionError) as error:
        return broken(config, key, line.raw, "malformed", error)
    if not isinstance(record, dict):
        return broken(config, key, line.raw, "malformed", f"expected an object, found a {type(record).__name__}")
    return _to_document(config, key, origin, record, line.raw, list(record))


def _read_table(config: Config, part: Range) -> Iterator[Document | Rejected]:
    file = part.file
    try:
        names = column_names(file.path)  # those that are not read too: the message names them
        for first, batch in read_batches(file.path, config.fields, part.start, part.end):
            for index in range(len(batch)):
                row = first + index
                origin = f"{file.name}:{row}"
                yield placed(_read_row(config, f"{file.key}:{row + 1}", origin, batch, index, names), origin)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: a column's name
        if not in_the_data(error):
            raise
        yield broken(config, f"{file.name}:{part.start}", b"", "damaged", describe(error))


def _read_row(
    config: Config, key: str, origin: str, batch: pa.RecordBatch, index: int, names: Sequence[str]
) -> Document | Rejected:
    try:
        columns = zip(batch.schema.names, batch.columns, strict=True)
        record = {name: _decoded(column[index].as_py()) for name, column in columns}
    except (ValueError, OverflowError, KeyError) as error:  # not UTF-8; after the year 9999; no such time zone
        return broken(config, key, b"", "malformed", describe(error))
    raw = "\0".join(str(_field(record, name) or "") for name in (config.text_field, config.url_field) if name)
    return _to_document(config, key, origin, record, raw.encode("utf-8", "surrogatepass"), names)


def _decoded(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _to_document(
    config: Config, key: str, origin: str, record: dict[str, Any], raw: bytes, names: Sequence[str]
) -> Document | Rejected:
    def said(name: str) -> str:
        value = _field(record, name) if name else None
        return "" if value is None else str(value)

    key = said(config.id_field) or key
    text = _field(record, config.text_field, default=Ellipsis)
    if text is Ellipsis:
        return broken(config, key, raw, "malformed", f"no field '{config.text_field}'; it has {', '.join(names)}")
    if text is not None and not isinstance(text, str):
        return broken(config, key, raw, "malformed", f"'{config.text_field}' is a {type(text).__name__}, not a string")
    if not text or not text.strip():
        return reject(config, key, raw, "no_text")
    if len(text) > MAX_TEXT_BYTES // 4 and (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_TEXT_BYTES:
        return broken(config, key, raw, "too_large", f"{size} bytes of text, {MAX_TEXT_BYTES} are read")
    url = said(config.url_field)
    meta = {name: said(name) for name in config.meta_fields} | {PAGE: page_key(url)}
    return Document(
        document_id(config.source, key, raw), config.source, key, origin, text,
        url=url, title=said(config.title_field), date=said(config.date_field), license=config.license,
        meta={name: value for name, value in meta.items() if value},
    )  # fmt: skip


def _field(record: dict[str, Any], path: str, default: Any = None) -> Any:
    """The field of that very name; else of "a.b" the field b of a."""
    if path in record:
        return record[path]
    value: Any = record
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            return default
        value = value[step]
    return value
