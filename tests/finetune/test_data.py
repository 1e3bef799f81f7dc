import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from pipeline.finetune.data import DataConfig, Row, read_splits, read_test
from tests.models import toy_rows, write_jsonl


def key(row: Row) -> str:
    return str(row.values["text"])


def sizes(splits: dict[str, list[Row]]) -> dict[str, int]:
    return {name: len(rows) for name, rows in splits.items()}


def test_a_hash_splits_rows_without_a_split_column(tmp_path: Path) -> None:
    rows = [{"text": f"text {number // 2}", "label": number % 2} for number in range(2000)]
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    config = DataConfig(path=path, validation_fraction=0.2, test_fraction=0.1)
    splits = read_splits(config, ["text", "label"], key)
    found = sizes(splits)
    assert sum(found.values()) == 2000
    assert abs(found["validation"] - 400) < 60
    assert abs(found["test"] - 200) < 45
    texts = [{key(row) for row in part} for part in splits.values()]
    assert not texts[0] & texts[1] | texts[1] & texts[2] | texts[0] & texts[2]  # equal texts stay together

    random.Random(0).shuffle(rows)
    shuffled = read_splits(DataConfig(path=write_jsonl(tmp_path / "other.jsonl", rows[:1900]), validation_fraction=0.2,
                                      test_fraction=0.1), ["text", "label"], key)  # fmt: skip
    assert {key(row) for row in shuffled["test"]} <= texts[2]  # neither order nor other rows move a row
    test, train = read_test(config, ["text"], key)
    assert Counter(map(key, test)) == Counter(map(key, splits["test"]))
    assert len(train) == found["train"]
    assert len(read_test(config, ["text"], key, all_rows=True)[0]) == 2000


def test_a_column_may_tell_the_split(tmp_path: Path) -> None:
    names = {"train": "train", "validation": "dev", "test": "test"}
    rows = [row | {"part": names[row.pop("split")]} for row in toy_rows(100)]
    config = DataConfig(path=write_jsonl(tmp_path / "rows.jsonl", rows), split_field="part")
    assert sizes(read_splits(config, ["text"], key)) == {"train": 60, "validation": 20, "test": 20}


@pytest.mark.parametrize("with_validation", [False, True])
def test_three_files(tmp_path: Path, with_validation: bool) -> None:
    files = {name: write_jsonl(tmp_path / f"{name}.jsonl", [row for row in toy_rows(500) if row["split"] == name])
             for name in ("train", "validation", "test")}  # fmt: skip
    if not with_validation:
        del files["validation"]
    found = sizes(read_splits(DataConfig(**files), ["text", "label"], key))
    assert found["test"] == 100
    if with_validation:
        assert (found["train"], found["validation"]) == (300, 100)
    else:
        assert found["train"] + found["validation"] == 300
        assert 10 < found["validation"] < 60
