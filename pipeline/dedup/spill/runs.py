"""Sorted runs: what one task writes and another reads by key. All of dedup meets in them, none of it in memory.

    RunWriter     rows -> "<name>-000.arrow", "-001", ...   each sorted, a part of the budget
    Runs.pieces   a span of keys, of all runs -> rows in order, piece by piece, each within the budget
    Runs.lookup   sorted ids -> some fields of the rows with these ids

A kind of row is a numpy dtype; its first `keys` fields are uint64 and what rows are sorted by. Keys are hashes (of a
document's id, text, n-grams), so spans of equal width hold about as many rows each, whatever the data. Where they do
not (a million copies of one text), a piece is halved until it fits: between values of the first field if it can, by the
second field if one value alone has too many rows, by the third if these are equal as well. Only rows that are equal in
all keys are never divided. The files are Arrow IPC with one fixed-width column per field, read through a memory map.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.clean.characters import Array
from pipeline.core.kernels import kernel

MAX_KEYS = 4
Span = tuple[int, int]  # of keys as numbers of MAX_KEYS x 64 bits, the first field the highest; the end is outside
ALL: Span = (0, 1 << 64 * MAX_KEYS)
COPIES = 12  # of a piece in memory at once: the slices, sort order, sorted rows, and what is made of them
PARTS = 16  # of the budget: what a writer keeps before it sorts and writes, for which it needs four times as much


@dataclass(frozen=True)
class Kind:
    """Rows of one shape."""

    name: str
    dtype: np.dtype[Any]
    keys: int

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize

    @property
    def fields(self) -> tuple[str, ...]:
        return self.dtype.names or ()

    def schema(self) -> pa.Schema:
        return pa.schema([(name, _arrow_type(self.dtype[name])) for name in self.fields])

    def empty(self, num_rows: int = 0) -> Array:
        return np.zeros(num_rows, dtype=self.dtype)

    def sort(self, rows: Array) -> Array:
        return sorted_by(rows, *self.fields[: self.keys])


def kind(name: str, keys: Sequence[str], *others: tuple[Any, ...]) -> Kind:
    assert len(keys) <= MAX_KEYS
    return Kind(name, np.dtype([*((key, np.uint64) for key in keys), *others]), len(keys))


def start_of(*fields: int) -> int:
    """The least key that begins with these fields."""
    return sum(field << 64 * (MAX_KEYS - 1 - place) for place, field in enumerate(fields))


def spans(num_rows: int, row_bytes: int, budget: int) -> list[Span]:
    """Spans of equal width for so many rows; they depend on the data and the budget alone, not on the workers."""
    count = max(1, -(-num_rows * row_bytes * COPIES // budget))
    edges = [start_of((number << 64) // count) for number in range(count)]
    return list(zip(edges, [*edges[1:], ALL[1]], strict=True))


class RunWriter:
    """Runs of one kind, written by one task into its folder."""

    def __init__(self, folder: Path, kind: Kind, budget: int) -> None:
        self.kind, self.num_rows = kind, 0
        self._folder, self._limit = folder, max(1, budget // PARTS // kind.row_bytes)
        self._waiting: list[Array] = []
        self._num_waiting = self._num_runs = 0

    def append(self, rows: Array) -> None:
        for start in range(0, len(rows), self._limit):
            part = rows[start : start + self._limit]
            if self._num_waiting + len(part) > self._limit:
                self._flush()
            self._waiting.append(part)
            self._num_waiting += len(part)

    def _flush(self) -> None:
        if not self._num_waiting:
            return
        rows = self.kind.sort(np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0])
        schema = self.kind.schema()
        columns = [_to_arrow(rows[field.name], field.type) for field in schema]
        with pa.ipc.new_file(self._folder / f"{self.kind.name}-{self._num_runs:03d}.arrow", schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
        self.num_rows += len(rows)
        self._num_runs += 1
        self._waiting, self._num_waiting = [], 0

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()


class Runs:
    """All runs of a kind in some folders, or these files, as one sorted table."""

    def __init__(self, kind: Kind, files: Sequence[Path]) -> None:
        self.kind, self.files = kind, files

    def only(self, *fields: str) -> "Runs":
        """The same without the other fields; the keys must be among these."""
        dtype = np.dtype([(name, self.kind.dtype[name]) for name in fields])
        return Runs(Kind(self.kind.name, dtype, self.kind.keys), self.files)

    def pieces(self, budget: int, span: Span = ALL, extra: int = 0, shared: bool = False) -> Iterator[Array]:
        """Rows of the span, sorted. One first key is in one piece, or, if it does not fit, in consecutive ones.

        `extra`: bytes that the caller is going to need for each row besides the row itself. `shared`: rows may be left
        out whose first key no other row has; most are, before anything is sorted.
        """
        tables = [_Table(file, self.kind) for file in self.files]
        limit = max(1, budget // COPIES // (self.kind.row_bytes + extra))
        todo = [span]
        while todo:
            first, end = todo.pop()
            slices = [(table, *table.find(first, end)) for table in tables]
            num_rows = sum(stop - start for _, start, stop in slices)
            middle = _middle(slices) if num_rows > limit else None
            if middle:
                todo += [(middle, end), (first, middle)]
            elif num_rows:
                chosen = None
                if shared and not (first | end) % start_of(1):  # else a first key may go on in another piece
                    chosen = _shared([table.first_keys(start, stop) for table, start, stop in slices])
                rows = _gather(slices, self.kind, chosen)
                if len(rows):
                    yield rows if sum(stop > start for _, start, stop in slices) == 1 else self.kind.sort(rows)

    def count(self, span: Span = ALL) -> int:
        """Number of rows."""
        places = [_Table(file, self.kind).find(*span) for file in self.files]
        return sum(stop - start for start, stop in places)

    def all(self, span: Span = ALL) -> Array:
        """Rows that are few enough to be held."""
        rows = list(self.pieces(1 << 62, span))
        return rows[0] if rows else self.kind.empty()

    def values(self, ids: Array, field: str) -> tuple[Array, Array]:
        """Of all rows with these ids (ascending, each once) one field: (values, ends), those of id k between ends[k]
        and ends[k + 1], sorted. Rows are sorted by id and then by the field."""
        parts: list[list[Array]] = [[] for _ in range(len(ids))]
        for file in self.files:
            table = _Table(file, self.kind)
            high, low = table.keys[:2]
            starts, stops = (np.searchsorted(high, ids["high"], side) for side in ("left", "right"))
            for number in np.flatnonzero(starts < stops).tolist():
                here = slice(starts[number], stops[number])
                parts[number].append(table.column(field)[here][low[here] == ids["low"][number]])
        sets = [np.unique(np.concatenate(part)) if part else np.empty(0, np.uint64) for part in parts]
        ends = np.cumsum([0, *map(len, sets)])
        return np.concatenate([np.empty(0, np.uint64), *sets]), ends

    def lookup(self, ids: Array, fields: Sequence[str]) -> tuple[Array, Array]:
        """For ids in ascending order, each once: (some fields of their rows, which of them are in no file).

        Of several rows with one id the first one counts.
        """
        found = np.zeros(len(ids), dtype=[(name, self.kind.dtype[name]) for name in fields])
        missing = np.ones(len(ids), dtype=bool)
        for file in self.files if len(ids) else ():
            table = _Table(file, self.kind)
            start, stop = table.find(*around(ids, "high"))
            place = _places(*_halves(ids), *(table.column(half)[start:stop] for half in ("high", "low")))
            rows = np.flatnonzero(place >= 0)
            rows = rows[missing[place[rows]]]
            rows = rows[np.diff(place[rows], prepend=-1) > 0]
            missing[place[rows]] = False
            for name in fields:
                found[name][place[rows]] = table.column(name)[start + rows]
        return found, missing


def around(rows: Array, key: str) -> Span:
    """The span from the first row's key to the last one's, of rows sorted by it."""
    return start_of(int(rows[key][0])), start_of(int(rows[key][-1]) + 1)


def of_file(number: int) -> Span:
    """Of rows that are sorted by their documents file."""
    return start_of(number), start_of(number + 1)


def sorted_by(rows: Array, *fields: str) -> Array:
    return rows.take(sort_order([rows[name] for name in fields]))  # rows[order] is ten times as slow


def firsts(rows: Array, *group: str) -> Array:
    """int64 per row: the first row that is equal in the fields `group`, the first of which `rows` are sorted by."""
    return _firsts(*(np.ascontiguousarray(rows[name]) for name in (group if len(group) > 1 else group * 2)))


def distinct(rows: Array, *fields: str) -> Array:
    """Sorted rows without those that equal the one before in all of `fields`."""
    if not len(rows):
        return rows
    new = np.zeros(len(rows), dtype=bool)
    new[0] = True
    for name in fields:
        new[1:] |= rows[name][1:] != rows[name][:-1]
    return rows if new.all() else rows.compress(new)


def places(ids: Array, rows: Array) -> Array:
    """int64 per row: where its id is among `ids`, which are sorted; -1 where it is not."""
    return _places(*_halves(ids), *_halves(rows))


def distinct_ids(high: Array, low: Array) -> tuple[Array, Array]:
    """(ids in ascending order, each once; place of each given id among them)."""
    ids = np.empty(len(high), dtype=[("high", np.uint64), ("low", np.uint64)])
    ids["high"], ids["low"] = high, low
    order = sort_order([high, low])
    ids = ids.take(order)
    new = np.ones(len(ids), dtype=bool)
    new[1:] = ids[1:] != ids[:-1]
    place = np.empty(len(ids), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    return ids.compress(new), place


def with_carry(pieces: Iterator[Array], *group: str, last: int = 0) -> Iterator[tuple[Array, int]]:
    """(rows, how many of the first ones were seen before): where a key goes on in the next piece, the first row of each
    of its groups is seen there again, or, if given, the `last` rows of the key."""
    carried: Array | None = None
    for piece in pieces:
        key = piece[group[0]]
        goes_on = carried is not None and len(carried) and carried[group[0]][-1] == key[0]
        rows = np.concatenate([carried, piece]) if goes_on and carried is not None else piece
        yield rows, len(rows) - len(piece)
        of_key = rows[np.searchsorted(rows[group[0]], rows[group[0]][-1]) :]
        carried = of_key[-last:] if last else of_key[firsts(of_key, *group) == np.arange(len(of_key))]


# ---- files and sorting -------------------------------------------------------------------------------------------


class _Table:
    """One file; columns are views into its memory map.

    A page that was touched counts as memory of the process until it is released, with those around it: of a thousand
    files that are searched and read for a few rows each, more than all rows that are wanted.
    """

    def __init__(self, file: Path, kind: Kind) -> None:
        with open(file, "rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self._batch, self._kind = pa.ipc.open_file(pa.py_buffer(self._map)).get_batch(0), kind
        self.keys = [self.column(name) for name in kind.fields[: kind.keys]]

    def column(self, name: str) -> Array:
        array, shape = self._batch.column(name), self._kind.dtype[name]
        return np.frombuffer(array.buffers()[1], dtype=shape, count=len(array))

    def first_keys(self, start: int, stop: int) -> Array:
        keys = self.keys[0][start:stop].copy()
        self.release()
        return keys

    def find(self, first: int, end: int) -> tuple[int, int]:
        """Rows [start, stop) whose keys are in the span."""
        place = self._place(first), self._place(end)
        self.release()
        return place

    def release(self) -> None:
        """Pages leave the process, not the cache of the system; a view that touches one again gets it back."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def key(self, row: int) -> int:
        key = start_of(*(int(field[row]) for field in self.keys))
        self.release()
        return key

    def _place(self, key: int) -> int:
        """The first row whose key is not below this one."""
        if key == ALL[1]:
            return len(self.keys[0])
        start, stop = 0, len(self.keys[0])
        for place, field in enumerate(self.keys):
            value = np.uint64(key >> 64 * (MAX_KEYS - 1 - place) & (1 << 64) - 1)
            rows = field[start:stop]
            below = int(np.searchsorted(rows, value))
            if not key % start_of(*[0] * place, 1):  # no more is asked
                return start + below
            start, stop = start + below, start + int(np.searchsorted(rows, value, "right"))
        return stop


