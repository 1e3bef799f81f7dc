from pipeline.report.diff import CONTEXT_CHARS, MAX_LINES, changes


def test_a_changed_word_is_shown_with_what_stands_around_it() -> None:
    long = "word " * 1000
    lines = changes(f"first\n{long}call 555-0137 now {long}\nlast", f"first\n{long}call [PHONE] now {long}\nlast")
    assert lines[0] == "@@ -1,3 +1,3 @@"
    assert lines[1] == " first"
    assert lines[-1] == " last"
    old, new = lines[2:4]
    assert old.startswith("-… ")
    assert "call 555-0137 now" in old
    assert new == old.replace("555-0137", "[PHONE]").replace("-", "+", 1)
    assert len(old) < 8 + 2 * CONTEXT_CHARS + 20


def test_equal_texts_have_no_diff() -> None:
    assert changes("a\nb", "a\nb") == ()


def test_a_diff_is_bounded_and_says_what_it_leaves_out() -> None:
    lines = changes("\n".join(f"old {n}" for n in range(500)), "")
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == f"… {500 + 1 - MAX_LINES} more lines of the diff"
    (_, removed) = changes("x" * 10_000, "")
    assert len(removed) < 200


def test_a_removed_line_is_not_paired_with_another() -> None:
    assert changes("a\ncookies\nb\nc", "a\nb\nc") == ("@@ -1,3 +1,2 @@", " a", "-cookies", " b")
