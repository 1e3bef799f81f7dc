"""Documents that hold items of evaluation sets: planted ones are all found, by name; ordinary text is none."""

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.clean.verdict import Drop, Filter, Replace, Verdict
from pipeline.core.errors import UserError
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.dedup.passages import decontaminate, evaluation_sets
from pipeline.dedup.passages.decontaminate import Config
from pipeline.dedup.passages.evaluation_sets import EvaluationSet
from pipeline.dedup.passages.folded import fold
from tests.dedup.documents import docstrings, documents
from tests.dedup.passages.first_pass import surveyed

QUESTION = "When the keeper of the weir opens the upper sluice at dawn, which of the fields is flooded first?"
ANSWERS = ["the field below the old mill by the ford", "the orchard", "none"]
SHORT = "the field below the old mill by the ford"  # nine words


@pytest.fixture
def quiz(tmp_path: Path) -> Path:
    lines = [{"id": 7, "ask": "Which?"}, {"id": "a" * 8, "ask": QUESTION, "choices": {"text": ANSWERS}}]
    path = tmp_path / "quiz.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    return path


def judge_of(config: Config, rows: Sequence[Document], folder: Path, workers: Workers) -> Filter:
    return surveyed(decontaminate, config, [rows[::2], rows[1::2]], folder, workers)


def told(verdict: Verdict) -> list[dict[str, object]]:
    assert isinstance(verdict, Replace | Drop), verdict
    found: list[dict[str, object]] = json.loads(verdict.detail)["longest"]
    return found


def around(text: str) -> str:
    """In the middle of ordinary prose."""
    return f"{docstrings()[0]}\n\n{text}\n\n{docstrings()[1]}"


def test_a_hit_names_file_item_field_and_text(quiz: Path, workers: Workers, tmp_path: Path) -> None:
    clean, *dirty = documents("web", map(around, ["Nothing.", QUESTION.upper().replace(",", " --"), f"({SHORT})"]))
    judge = judge_of(Config(sets=(f"{quiz}",), action="drop"), [clean, *dirty], tmp_path / "passes", workers)
    assert judge(clean) is None
    verdicts = [judge(row) for row in dirty]
    assert [verdict.reason for verdict in verdicts if isinstance(verdict, Drop)] == ["contaminated"] * 2
    assert told(verdicts[0]) == [{"file": "quiz.jsonl.gz", "item": "2", "field": "ask", "words": 19,
                                  "text": QUESTION.upper().replace(",", " --")[:-1]}]  # fmt: skip
    assert told(verdicts[1]) == [{"file": "quiz.jsonl.gz", "item": "2", "field": "choices.text", "words": 9,
                                  "text": SHORT}]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "text", "hit"),
    [
        ({}, " ".join(QUESTION.split()[:13]), True),
        ({}, " ".join(QUESTION.split()[:12]), False),
        ({"ngram": 12}, " ".join(QUESTION.split()[:12]), True),
        ({}, " ".join(SHORT.split()[:8]), False),  # a short text is compared whole
        ({"min_words": 10}, SHORT, False),
        ({}, "The orchard.", False),
        ({"min_words": 2}, "The orchard.", True),
        ({"fields": ["choices.text"]}, QUESTION, False),
    ],
)
def test_what_is_a_hit(
    settings: dict[str, object], text: str, hit: bool, quiz: Path, workers: Workers, tmp_path: Path
) -> None:
    one = EvaluationSet.model_validate({"path": str(quiz), "fields": settings.pop("fields", ())})
    config = Config.model_validate({"sets": [one], **settings})
    (row,) = documents("web", [around(text)])
    assert (judge_of(config, [row], tmp_path / "passes", workers)(row) is not None) == hit


def test_what_many_documents_have_is_no_hit(quiz: Path, workers: Workers, tmp_path: Path) -> None:
    rows = documents("web", [f"{number}: {around(QUESTION)}" for number in range(4)])
    for max_documents, hit in ((3, False), (4, True)):
        config = Config(sets=(EvaluationSet(path=str(quiz)),), max_documents=max_documents)
        judge = judge_of(config, rows, tmp_path / f"{max_documents}", workers)
        assert [judge(row) is not None for row in rows] == [hit] * 4


