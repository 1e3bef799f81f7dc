"""A work folder of which everything that is committed also lies behind a URL: `prepare --out s3://bucket/run --work W`.

    W/.mirror            the URL: every process that works below W finds it there
    URL/<stage>/<name>   the same names and the same bytes as W/<stage>/<name>; no scratch, no progress, no events

Whichever process is killed when, and however many work at one URL from folders of their own:

1. A file is uploaded under its final name, whole, and only where there is none; who comes second needs the same bytes.
2. What proves others comes after them: a receipt after the files of its split, a stage's manifest after its files and
   receipts, URL/manifest.json after the stages. It alone is ever replaced, by that of a later run with other settings.
3. What is committed there is not made again: an empty W, or one that lost files, gets what it needs, proven by
   checksum. Of a stage that is done there that is its manifest, until a stage reads its files.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TypeVar

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.files import RECEIPTS, SCRATCH, STAGE_FOLDER, TEMPORARY, FileEntry, sync, write_bytes
from pipeline.core.storage import FarFolder

MARK = ".mirror"
TRANSFERS = 4  # at once, of a process that is no worker

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Mirror:
    """Of the work folder `root`, at `url`. Paths are local ones below `root`."""

    def __init__(self, root: Path, url: str) -> None:
        self.far = FarFolder(url, asked_by="--out")
        self._root = root

    @staticmethod
    def of(folder: Path) -> "Mirror | None":
        """That of the work folder around `folder`; None where there is none, and for a scratch folder."""
        around = (folder, *folder.parents)
        stage = next((number for number, path in enumerate(around) if STAGE_FOLDER.search(path.name)), -1)
        root = around[stage + 1]  # no other folder's mark counts
        url = marked(root)
        return Mirror(root, url) if url and SCRATCH not in folder.relative_to(root).parts else None

    def name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def holds(self, path: Path) -> bool:
        """Whether a small file is there; raises ArtifactError if it is another one."""
        body = self.far.read(self.name(path))
        if body not in (None, path.read_bytes()):
            raise ArtifactError(f"{self.far.locate(self.name(path))} is not as {path}; remove one of them")
        return body is not None

    def create(self, path: Path, of: Path | None = None) -> None:
        """Upload `path`; `of`: what it will be called here too."""
        self.far.create(path, self.name(of or path))

    def publish(self, folder: Path, files: Sequence[FileEntry], manifest: str) -> None:
        """All of a finished stage that is not there yet; nothing if its manifest is."""
        if self.holds(folder / manifest):
            return
        there = self.far.sizes(self.name(folder))
        receipts = [entry.name for entry in files if Path(entry.name).parent.name == RECEIPTS]
        uploaded = at_once(lambda name: self._proven(folder, name), [name for name in receipts if name in there])
        proven = set(chain.from_iterable(uploaded))
        todo = [entry.name for entry in files if entry.name not in proven or there.get(entry.name) != entry.num_bytes]
        at_once(lambda name: self.create(folder / name), [name for name in todo if name not in receipts])
        at_once(lambda name: self.create(folder / name), [name for name in todo if name in receipts])
        self.far.abort_uploads(self.name(folder))  # of workers that were killed: all files are there
        self.create(folder / manifest)

    def _proven(self, folder: Path, receipt: str) -> list[str]:
        """A receipt that is there, and the files that it says were there before it."""
        if not self.holds(folder / receipt):
            return []
        beside = Path(receipt).parent.parent
        entries = json.loads((folder / receipt).read_bytes())["files"]
        return [receipt, *((beside / entry[0]).as_posix() for entry in entries)]

    def bring_manifest(self, path: Path) -> None:
        """A stage's manifest, if the stage is done there and not here."""
        if not path.exists() and (body := self.far.read(self.name(path))) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, body)

    def bring(self, folder: Path, files: Iterable[FileEntry]) -> None:
        """Files of a finished stage that are not here in their sizes."""
        missing = [entry for entry in files if not _is_whole(folder / entry.name, entry)]
        at_once(lambda entry: fetch(self.far, self.name(folder), entry, folder), missing)

    def replace(self, path: Path, *first: Path) -> None:
        """`path`, after other files that go with it, unless it is there already."""
        if self.far.read(self.name(path)) != path.read_bytes():
            for file in (*first, path):
                self.far.replace(file, self.name(file))


def marked(root: Path) -> str:
    """The URL that a folder is the work folder of; "" if it is none."""
    try:
        return (root / MARK).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def mark(root: Path, url: str) -> None:
    """Raises UserError if it is the work folder of another one."""
    url = url.rstrip("/")
    if (before := marked(root)) not in ("", url):
        raise UserError(f"--work {root} is the work folder of {before}; name another one for {url}")
    if not before:
        write_bytes(root / MARK, f"{url}\n".encode())


def fetch(far: FarFolder, prefix: str, entry: FileEntry, folder: Path) -> None:
    """A file of an artifact; raises ArtifactError if it is not what its manifest or receipt says."""
    path, name = folder / entry.name, f"{prefix}/{entry.name}" if prefix else entry.name
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        found = far.fetch(name, temporary)
        if wrong := damage(found, entry):
            raise ArtifactError(f"{far.locate(name)}: {wrong}")
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def damage(found: FileEntry | None, entry: FileEntry) -> str:
    """What is wrong with a file that is there; "" if nothing is."""
    if found is None:
        return "missing"
    return "" if found[1:] == entry[1:] else "damaged (its bytes do not match the manifest's checksum)"


def at_once(call: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """Some at a time; raises what the first of them raises."""
    with ThreadPoolExecutor(TRANSFERS) as pool:
        try:
            return list(pool.map(call, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _is_whole(path: Path, entry: FileEntry) -> bool:
    return path.exists() and path.stat().st_size == entry.num_bytes
