"""What can go wrong, and the exit code that tells a scheduler what to do about it.

    PenstockError
    |-- UserError       exit 2   the user's mistake: one line with the numbers and the remedy; never requeued
    |   |-- ConfigError          a config file or --set: every mistake at once, by dotted path
    |   |-- ArtifactError        a file that is missing, damaged, or made by other inputs
    |   `-- Unreachable          a server or a disk that does not answer as it should; a split is tried again first
    |-- StoppedOnPurpose exit 75 what is done is kept, as checkpoint or committed splits; requeue
    `-- UnhealthyNode   exit 76  a hang or a bad node; requeue without that node

Everything else is our bug: traceback, exit 1.
"""

import errno
from pathlib import Path


class PenstockError(Exception):
    exit_code = 1


class UserError(PenstockError):
    exit_code = 2


class ConfigError(UserError):
    pass


class ArtifactError(UserError):
    pass


class Unreachable(UserError):
    pass


class StoppedOnPurpose(PenstockError):
    exit_code = 75


class UnhealthyNode(PenstockError):
    exit_code = 76


def storage_error(error: OSError, folder: Path | None = None) -> UserError | None:
    """What the user can mend of an OSError, if anything: no room left, no permission, a read-only or broken disk.

    folder: what was being written, for errors that name no file, as most of a full disk.
    """
    cut_short = error.errno is None and "requested and" in str(error)  # numpy's tofile: "8 requested and 4 written"
    if cut_short or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where = error.filename or folder or "output"
        return UserError(f"no room left on the disk while writing {where}; free some and rerun")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"no permission for {error.filename}: {error.strerror}")
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return UserError(f"{error.filename} cannot be used as a path: {error.strerror}")
    if error.errno in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN):
        where = error.filename or folder or "a file"
        return Unreachable(f"{where}: {error.strerror}, of a disk or a network file system; see to it and rerun")
    return None


def missing_package(error: ImportError, needed_by: str) -> UserError | None:
    """The library that is not installed, or is broken, behind an ImportError; None if the module is ours."""
    package = (error.name or "pipeline").partition(".")[0]
    if package == "pipeline":
        return None
    return UserError(
        f"{needed_by} cannot import '{package}' ({error}); install it wherever workers run: "
        f"pip install {package.replace('_', '-')}"
    )
