"""The stage contract: a stage reads artifact folders, writes one, and writes its `manifest.json` last.

    folder = run_stage("clean", VERSION, config, inputs=[documents], root=out, body=...)

1. fingerprint = hash(stage, stage version, config section, fingerprints of the inputs)
2. ROOT/<stage>-<fingerprint> with a manifest of that fingerprint is done: skipped.
3. The same folder without a manifest is resumed: `body` skips the splits that are committed.
4. Another config gives another fingerprint, so another folder: nothing is skipped by mistake, nothing overwritten.

No clock and no host name goes into a manifest: the same input gives the same bytes.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow

from pipeline.core.errors import ArtifactError
from pipeline.core.files import (
    RECEIPTS,
    SCRATCH,
    STAGE_FOLDER,
    FileEntry,
    checksum,
    matches,
    remove_temporaries,
    write_json,
)
from pipeline.core.mirror import Mirror

if TYPE_CHECKING:  # a tenth of a second that the commands over the ledger do without
    from pydantic import BaseModel

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
SUMMARY = "summary.json"  # of a prepare: beside its manifest and not in it, as it has a clock
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    stage: str
    version: int
    fingerprint: str
    config: dict[str, Any]
    inputs: dict[str, str]  # stage -> fingerprint
    counts: dict[str, Any]  # what the stage promises about its output: documents, tokens, dtype, ...
    files: tuple[FileEntry, ...]
    format: int = FORMAT


def fingerprint(stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """32 hex digits. pyarrow's version is part of it: other versions write other Parquet bytes."""
    said = [FORMAT, stage, version, config, sorted(inputs.items()), pyarrow.__version__]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:32]


def run_stage(
    stage: str,
    version: int,
    config: "BaseModel | Mapping[str, Any]",
    inputs: Mapping[str, str] | Sequence[Path],
    root: Path,
    body: Callable[[Path], Mapping[str, Any]],
    also: Sequence[Path] = (),
) -> Path:
    """The stage's folder under `root`, done. `body(folder)` does the work, file by file, and returns the counts.

    `inputs`: the finished folders that it reads, each proven by its checksums before the work begins; or, for what no
    stage wrote, name -> fingerprint. `also`: more finished folders, any number of one stage.
    """
    section = dict(config) if isinstance(config, Mapping) else config.model_dump(mode="json")
    folders = (*(() if isinstance(inputs, Mapping) else inputs), *also)
    inputs = inputs if isinstance(inputs, Mapping) else input_marks(inputs)
    inputs = {**inputs, **{f"{read_manifest(f).stage} {n}": read_manifest(f).fingerprint for n, f in enumerate(also)}}
    mark = fingerprint(stage, version, section, inputs)
    folder = root / f"{stage}-{mark[:12]}"
    mirror = Mirror.of(folder)
    if mirror:
        mirror.bring_manifest(folder / MANIFEST)
    if is_done(folder):
        _require_mark(folder, mark)
        if mirror:
            mirror.publish(folder, read_manifest(folder).files, MANIFEST)
        else:
            _require_whole(folder)
        logger.info("%-10s done already: %s", stage, folder.name)
        return folder
    for read in folders:
        if behind := Mirror.of(read):
            behind.bring(read, read_manifest(read).files)
    if bad := [line for read in folders for line in verify(read)]:
        raise ArtifactError("\n".join(bad))
    half_done = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    logger.info("%-10s %s %s", stage, "resumes" if half_done else "starts", folder.name)
    counts = body(folder)
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    remove_temporaries(folder)
    write_manifest(folder, Manifest(stage, version, mark, section, dict(inputs), dict(counts), _files(folder)))
    if mirror:
        mirror.publish(folder, read_manifest(folder).files, MANIFEST)
    return folder


def _require_mark(folder: Path, mark: str) -> None:
    said = read_manifest(folder).fingerprint
    if said != mark:
        raise ArtifactError(f"{folder / MANIFEST} was edited or is another stage's: it says {said}, not {mark}")