def test_a_cut_takes_some_text_around_and_many_cuts_the_document(quiz: Path, workers: Workers, tmp_path: Path) -> None:
    (row,) = documents("web", [f"Far away it begins. Near it stands. {QUESTION} Near it ends. Far away it goes on."])
    for cut_chars, text in (
        (0, "Far away it begins. Near it stands. Near it ends. Far away it goes on."),
        (17, "Far away it begins. Far away it goes on."),
        (1000, ""),
    ):
        config = Config(sets=(EvaluationSet(path=str(quiz)),), cut_chars=cut_chars)
        verdict = judge_of(config, [row], tmp_path / f"{cut_chars}", workers)(row)
        assert isinstance(verdict, Replace)
        assert verdict.edit == "decontaminated"
        assert verdict.document.text == text
    (row,) = documents("web", [f"{around(QUESTION)}\n{around(SHORT)}"])
    for max_cuts, kind in ((2, Replace), (1, Drop)):
        config = Config(sets=(EvaluationSet(path=str(quiz)),), max_cuts=max_cuts)
        assert isinstance(judge_of(config, [row], tmp_path / f"cuts-{max_cuts}", workers)(row), kind)


# ---- files -------------------------------------------------------------------------------------------------------


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    bodies = {
        "a.json": '{"data": [{"q": "one"}, {"q": "two", "n": 3}]}',
        "b.csv": 'mr,ref\n"x, y","line\nbreak"\n',
        "c.tsv": "q\ta\none\ttwo\n",
        "d.conll": "The\tO\nweir\tB\n\n \t\nis\tO\n",
        "e.txt": "one\n\ntwo",
    }
    for name, body in bodies.items():
        (tmp_path / name).write_text(body)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(body.encode()))
    found = [tuple(item) for item in evaluation_sets.items([EvaluationSet(path=f"{tmp_path}/*[a-z]")])]
    expected = [
        ("a.json", "data.0.q", "q", "one"), ("a.json", "data.1.q", "q", "two"), ("b.csv", "1", "mr", "x, y"),
        ("b.csv", "1", "ref", "line\nbreak"), ("c.tsv", "1", "q", "one"), ("c.tsv", "1", "a", "two"),
        ("d.conll", "1", "tokens", "The weir"), ("d.conll", "5", "tokens", "is"), ("e.txt", "1", "text", "one"),
        ("e.txt", "2", "text", ""), ("e.txt", "3", "text", "two"),
    ]  # fmt: skip
    assert [item for item in found if not item[0].endswith(".gz")] == expected
    assert [(item[0].removesuffix(".gz"), *item[1:]) for item in found if item[0].endswith(".gz")] == expected


def test_long_fields_are_read(tmp_path: Path) -> None:
    """Python's csv module refuses fields of more than 131,072 characters."""
    (tmp_path / "long.csv").write_text("context,q\n" + "word " * 40_000 + ",one\n")
    found = list(evaluation_sets.items([EvaluationSet(path=f"{tmp_path}/long.csv")]))
    assert [(field, len(text)) for _, _, field, text in found] == [("context", 200_000), ("q", 3)]


def test_bad_sets_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jsonl").write_text('{"q": "x"}\n{"q"')
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    (tmp_path / "d.jsonl").write_bytes(b'{"q": "caf\xe9"}')
    packed = gzip.compress(b'{"q": "x"}' * 100)
    for name, body in (("cut", packed[:-12]), ("bits", packed[:10] + b"\xff" * 9), ("tail", packed + b"tail")):
        (tmp_path / f"{name}.jsonl.gz").write_bytes(body)
    (tmp_path / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    for name, text in (("empty.jsonl", ""), ("numbers.json", "[1, 2]"), ("heads.csv", "q,a\n")):
        (tmp_path / name).write_text(text)
    for name, fields, message in (
        ("none.jsonl", (), "no evaluation set at .*none.jsonl"),
        ("a.jsonl", (), "a.jsonl is not jsonl: line 2: Expecting"),
        ("b.jsonl.gz", (), "cannot read evaluation set .*b.jsonl.gz: Not a gzipped file"),
        ("c.parquet", (), r"c.parquet: its name must end in one of .jsonl, .json, "),
        ("d.jsonl", (), "d.jsonl is not jsonl: 'utf-8' codec"),
        ("cut.jsonl.gz", (), "cannot read evaluation set .*cut.jsonl.gz: Compressed file ended"),
        ("bits.jsonl.gz", (), "cannot read evaluation set .*bits.jsonl.gz: Error -3 while decompressing"),
        ("tail.jsonl.gz", (), "cannot read evaluation set .*tail.jsonl.gz: Not a gzipped file"),
        ("deep.json", (), "deep.json is not json: maximum recursion depth"),
        ("empty.jsonl", (), "empty.jsonl holds no text"),
        ("numbers.json", (), "numbers.json holds no text"),
        ("heads.csv", (), "heads.csv holds no text"),
    ):
        with pytest.raises(UserError, match=message):
            list(evaluation_sets.items([EvaluationSet(path=f"{tmp_path}/{name}", fields=fields)]))
    with pytest.raises(
        UserError, match=rf"^no evaluation set at no/\*\.txt in {Path.cwd()}, the folder where the command"
    ):
        list(evaluation_sets.items([EvaluationSet(path="no/*.txt")]))
    (tmp_path / "a.jsonl").write_text('{"q": "x"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl has no field answer, p"):
        list(evaluation_sets.items([EvaluationSet(path=f"{tmp_path}/a.jsonl", fields=("q", "p", "answer"))]))
    with pytest.raises(UserError, match="no evaluation set is named"):
        decontaminate.survey(Config(), [], tmp_path / "survey")
    decontaminate.check(Config(sets=(EvaluationSet(path=f"{tmp_path}/a.jsonl"),)))
    assert "no text of the evaluation sets has 8 words or more, so nothing is looked for" in caplog.text


def test_names_with_half_a_surrogate_can_be_written(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"\ud800": docstrings()[0]}))
    config = Config(sets=(EvaluationSet(path=f"{tmp_path}/a.jsonl"),), action="drop")
    rows = documents("web", docstrings()[:3])
    verdict = surveyed(decontaminate, config, [rows], tmp_path / "surveyed", workers)(rows[0])
    assert isinstance(verdict, Drop)
    assert json.loads(verdict.detail.encode())["longest"][0]["field"] == "?"


