"""Metrics of labels: against scikit-learn, and worked out by hand."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from handful.evals.metrics import LabelAnswers, label_metrics, log_loss, macro_f1

LABELS = ("a", "b", "c")


def record(expected: str, prediction: str | None, **probabilities: float) -> dict[str, object]:
    given = {"probabilities": probabilities} if probabilities else {"error": "too long"}
    return {"expected": expected, "prediction": prediction, **given}


def test_all_agree_with_scikit_learn() -> None:
    draw = np.random.default_rng(3)
    rows = draw.dirichlet(np.ones(3), 200)
    true = draw.integers(0, 3, 200)
    said = rows.argmax(axis=1)
    records = [
        record(LABELS[t], LABELS[p], **dict(zip(LABELS, row, strict=True)))
        for t, p, row in zip(true, said, rows.tolist(), strict=True)
    ]
    found = label_metrics(LabelAnswers.of_records(records, LABELS))
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(true, said))
    assert found["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(true, said, average="macro"))
    assert found["log_loss"] == pytest.approx(sklearn_metrics.log_loss(true, rows))


def test_macro_f1_leaves_out_labels_that_nobody_named() -> None:
    expected, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])
    # F1 of the first: 2/3; of the second: 2/3; the third is neither expected nor predicted.
    assert macro_f1(expected, predicted) == pytest.approx(2 / 3)
    assert macro_f1(expected, predicted) == pytest.approx(
        sklearn_metrics.f1_score(expected, predicted, average="macro")
    )


def test_an_answer_that_was_not_given_is_a_miss_of_its_label() -> None:
    records = [record("a", "a", a=0.8, b=0.2), record("b", None)]
    found = label_metrics(LabelAnswers.of_records(records, LABELS))
    assert found["accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx((1 + 0) / 2)
    assert found["log_loss"] == pytest.approx(-np.log(0.8))  # of the one that was given


def test_the_calibration_error_by_hand() -> None:
    # 15 bins: 0.8 lies in (11/15, 12/15], 0.6 in (8/15, 9/15]. Two of 0.8, one right; two of 0.6, both right.
    records = [
        record("a", "a", a=0.8, b=0.2),
        record("b", "a", a=0.8, b=0.2),
        record("a", "a", a=0.6, b=0.4),
        record("b", "b", a=0.4, b=0.6),
    ]
    found = label_metrics(LabelAnswers.of_records(records, ("a", "b")))
    assert found["ece"] == pytest.approx(0.5 * abs(0.8 - 0.5) + 0.5 * abs(0.6 - 1.0))


def test_a_probability_of_zero_is_a_large_loss_and_no_infinity() -> None:
    assert 50 < log_loss(np.array([0.0])) < 100
