"""Files that a glob means, always in the same order. It matches as `glob` does, and tells what `glob` keeps to itself.

- A folder that may not be listed is an error; `glob` passes over it, and what lies there would be lost without a word.
- Every folder is entered once, under its own name where links lead to it as well: two links in a circle would keep
  `glob` busy for ever.
- What is no file (a pipe, a device, a link to nothing) is found as well: who meant it has to hear why it is not read.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.core.errors import UserError

KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


def matching(top: Path, pattern: Sequence[str]) -> Iterator[Path]:
    """What lies below `top`, folders excepted, at a path whose parts match; `**` stands for any number of folders."""
    pending: list[tuple[Path, tuple[str, ...]]] = [(top, ())]
    links: list[tuple[Path, tuple[str, ...]]] = []  # to folders, for later
    entered = set()
    while pending or links:
        folder, above = pending.pop() if pending else links.pop(0)
        facts = os.stat(folder) if os.path.isdir(folder) else None
        if facts is None or (facts.st_dev, facts.st_ino) in entered:
            continue
        entered.add((facts.st_dev, facts.st_ino))
        for name in sorted(_list(folder)):
            path, parts = folder / name, (*above, name)
            if not os.path.isdir(path):
                if matches(parts, pattern):
                    yield path
            elif _may_lead(parts, pattern):
                (links if path.is_symlink() else pending).append((path, parts))


def what_it_is(path: Path) -> str:
    """ "" for a file; else why it cannot be read like one."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return "a link to nothing"
    except OSError as error:
        return f"a link that cannot be followed: {error.strerror}"
    return "" if kind == stat.S_IFREG else KINDS.get(kind, "no file")


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path is meant: `*` within a folder, `**` for any number of folders, hidden names only when named."""
    if not pattern or not parts:
        return not parts and all(part == "**" for part in pattern)
    if pattern[0] != "**":
        return _fits(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])
    return matches(parts, pattern[1:]) or (not parts[0].startswith(".") and matches(parts[1:], pattern))


def _list(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except PermissionError:
        raise UserError(f"no permission to list {folder}") from None


def _may_lead(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a folder may hold what matches."""
    if not pattern or pattern[0] == "**":
        return bool(pattern) and (not parts[0].startswith(".") or _may_lead(parts, pattern[1:]))
    return _fits(parts[0], pattern[0]) and (len(pattern) > 1 if len(parts) == 1 else _may_lead(parts[1:], pattern[1:]))


def _fits(name: str, part: str) -> bool:
    """Hidden files have to be named."""
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
