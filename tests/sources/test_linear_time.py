"""Expressions over hostile text: four times the text takes about four times as long, never sixteen."""

import time
from collections.abc import Callable

import pytest
from resiliparse.parse.html import HTMLTree

from pipeline.sources.books.apparatus import drop_contents, drop_illustrations, drop_notes, drop_page_marks
from pipeline.sources.books.gutenberg import join_lines, normalise, strip_licence
from pipeline.sources.markup import html_to_text
from pipeline.sources.web.main_text import by_resiliparse


def main_text(html: str) -> str:
    return by_resiliparse(HTMLTree.parse(html), html)


@pytest.mark.parametrize(
    ("function", "hostile"),
    [
        (normalise, lambda size: "a" + " " * size + "b"),
        (normalise, lambda size: "a\n" + "\n" * size + "b"),
        (drop_contents, lambda size: "CONTENTS\nOne\n\nTwo\n\n" + "." * size + "x\n"),
        (drop_contents, lambda size: "CONTENTS\n" * (size // 9)),
        (drop_notes, lambda size: "Transcriber's note\n" * (size // 19)),
        (drop_illustrations, lambda size: "[Illustration " * (size // 14)),
        (drop_page_marks, lambda size: "[Pg " * (size // 4)),
        (drop_page_marks, lambda size: "1\n" * (size // 2)),
        (strip_licence, lambda size: "*** START OF THIS PROJECT GUTENBERG " * (size // 36)),
        (join_lines, lambda size: "\n" + " " * size + "x"),
        (html_to_text, lambda size: "<!DOCTYPE a [" + "] " * (size // 2)),
        (html_to_text, lambda size: "<p epub:type=" * (size // 13)),
        (main_text, lambda size: "<noscript" * (size // 9)),
    ],
)  # fmt: skip
def test_time_is_linear(function: Callable[[str], object], hostile: Callable[[int], str]) -> None:
    def seconds(size: int) -> float:
        text = hostile(size)
        start = time.process_time()
        function(text)
        return time.process_time() - start

    seconds(1000)
    assert seconds(20_000) < 12 * max(seconds(5_000), 0.002)
