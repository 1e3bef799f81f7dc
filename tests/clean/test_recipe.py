"""Recipes: pinned, taken by a data config, compared; and the page that is written from them."""

import json
import re
from pathlib import Path

import pytest

from pipeline.clean import compare, page, recipe
from pipeline.clean.run import CleanConfig, pin_of
from pipeline.core import manual, plugins
from pipeline.core.config import load
from pipeline.core.errors import ConfigError, UserError
from pipeline.core.schema import Document
from pipeline.prepare import PrepareConfig
from tests.dedup.documents import write_stage
from tests.processes import penstock

TEXT = "The old weir above the town mill was opened again on Friday, and the people of the town went to see it."


def test_the_recipes_are_what_they_are_pinned_to() -> None:
    """A recipe that means something else has another pin; if you meant it, say so in the CHANGELOG and set the pin."""
    assert recipe.names() == ["books", "c4", "fineweb", "gopher", "refinedweb", "wikipedia"]
    for name in recipe.names():
        chosen = recipe.read(name)
        assert (chosen.recipe, chosen.pin) == (name, pin_of(chosen.filters))
        assert len(recipe.about(name)) > 100


def test_published_thresholds() -> None:
    """The figures of the papers and of datatrove's examples/fineweb.py, written out once more."""
    fineweb = {section.name: section.model_dump() for section in recipe.read("fineweb").filters}
    assert list(fineweb) == ["unicode", "language", "repetition", "quality", "c4", "fineweb", "pii"]
    assert fineweb["language"]["min_score"] == 0.65
    assert fineweb["c4"]["terminal_punctuation"] is False
    assert [fineweb["fineweb"][key] for key in ("min_terminal_lines", "max_short_lines", "short_line_chars",
            "max_dup_line_chars", "max_newlines_per_word")] == [0.12, 0.67, 30, 0.01, 0.3]  # fmt: skip
    c4 = {section.name: section.model_dump() for section in recipe.read("c4").filters}
    assert c4["language"]["min_score"] == 0.65, "the paper's 0.99 is of another detector"


def test_a_data_config_takes_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(f"extends: {recipe.RECIPES / 'gopher.yaml'}\ninput: raw\nsources: [jsonl]\n".replace(
        "[jsonl]", "[{name: jsonl, paths: [x]}]"))  # fmt: skip
    assert load(PrepareConfig, file).clean == recipe.read("gopher")
    changed = "clean.filters=[unicode, language]"
    with pytest.raises(ConfigError, match=r"clean: recipe 'gopher' is pinned to '[0-9a-f]{12}', but its filters and "
                                          r"splitter are now '([0-9a-f]{12})'") as refused:  # fmt: skip
        load(PrepareConfig, file, [changed])
    pin = re.findall("'([0-9a-f]{12})'", str(refused.value))[1]
    renamed = load(PrepareConfig, file, [changed, "clean.recipe=mine", f"clean.pin='{pin}'"]).clean
    unnamed = load(PrepareConfig, file, [changed, "clean.recipe=''", "clean.pin=''"]).clean
    assert renamed.filters == unnamed.filters


def test_every_threshold_is_pinned() -> None:
    def pin(*filters: object) -> str:
        return pin_of(CleanConfig.model_validate({"filters": list(filters)}).filters)

    assert pin("quality", "pii") == pin({"name": "quality", "min_words": 50}, "pii")
    assert len({pin("quality", "pii"), pin("pii", "quality"), pin({"name": "quality", "min_words": 51}, "pii")}) == 3


