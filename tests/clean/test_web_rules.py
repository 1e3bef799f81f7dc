"""C4, FineWeb, RefinedWeb: both sides of every rule, and the same decisions as datatrove's filters on real pages."""

import importlib.metadata  # noqa: F401  (datatrove 0.10 uses it without importing it)
import json
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from pipeline.clean import c4, fineweb, refinedweb
from pipeline.clean.verdict import Drop, Replace, Verdict
from pipeline.clean.words import split, split_by
from pipeline.core.schema import Document

SENTENCE = "The old weir above the town mill was opened again on Friday."


def document(text: str) -> Document:
    return Document(b"0" * 16, "test", "key", "file:0", text)


def outcome(verdict: Verdict) -> str:
    """The text that stays, or why it goes."""
    if isinstance(verdict, Drop):
        return f"{verdict.reason} {verdict.detail}".strip()
    return verdict.document.text if isinstance(verdict, Replace) else ""


# ---- C4 ----------------------------------------------------------------------------------------------------------

PAGE = "\n".join([SENTENCE] * 5)


@pytest.mark.parametrize("reading", ["c4", "dclm"])
@pytest.mark.parametrize(
    ("line", "left"),
    [
        (f"{SENTENCE}", ["c4", "dclm"]),
        ("The weir was opened on Friday", []),
        ("The weir was opened on Friday...", []),
        ("The weir was opened on Friday!", ["c4", "dclm"]),
        ("He called it an 'honest weir'", ["c4"]),
        ("It was opened.", ["c4"]),
        ("Opened then.", []),
        ("", ["dclm"]),
        (f"It is {'x' * 1001} long, they said.", []),
        (f"It is {'x' * 1000} long, they said.", ["c4", "dclm"]),
        ("This page needs JavaScript to be shown.", []),
        ("By reading on you accept our Privacy Policy.", []),
        ("It [1] is in [citation needed] words.", ["c4"]),
    ],
)
def test_c4_lines(reading: str, line: str, left: list[str]) -> None:
    found = c4.check(f"{PAGE}\n{line}\n{SENTENCE}", c4.Config(reading=reading))
    kept = c4.build(c4.Config(reading=reading))(document(f"{PAGE}\n{line}\n{SENTENCE}"))
    shown = line.replace("[1]", "").replace("[citation needed]", "")
    assert found == "\n".join([PAGE, *[shown] * (reading in left), SENTENCE])
    assert (kept.edit if isinstance(kept, Replace) else "") == (
        "" if found.count("\n") == 6 and shown == line else "c4"
    )


@pytest.mark.parametrize(
    ("text", "c4_says", "dclm_says"),
    [
        ("\n".join([SENTENCE] * 4), "c4_few_sentences 4 sentences, fewer than min_sentences 5", ""),
        ("\n".join([SENTENCE] * 2), "c4_few_sentences 2 sentences, fewer than min_sentences 5",
         "c4_few_sentences 2 sentences, fewer than min_sentences 3"),
        (" ".join([SENTENCE] * 5), "", ""),
        (f"{PAGE}\nLorem ipsum dolor sit amet.", *['c4_lorem_ipsum a line that stays says "lorem ipsum"'] * 2),
        (f"{PAGE}\nLorem ipsum", "\n".join([SENTENCE] * 5), "\n".join([SENTENCE] * 5)),
        (f"{PAGE}\nThen we called f() {{ and it failed.", *['c4_curly_bracket a line that stays holds "{"'] * 2),
        (f"{PAGE}\n{SENTENCE * 3200}", "", "c4_long 192,305 characters, more than max_chars 190,000"),
    ],
)  # fmt: skip
def test_c4_pages(text: str, c4_says: str, dclm_says: str) -> None:
    assert outcome(c4.build(c4.Config())(document(text))) == c4_says
    assert outcome(c4.build(c4.Config(reading="dclm"))(document(text))) == dclm_says


def test_c4_rules_can_be_changed() -> None:
    text = f"{PAGE}\nNo end\nNo end at all"
    assert c4.check(text, c4.Config(terminal_punctuation=False)) == f"{PAGE}\nNo end at all"
    assert c4.check(text, c4.Config(terminal_punctuation=False, min_line_words=2)) == text
    assert c4.check("One line here.", c4.Config(min_sentences=1)) == "One line here."
    assert c4.check(text, c4.Config(max_chars=10)) == Drop("c4_long", "325 characters, more than max_chars 10")


