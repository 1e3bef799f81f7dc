from pathlib import Path

import pytest

from pipeline.core.errors import ArtifactError
from pipeline.core.manifest import MANIFEST, is_done, read_manifest, run_stage, verify


def make(root: Path, text: str = "water", runs: list[str] | None = None) -> Path:
    def body(folder: Path) -> dict[str, int]:
        if runs is not None:
            runs.append(text)
        (folder / "a.txt").write_text(text)
        (folder / "scratch").mkdir(exist_ok=True)
        (folder / "scratch" / "b.txt").write_text("for a while")
        return {"letters": len(text)}

    return run_stage("pour", 1, {"text": text}, {"before": "00"}, root, body)


def test_a_done_stage_is_skipped_and_another_config_is_another_folder(tmp_path: Path) -> None:
    runs: list[str] = []
    first = make(tmp_path, "water", runs)
    assert make(tmp_path, "water", runs) == first
    assert make(tmp_path, "oil", runs) != first
    assert runs == ["water", "oil"]
    assert read_manifest(first).counts == {"letters": 5}
    assert [entry.name for entry in read_manifest(first).files] == ["a.txt"], "scratch files do not stay"


def test_a_stage_without_manifest_is_not_done(tmp_path: Path) -> None:
    runs: list[str] = []
    folder = make(tmp_path, "water", runs)
    (folder / MANIFEST).unlink()
    assert not is_done(folder)
    make(tmp_path, "water", runs)
    assert runs == ["water", "water"]


def test_manifest_bytes_do_not_depend_on_place_or_time(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    assert (one / MANIFEST).read_bytes() == (two / MANIFEST).read_bytes()


def test_verify_names_the_damaged_and_the_missing_file(tmp_path: Path) -> None:
    folder = make(tmp_path)
    assert verify(folder) == []
    (folder / "a.txt").write_text("wader")  # the same size
    assert len(verify(folder)) == 1
    assert "a.txt: damaged" in verify(folder)[0]
    (folder / "a.txt").unlink()
    assert "a.txt: missing" in verify(folder)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        pytest.param("[" * 100_000, "damaged", id="deep"),
        ('{"format": 99}', "format 99, this version reads 1"),
    ],
)
def test_damaged_or_newer_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = make(tmp_path)
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError, match=message):
        read_manifest(folder)


def test_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a finished artifact"):
        read_manifest(tmp_path)


def test_a_done_stage_whose_file_was_cut_short_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "a.txt").write_text("wat")
    with pytest.raises(ArtifactError, match=r"a\.txt has 3 bytes, not 5; remove .* to make it again"):
        make(tmp_path)
    (folder / "a.txt").unlink()
    with pytest.raises(ArtifactError, match=r"a\.txt is missing"):
        make(tmp_path)


def test_a_manifest_of_another_fingerprint_is_not_taken_for_done(tmp_path: Path) -> None:
    folder = make(tmp_path)
    path = folder / MANIFEST
    path.write_text(path.read_text().replace(read_manifest(folder).fingerprint, "0" * 32))
    with pytest.raises(ArtifactError, match="was edited or is another stage's"):
        make(tmp_path)


def test_what_a_killed_write_left_behind_does_not_enter_the_manifest(tmp_path: Path) -> None:
    folder = make(tmp_path)
    before = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).unlink()
    (folder / ".manifest.json.0123abcd.tmp").write_text("{")
    make(tmp_path)
    assert (folder / MANIFEST).read_bytes() == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_stage_does_not_read_a_damaged_input(tmp_path: Path) -> None:
    first = make(tmp_path)

    def body(folder: Path) -> dict[str, int]:
        return {"letters": len((first / "a.txt").read_text())}

    after = run_stage("after", 1, {}, [first], tmp_path, body)
    assert read_manifest(after).inputs == {"pour": read_manifest(first).fingerprint}
    (first / "a.txt").write_text("wader")
    with pytest.raises(ArtifactError, match=r"a\.txt: damaged"):
        run_stage("after", 2, {}, [first], tmp_path, body)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"a.txt"', '"../a.txt"', "'../a.txt' is no file of this folder"),
        ('"a.txt"', "5", "5 is no file of this folder"),
        ('"letters": 5', '"letters": ', "damaged"),
    ],
)
def test_an_edited_manifest_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = make(tmp_path) / MANIFEST
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ArtifactError, match=message):
        read_manifest(path.parent)
