"""Files behind a URL (http, s3, gs, memory, ...): found through fsspec, read from a copy on the worker's disk.

    input: s3://bucket/corpus        the sources' `paths` are relative to it, globs as ever
    paths: [https://host/a.jsonl]    or single patterns that are URLs

A worker copies a file to its scratch, reads the copy as it would any file, and removes it: sources map files, seek in
them and open them twice, which a stream cannot do. So a remote file is one split, and the disk has to hold one of them
for each worker; of a dump of 20 GB `penstock fetch` makes a local file that all workers share.

Options and keys come from fsspec's own configuration and environment (FSSPEC_S3_ANON=true): no secret enters a config,
and a URL with one is refused, as URLs are in ledgers, manifests and logs.
"""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from glob import has_magic
from pathlib import Path
from typing import Any

from pipeline.core.errors import UserError
from pipeline.sources.base import InputFile

VERSION_FIELDS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "Last-Modified", "created")
OPTIONS: dict[str, dict[str, Any]] = {scheme: {"client_kwargs": {"trust_env": True}} for scheme in ("http", "https")}


def is_url(name: str | Path) -> bool:
    return "://" in str(name)


def find(source: str, input: str | Path, pattern: str) -> Iterator[InputFile]:
    """The files that a pattern names, in no order; raises UserError when they cannot be listed."""
    whole = pattern if is_url(pattern) else f"{str(input).rstrip('/')}/{pattern}"
    if "@" in whole.partition("://")[2].partition("/")[0]:
        raise UserError(
            f"source {source}: a URL holds a name or a key before its @; give it to fsspec in its environment"
        )
    system, path = _system(whole)
    try:
        found = _listed(system, path)
    except Exception as error:  # each file system has its own ways to fail
        reason = error.__cause__ or error  # over HTTP whatever happens is a file not found
        if isinstance(reason, FileNotFoundError):
            return
        raise UserError(f"source {source}: cannot list {whole}: {type(reason).__name__}: {reason}") from error
    prefix = _fixed_prefix(path)
    for name, facts in found.items():
        url = str(system.unstrip_protocol(name))
        if facts["size"] is None:
            raise UserError(f"source {source}: {url} does not say how long it is; fetch it first")
        shown = url.removeprefix(f"{str(input).rstrip('/')}/")
        key = name.removeprefix(prefix) or name.rpartition("/")[2]
        yield InputFile(Path(name), shown, key, facts["size"], 0, url=url, version=_version(facts))


@contextmanager
def copied(file: InputFile, scratch: Path) -> Iterator[InputFile]:
    """The file as a local one below `scratch`, for as long as the context lasts.

    Raises UserError when it is not what was listed, and OSError, so that the split is tried again, when it breaks off.
    """
    system, path = _system(file.url)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".copy-") as folder:
        copy = Path(folder) / file.path.name  # some sources go by the suffix
        try:
            version = _version(system.info(path))
            system.get_file(path, str(copy))
        except OSError:
            raise
        except Exception as error:
            raise OSError(errno.EIO, f"{type(error).__name__}: {error}", file.url) from error
        size, mtime_ns = copy.stat().st_size, copy.stat().st_mtime_ns
        if (size, version) != (file.num_bytes, file.version):
            raise UserError(
                f"{file.url} changed since it was listed: {size:,} bytes, version {version or 'unknown'}; "
                f"not {file.num_bytes:,}, {file.version or 'unknown'}"
            )
        yield replace(file, path=copy, mtime_ns=mtime_ns, url="")


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url, **OPTIONS.get(url.partition("://")[0], {}))
    except (ImportError, ValueError) as error:  # the package of a protocol is not installed; no such protocol
        raise UserError(f"{url}: {error}") from None


def _listed(system: Any, path: str) -> dict[str, dict[str, Any]]:
    if has_magic(path):
        found = system.glob(path, detail=True)
    else:
        facts = system.info(path)
        found = system.find(path, detail=True) if facts["type"] == "directory" else {path: facts}
    files = {name: facts for name, facts in found.items() if facts["type"] == "file"}
    # listings of web servers are pages of links and tell no sizes
    return {name: system.info(name) if facts.get("size") is None else facts for name, facts in files.items()}


def _fixed_prefix(path: str) -> str:
    """The folders of a pattern before its first wildcard, with their "/"; of a plain name its folder."""
    steps = path.split("/")
    fixed = next((i for i, step in enumerate(steps) if has_magic(step)), len(steps) - 1)
    return "/".join(steps[:fixed]) + "/"


def _version(facts: dict[str, Any]) -> str:
    return next((str(facts[name]) for name in VERSION_FIELDS if facts.get(name)), "")
