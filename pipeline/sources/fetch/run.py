"""All files of a listing, a few at a time; then `manifest.json`.

1. the fetcher lists its files
2. those that OUT's manifest knows and that are there in their size are skipped
3. the others are fetched; one that fails for good does not keep the rest from coming
4. the manifest says of every file where it came from ("URL SUM"), its size and its checksums

OUT may grow: files of earlier fetches (another month, another language) stay and stay in the manifest.
"""

import logging
import math
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol, TypeVar, cast

from pipeline.core.errors import UserError
from pipeline.core.files import exclusive
from pipeline.core.manifest import Manifest, fingerprint, is_done, read_manifest, write_manifest
from pipeline.core.plugins import load
from pipeline.core.progress import Bar
from pipeline.core.sizes import in_units
from pipeline.sources.fetch.base import PACKAGE, FetchConfig, RemoteFile
from pipeline.sources.fetch.download import Fetched, Part, download
from pipeline.sources.fetch.web import Missing, Web

logger = logging.getLogger(__name__)

STAGE = "fetch"
VERSION = 1
SHOWN = 3
GRACE_S = 2.0  # for threads to notice that the fetch ends

T = TypeVar("T")


class Fetcher(Protocol):
    """A fetcher plugin, as this file sees its module."""

    def listing(self, config: FetchConfig, web: Web) -> list[RemoteFile]: ...


def config_of(name: str) -> type[FetchConfig]:
    """The settings of the fetcher `name`; raises UserError for one that does not exist."""
    try:
        return cast(type[FetchConfig], load(PACKAGE, name).Config)
    except ValueError as error:
        raise UserError(str(error)) from None


def list_files(config: FetchConfig) -> list[RemoteFile]:
    """What `fetch` would bring; sizes that no listing says are asked for, file by file."""
    web = Web(config)
    files = _listing(config, web)
    asked = _in_threads(web, lambda file: web.size(file.url) if file.num_bytes is None else file.num_bytes, files)
    return [replace(file, num_bytes=size.result()) for size, file in asked.items()]


def print_files(files: Sequence[RemoteFile]) -> None:
    for file in files:
        size = in_units(file.num_bytes) if file.num_bytes is not None else "unknown"
        print(f"{size:>12}  {file.name}  {file.checksum}".rstrip())
    total = sum(file.num_bytes or 0 for file in files)
    print(f"{in_units(total):>12}  in {len(files)} files")


def fetch(config: FetchConfig, out: Path) -> Manifest:
    """OUT, whole; raises UserError when a file could not be had. The same call goes on from there."""
    web = Web(config)
    files = _listing(config, web)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder")
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out):
        had = _had(out, files)
        wanted = [file for file in files if file.name not in had]
        _require_room(out, wanted)
        got, missing = _fetch_all(web, wanted, out)
        _require_enough(config, len(files), missing)
        return _write_manifest(config, out, had | got, len(missing))


def _listing(config: FetchConfig, web: Web) -> list[RemoteFile]:
    return cast(Fetcher, load(PACKAGE, config.name)).listing(config, web)


def _had(out: Path, files: Sequence[RemoteFile]) -> dict[str, Fetched]:
    """What the manifest of an earlier fetch vouches for and is there; raises UserError where it is another version."""
    if not is_done(out):
        return {}
    manifest = read_manifest(out)
    if manifest.stage != STAGE:
        raise UserError(f"{out} is the output of '{manifest.stage}'; name another folder")
    published = {file.name: file for file in files}
    had = {}
    for entry in manifest.files:
        origin = manifest.inputs.get(entry.name, "")
        remote = published.get(entry.name)
        if remote and remote.checksum and not origin.endswith(remote.checksum):
            raise UserError(
                f"{out / entry.name} is of another version ({origin}; now {remote.checksum}); name another folder"
            )
        path = out / entry.name
        if path.exists() and path.stat().st_size == entry.num_bytes:
            had[entry.name] = Fetched(entry, origin)
        elif remote is None:
            logger.warning("%s of an earlier fetch is gone or was cut; it leaves the manifest", path)
    logger.info("%d of %d files are there already", sum(name in published for name in had), len(files))
    return had


