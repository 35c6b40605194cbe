"""Texts and classes in the containers that people have, made by the libraries themselves."""

from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import pandas
import polars
import pyarrow
import pytest

from handful.errors import InvalidInputError
from handful.learn.columns import classes_and_codes, texts_of
from handful.learn.estimator import FewShotClassifier
from tests.unit.learn.structured import StructuredBackend, inputs

X = inputs("bad", range(3)) + inputs("good", range(3))
Y = ["bad"] * 3 + ["good"] * 3


def data_set(**columns: list[Any]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns)


CONTAINERS: dict[str, Callable[[list[str]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": lambda values: (value for value in values),
    "array": np.array,
    "array of objects": lambda values: np.array(values, dtype=object),
    "array of one column": lambda values: np.array(values)[:, None],
    "rows of one cell": lambda values: [[value] for value in values],
    "pandas Series": pandas.Series,
    "pandas strings": lambda values: pandas.Series(values, dtype="string"),
    "pandas categories": lambda values: pandas.Series(values, dtype="category"),
    "pandas DataFrame": lambda values: pandas.DataFrame({"review": values}),
    "pandas with another index": lambda values: pandas.Series(values, index=range(10, 10 + len(values))),
    "polars Series": polars.Series,
    "polars categories": lambda values: polars.Series(values, dtype=polars.Categorical),
    "polars DataFrame": lambda values: polars.DataFrame({"review": values}),
    "Dataset": lambda values: data_set(review=values),
    "column of a Dataset": lambda values: data_set(review=values, more=list(range(len(values))))["review"],
    "pyarrow array": pyarrow.array,
    "pyarrow Table": lambda values: pyarrow.table({"review": values}),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_texts_and_classes_come_in_any_usual_container(name: str) -> None:
    make = CONTAINERS[name]
    assert texts_of(make(X)) == X
    classes, codes = classes_and_codes(make(Y), len(Y))
    assert (classes.tolist(), codes.tolist()) == (["bad", "good"], [0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("name", ["pandas DataFrame", "polars DataFrame", "polars Series", "Dataset"])
def test_a_classifier_learns_from_them_and_answers_them(name: str) -> None:
    make = CONTAINERS[name]
    made = FewShotClassifier(StructuredBackend(), input="Text: {text}").fit(make(X), make(Y))
    expected = FewShotClassifier(StructuredBackend(), input="Text: {text}").fit(X, Y).predict_proba(X)
    assert made.predict_proba(make(X)).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "make",
    [
        np.array,
        pandas.Series,
        lambda values: pandas.Series(values, dtype="Int64"),
        polars.Series,
        pyarrow.array,
        lambda values: data_set(label=values),
    ],
    ids=["array", "pandas", "pandas Int64", "polars", "pyarrow", "Dataset"],
)
def test_numbers_stay_numbers(make: Callable[[list[int]], Any]) -> None:
    classes, codes = classes_and_codes(make([7, 0, 7]), 3)
    assert (classes.tolist(), codes.tolist()) == ([0, 7], [1, 0, 1])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (pandas.DataFrame({"a": ["x"], "b": ["y"]}), "The frame has 2 columns; texts are one column. Choose one"),
        (polars.DataFrame({"a": ["x"], "b": ["y"]}), "2 columns"),
        (data_set(a=["x"], b=["y"]), "2 columns"),
        (pyarrow.table({"a": ["x"], "b": ["y"]}), "2 columns"),
        (polars.DataFrame({"a": ["x"]}).lazy(), r"a lazy frame.*Write X\.collect\(\)"),
        ([{"text": "x"}], "Row 1 of 1 must be text, not dict"),
        (pandas.Series(["x", None]), "Row 2 of 2 must be text"),
        (pandas.Series(["x", pandas.NA], dtype="string"), "Row 2 of 2 must be text"),
        (polars.Series(["x", None]), "Row 2 of 2 must be text, not NoneType"),
        (polars.Series([1, 2]), "Row 1 of 2 must be text, not int"),
        ({"x"}, "a set, whose rows have no order. Give a list"),
        (3, "must be a list, an array or a column, not int"),
        ([["x"], ["y", "z"]], "Row 2 has 2 cells"),
    ],
)
def test_texts_that_are_none_are_named(given: Any, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        texts_of(given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (pandas.Series(["x", None, "y"]), "Row 2 has no class. Leave it out"),
        (pandas.Series(["x", pandas.NA, "y"], dtype="string"), "Row 2 has no class"),
        (pandas.Series([1.0, float("nan"), 2.0]), "Row 2 has no class"),
        (polars.Series(["x", None, "y"]), "Row 2 has no class"),
        (pandas.DataFrame({"a": ["x"] * 3, "b": ["y"] * 3}), "2 columns; classes are one column"),
        (["x", {"y": 1}, "z"], "Row 2 has a dict for a class"),
    ],
)
def test_classes_that_are_none_are_named(given: Any, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        classes_and_codes(given, 3)