# ---- real sets -----------------------------------------------------------------------------------------------------

SETS = ("eval/*.gz", "finetune/*.gz")
DISGUISES = (
    lambda text: text,
    lambda text: text.upper().replace(",", " ;").replace("'", "’").replace(".", "!"),
    lambda text: around(text.replace(" ", "\n")),
)


@pytest.mark.real
def test_planted_items_of_every_real_set_are_found(real_data: Path, workers: Workers, tmp_path: Path) -> None:
    paths = [path for pattern in SETS for path in sorted(real_data.glob(pattern))]
    assert len(paths) == 16
    for path in paths:
        sets = (EvaluationSet(path=str(path)),)
        long = [item for item in evaluation_sets.items(sets) if len(fold(item.text)) >= 8]
        planted = random.Random(0).sample(long, min(len(long), 40))
        texts = [disguise(item.text) for item in planted for disguise in DISGUISES]
        rows = documents("web", texts)
        judge = judge_of(Config(sets=sets, action="drop"), rows, tmp_path / path.name, workers)
        for number, row in enumerate(rows):
            item = planted[number // len(DISGUISES)]
            verdict = judge(row)
            assert isinstance(verdict, Drop), (item, row.text)
            best = told(verdict)[0]
            assert best["file"] == path.name
            assert best["words"] == len(fold(item.text)), (item, best)


@pytest.mark.real
@pytest.mark.slow
def test_real_books_and_news_hold_what_was_looked_at(real_data: Path, workers: Workers, tmp_path: Path) -> None:
    """One novel quoted by LAMBADA, one article by BoolQ, nothing by chance."""
    from tests.sources.reading import read_all

    rows = [
        row
        for name, paths in (
            ("cc_news", ["news/*.warc.gz"]),
            ("wikipedia", ["wikipedia/enwiki-pages*"]),
            ("bookcorpus", ["books/*.zip", "books/*.txt.gz", "books/*.epub"]),
        )
        for row in read_all(name, real_data, *paths)[0].values()
    ]
    config = Config(sets=tuple(EvaluationSet(path=f"{real_data}/{pattern}") for pattern in SETS))
    judge = judge_of(config, rows, tmp_path / "passes", workers)
    hits = {row.key: told(verdict) for row in rows if (verdict := judge(row)) is not None}
    assert {(key.rpartition("/")[2], hit["file"], hit["item"]) for key, found in hits.items() for hit in found} == {
        ("Doyle_Hound_1902.txt", "lambada_openai_test.jsonl.gz", "968"),
        ("Doyle_Hound_1902.txt", "lambada_openai_test.jsonl.gz", "1408"),
        ("Doyle_Hound_1902.txt", "lambada_openai_test.jsonl.gz", "1968"),  # of the same 16 words as 1408
        ("Atomic number", "boolq_validation.jsonl.gz", "927"),
    }
