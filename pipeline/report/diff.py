"""Two texts to the lines of a unified diff that people can read: few, and short around what changed."""

import difflib
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile

MAX_LINES = 40
CONTEXT_CHARS = 40  # of a long line, before and after what changed in it


def changes(before: str, after: str) -> tuple[str, ...]:
    """At most MAX_LINES lines "@@ ...", " ...", "-...", "+...", and one that says how many are left out."""
    unified = difflib.unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")
    lines = list(_focused(list(islice(unified, 2, None))))  # without the names of the files
    left_out = len(lines) - MAX_LINES
    return tuple(lines) if left_out <= 0 else (*lines[:MAX_LINES], f"… {left_out:,} more lines of the diff")


def _focused(lines: Sequence[str]) -> Iterator[str]:
    """A run of "-" and the run of "+" that takes its place, line by line cut to where the two differ."""
    at = 0
    while at < len(lines):
        old = list(takewhile(lambda line: line[0] == "-", lines[at:]))
        new = list(takewhile(lambda line: line[0] == "+", lines[at + len(old) :]))
        if len(old) == len(new) > 0:
            pairs = [_cut_pair(one[1:], other[1:]) for one, other in zip(old, new, strict=True)]
            yield from ("-" + one for one, _ in pairs)
            yield from ("+" + other for _, other in pairs)
        else:
            yield from (_cut(line, 0, 0) for line in (*old, *new) or lines[at : at + 1])
        at += len(old) + len(new) or 1


def _cut_pair(one: str, other: str) -> tuple[str, str]:
    shorter = min(len(one), len(other))
    head = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    tail = next((i for i in range(shorter - head) if one[-1 - i] != other[-1 - i]), shorter - head)
    return _cut(one, head, tail), _cut(other, head, tail)


def _cut(line: str, head: int, tail: int) -> str:
    """Without most of the `head` and `tail` characters that both have; of a long rest, without its middle."""
    start, end = max(0, head - CONTEXT_CHARS), len(line) - max(0, tail - CONTEXT_CHARS)
    middle = line[start:end]
    if len(middle) > 5 * CONTEXT_CHARS:
        middle = f"{middle[: 3 * CONTEXT_CHARS]} … {middle[-CONTEXT_CHARS:]}"
    return "… " * (start > 0) + middle + " …" * (end < len(line))
