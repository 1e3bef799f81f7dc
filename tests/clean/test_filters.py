"""Unicode, language, boilerplate: each rule on both sides of its edge."""

import re
import socket
import threading
from typing import Any

import pytest
from ftfy import fix_text
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clean import boilerplate, language, unicode
from pipeline.clean.verdict import Drop, Replace, Verdict
from pipeline.core.schema import Document
from pipeline.sources.mediawiki import wikitext

ENGLISH = "The old weir above the town mill was opened on Friday, after a winter in which the river had risen twice. "
GERMAN = "Das alte Wehr über der Stadtmühle wurde am Freitag geöffnet, nachdem der Fluss im Winter gestiegen war. "


def document(text: str) -> Document:
    return Document(b"0" * 16, "test", "key", "file:0", text)


def replaced(verdict: Verdict) -> Replace:
    assert isinstance(verdict, Replace)
    return verdict


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("a\r\nb\rc\fd\u2028e\x85f", "a\nb\nc\nd\ne\nf"),
        ("a\x00b\x07c\x7fd", "abcd"),
        ("a\u202eb\u2066c\u200bd\u00ade\ufefff", "abcdef"),
        ("naÃ¯ve cafÃ©", "naïve café"),
        ("cafe\u0301", "café"),
        ("\u2581word\u2581", "_word_"),
        ("a\u00a0b\u2009c\u202fd", "a b c d"),
        ("a  \t\nb \n", "a\nb\n"),
        ("a\n\n\n\n\nb", "a\n\n\nb"),
        ("ﬁnd the oﬃce", "find the office"),
    ],
)
def test_unicode_repairs(text: str, repaired: str) -> None:
    verdict = replaced(unicode.build(unicode.Config())(document(text)))
    assert (verdict.document.text, verdict.edit) == (repaired, "unicode")
    assert unicode.repair(repaired) == repaired


MOJIBAKE = [
    text.encode().decode(encoding, "replace")
    for text in ("é", "“", "’", "…", " à", "ß", "Ж", "ή", "日", "🙂", "\u00a0", "ﬁ")
    for encoding in ("latin-1", "cp1252", "mac_roman", "cp1251", "cp1253", "cp437")
] + [
    "\n",
    " ",
    "a",
    "Z",
    "œ",
    "Â",
    "à ",
    "ж",
    "é",
    "€",
    "“",
    "”",
    "’",
    "½",
    "°",
    "│",
    "\x1b[0m",
    "ﬀ",
    "Ĳ",
    "\ufffd",
    "日",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(MOJIBAKE) | st.characters(max_codepoint=0x2600)).map("".join))
def test_lines_that_ftfy_is_spared_are_those_it_leaves(text: str) -> None:
    assert unicode.without_mojibake(text) == fix_text(text, unicode.FTFY)


@pytest.mark.parametrize(
    "text",
    [
        "plain\n\n\ntext\twith <b>&amp;</b>",
        "“curly” ‘quotes’ — and … dashes",
        "ｆｕｌｌ 한국어 日本語 👩‍👩‍👧 नमस्ते",
        "don’t",
    ],
)
def test_good_unicode_is_not_an_edit(text: str) -> None:
    assert unicode.build(unicode.Config())(document(text)) is None


def test_language_keeps_english_and_drops_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def refuse(*given: Any) -> None:
        assert threading.current_thread() is not threading.main_thread(), "the language filter opened a connection"
        connect(*given)  # the watch over Ray's head, of a fixture

    monkeypatch.setattr(socket.socket, "connect", refuse)
    identify = language.build(language.Config())
    verdict = replaced(identify(document(ENGLISH * 3)))
    assert (verdict.document.language, verdict.edit, verdict.document.text) == ("en", "", ENGLISH * 3)
    dropped = identify(document(GERMAN * 3))
    assert isinstance(dropped, Drop)
    assert dropped.reason == "language"
    assert re.fullmatch(r"de (0\.99|1\.00), not in keep: en", dropped.detail)
    assert replaced(language.build(language.Config(keep=()))(document(GERMAN * 3))).document.language == "de"


