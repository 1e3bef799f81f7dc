"""Files behind a URL (http, s3, gs, memory, ...): found through fsspec, read from a copy on the worker's disk.

    input: s3://bucket/corpus        the sources' `paths` are relative to it, globs as ever
    paths: [https://host/a.jsonl]    or single patterns that are URLs

A worker copies a file to its scratch, reads the copy as it would any file, and removes it: sources map files, seek in
them and open them twice, which a stream cannot do. So a remote file is one split, and the disk has to hold one of them
for each worker; of a dump of 20 GB `penstock fetch` makes a local file that all workers share.

A pattern means the same files, under the same names, as in a local folder: hidden ones have to be named, and what
stands for a folder (an object "sub/", a link to sort a listing) is none.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from glob import has_magic
from pathlib import Path
from typing import Any

from pipeline.core.errors import Unreachable, UserError, storage_error
from pipeline.core.manifest import MANIFEST
from pipeline.core.storage import failure, is_url, open_system, reason, refuse_keys
from pipeline.sources.base import InputFile
from pipeline.sources.walk import matches

VERSION_FIELDS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "Last-Modified", "created")

Facts = dict[str, Any]  # what fsspec says of a file


def find(source: str, input: str | Path, pattern: str) -> Iterator[InputFile]:
    """The files that a pattern names, in no order; raises UserError when they cannot be listed."""
    whole = pattern if is_url(pattern) else f"{str(input).rstrip('/')}/{pattern}"
    refuse_keys(whole, f"source {source}")
    system, path = open_system(whole)
    try:
        top, found = _listed(system, path)
    except Exception as error:  # each file system has its own ways to fail
        if isinstance(reason(error), FileNotFoundError):
            return
        raise UserError(f"source {source}: cannot list {failure(whole, error)}") from error
    for name, facts in found.items():
        url = str(system.unstrip_protocol(name))
        if facts["size"] is None:
            raise UserError(f"source {source}: {url} does not say how long it is; fetch it first")
        shown = url.removeprefix(f"{str(input).rstrip('/')}/")
        yield InputFile(Path(name), shown, name.removeprefix(top), facts["size"], 0, url=url, version=_version(facts))


@contextmanager
def copied(file: InputFile, scratch: Path) -> Iterator[InputFile]:
    """The file as a local one below `scratch`, for as long as the context lasts.

    Raises UserError when it is not what was listed, and Unreachable, so that the split is tried again, when it does
    not come.
    """
    system, path = open_system(file.url)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".copy-") as folder:
        copy = Path(folder) / file.path.name  # some sources go by the suffix
        try:
            system.get_file(path, str(copy))
            version = _version(system.info(path))  # afterwards: of a file that changes on the way two parts may meet
        except Exception as error:
            if isinstance(error, OSError) and storage_error(error):
                raise
            raise Unreachable(f"cannot copy {failure(file.url, error)}") from error
        size, mtime_ns = copy.stat().st_size, copy.stat().st_mtime_ns
        if (size, version) != (file.num_bytes, file.version):
            raise UserError(
                f"{file.url} changed since it was listed: {size:,} bytes, version {version or 'unknown'}; "
                f"not {file.num_bytes:,}, {file.version or 'unknown'}"
            )
        yield replace(file, path=copy, mtime_ns=mtime_ns, url="")


def _listed(system: Any, path: str) -> tuple[str, dict[str, Facts]]:
    """(the folder to which keys are relative, with its "/"; files by name)."""
    top, pattern = _fixed_prefix(path)
    if has_magic(path):
        found = system.glob(path, detail=True) or _nothing(system, top)
    else:
        facts = system.info(path)
        found = {path: facts}
        if facts["type"] == "directory":
            top, pattern, found = f"{path.rstrip('/')}/", "**", system.find(path, detail=True)
    wanted = pattern.split("/")
    files = {
        name: facts
        for name, facts in found.items()
        if facts["type"] == "file" and _is_file(name) and matches(name.removeprefix(top).split("/"), wanted)
    }
    # listings of web servers are pages of links and tell no sizes
    return top, {name: system.info(name) if facts.get("size") is None else facts for name, facts in files.items()}


def _nothing(system: Any, folder: str) -> dict[str, Facts]:
    """No files; raises what is wrong with the folder, of which some globs say nothing: a bucket that is not there."""
    system.info(folder)
    return {}


def _is_file(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last not in ("", MANIFEST) and not (is_url(name) and "?" in last)


def _fixed_prefix(path: str) -> tuple[str, str]:
    """(folders of a pattern before its first wildcard, with their "/"; the rest); the folder and the name of a file."""
    steps = path.split("/")
    fixed = next((i for i, step in enumerate(steps) if has_magic(step)), len(steps) - 1)
    return "/".join(steps[:fixed]) + "/", "/".join(steps[fixed:])


def _version(facts: Facts) -> str:
    return next((str(facts[name]) for name in VERSION_FIELDS if facts.get(name)), "")
