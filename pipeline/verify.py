"""`penstock verify`: every byte of an artifact against what its manifest or index says."""

from pathlib import Path

from pipeline.core import manifest
from pipeline.core.errors import ArtifactError


def verify(folder: Path) -> tuple[list[str], int]:
    """(damaged or missing files as readable lines, number of files checked) of a prepare folder, a stage, a checkpoint
    or a run. A manifest among the files of a manifest is followed, so a prepare folder is checked to the last byte."""
    if (folder / manifest.MANIFEST).exists():
        return _manifest_tree(folder)
    if (folder / "index.json").exists():
        return _checkpoints([folder])
    checkpoints = sorted((folder / "checkpoints").glob("step_*"))
    if checkpoints:
        return _checkpoints([path for path in checkpoints if path.is_dir() and path.suffix != ".tmp"])
    raise ArtifactError(f"{folder} is not an artifact: it has no {manifest.MANIFEST}, no index.json and no checkpoints")


def _manifest_tree(folder: Path) -> tuple[list[str], int]:
    bad, num_files = manifest.verify(folder), len(manifest.read_manifest(folder).files)
    for entry in manifest.read_manifest(folder).files:
        path = folder / entry.name
        if path.name == manifest.MANIFEST and path.exists() and not any(str(path) in line for line in bad):
            more, count = _manifest_tree(path.parent)
            bad, num_files = bad + more, num_files + count
    return bad, num_files


def _checkpoints(folders: list[Path]) -> tuple[list[str], int]:
    from pipeline.checkpoint.load import Reader

    bad, num_files = [], 0
    for folder in folders:
        try:
            reader = Reader(folder)
            reader.verify()
            num_files += len(reader.index.files) + 1
        except ArtifactError as error:
            bad.append(str(error))
    return bad, num_files
