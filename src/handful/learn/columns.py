"""Texts and classes out of the containers that scikit-learn users have: lists, arrays, Series, frames of one column."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handful.errors import InvalidInputError
from handful.learn.probability import Classes


def texts_of(given: Any) -> list[str]:
    """The texts in `given`, in order. Raises InvalidInputError naming the row of a cell that is no text, or is empty.

    pandas is never imported: a frame is known by its `columns`. (Iterating one would give the names of its columns.)
    """
    if isinstance(given, str | bytes | dict):
        raise InvalidInputError("The texts must be a list.", fix="For a single text, write [text].")
    if hasattr(given, "columns"):
        given = _only_column(given)
    values = list(given) if not hasattr(given, "to_numpy") else list(given.to_numpy(dtype=object))
    if values and isinstance(values[0], np.ndarray | list | tuple):
        values = [_only_cell(row, index) for index, row in enumerate(values)]
    for index, value in enumerate(values):
        if not isinstance(value, str):
            kind = type(value).__name__
            raise InvalidInputError(f"Row {index + 1} of {len(values)} must be text, not {kind} ({value!r}).")
        if not value.strip():
            raise InvalidInputError(f"Row {index + 1} of {len(values)} is empty.", fix="Leave it out.")
    return [str(value) for value in values]


def classes_and_codes(given: Any, num_texts: int) -> tuple[NDArray[Any], Classes]:
    """The distinct classes, sorted, and the index of each row's class. InvalidInputError for fewer than two."""
    values = _cells(given)
    if len(values) != num_texts:
        raise InvalidInputError(f"There are {num_texts} texts and {len(values)} classes.")
    if not num_texts:
        raise InvalidInputError("There are no texts to learn from.", fix="Give at least one of each class.")
    for index, value in enumerate(values):
        if isinstance(value, list | tuple | dict | np.ndarray):
            raise InvalidInputError(
                f"Row {index + 1} has a {type(value).__name__} for a class; one class is one value."
            )
        if value is None or value != value:
            raise InvalidInputError(f"Row {index + 1} has no class.", fix="Leave it out.")
    try:
        classes, codes = np.unique(_typed(values), return_inverse=True)
    except TypeError:
        raise InvalidInputError("The classes are of different types, so they have no order.") from None
    if len(classes) < 2:
        raise InvalidInputError(
            f"All texts have the class {classes.tolist()[0]!r}.", fix="Give texts of at least two classes."
        )
    return classes, codes.astype(np.int64)


def _cells(given: Any) -> list[Any]:
    if isinstance(given, str | bytes | dict):
        raise InvalidInputError("The classes must be a list: one for each text.")
    values = given.to_numpy() if hasattr(given, "to_numpy") else given
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return list(values.tolist() if isinstance(values, np.ndarray) else values)


def _typed(values: list[Any]) -> NDArray[Any]:
    """An array of the values' own type, where they share one (numpy would turn [1, "a"] into text)."""
    kinds = {type(value) for value in values}
    return np.asarray(values) if len(kinds) == 1 else np.array(values, dtype=object)


def _only_column(frame: Any) -> Any:
    names = list(frame.columns)
    if len(names) != 1:
        fix = "Choose one, as in X[name]."
        raise InvalidInputError(f"The frame has {len(names)} columns; texts are one column.", fix=fix)
    return frame[names[0]]


def _only_cell(row: Any, index: int) -> Any:
    if len(row) != 1:
        raise InvalidInputError(f"Row {index + 1} has {len(row)} cells; texts are one column.")
    return row[0]