def test_a_recipe_needs_a_name_that_exists(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no recipe 'finewub'; known: books, c4, fineweb"):
        recipe.read("finewub")
    (tmp_path / "mine.yaml").write_text("input: x\nclean: {filters: [length]}\n")
    assert [section.name for section in recipe.read(f"{tmp_path}/mine.yaml").filters] == ["length"]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    texts = [TEXT * 3, "Short.", f"{TEXT * 3}\n" + "=" * 20, TEXT * 3 + " { }."]
    rows = [Document(bytes([number]) * 16, "test", f"key {number}", "f:0", text) for number, text in enumerate(texts)]
    return write_stage(tmp_path, {"test-00000": rows[:1], "test-00001": rows[1:]}, "sources")


def write_recipes(folder: Path) -> tuple[str, str]:
    (folder / "a.yaml").write_text("clean: {filters: [{name: symbols, symbol_lines: remove}, site_lines]}")
    (folder / "b.yaml").write_text("clean: {filters: [{name: length, min_chars: 10}, {name: c4, min_sentences: 0}]}")
    return f"{folder}/a.yaml", f"{folder}/b.yaml"


def test_flips_by_rule(documents: Path, tmp_path: Path) -> None:
    names = write_recipes(tmp_path)
    found = compare.compare(names, (recipe.read(names[0]), recipe.read(names[1])), documents, 10)
    assert [(flip.key, flip.keeps, flip.drops, flip.reason, flip.detail) for flip in found.flips] == [
        ("key 1", *names, "length_short", "6 characters, fewer than min_chars 10"),
        ("key 3", *names, "c4_curly_bracket", 'a line that stays holds "{"'),
    ]  # fmt: skip
    assert (found.num_documents, found.num_kept, found.num_edited_differently) == (4, (4, 2), 0)
    some = compare.compare(names[::-1], (recipe.read(names[1]), recipe.read(names[0])), documents, 2)
    assert (some.num_documents, [flip.key for flip in some.flips]) == (2, ["key 1"])


def test_recipes_on_the_command_line(documents: Path, tmp_path: Path) -> None:
    names = write_recipes(tmp_path)
    shown = penstock("recipe", "diff", *names, "--data", documents)
    assert "2 of 4 documents flip" in shown.stdout
    assert "length_short" in shown.stdout
    body = json.loads(penstock("recipe", "diff", *names, "--data", documents, "--sample", "2", "--json").stdout)
    assert [flip["reason"] for flip in body["flips"]] == ["length_short"]
    nothing = penstock("recipe", "diff", "gopher", "c4", "--data", tmp_path)
    assert nothing.returncode == 2
    assert "holds no documents (no *.documents.parquet)" in nothing.stderr
    listed = penstock("recipe", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["recipe", *recipe.names()], "one line each"
    assert re.match(r"fineweb +English web pages, as FineWeb +Penedo 2024, arXiv 2406\.17557", listed[3])
    shown = penstock("recipe", "show", "fineweb")
    assert f"recipe fineweb, pin {recipe.read('fineweb').pin}" in shown.stdout
    assert "min_terminal_lines 0.12" in shown.stdout


def test_a_key_in_brackets_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    flip = compare.Flip("0" * 32, "jsonl", "[/b] \x1b[2J", "a", "b", "gopher_short", "3")
    compare.print_comparison(compare.Comparison(("a", "b"), 1, (1, 0), 0, (flip,)))
    assert "[/b] \\x1b[2J" in capsys.readouterr().out


def test_a_prepare_folder_is_compared_at_its_sources(prepared: Path) -> None:
    found = compare.compare(("gopher", "c4"), (recipe.read("gopher"), recipe.read("c4")), prepared, 50)
    assert found.num_documents == 50
    assert found.flips


# ---- docs/filters.md ----------------------------------------------------------------------------------------------


def test_the_page_is_what_the_code_says() -> None:
    """If it is not: python -m pipeline.clean.page"""
    assert page.PAGE.read_text(encoding="utf-8") == page.write()


def test_every_setting_is_explained() -> None:
    """By the docstring of its field, so that no cell of the page is empty."""
    for name in plugins.names(page.PACKAGE):
        for key, field in plugins.load(page.PACKAGE, name).Config.model_fields.items():
            assert field.description or key == "name", f"{name}.{key}"
    rows = [line for line in page.write().splitlines() if line.startswith("|")]
    assert not [row for row in rows if any(not cell.strip() for cell in row.strip("|").split("|"))]


def test_every_reason_in_the_code_is_on_the_page() -> None:
    filters = {name: plugins.load("pipeline.clean", name) for name in plugins.names("pipeline.clean")}
    listed = set(manual.reasons({name: module.__doc__ or "" for name, module in filters.items()}))
    for name, module in filters.items():
        for reason in page.reasons_in(Path(module.__file__ or "").read_text(encoding="utf-8")):
            assert any(known.startswith(reason) for known, owner in listed if owner == name), (name, reason)
    assert ("gopher_short", "quality") in listed
    assert ("unicode", "unicode") in listed
    assert list(page.reasons_in('Drop("a", "b"); above(f"c_{d}e"); below("g", 1); Keep("f")')) == ["a", "c_", "g"]