def _require_whole(folder: Path) -> None:
    """Raises ArtifactError unless the files are there in their sizes (not re-hashed: that is `penstock verify`)."""
    for entry in read_manifest(folder).files:
        path = folder / entry.name
        size = path.stat().st_size if path.exists() else None
        if size != entry.num_bytes:
            found = "is missing" if size is None else f"has {size:,} bytes, not {entry.num_bytes:,}"
            raise ArtifactError(f"{path} {found}; remove {folder} to make it again")


def is_done(folder: Path) -> bool:
    return (folder / MANIFEST).exists()


def read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        return parse_manifest(path.read_bytes(), path)
    except FileNotFoundError:
        raise ArtifactError(f"{folder} is not a finished artifact: it has no {MANIFEST}") from None


def parse_manifest(manifest: bytes, path: Path | str) -> Manifest:
    """`path`: where the bytes are from; raises ArtifactError."""
    try:
        body = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        given = body.get("format") if isinstance(body, dict) else None
        raise ArtifactError(f"{path}: format {given}, this version reads {FORMAT}")
    try:
        read = Manifest(**{**body, "files": tuple(FileEntry(**entry) for entry in body["files"])})
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from None
    if not all(isinstance(part, dict) for part in (read.config, read.inputs, read.counts)):
        raise ArtifactError(f"{path} is damaged: config, inputs and counts are mappings")
    stages = read.counts.get("stages") or {}
    if not isinstance(stages, dict) or not all(isinstance(name, str) and "/" not in name for name in stages.values()):
        raise ArtifactError(f"{path} is damaged: {stages!r} are no stages and their folders")
    for entry in read.files:
        if not isinstance(entry.name, str) or entry.name.startswith("/") or ".." in entry.name.split("/"):
            raise ArtifactError(f"{path} is damaged: {entry.name!r} is no file of this folder")
    return read


def stage_folders(data: Path) -> dict[str, Path]:
    """Stage name -> folder of a finished prepare folder, in order; raises ArtifactError."""
    manifest = read_manifest(data)
    if manifest.stage != "prepare" or not manifest.counts.get("stages"):
        raise ArtifactError(f"{data} is a {manifest.stage}, not the output folder of penstock prepare")
    return {name: data / folder for name, folder in manifest.counts["stages"].items()}


def unused_folders(data: Path) -> list[Path]:
    """Stage folders in a finished prepare folder that are of other settings than the last run's: they may go."""
    used = set(stage_folders(data).values())
    return sorted(
        path for path in data.iterdir() if STAGE_FOLDER.search(path.name) and path.is_dir() and path not in used
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_json(folder / MANIFEST, asdict(manifest) | {"files": [entry._asdict() for entry in manifest.files]})


def verify(folder: Path) -> list[str]:
    """Files of an artifact that are missing or have other bytes than the manifest says, as readable lines."""
    bad = []
    for entry in read_manifest(folder).files:
        path = folder / entry.name
        try:
            if not matches(path, entry):
                bad.append(f"{path}: damaged (its bytes do not match the manifest's checksum)")
        except FileNotFoundError:
            bad.append(f"{path}: missing")
        except OSError as error:
            bad.append(f"{path}: cannot be read ({error.strerror})")
    return bad


def committed_files(folder: Path, name_ends: str) -> list[Path]:
    """Output files of a stage in split order, e.g. committed_files(clean, ".documents.parquet")."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(name_ends) and path.name[0] != ".")


def _files(folder: Path) -> tuple[FileEntry, ...]:
    """Checksums of everything in the folder: from the receipts where a worker took them, else taken now."""
    known: dict[str, FileEntry] = {}
    for receipt in sorted((folder / RECEIPTS).glob("*.json")):
        for entry in json.loads(receipt.read_bytes())["files"]:
            known[entry[0]] = FileEntry(*entry)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return tuple(known.get(name) or checksum(folder / name, name) for name in found if name != MANIFEST)


def input_marks(folders: Sequence[Path]) -> dict[str, str]:
    """`inputs` of a stage that reads these finished folders."""
    manifests = [read_manifest(folder) for folder in folders]
    assert len({manifest.stage for manifest in manifests}) == len(manifests), "two inputs of one stage"
    return {manifest.stage: manifest.fingerprint for manifest in manifests}
