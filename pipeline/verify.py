"""`penstock verify`: every byte of an artifact against what its manifest or index says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.checkpoint.layout import INDEX, step_of
from pipeline.core import manifest
from pipeline.core.errors import ArtifactError
from pipeline.train.run import CHECKPOINTS


def verify(folder: Path) -> tuple[list[str], int]:
    """(damaged or missing files as readable lines, number of files checked) of a prepare folder, a stage, a checkpoint
    or a run. A manifest among the files of a manifest is followed, so a prepare folder is checked to the last byte."""
    if (folder / manifest.MANIFEST).exists():
        return _manifest_tree(folder)
    if (folder / INDEX).exists():
        return _checkpoints([folder])
    checkpoints = sorted(path for path in (folder / CHECKPOINTS).glob("*") if step_of(path) is not None)
    if checkpoints:
        return _checkpoints(checkpoints)
    raise ArtifactError(f"{folder} is not an artifact: it has no {manifest.MANIFEST}, no {INDEX} and no {CHECKPOINTS}")


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

    bad: list[str] = []
    num_files = 0
    for folder in folders:
        with _noted(bad, folder / INDEX):
            num_files += 1
            reader = Reader(folder)
            files = reader.index.files
            for number, file in enumerate(files):
                with _noted(bad, folder / file.name):
                    num_files += 1
                    reader.verify(number, len(files))  # this file alone, so that each damaged one is named
    return bad, num_files


@contextmanager
def _noted(bad: list[str], path: Path) -> Iterator[None]:
    """What is wrong with one file is a line of `bad`, and the check goes on."""
    try:
        yield
    except ArtifactError as error:
        bad.append(str(error))
    except OSError as error:
        bad.append(f"{path} cannot be read: {error.strerror}")