def _middle(slices: Sequence[tuple[_Table, int, int]]) -> int | None:
    """Halfway from the least key to the greatest, at the start of a first field if one begins between these, else of a
    second field, and so on; None if there is one key only."""
    least = min(table.key(start) for table, start, stop in slices if stop > start)
    greatest = max(table.key(stop - 1) for table, start, stop in slices if stop > start)
    for field in (start_of(1), start_of(0, 1), start_of(0, 0, 1), 1):
        below = (least + greatest) // 2 // field * field
        for middle in (below, below + field):
            if least < middle <= greatest:
                return middle
    return None


def _halves(rows: Array) -> tuple[Array, Array]:
    return np.ascontiguousarray(rows["high"]), np.ascontiguousarray(rows["low"])


def _gather(
    slices: Sequence[tuple[_Table, int, int]], kind: Kind, chosen: Sequence[Array | slice] | None = None
) -> Array:
    parts: list[Array] = []
    for (table, start, stop), some in zip(slices, chosen or [slice(None)] * len(slices), strict=True):
        columns = {name: table.column(name)[start:stop][some] for name in kind.fields}
        part = np.empty(len(columns[kind.fields[0]]), dtype=kind.dtype)
        for name, column in columns.items():
            part[name] = column
        table.release()
        parts.append(part)
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _shared(slices: Sequence[Array]) -> list[Array]:
    """Per sorted slice of keys the places of those that may not be alone: a table counts them by their first bits."""
    low, high = min(int(keys[0]) for keys in slices if len(keys)), max(int(keys[-1]) for keys in slices if len(keys))
    num_slots = 8 * sum(map(len, slices))
    shift = np.uint64(max(0, (high - low).bit_length() - num_slots.bit_length()))
    table = np.zeros(((high - low) >> int(shift)) + 1, dtype=np.uint8)
    for keys in slices:
        _count_slots(keys, np.uint64(low), shift, table)
    return [_shared_slots(keys, np.uint64(low), shift, table) for keys in slices]


