"""Lines that many documents have."""

import json
from pathlib import Path

import pytest

from pipeline.clean.verdict import Replace
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.dedup.passages import lines
from tests.dedup.documents import documents
from tests.dedup.passages.first_pass import surveyed

NOTICE = "This story was produced by the agency and may not be published."
TWO = f"{NOTICE}\nWrite to the desk with corrections of fact, at any hour."


def news(notice: str, num: int) -> list[Document]:
    rows = documents(
        "news", [f"Report {number} of the day.\n  {notice}\nIt ends here.\n\n{notice}" for number in range(num)]
    )
    return sorted(rows, key=lambda row: row.doc_id)


def texts(judge: lines.Filter, rows: list[Document]) -> list[str]:
    verdicts = [judge(row) for row in rows]
    return [verdict.document.text if isinstance(verdict, Replace) else row.text
            for row, verdict in zip(rows, verdicts, strict=True)]  # fmt: skip


@pytest.mark.parametrize("keep", ["first", "none"])
def test_a_line_of_many_documents_goes(keep: str, workers: Workers, tmp_path: Path) -> None:
    rows = news(NOTICE, 6)
    config = lines.Config.model_validate({"min_documents": 6, "keep": keep})
    judge = surveyed(lines, config, [rows[::2], rows[1::2][::-1]], tmp_path / "passes", workers)
    left = texts(judge, rows)
    assert left[1:] == [row.text.split("\n")[0] + "\nIt ends here." for row in rows[1:]]
    assert (left[0] == rows[0].text) == (keep == "first")
    verdict = judge(rows[1])
    assert isinstance(verdict, Replace)
    assert verdict.edit == "repeated_lines"
    assert json.loads(verdict.detail) == {"lines": 2, "first": NOTICE}


def test_few_documents_and_short_lines_stay(workers: Workers, tmp_path: Path) -> None:
    rows = news(NOTICE, 6)
    for number, config in enumerate((lines.Config(min_documents=7), lines.Config(min_documents=2, min_chars=80))):
        judge = surveyed(lines, config, [rows], tmp_path / f"{number}", workers)
        assert texts(judge, rows) == [row.text for row in rows]


def test_paragraphs_are_compared_whole(workers: Workers, tmp_path: Path) -> None:
    one = documents("one", [f"{TWO}\n\n\n{number} and more" for number in range(3)])
    other = documents("other", [f"{NOTICE} {number}\n\n{NOTICE}\nAnother line." for number in range(3)])
    config = lines.Config(unit="paragraph", min_documents=3, keep="none")
    judge = surveyed(lines, config, [one, other], tmp_path / "passes", workers)
    assert texts(judge, one) == ["0 and more", "1 and more", "2 and more"]
    assert texts(judge, other) == [f"{NOTICE} 0", f"{NOTICE} 1", f"{NOTICE} 2"]
