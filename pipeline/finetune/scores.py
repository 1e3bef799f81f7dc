"""How good a classifier's answers are: accuracy, F1 and the confusion matrix, beside what guessing would get."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table


def classification_scores(
    gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str], majority: str
) -> dict[str, Any]:
    """All fractions lie in [0, 1]. `majority`: the label that one who has read no text would always answer.

    Macro F1 is the plain mean over `labels`; a label that is neither in `gold` nor in `predicted` counts as 0.
    Row i, column j of the confusion matrix counts texts of label i that were given label j.
    """
    from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score

    names = list(labels)
    report = classification_report(gold, predicted, labels=names, output_dict=True, zero_division=0)
    per_class = {
        name: {
            "precision": report[name]["precision"],
            "recall": report[name]["recall"],
            "f1": report[name]["f1-score"],
            "num_rows": int(report[name]["support"]),
        }
        for name in names
    }
    return {
        "accuracy": float(accuracy_score(gold, predicted)),
        "macro_f1": float(f1_score(gold, predicted, labels=names, average="macro", zero_division=0)),
        "micro_f1": float(f1_score(gold, predicted, labels=names, average="micro", zero_division=0)),
        "majority_label": majority,
        "majority_accuracy": sum(label == majority for label in gold) / len(gold),
        "num_rows": len(gold),
        "per_class": per_class,
        "confusion_matrix": {"labels": names, "rows": confusion_matrix(gold, predicted, labels=names).tolist()},
    }


def majority_label(labels: Sequence[str]) -> str:
    """The most frequent; of equals the first in the alphabet."""
    return min(Counter(labels).items(), key=lambda item: (-item[1], item[0]))[0]


def summary(scores: dict[str, Any]) -> str:
    return (
        f"accuracy {scores['accuracy']:.3f}, macro F1 {scores['macro_f1']:.3f} on {scores['num_rows']:,} rows "
        f"(always answering '{scores['majority_label']}': {scores['majority_accuracy']:.3f})"
    )


def report_table(scores: dict[str, Any]) -> Table:
    """The classification report, for people."""
    table = Table(title=summary(scores), title_justify="left")
    table.add_column("label")
    for column in ("precision", "recall", "F1", "rows"):
        table.add_column(column, justify="right")
    for name, row in scores["per_class"].items():
        figures = [f"{row[key]:.3f}" for key in ("precision", "recall", "f1")]
        table.add_row(name, *figures, f"{row['num_rows']:,}")
    return table