def _require_room(out: Path, wanted: Sequence[RemoteFile]) -> None:
    there = {file.name for file in wanted if (out / file.name).exists()}  # of a fetch that was killed
    needed = sum(
        file.num_bytes - Part(out / file.name).size() for file in wanted if file.num_bytes and file.name not in there
    )
    free = shutil.disk_usage(out).free
    if needed > free:
        raise UserError(f"{out}: {needed / 1e9:,.2f} GB are to come and {free / 1e9:,.2f} GB are free; make room")


def _fetch_all(web: Web, wanted: Sequence[RemoteFile], out: Path) -> tuple[dict[str, Fetched], list[str]]:
    """(file name -> what came, messages of files that the server does not have)."""
    sizes: dict[str, int] = {}
    got: dict[str, Fetched] = {}
    missing: list[str] = []
    failed: list[str] = []
    running = _in_threads(web, lambda file: download(web, file, out, partial(sizes.__setitem__, file.name)), wanted)
    with Bar(STAGE, total=len(wanted), unit="files") as bar:
        try:
            while running:
                ready, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in ready:
                    file = running.pop(future)
                    try:
                        got[file.name] = future.result()
                    except Missing as error:
                        missing.append(str(error))
                    except UserError as error:
                        failed.append(str(error))
                bar.advance(len(ready), note=in_units(sum(sizes.values())))
        finally:
            web.stop()  # on Ctrl-C or a full disk nobody goes on
            wait(running, timeout=GRACE_S)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(wanted)} files could not be fetched: {'; '.join(failed[:SHOWN])}\n"
            "what came stays: run the same command again to go on"
        )
    return got, missing


def _in_threads(
    web: Web, function: Callable[[RemoteFile], T], files: Sequence[RemoteFile]
) -> dict[Future[T], RemoteFile]:
    """`function` of every file, as many at a time as there are connections.

    The threads are daemons, which `ThreadPoolExecutor` has none of: one that waits for a silent server must not keep
    the process that long after Ctrl-C. What it leaves is what a kill leaves.
    """
    futures: dict[Future[T], RemoteFile] = {Future(): file for file in files}
    todo: SimpleQueue[tuple[Future[T], RemoteFile]] = SimpleQueue()
    for item in futures.items():
        todo.put(item)

    def work() -> None:
        while not web.stopped:
            try:
                future, file = todo.get_nowait()
            except Empty:
                return
            try:
                future.set_result(function(file))
            except BaseException as error:  # noqa: BLE001  (it is for whoever asks for the result)
                future.set_exception(error)

    for _ in range(min(web.config.connections, len(files))):
        Thread(target=work, daemon=True).start()
    return futures


def _require_enough(config: FetchConfig, num_files: int, missing: Sequence[str]) -> None:
    if len(missing) > config.max_missing_rate * num_files:
        raise UserError(
            f"{len(missing)} of {num_files} files are not on the server: {'; '.join(missing[:SHOWN])}\n"
            f"the others are there; --set max_missing_rate={math.ceil(100 * len(missing) / num_files) / 100} accepts it"
        )
    for line in missing:
        logger.warning("missing: %s", line)


def _write_manifest(config: FetchConfig, out: Path, files: dict[str, Fetched], num_missing: int) -> Manifest:
    entries = tuple(files[name].entry for name in sorted(files))
    inputs = {name: files[name].origin for name in sorted(files)}
    counts = {"files": len(entries), "bytes": sum(entry.num_bytes for entry in entries), "missing": num_missing}
    section = config.model_dump(mode="json")
    manifest = Manifest(STAGE, VERSION, fingerprint(STAGE, VERSION, {}, inputs), section, inputs, counts, entries)
    write_manifest(out, manifest)
    return manifest
