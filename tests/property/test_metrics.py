"""Metrics agree with scikit-learn on whatever labels come."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from handful.evals.metrics import macro_f1
from handful.evals.text_metrics import exact_matches

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_macro_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    expected, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    wanted = sklearn_metrics.f1_score(expected, predicted, average="macro", zero_division=0.0)
    assert abs(macro_f1(expected, predicted) - wanted) < 1e-12


@settings(deadline=None)
@given(st.text(), st.sampled_from(["", " ", "\n", "\t "]))
def test_a_text_with_whitespace_around_it_is_an_exact_match(text: str, around: str) -> None:
    assert exact_matches([{"expected": text, "prediction": around + text + around}]) == [True]