def test_language_score_has_an_edge() -> None:
    score = float(replaced(language.build(language.Config())(document(ENGLISH))).detail.split()[1])
    assert isinstance(language.build(language.Config(min_score=score - 0.01))(document(ENGLISH)), Replace)
    least = min(1.0, score + 0.01)
    dropped = language.build(language.Config(min_score=least))(document(ENGLISH))
    assert isinstance(dropped, Drop)
    assert re.fullmatch(rf"0\.\d{{3}} for en, less than min_score {least:.15g}", dropped.detail)


def test_language_looks_at_the_whole_text() -> None:
    assert language.sample("a\nb", 100) == "a b"
    sampled = language.sample("".join(chr(ord("a") + number // 1000) for number in range(8000)), 400)
    assert {sampled[0], sampled[-1]} == {"a", "h"}
    assert len(sampled) <= 403
    assert language.sample("THE OLD WEIR\nOF ROME", 100) == "the old weir of rome"
    assert language.sample("The Old WEIR", 100) == "The Old WEIR"
    mostly_german = document("Home | News | Sport | Read more about the weather\n" + GERMAN * 50)
    assert isinstance(language.build(language.Config())(mostly_german), Drop)


@pytest.mark.parametrize(
    "line",
    ["We use cookies to improve your experience.", "Accept all cookies", "Share", "Share on Facebook", "Tweet",
     "Facebook Twitter | LinkedIn", "Read more…", "Click here to subscribe", "Follow us on Twitter", "Advertisement",
     "Sign up", "Sign in to continue", "Most read", "Related stories", "Leave a comment", "12 Comments",
     "© 2026 The Courier", "Copyright 2026 The Courier. All rights reserved.", "Home | News | Sport | Business",
     "Privacy Policy", "Skip to content", "3 min read", "- Share", "This website uses cookies.",
     "We and our 1,462 partners use cookies to show you advertisements.",
     "By continuing to browse you accept our cookies", "Follow us!", "Find us on Facebook and Instagram.",
     "Like us: facebook.example/courier", "Keep reading »", "Continue reading the main story"],
)  # fmt: skip
def test_boilerplate_lines(line: str) -> None:
    assert boilerplate.is_boilerplate(line)
    verdict = replaced(boilerplate.build(boilerplate.Config())(document(f"A story.\n\n{line}\n\nIts end.")))
    assert (verdict.document.text, verdict.edit) == ("A story.\n\nIts end.", "boilerplate")


@pytest.mark.parametrize(
    "line",
    ["The browser stores cookies that a server sends, and returns them with every request.", "close", "register",
     "Register a callback for the event.", "Log in to the hub before you push a model to it, or pass a token.",
     "Share prices fell on Monday.", "Accept the proposal.", "To read more than one file, pass a list.",
     "Print the sum of a and b", "Copyright law protects authors.",
     "We use cookies " + "very " * 20 + "much.", "a | b", "We bake cookies every Christmas.",
     "This site of old ruins smells of cookies.", "Like us, the Romans loved their pets.", "Find us a table, he said.",
     "Keep reading books, she said."],
)  # fmt: skip
def test_text_is_not_boilerplate(line: str) -> None:
    assert not boilerplate.is_boilerplate(line)


def test_rows_of_a_table_are_no_menus() -> None:
    """As `tables: lines` of Wikipedia renders them: each of three would be one, alone."""
    table = "{|\n! Name !! Born !! Games !! Goals\n|-\n|Ada||1815||12||3\n|-\n|Bob||1912\n|-\n|Cy||1820||2||0\n|}"
    text = wikitext.to_text(f"{table}\nThe end.", wikitext.Style(tables="lines")).text
    rows = ["Name | Born | Games | Goals", "Ada | 1815 | 12 | 3", "Bob | 1912", "Cy | 1820 | 2 | 0"]
    assert text.split("\n")[:4] == rows
    strip = boilerplate.build(boilerplate.Config())
    assert strip(document(text)) is None
    menu = replaced(strip(document(f"{rows[0]}\nA story | The Courier\nEnd.")))
    assert menu.document.text == "A story | The Courier\nEnd."


def test_menus_that_are_none_take_no_time() -> None:
    """Blanks on both sides of a bar may belong to either: an expression that tries all ways takes years for this."""
    row = "a" + "\t\t|\t\ta" * 30
    assert boilerplate.is_boilerplate(row)
    assert not boilerplate.is_boilerplate(row + "x" * 31)
