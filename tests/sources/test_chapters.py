"""Headings, chapters, and documents cut at them."""

import pytest

from pipeline.sources.books.chapters import Chapter, Piece, cut, find_chapters, is_heading, pack, set_apart
from pipeline.sources.markup import HEADING

PROSE = "It was a bright cold day in April, and the clocks were striking thirteen. " * 3


@pytest.mark.parametrize(
    "line",
    [
        "CHAPTER I", "Chapter 1.", "CHAPTER XXXVIII. In which the Rain stops", "CHAPTER THE LAST", "Chapter Twenty-One",
        "BOOK ONE", "PART ONE The Old Buccaneer", "Volume II", "Act I, Scene 2", "Erster Theil", "THIRD PART",
        "Kapitel 4", "Chapitre premier", "Inferno · Canto XXXIV", "PROLOGUE", "Epilogue.", "_Zueignung._",
        "EXTRACTS (Supplied by a Sub-Sub-Librarian).", f"{HEADING}Anything at all",
    ],
)  # fmt: skip
def test_headings(line: str) -> None:
    assert is_heading(line)


@pytest.mark.parametrize(
    "line",
    [
        "", "Chapter", "Part I had to do alone.", "Book one a room for me.", "The last chapter was lost.",
        "letter I wrote", "In Chapter 4 the rain stops.", "Chapter 4 was hard to read.", "Introduction to botany",
        "CHAPTER I " + "x" * 200, "I", "12",
    ],
)  # fmt: skip
def test_what_is_no_heading(line: str) -> None:
    assert not is_heading(line)


@pytest.mark.parametrize("numbers", ["I. II. III.", "1 2 3", "_I_ _II_ _III_"])
def test_bare_numbers_are_headings_when_they_count(numbers: str) -> None:
    titles = numbers.split()
    text = "\n\n".join(f"{title}\n\n{PROSE}" for title in titles)
    assert [chapter.title for chapter in find_chapters(text)] == titles


@pytest.mark.parametrize("numbers", ["I I I", "7 3 12", "1984"])
def test_bare_numbers_that_do_not_count_are_none(numbers: str) -> None:
    text = "\n\n".join(f"{number}\n\n{PROSE}" for number in numbers.split())
    assert find_chapters(text) == [Chapter("", text)]


def test_chapters_and_their_titles() -> None:
    blocks = ["RAIN", "by A. Writer", "BOOK ONE", "THE FLOOD", "I.", "The Mill", PROSE, "“No!”", "II.", "“No!”", PROSE]
    text = "\n\n".join([*blocks, "EPILOGUE", PROSE])
    chapters = find_chapters(text)
    assert [chapter.title for chapter in chapters] == ["", "BOOK ONE / THE FLOOD / I. / The Mill", "II.", "EPILOGUE"]
    assert "\n\n".join(chapter.text for chapter in chapters) == text


def test_marks_of_html_headings_are_taken_away() -> None:
    marked = f"{HEADING} RAIN\n\n{HEADING}By A. Writer\n\n{HEADING}CHAPTER I\n\n{PROSE}\n\n{HEADING}A walk\n\n{PROSE}"
    assert [chapter.title for chapter in find_chapters(marked)] == ["CHAPTER I", "A walk"]
    assert HEADING not in "".join(chapter.text for chapter in find_chapters(marked))


def test_headings_are_set_apart_from_prose() -> None:
    prose = "It was a bright day\nand cold.\nSee\nChapter 3.\nfor more."
    title = "THE RAIN STOPS, AND\nSO DOES THE MILL"
    text = set_apart(f"He went home.\nCHAPTER II\n{title}\n{prose}")
    assert text == f"He went home.\n\nCHAPTER II\n\n{title}\n\n{prose}"


def test_pack_keeps_chapters_whole_where_it_can() -> None:
    chapters = [Chapter("I", "a" * 400), Chapter("II", "b" * 500), Chapter("III", "c" * 2300), Chapter("", "d" * 10)]
    pieces = pack(chapters, 1000)
    assert pieces == [
        Piece("a" * 400 + "\n\n" + "b" * 500, ("I", "II")),
        Piece("c" * 1000, ("III",)),
        Piece("c" * 1000, ()),
        Piece("c" * 300 + "\n\n" + "d" * 10, ()),
    ]
    assert pack([], 1000) == []


def test_cut_prefers_paragraphs_lines_and_words() -> None:
    assert list(cut("x" * 2500, 1000)) == ["x" * 1000, "x" * 1000, "x" * 500]
    assert list(cut("a" * 700 + "\n\n" + "b c" * 200, 1000)) == ["a" * 700, "b c" * 200]
    assert list(cut("a" * 700 + " " + "b" * 500, 1000)) == ["a" * 700, "b" * 500]
    assert list(cut("short", 1000)) == ["short"]
