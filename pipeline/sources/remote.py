"""Files behind a URL (http, s3, gs, memory, ...): found through fsspec, read from a copy on the worker's disk.

    input: s3://bucket/corpus        the sources' `paths` are relative to it, globs as ever
    paths: [https://host/a.jsonl]    or single patterns that are URLs

A worker copies a file to its scratch, reads the copy as it would any file, and removes it: sources map files, seek in
them and open them twice, which a stream cannot do. So a remote file is one split, and the disk has to hold one of them
for each worker; of a dump of 20 GB `penstock fetch` makes a local file that all workers share.

A pattern means the same files, under the same names, as in a local folder: hidden ones have to be named, and what
stands for a folder (an object "sub/", a link to sort a listing) is none.

Options and keys come from fsspec's own configuration and environment (FSSPEC_S3_ANON=true): no secret enters a config,
and a URL with one is refused, as URLs are in ledgers, manifests and logs.
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
from pipeline.sources.base import InputFile
from pipeline.sources.walk import matches

VERSION_FIELDS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "Last-Modified", "created")
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}  # protocol -> what of ours installs its package
BUNDLES = {"http": "SSL_CERT_FILE", "https": "SSL_CERT_FILE", "s3": "AWS_CA_BUNDLE", "s3a": "AWS_CA_BUNDLE"}
SILENCE_S = 60.0  # of a web server that counts as a broken connection

Facts = dict[str, Any]  # what fsspec says of a file


def is_url(name: str | Path) -> bool:
    return "://" in str(name)


def find(source: str, input: str | Path, pattern: str) -> Iterator[InputFile]:
    """The files that a pattern names, in no order; raises UserError when they cannot be listed."""
    whole = pattern if is_url(pattern) else f"{str(input).rstrip('/')}/{pattern}"
    _refuse_keys(source, whole)
    system, path = _system(whole)
    try:
        top, found = _listed(system, path)
    except Exception as error:  # each file system has its own ways to fail
        if isinstance(_reason(error), FileNotFoundError):
            return
        raise UserError(f"source {source}: cannot list {_said(whole, error)}") from error
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
    system, path = _system(file.url)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".copy-") as folder:
        copy = Path(folder) / file.path.name  # some sources go by the suffix
        try:
            system.get_file(path, str(copy))
            version = _version(system.info(path))  # afterwards: of a file that changes on the way two parts may meet
        except Exception as error:
            if isinstance(error, OSError) and storage_error(error):
                raise
            raise Unreachable(f"cannot copy {_said(file.url, error)}") from error
        size, mtime_ns = copy.stat().st_size, copy.stat().st_mtime_ns
        if (size, version) != (file.num_bytes, file.version):
            raise UserError(
                f"{file.url} changed since it was listed: {size:,} bytes, version {version or 'unknown'}; "
                f"not {file.num_bytes:,}, {file.version or 'unknown'}"
            )
        yield replace(file, path=copy, mtime_ns=mtime_ns, url="")


def _refuse_keys(source: str, url: str) -> None:
    scheme, _, rest = url.partition("://")
    if "@" in rest.partition("/")[0]:
        raise UserError(
            f"source {source}: a URL holds a name or a key before its @; give it to fsspec in its environment"
        )
    if scheme in ("http", "https") and "?" in rest:
        raise UserError(
            f"source {source}: {url.partition('?')[0]} goes on with a '?', and what follows may be a key; "
            "name a file without it, or match one character with [a-z]"
        )


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec

    scheme = url.partition("://")[0]
    try:
        system, path = fsspec.core.url_to_fs(url, **_options(scheme))
    except ValueError as error:  # no such protocol
        raise UserError(f"{url}: {error}") from None
    except ImportError as error:  # its package is not installed
        remedy = f"; pip install 'penstock[{EXTRAS[scheme]}]' wherever workers run" if scheme in EXTRAS else ""
        raise UserError(f"{url}: {error} ({error.__cause__}){remedy}") from None
    system.invalidate_cache()  # it may be one that was asked before
    return system, path


def _options(scheme: str) -> dict[str, Any]:
    """What we ask of a file system where fsspec's configuration does not say otherwise."""
    from fsspec.config import apply_config

    if scheme not in ("http", "https", "s3", "s3a"):
        return {}
    from fsspec import get_filesystem_class

    said = apply_config(get_filesystem_class(scheme), {})
    if scheme in ("s3", "s3a"):
        return {"max_concurrency": 1} | said  # of more at once each holds 50 MB in memory
    import aiohttp

    patience = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)  # not 5 minutes a file
    return said | {"client_kwargs": {"trust_env": True, "timeout": patience} | said.get("client_kwargs", {})}


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


def _reason(error: Exception) -> BaseException:
    """Over HTTP whatever happens is a file not found, and S3 says it better than s3fs."""
    return error.__cause__ or error


def _said(url: str, error: Exception) -> str:
    reason, bundle = _reason(error), BUNDLES.get(url.partition("://")[0])
    said = " ".join(f"{url}: {type(reason).__name__}: {reason}".split())
    return f"{said}; {bundle} names a bundle to trust" if bundle and "CERTIFICATE_VERIFY_FAILED" in said else said