# ---- FineWeb -----------------------------------------------------------------------------------------------------


def lines(*shares: tuple[str, int]) -> str:
    """So many of each; "#" becomes the line's number, so that no two are equal."""
    return "\n".join(line.replace("#", str(number)) for line, count in shares for number in range(count))


LONG = "a line number # that is long enough to be no short line at all"
END = LONG + "."


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        (lines((END, 12), (LONG, 88)), lines((LONG + "?", 11), (LONG, 89)),
         "fineweb_terminal_lines 0.110 of the lines end a sentence, less than min_terminal_lines 0.12"),
        (lines((END, 33), ("one two three # words.", 67)), lines((END, 32), ("one two three # words.", 68)),
         "fineweb_short_lines 0.680 of the lines have 30 characters or less, more than max_short_lines 0.67"),
        (lines((END, 120), (END, 1)), lines((END, 80), (END, 1)),
         "fineweb_dup_line_chars 0.012 of the characters are in repeated lines, more than max_dup_line_chars 0.01"),
        (lines((END, 9)) + "\n" * 31, lines((END, 9)) + "\n" * 120,
         "fineweb_newlines 0.948 newlines a word, more than max_newlines_per_word 0.3"),
        (END, " \n ", "fineweb_terminal_lines 0.000 of the lines end a sentence, less than min_terminal_lines 0.12"),
    ],
)  # fmt: skip
def test_fineweb_thresholds(good: str, bad: str, reason: str) -> None:
    judge = fineweb.build(fineweb.Config())
    assert outcome(judge(document(good))) == ""
    assert outcome(judge(document(bad))) == reason


# ---- RefinedWeb --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("BREAKING News From The Mill", "BREAKING News From The Mill"),
        ("BREAKING NEWS FROM THE MILl", None),
        ("20261124", None),
        ("12,5k Likes", None),
        ("3 comments!", None),
        ("3 comments were made", "3 comments were made"),
        ("Alone", None),
        ("two words", "two words"),
        ("3 items in cart", "3"),
        ("Items in cart", None),
        ("There are 3 items in cart for you", "There are 3 for you"),
        ("The weir is open. Read more...", "The weir is open."),
        ("The weir is open. Read more…", "The weir is open."),
        ("Read more...", None),
        ("Sign-in to your page", "to your page"),
        ("One two three four five six seven eight nine read more...",
         "One two three four five six seven eight nine read more..."),
        ("", ""),
    ],
)  # fmt: skip
def test_refinedweb_lines(line: str, left: str | None) -> None:
    text = refinedweb.without_buttons(f"{SENTENCE}\n{line}\n{SENTENCE}", refinedweb.Config())
    assert text == "\n".join([SENTENCE, *([] if left is None else [left]), SENTENCE])


def test_refinedweb_drops_pages_of_buttons() -> None:
    judge = refinedweb.build(refinedweb.Config())
    text = "\n".join([SENTENCE] * 4)  # 48 words
    assert judge(document(text)) is None
    edited = judge(document(f"{text}\n2 likes"))
    assert isinstance(edited, Replace)
    assert (edited.document.text, edited.edit) == (text, "refinedweb")
    told = "refinedweb_removed 0.059 of the words removed, more than max_removed_words 0.05"
    assert outcome(judge(document(f"{text}\n2 likes\nMore"))) == told


# ---- datatrove's decisions -----------------------------------------------------------------------------------------

FINEWEB = {
    "line_punct_ratio": "fineweb_terminal_lines", "short_line_ratio": "fineweb_short_lines",
    "char_dup_ratio": "fineweb_dup_line_chars", "list_ratio": "fineweb_newlines", "empty": "fineweb_terminal_lines",
}  # fmt: skip
C4 = {"lorem_ipsum": "c4_lorem_ipsum", "curly_bracket": "c4_curly_bracket", "too_few_sentences": "c4_few_sentences"}


Splitter = Callable[[str], list[str]]


