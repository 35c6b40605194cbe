"""Texts and classes out of the containers that people have: lists, arrays, Series, frames or data sets of one column.

pandas, polars, `datasets` and pyarrow are never imported: a frame is known by the names of its columns. (Iterating one
would give those names, or its rows.)
"""

from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handful.errors import InvalidInputError
from handful.learn.probability import Classes


def texts_of(given: Any) -> list[str]:
    """The texts in `given`, in order. Raises InvalidInputError naming the row of a cell that is empty or no text."""
    if isinstance(given, str | bytes | dict):
        raise InvalidInputError("The texts must be a list.", fix="For a single text, write [text].")
    values = _cells(given, "texts")
    for index, value in enumerate(values):
        if not isinstance(value, str):
            kind = type(value).__name__
            raise InvalidInputError(f"Row {index + 1} of {len(values)} must be text, not {kind} ({value!r}).")
        if not value.strip():
            raise InvalidInputError(f"Row {index + 1} of {len(values)} is empty.", fix="Leave it out.")
    return [str(value) for value in values]


def classes_and_codes(given: Any, num_texts: int) -> tuple[NDArray[Any], Classes]:
    """The distinct classes, sorted, and the index of each row's class. InvalidInputError for fewer than two."""
    values = classes_of_rows(given)
    if len(values) != num_texts:
        raise InvalidInputError(f"There are {num_texts} texts and {len(values)} classes.")
    if not num_texts:
        raise InvalidInputError("There are no texts to learn from.", fix="Give at least one of each class.")
    try:
        classes, codes = np.unique(_typed(values), return_inverse=True)
    except TypeError:
        raise InvalidInputError("The classes are of different types, so they have no order.") from None
    if len(classes) < 2:
        raise InvalidInputError(
            f"All texts have the class {classes.tolist()[0]!r}.", fix="Give texts of at least two classes."
        )
    return classes, codes.astype(np.int64)


def classes_of_rows(given: Any) -> list[Any]:
    """The class of each row, as Python's own values. Raises InvalidInputError naming a row that has none or several."""
    if isinstance(given, str | bytes | dict):
        raise InvalidInputError("The classes must be a list: one for each text.")
    values = _cells(given, "classes")
    for index, value in enumerate(values):
        if isinstance(value, list | tuple | dict | np.ndarray):
            raise InvalidInputError(
                f"Row {index + 1} has a {type(value).__name__} for a class; one class is one value."
            )
        if _is_missing(value):
            raise InvalidInputError(f"Row {index + 1} has no class.", fix="Leave it out.")
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _cells(given: Any, what: str) -> list[Any]:
    """The cells of the one column in `given`."""
    if hasattr(given, "collect"):
        raise InvalidInputError(f"The {what} are a lazy frame, which has no rows yet.", fix="Write X.collect().")
    if isinstance(given, AbstractSet):
        raise InvalidInputError(f"The {what} are a set, whose rows have no order.", fix="Give a list.")
    names = getattr(given, "column_names", None)  # of a data set; in pyarrow `columns` are the columns themselves
    names = getattr(given, "columns", None) if names is None else names
    if names is not None:
        given = given[_only_name(names, what)]
    if hasattr(given, "to_pylist"):
        return list(given.to_pylist())
    try:
        values = list(given)
    except TypeError:
        problem = f"The {what} must be a list, an array or a column, not {type(given).__name__}."
        raise InvalidInputError(problem) from None
    is_a_table = bool(values) and isinstance(values[0], np.ndarray | list | tuple)
    return [_only_cell(row, index, what) for index, row in enumerate(values)] if is_a_table else values


def _only_name(names: Any, what: str) -> Any:
    known = list(names)
    if len(known) != 1:
        fix = "Choose one, as in X[name]."
        raise InvalidInputError(f"The frame has {len(known)} columns; {what} are one column.", fix=fix)
    return known[0]


def _only_cell(row: Any, index: int, what: str) -> Any:
    if not isinstance(row, np.ndarray | list | tuple):
        return row
    if len(row) != 1:
        raise InvalidInputError(f"Row {index + 1} has {len(row)} cells; {what} are one column.")
    return row[0]


def _is_missing(value: Any) -> bool:
    """Whether it is None, NaN, or what pandas has for "not known" (which is equal to nothing, not even in doubt)."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def _typed(values: list[Any]) -> NDArray[Any]:
    """An array of the values' own type, where they share one (numpy would turn [1, "a"] into text)."""
    kinds = {type(value) for value in values}
    return np.asarray(values) if len(kinds) == 1 else np.array(values, dtype=object)
