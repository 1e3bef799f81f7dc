"""A folder appears whole or not at all, and an existing one is never written over.

with scratch(out, mark) as temporary:
    ...write...
    publish(temporary, out, manifest)
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.core.errors import UserError
from pipeline.core.files import TEMPORARY, checksum, exclusive, sync
from pipeline.core.manifest import MANIFEST, Manifest, fingerprint, is_done, read_manifest, write_manifest

logger = logging.getLogger(__name__)


def already_done(out: Path, mark: str, stage: str) -> bool:
    """Whether `out` holds the result with this fingerprint; raises UserError if it holds anything else."""
    if not out.exists():
        return False
    if is_done(out):
        found = read_manifest(out)
        if (found.stage, found.fingerprint) == (stage, mark):
            logger.info("%s is done already: %s", stage, out)
            return True
        raise UserError(f"{out} holds another finished {found.stage}; name another folder, or remove it")
    if out.is_dir() and not any(out.iterdir()):
        return False
    raise UserError(f"{out} exists and is not a finished {stage}; name another folder, or remove it")


@contextmanager
def scratch(out: Path, mark: str, *, go_on: bool = False) -> Iterator[Path]:
    """Where the work lies until it is done: .OUT.tmp/MARK beside `out`, so that a rename moves it.

    One process at a time works for `out`, whatever its mark; raises UserError in the second. `go_on`: what a run of
    this mark that did not end left there is kept, and so is what this one leaves; else nothing is left.
    """
    place = out.absolute().with_name(f".{out.absolute().name}{TEMPORARY}")
    folder = place / mark[:12]
    place.mkdir(parents=True, exist_ok=True)  # before the lock, which else would want to remove it at the end
    with exclusive(place):
        if not go_on:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        finally:
            if not go_on or not folder.exists():  # published: nobody else's work for this `out` is of use now
                shutil.rmtree(place, ignore_errors=True)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """A full disk is the user's to mend, also where safetensors and torch have errors of their own for it."""
    try:
        yield
    except Exception as error:
        if not _NO_ROOM.search(str(error)):
            raise
        raise UserError(f"no room left on the disk while writing {path}; free some and rerun") from None


# safetensors quotes the system's number (too large, no space, quota); torch.save the file it could not write to the end
_NO_ROOM = re.compile(r"os error (27|28|122)\b|inline_container\.cc.*(file write failed|unexpected pos)", re.S)


def publish(temporary: Path, out: Path, manifest: Manifest, unlisted: tuple[str, ...] = ()) -> None:
    """The manifest last, then one rename. `unlisted`: files that hold clocks; equal inputs give equal manifests."""
    for left in list(temporary.rglob(".*.tmp")):  # by a run that was killed in write_json
        left.unlink()
    found = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
    names = [name for name in found if name != MANIFEST and name not in unlisted]
    for name in found:
        sync(temporary / name)
    write_manifest(temporary, replace(manifest, files=tuple(checksum(temporary / name, name) for name in names)))
    if out.exists():
        try:
            out.rmdir()  # an empty folder, see already_done
        except OSError:
            raise UserError(f"{out} was written by something else meanwhile; name another folder") from None
    os.rename(temporary, out.absolute())
    sync(out.absolute().parent)


def model_mark(folder: Path) -> str:
    """Stands for a model folder's bytes: the fingerprint of one that Penstock wrote, else a hash of its files."""
    if is_done(folder):
        return read_manifest(folder).fingerprint
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
    return fingerprint("model", 1, {path.name: checksum(path).xxh3_128 for path in files}, {})