def ours_and_theirs(
    texts: list[str], words: Splitter | None = None, sentences: Splitter | None = None
) -> dict[str, list[tuple[str, str]]]:
    """Decisions on every text, by filter; ours are made with `words` and `sentences`, or else with our splitter."""
    Theirs = import_module("datatrove.data").Document
    their_fineweb = import_module("datatrove.pipeline.filters.fineweb_quality_filter").FineWebQualityFilter()
    filters = import_module("datatrove.pipeline.filters.c4_filters")
    their_c4, their_loose = filters.C4QualityFilter(), filters.C4QualityFilter(filter_no_terminal_punct=False)
    found: dict[str, list[tuple[str, str]]] = {"fineweb": [], "c4": [], "c4 of FineWeb": []}
    for text in texts:
        pieces = split_by(text, words(text)) if words else split(text)
        mine = fineweb.check(pieces, fineweb.Config())
        answer = their_fineweb.filter(Theirs(text=text, id="0"))
        found["fineweb"].append((mine.reason if mine else "", "" if answer is True else FINEWEB[answer[1]]))
        for name, theirs, config in (
            ("c4", their_c4, c4.Config()), ("c4 of FineWeb", their_loose, c4.Config(terminal_punctuation=False)),
        ):  # fmt: skip
            said = Theirs(text=text, id="0")
            kept = theirs.filter(said)
            chosen = c4.check(text, config, num_sentences=(lambda left: sum(map(len, map(sentences, left.split("\n")))))
                              if sentences else c4.count_sentences)  # fmt: skip
            found[name].append((chosen.reason if isinstance(chosen, Drop) else chosen,
                                said.text if kept is True else C4[kept[1]]))  # fmt: skip
    return found


@pytest.mark.real
def test_decisions_equal_datatrove_on_real_texts(real_texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import spacy

    planted = [f"{text}\n{line}" for text in real_texts[:20]
               for line in ("The function f() { ends here.", "Then lorem ipsum was said.")]  # fmt: skip
    real_texts = real_texts + planted
    fineweb_module = import_module("datatrove.pipeline.filters.fineweb_quality_filter")
    c4_module = import_module("datatrove.pipeline.filters.c4_filters")

    # our splitter in both
    with monkeypatch.context() as patch:
        patch.setattr(fineweb_module, "split_into_words", lambda text, _: split(text).strings(split(text).words))
        patch.setattr(c4_module, "split_into_sentences", lambda text, _: split(text).strings(split(text).sentences))
        same = ours_and_theirs(real_texts)
    for name, decisions in same.items():
        assert [pair for pair in decisions if pair[0] != pair[1]] == [], name
    seen = Counter(mine for mine, _ in same["fineweb"])
    assert min(seen[reason] for reason in ("", *list(FINEWEB.values())[:3])) >= 10, json.dumps(seen)
    assert len({mine for mine, _ in same["c4"]}.intersection(C4.values())) == 3

    # spaCy's words and sentences in theirs, our own in ours; it is slow
    real_texts = real_texts[::3]
    tokenizer: Any = spacy.blank("en")
    tokenizer.add_pipe("sentencizer")
    tokenizer.max_length = max(map(len, real_texts))
    monkeypatch.setattr(fineweb_module, "split_into_words", lambda text, _: spacy_words(tokenizer, text))
    monkeypatch.setattr(c4_module, "split_into_sentences", lambda text, _: spacy_sentences(tokenizer, text))
    differ: dict[str, list[str]] = {}
    for name, decisions in ours_and_theirs(real_texts).items():
        differ[name] = [text for text, (mine, theirs) in zip(real_texts, decisions, strict=True) if mine != theirs]
        assert len(differ[name]) <= 0.02 * len(real_texts), (name, len(differ[name]))
    # and each disagreement is the splitter's: with spaCy's words and sentences there is none
    disputed = sorted({text for some in differ.values() for text in some})
    settled = ours_and_theirs(
        disputed, lambda text: spacy_words(tokenizer, text), lambda text: spacy_sentences(tokenizer, text)
    )
    for name, decisions in settled.items():
        assert [pair for pair in decisions if pair[0] != pair[1]] == [], name


def spacy_words(tokenizer: Any, text: str) -> list[str]:
    """As datatrove's SpaCyTokenizer has them."""
    found = (token.text.strip() for token in tokenizer.make_doc(text))
    return [word for word in found if word]


def spacy_sentences(tokenizer: Any, text: str) -> list[str]:
    found = (sentence.text.strip() for sentence in tokenizer(text).sents)
    return [sentence for sentence in found if sentence]
