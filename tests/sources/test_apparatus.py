"""Page numbers, running heads, contents and notes go; the sentence that they interrupt goes on."""

import pytest

from pipeline.sources.books.apparatus import drop_contents, drop_illustrations, drop_notes, drop_page_marks

PROSE = (
    "It was a bright cold day in April, and the clocks were striking\n"
    "thirteen. The hall smelt of boiled cabbage and old rag mats, and\n"
    "at one end of it a coloured poster had been tacked to the wall.\n"
)


def test_illustrations_are_dropped_with_their_captions() -> None:
    text = "One.\n\n[Illustration]\n\nTwo [Illustration: the\nmill [_see_ page 3] in May] three. [Sic]"
    assert drop_illustrations(text) == "One.\n\n\n\nTwo  three. [Sic]"


@pytest.mark.parametrize(
    "note",
    [
        "[Transcriber's Note: Spelling was left alone. [Sic]\n\nAll of it.]",
        "[Anmerkungen zur Transkription: Im Original\nin Fraktur.]",
        "Original Transcriber’s Notes:\n\nThis text combines two.\n\nIn chapter 9 the sign was changed.\n\n",
        "Transcriber's Note: Spelling was left alone.\n\n",
    ],
)
def test_notes_of_the_transcriber_are_dropped(note: str) -> None:
    text = drop_notes(f"RAIN\n\n{note}\n\nCHAPTER I\n\n{PROSE}")
    assert text.split("\n\n", 1)[0] == "RAIN"
    assert text.replace("\n\n\n", "\n\n").endswith(f"\n\nCHAPTER I\n\n{PROSE}")
    assert "Spelling" not in text
    assert "Original" not in text
    assert "chapter 9" not in text


def test_a_note_without_end_costs_no_book() -> None:
    text = "Transcriber's Notes\n\n" + "\n\n".join([PROSE] * 100)
    assert len(drop_notes(text)) > 0.95 * len(text)


@pytest.mark.parametrize("mark", ["[Pg {}]", "[Page {}]", "{{{}}}", "- {} -", "Page {}", "{}", "THE OLD MILL {}"])
def test_page_marks_are_dropped_and_sentences_go_on(mark: str) -> None:
    page = PROSE * 8 + "and the miller, who had\n\n{}\n\nseen it all, went home."
    text = drop_page_marks("\n".join(page.format(mark.format(number)) for number in range(7, 30)))
    assert text.count("and the miller, who had\nseen it all, went home.") == 23
    assert "7" not in text
    assert "THE OLD" not in text


def test_marks_inside_lines_are_dropped() -> None:
    assert drop_page_marks("the old [Pg 12]mill{13} stood") == "the old mill stood"


def test_running_heads_beside_page_numbers_are_dropped() -> None:
    pages = [f"{PROSE * 8}\n{page}\n\nTHE OLD MILL\n\nThe next page." for page in range(1, 30)]
    text = drop_page_marks("\n".join(pages))
    assert "THE OLD MILL" not in text
    assert text.count("The next page.") == 29


@pytest.mark.parametrize(
    "text",
    [
        "\n\n".join(f"{number}\n\n{PROSE * 60}" for number in range(1, 20)),  # chapters of 11,000 characters
        "\n\n".join(f"CHAPTER {number}\n\n{PROSE}" for number in range(1, 20)),
        f"{PROSE}\n\n1984\n\n{PROSE}",
        "\n".join(["1", "2", "3", "1", "2", "3"] * 4),  # a table
        "In [12] he said {this}, and [Page] that.",
    ],
)
def test_what_is_no_page_mark_stays(text: str) -> None:
    assert drop_page_marks(text) == text


@pytest.mark.parametrize(
    ("contents", "begin"),
    [
        ("CONTENTS\n\nCHAPTER I. Rain\n\nCHAPTER II. More Rain\n", "CHAPTER I. Rain\n"),
        ("Contents.\n\n I. RAIN . . . . 3\n II. MORE RAIN . . . . 17\n", "I.\n\nRAIN\n"),
        ("CONTENTS\n\nBOOK ONE.--WATER\n\nI. RAIN\nII. MORE RAIN\n\nBOOK TWO.--FIRE\n\nI. SUN\n",
         "BOOK ONE\n\nWATER\n\n\nI.\n\nRAIN.\n"),
        ("Inhaltsverzeichnis\n\n  Erster Theil\n    Vom Regen\n    Vom Feuer\n", "Erster Theil\n\nVom Regen.\n"),
        ("CONTENTS\n\nI Rain\nII Fire\nEpilogue\n", "I\n\nRain\n"),
        ("CONTENTS.\n\nCHAPTER I. Rain.--The Mill.--A Long\nWinter.\n\nCHAPTER II. Fire.\n\n\n"
         "ILLUSTRATIONS.\n\nThe Mill\n\nFire!\n",
         "EXPLANATORY\n"),
    ],
)  # fmt: skip
def test_contents_are_dropped_up_to_where_the_text_begins(contents: str, begin: str) -> None:
    text = drop_contents(f"RAIN\n\nby A. Writer\n\n{contents}\n\n{begin}\n{PROSE}\nCHAPTER II. Fire\n\n{PROSE}")
    assert [line for line in text.split("\n") if line] == [
        line for line in f"RAIN\n\nby A. Writer\n\n{begin}\n{PROSE}\nCHAPTER II. Fire\n\n{PROSE}".split("\n") if line
    ]


@pytest.mark.parametrize(
    "text", [f"The box had no\nContents\n\n{PROSE}", f"CONTENTS\n\n{PROSE}", "CONTENTS", "Contents\n\nA\n\nB"]
)
def test_the_word_alone_drops_nothing(text: str) -> None:
    assert drop_contents(text) == text
