"""What can go wrong, and the exit code that tells a scheduler what to do about it.

    PenstockError
    |-- UserError       exit 2   the user's mistake: one line with the numbers and the remedy; never requeued
    |   |-- ConfigError          a config file or --set: every mistake at once, by dotted path
    |   |-- MissingPackage       a library that is not installed, or cannot be imported
    |   `-- ArtifactError        a file that is missing, damaged, or made by other inputs
    |-- StoppedOnPurpose exit 75 a checkpoint is written; requeue
    `-- UnhealthyNode   exit 76  a hang or a bad node; requeue without that node

Everything else is our bug: traceback, exit 1.
"""

import errno


class PenstockError(Exception):
    exit_code = 1


class UserError(PenstockError):
    exit_code = 2


class ConfigError(UserError):
    pass


class ArtifactError(UserError):
    pass


class MissingPackage(UserError):
    """A library that a plugin or a stage needs; `needed_by` says which."""

    def __init__(self, error: ImportError, needed_by: str) -> None:
        package = (error.name or "").partition(".")[0].replace("_", "-")
        remedy = f"pip install {package}" if package else "install it"
        super().__init__(f"{needed_by} needs a package that cannot be imported: {error}; {remedy} wherever workers run")


class StoppedOnPurpose(PenstockError):
    exit_code = 75


class UnhealthyNode(PenstockError):
    exit_code = 76


def storage_error(error: OSError) -> UserError | None:
    """The user's mistake behind an OSError, if it is one: no room left, no permission, a read-only disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(f"no room left on the disk while writing {error.filename or 'output'}; free some and rerun")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"no permission for {error.filename}: {error.strerror}")
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return UserError(f"{error.filename} cannot be used as a path: {error.strerror}")
    return None
