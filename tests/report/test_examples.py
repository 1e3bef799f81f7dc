"""`penstock ledger sample`: what a rule drops, beside what stays."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.core.errors import UserError
from pipeline.core.manifest import stage_folders
from pipeline.core.tables import read_documents
from pipeline.report.examples import TEXT_CHARS, draw, show
from tests.processes import penstock
from tests.report.planted import planted


def texts(prepared: Path, stage: str) -> dict[str, str]:
    files = stage_folders(prepared)[stage].glob("*.documents.parquet")
    return {document.doc_id.hex(): document.text for file in files for document in read_documents(file)}


def test_a_dropped_text_stands_beside_a_kept_one_of_its_source(prepared: Path) -> None:
    before, after = texts(prepared, "sources"), texts(prepared, "clean")
    drawn = draw(prepared, "gopher_short")
    assert len(drawn) == 5
    for example in drawn:
        assert example.text == before[example.doc_id]
        assert example.doc_id not in after
        assert example.kept
        assert example.kept.what == "kept"
        assert example.kept.text.removesuffix(" …") == after[example.kept.doc_id][:TEXT_CHARS].rstrip()


def test_a_duplicate_stands_beside_its_survivor(sample: Path, prepared: Path) -> None:
    drawn = draw(prepared, "near_duplicate", source="wikipedia", num=100)
    assert {example.source for example in drawn} == {"wikipedia"}
    pairs = {frozenset((example.key, example.kept.key)) for example in drawn if example.kept}
    twins = planted(sample, "near_duplicate")
    assert frozenset((twins["key"], twins["of"]["key"])) in pairs
    assert {example.kept.what for example in drawn if example.kept} == {"survivor"}


def test_an_edited_text_stands_beside_what_became_of_it(sample: Path, prepared: Path) -> None:
    secrets = planted(sample, "pii")
    example = next(one for one in draw(prepared, "pii", num=100) if one.key == secrets["key"])
    assert example.kept
    assert (example.kept.what, example.kept.doc_id) == ("edited", example.doc_id)
    assert any(secrets["planted"][0] in line for line in example.diff)


@pytest.mark.parametrize("reason", ["gopher_short", "near_duplicate", "pii"])
def test_a_stage_shows_the_texts_that_the_stages_before_it_hold(
    reason: str, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = draw(prepared, reason)
    assert all(example.text for example in drawn)
    assert draw(stage_folders(prepared)[drawn[0].stage], reason) == drawn
    show(drawn)
    shown = capsys.readouterr().out
    assert '{"' not in shown
    assert ("estimated Jaccard 0." in shown) == (reason == "near_duplicate")
    assert "not among these documents" not in shown
    survivors = [example.survivor for example in drawn if example.survivor]
    assert bool(survivors) == (reason == "near_duplicate")
    assert all(f"{one.doc_id}  {one.source}: {one.key}" in shown for one in survivors if one.key)


def test_a_stage_that_is_not_finished_says_why_there_is_no_text(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = stage_folders(prepared)["clean"]
    shutil.copytree(clean, tmp_path / clean.name)
    (tmp_path / clean.name / "manifest.json").unlink()
    drawn = draw(tmp_path / clean.name, "gopher_short", num=1)
    assert drawn[0].text == ""
    show(drawn)
    assert (
        "no text: which folder this stage reads is known when it is done; `penstock ledger" in capsys.readouterr().out
    )


def test_a_raw_record_is_told_by_its_place(prepared: Path) -> None:
    (example,) = draw(prepared, "not_html", num=1)
    assert (example.text, example.kept) == ("", None)
    assert example.origin.startswith("cc_news/")


def test_the_same_seed_draws_the_same_and_seeds_differ(prepared: Path) -> None:
    by_seed = [[example.doc_id for example in draw(prepared, "redirect", num=4, seed=seed)] for seed in (0, 0, 1, 2, 3)]
    assert by_seed[0] == by_seed[1]
    assert len({tuple(ids) for ids in by_seed}) >= 3


@pytest.mark.parametrize(
    ("reason", "source", "message"),
    [
        ("gopher_shot", None, r"for 'gopher_shot' in .*; did you mean 'gopher_short'\?"),
        ("zzz", "bookcorpus", "for 'zzz' in bookcorpus; reasons there: damaged, .*near_duplicate"),
        ("pii", "news", "no source 'news' in .*; it has bookcorpus, cc_news, wikipedia"),
    ],
)
def test_a_rule_that_did_nothing(prepared: Path, reason: str, source: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw(prepared, reason, source)


def test_the_command(prepared: Path) -> None:
    done = penstock("ledger", "sample", prepared, "--reason", "language", "--num", "1", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "clean dropped language  " in done.stdout
    assert "before" in done.stdout
    drawn = json.loads(penstock("ledger", "sample", prepared, "--reason", "language", "--num", "2", "--json").stdout)
    assert [example["reason"] for example in drawn] == ["language", "language"]
    done = penstock("ledger", "sample", prepared, "--reason", "language", "--num", str(10**30))
    assert done.returncode == 2
    assert "1000000" in done.stderr