def _arrow_type(shape: np.dtype[Any]) -> pa.DataType:
    if shape.subdtype:
        return pa.binary(shape.itemsize)
    return pa.uint8() if shape == np.bool_ else pa.from_numpy_dtype(shape)  # Arrow packs booleans: no bytes to view


def _to_arrow(column: Array, kind: pa.DataType) -> pa.Array:
    column = np.ascontiguousarray(column)
    return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(column)])


def sort_order(keys: Sequence[Array]) -> Array:
    """int64: the order by the first key, then the second, ...; equal rows keep theirs."""
    first = np.ascontiguousarray(keys[0])
    order = np.argsort(first)  # several times as fast as a stable sort
    ordered = first[order]
    same = ordered[1:] == ordered[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = order[tied]
        order[tied] = rows[np.lexsort([rows, *(key[rows] for key in reversed(keys))])]
    return order


@kernel
def _count_slots(keys, low, shift, table):  # type: ignore[no-untyped-def]
    for key in keys:
        slot = (key - low) >> shift
        table[slot] = min(table[slot] + 1, 2)


@kernel
def _shared_slots(keys, low, shift, table):  # type: ignore[no-untyped-def]
    found = np.empty(len(keys), dtype=np.int64)
    count = 0
    for row in range(len(keys)):
        if table[(keys[row] - low) >> shift] > 1:
            found[count] = row
            count += 1
    return found[:count]


@kernel
def _firsts(key, more):  # type: ignore[no-untyped-def]
    result = np.empty(len(key), dtype=np.int64)
    start = 0
    for row in range(len(key)):
        if key[row] != key[start]:
            start = row
        first = start
        while more[first] != more[row]:  # two groups in one key: as rare as equal 64-bit hashes
            first += 1
        result[row] = first
    return result


@kernel
def _places(high, low, row_high, row_low):  # type: ignore[no-untyped-def]
    result = np.full(len(row_high), -1, dtype=np.int64)
    for row in range(len(row_high)):
        at = np.searchsorted(high, row_high[row])
        while at < len(high) and high[at] == row_high[row]:
            if low[at] == row_low[row]:
                result[row] = at
                break
            at += 1
    return result
