import json
from collections import Counter
from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score

from pipeline.core.errors import UserError
from pipeline.evaluate.classification import Config
from pipeline.evaluate.run import evaluate, print_results
from pipeline.finetune.data import DataConfig, read_test
from pipeline.finetune.run import FinetuneConfig, finetune
from pipeline.finetune.scores import classification_scores, majority_label
from tests.models import toy_rows, write_jsonl


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("rows") / "rows.jsonl", toy_rows())


@pytest.fixture(scope="module")
def classifier(base: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained a little: right more often than not, but not always."""
    settings = {"task": "sequence_classification", "model": str(base), "data": str(rows), "epochs": 3, "lr": 2e-3}
    return finetune(FinetuneConfig.model_validate(settings), tmp_path_factory.mktemp("tuned") / "out")


def test_figures_equal_sklearns_on_known_answers() -> None:
    gold = list("aaaabbbccd")
    predicted = list("aaabbbacca")
    labels = list("abcd")
    scores = classification_scores(gold, predicted, labels, "a")
    assert scores["accuracy"] == accuracy_score(gold, predicted) == 0.7
    assert scores["macro_f1"] == pytest.approx((6 / 9 + 4 / 6 + 1.0 + 0.0) / 4)
    assert scores["micro_f1"] == f1_score(gold, predicted, average="micro")
    assert scores["majority_accuracy"] == 0.4
    assert scores["confusion_matrix"]["rows"] == confusion_matrix(gold, predicted).tolist()
    assert scores["confusion_matrix"]["rows"][1] == [1, 2, 0, 0]
    report = classification_report(gold, predicted, output_dict=True, zero_division=0)
    for label in labels:
        assert scores["per_class"][label]["f1"] == report[label]["f1-score"]
        assert scores["per_class"][label]["num_rows"] == report[label]["support"]
    assert majority_label(["b", "a", "b", "a", "c"]) == "a"


def test_it_answers_as_fine_tuning_said(classifier: Path, rows: Path, tmp_path: Path) -> None:
    results = evaluate(classifier, ["classification"], tmp_path / "out", rows)
    found = results["tasks"]["classification"]
    said = json.loads((classifier / "results.json").read_bytes())
    for name in ("accuracy", "macro_f1", "confusion_matrix", "majority_accuracy", "per_class", "num_rows"):
        assert found[name] == said[name], name
    assert json.loads((tmp_path / "out" / "results.json").read_bytes()) == results


def test_the_rows_are_cut_as_fine_tuning_cut_them(base: Path, tmp_path: Path) -> None:
    """Else it would be tested on rows that it was trained on."""
    rows = [{"q": row["text"], "a": row["label"]} for row in toy_rows(200)]
    data = {"path": str(write_jsonl(tmp_path / "rows.jsonl", rows)), "split_seed": 1, "test_fraction": 0.2}
    task = {"name": "sequence_classification", "text_field": "q", "label_field": "a"}
    settings = {"task": task, "model": str(base), "data": data, "epochs": 1}
    tuned = finetune(FinetuneConfig.model_validate(settings), tmp_path / "tuned")
    said = json.loads((tuned / "results.json").read_bytes())
    found = evaluate(tuned, ["classification"], tmp_path / "out", tmp_path / "rows.jsonl")["tasks"]["classification"]
    assert 25 < said["num_rows"] < 55
    for name in ("num_rows", "confusion_matrix", "majority_accuracy"):
        assert found[name] == said[name], name

    (tuned / "manifest.json").unlink()  # as a classifier of others: the settings are those of this task
    other = Config(name="classification", text_field="q", label_field="a")
    found = evaluate(tuned, [other], tmp_path / "other", tmp_path / "rows.jsonl")["tasks"]["classification"]
    test, _ = read_test(DataConfig(path=tmp_path / "rows.jsonl"), [], lambda row: row.values["q"])
    assert found["num_rows"] == len(test)
    assert found["num_rows"] != said["num_rows"]


def test_all_rows_of_a_file_without_splits(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", [{"q": row["text"], "a": row["label"]} for row in toy_rows(30, seed=9)])
    task = Config(name="classification", split="all", text_field="q", label_field="a")
    results = evaluate(classifier, [task], tmp_path / "out", data)
    scores = results["tasks"]["classification"]
    assert scores["num_rows"] == 30
    assert scores["majority_accuracy"] == 0.7
    assert Counter({label: sum(row) for label, row in zip(*scores["confusion_matrix"].values(), strict=True)}) == {
        "fruit": 21,
        "tools": 9,
    }
    print_results(results)
    shown = capsys.readouterr().out
    assert f"accuracy {scores['accuracy']:.3f}" in shown
    assert "Confusion" in shown


def test_mistakes(base: Path, classifier: Path, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"holds a LlamaForCausalLM; this needs a LlamaForSequenceClassification or "
                       r"Qwen3ForSequenceClassification: fine-tune the model first"):  # fmt: skip
        evaluate(base, ["classification"], out, rows)
    new = write_jsonl(tmp_path / "new.jsonl", [{"text": "a", "label": "new", "split": "test"}])
    with pytest.raises(UserError, match=r"line 1: label 'new' is not among the labels of .*: fruit, tools"):
        evaluate(classifier, ["classification"], out, new)
    with pytest.raises(UserError, match=r"line 1: no column 'topic'; found: text, label, split"):
        evaluate(classifier, [Config(name="classification", label_field="topic")], out, new)
    train = write_jsonl(tmp_path / "train.jsonl", [{"text": "a", "label": "fruit", "split": "train"}])
    with pytest.raises(UserError, match=r"no rows to test on \(1 rows\)"):
        evaluate(classifier, ["classification"], out, train)
    with pytest.raises(UserError, match="holds another finished finetune; name another folder"):
        evaluate(classifier, ["classification"], classifier, rows)
    with pytest.raises(UserError, match="holds a LlamaForSequenceClassification"):
        evaluate(classifier, ["perplexity"], out, rows)
