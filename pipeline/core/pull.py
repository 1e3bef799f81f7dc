"""A finished artifact behind a URL: bring it here, or check it there. A prepare folder, or a stage of one.

Readers go by manifests, never by listings: URL/manifest.json names the stages' manifests with their checksums, these
name the files with theirs. summary.json, which none names, comes as it is there. Here a manifest is written after all
that goes with it, so a pull that was cut off shows no artifact, and the same command goes on. A folder that holds
another artifact is refused, a later run's at the same URL too: its stages would stay without a manifest.
"""

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.files import LOCK, STAGE_FOLDER, FileEntry, checksum_of, exclusive, matches, write_bytes
from pipeline.core.manifest import MANIFEST, SUMMARY, Manifest, parse_manifest
from pipeline.core.mirror import at_once, damage, fetch
from pipeline.core.storage import FarFolder

Found = tuple[str, Manifest, bytes]  # the folder below the URL ("" or "stage-0123/"), its manifest, and as bytes


def pull(url: str, folder: Path) -> int:
    """Number of files, all of which have the bytes that their manifests say; raises ArtifactError."""
    far = FarFolder(url, asked_by="pull")
    found = list(_manifests(far))
    _refuse_others(folder, found[-1][2], url)
    with exclusive(folder):
        num_files = 0
        for prefix, manifest, body in found:
            (folder / prefix).mkdir(parents=True, exist_ok=True)
            at_once(partial(_bring, far, prefix, folder / prefix), _data(manifest))
            if manifest.stage == "prepare":
                _bring_summary(far, prefix, folder / prefix)
            write_bytes(folder / prefix / MANIFEST, body)
            num_files += len(manifest.files)
    return num_files


def verify(url: str) -> tuple[list[str], int]:
    """(damaged or missing files as readable lines, number of files checked), of which every byte is read."""
    far = FarFolder(url, asked_by="verify")
    bad: list[str] = []
    num_files = 0
    for prefix, manifest, _ in _manifests(far):
        bad += filter(None, at_once(partial(_checked, far, prefix), _data(manifest)))
        num_files += len(manifest.files)
    return bad, num_files


def _manifests(far: FarFolder, prefix: str = "", expected: FileEntry | None = None) -> Iterator[Found]:
    """Those that a manifest names before it; raises ArtifactError."""
    where = far.locate(prefix + MANIFEST)
    body = far.read(prefix + MANIFEST)
    if body is None:
        raise ArtifactError(
            f"{where}: missing" if expected else f"{far.url} is not a finished artifact: it has no {MANIFEST}"
        )
    if expected and (wrong := damage(checksum_of(BytesIO(body), MANIFEST), expected)):
        raise ArtifactError(f"{where}: {wrong}")
    manifest = parse_manifest(body, where)
    for entry in manifest.files:
        if _is_manifest(entry):
            yield from _manifests(far, prefix + entry.name.removesuffix(MANIFEST), entry)
    yield prefix, manifest, body


def _is_manifest(entry: FileEntry) -> bool:
    return entry.name.endswith(f"/{MANIFEST}")


def _data(manifest: Manifest) -> list[FileEntry]:
    """The files but for manifests, which have been read."""
    return [entry for entry in manifest.files if not _is_manifest(entry)]


def _bring(far: FarFolder, prefix: str, folder: Path, entry: FileEntry) -> None:
    if not ((folder / entry.name).exists() and matches(folder / entry.name, entry)):
        fetch(far, prefix.rstrip("/"), entry, folder)


def _bring_summary(far: FarFolder, prefix: str, folder: Path) -> None:
    """The one that is there now: no manifest has its checksum, as it has a clock."""
    if (body := far.read(prefix + SUMMARY)) is not None:
        write_bytes(folder / SUMMARY, body)


def _checked(far: FarFolder, prefix: str, entry: FileEntry) -> str:
    wrong = damage(far.checksum(prefix + entry.name), entry)
    return f"{far.locate(prefix + entry.name)}: {wrong}" if wrong else ""


def _refuse_others(folder: Path, manifest: bytes, url: str) -> None:
    """What is there is this artifact, whole or half pulled, or nothing at all."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if MANIFEST in names:
        if (folder / MANIFEST).read_bytes() != manifest:
            raise UserError(f"{folder} holds another artifact than {url}; name another folder")
    elif names and LOCK not in names and not any(STAGE_FOLDER.search(name) for name in names):
        raise UserError(f"{folder} has other files in it ({min(names)}); name a new folder")
