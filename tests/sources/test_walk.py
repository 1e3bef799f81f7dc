"""Patterns match as `glob` matches them; circles of links, pipes and locked folders are seen."""

import glob
import os
import tempfile
from pathlib import Path

import pytest

from pipeline.core.errors import UserError
from pipeline.sources.walk import matching, what_it_is

FILES = [
    "a.txt",
    "b.xml",
    "x/a.txt",
    "x/deep/a.txt",
    "x/deep/c.txt",
    "y/deep/c.txt",
    ".hidden/a.txt",
    "x/.dot",
    "x/[1].txt",
]
PATTERNS = [
    "*", "**", "*.txt", "**/*.txt", "*/*.txt", "x/**", "**/deep/*", "*/deep/c.txt", "x/.*", ".hidden/*", "**/**/a.txt",
    "x/deep", "?/**/[ac].txt", "none/*", "**/*/*.txt", "a.txt", "x/[[]1].txt",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_as_those_of_glob(pattern: str, tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = {name for name in glob.glob(f"{tmp_path}/{pattern}", recursive=True) if os.path.isfile(name)}
    found = [str(path) for path in matching(tmp_path, Path(pattern).parts)]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    for name in ("data/x/a.txt", "elsewhere/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "data/far").symlink_to(tmp_path / "elsewhere")
    for number in range(10):
        (tmp_path / f"data/x/up{number}").symlink_to(tmp_path / "data")
        (tmp_path / f"elsewhere/back{number}").symlink_to(tmp_path / "data/x")
    found = [path.relative_to(tmp_path).as_posix() for path in matching(tmp_path / "data", ("**", "*.txt"))]
    assert found == ["data/x/a.txt", "data/far/b.txt"]


def test_what_is_no_file_is_found_and_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "text").touch()
    assert {path.name: what_it_is(path) for path in matching(tmp_path, ("*",))} == {
        "gone": "a link to nothing", "pipe": "a pipe", "text": "", "zero": "a device",
        "self": "a link that cannot be followed: Too many levels of symbolic links",
    }  # fmt: skip


@pytest.mark.parametrize("pattern", [("**", "*"), ("*", "*"), ("locked", "*")])
def test_a_folder_that_may_not_be_listed_is_an_error(pattern: tuple[str, ...]) -> None:
    """Before the kernel: whoever runs this as root becomes nobody for a moment."""
    with tempfile.TemporaryDirectory() as name:
        locked = Path(name) / "locked"
        locked.mkdir(mode=0)
        os.chmod(name, 0o755)
        user = os.geteuid()
        try:
            os.seteuid(65534 if user == 0 else user)
            assert list(matching(Path(name), ("*",))) == [], "which does not lead there"
            with pytest.raises(UserError, match=f"no permission to list {locked}"):
                list(matching(Path(name), pattern))
        finally:
            os.seteuid(user)
