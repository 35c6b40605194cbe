"""Labelled data for a task: rows become items whose text and answer are known to be usable, or one clear error."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from handful.errors import InvalidInputError, InvalidParameterError
from handful.evals.rows import Row, read_rows
from handful.task.inputs import values_of
from handful.task.problem import did_you_mean, join_words
from handful.task.task import Example, Task

_TEXT_COLUMNS = ("text", "input", "sentence")
_LABEL_COLUMNS = ("label", "output", "expected", "answer", "target")


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled row: a value for each variable, and the answer that is right."""

    place: str
    inputs: Mapping[str, str]
    expected: str

    @property
    def example(self) -> Example:
        """The row as an example of a prompt."""
        return Example(self.inputs, self.expected)

    @property
    def shown(self) -> str | dict[str, str]:
        """The input as records hold it: the text itself where there is one variable."""
        return next(iter(self.inputs.values())) if len(self.inputs) == 1 else dict(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where text and label stand; None looks for usual names. `names`: what the file calls a label -> the label."""

    text: str | None = None
    label: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def read_items(path: Path, task: Task, columns: Columns) -> list[Item]:
    """The rows of a file as items of `task`. Raises InvalidInputError, InvalidParameterError, NotFoundError."""
    _check_names(task, columns)
    rows = read_rows(path)
    if not rows:
        raise InvalidInputError(f"{path} has no rows.", fix="Give a file with a header and labelled texts below it.")
    places = _text_columns(path, rows[0], task, columns)
    others = [name for name in rows[0].cells if name not in places.values()]
    usual = (*_LABEL_COLUMNS, *(others if len(others) == 1 else ()))  # the only other column is the answer's
    label = _find(path, rows[0], columns.label, usual, "--label-column")
    return [_item(path, row, task, places, label, columns.names) for row in rows]


def check_classes(path: Path, items: Sequence[Item], task: Task) -> None:
    """Raise `InvalidInputError` where a closed task's data have one class only: every metric would be empty."""
    found = Counter(item.expected for item in items)
    if task.is_closed and len(found) == 1:
        fix = f"Add rows of {join_words(label for label in task.labels if label not in found)}."
        raise InvalidInputError(f"All {len(items)} rows of {path} have the label `{next(iter(found))}`.", fix=fix)


def _check_names(task: Task, columns: Columns) -> None:
    if columns.names and not task.is_closed:
        raise InvalidParameterError("--label-names", "is for tasks with labels; this one answers in free text.")
    for label in columns.names.values():
        if label not in task.labels:
            fix = f"The task's labels are {join_words(task.labels)}."
            raise InvalidParameterError("--label-names", f"names `{label}`, which is no label.", fix=fix)


def _text_columns(path: Path, row: Row, task: Task, columns: Columns) -> dict[str, str]:
    """The column of each variable."""
    if columns.text is not None and len(task.variables) > 1:
        fix = f"Name the columns {join_words(task.variables)}."
        raise InvalidParameterError("--text-column", f"names one; this task needs {len(task.variables)}.", fix=fix)
    if len(task.variables) == 1:
        usual = (task.variables[0], *_TEXT_COLUMNS)
        return {task.variables[0]: _find(path, row, columns.text, usual, "--text-column")}
    return {name: _find(path, row, name, (), "") for name in task.variables}


def _find(path: Path, row: Row, asked: str | None, usual: Sequence[str], option: str) -> str:
    there = list(row.cells)
    for name in (asked,) if asked is not None else usual:
        if name in there:
            return str(name)
    wanted = asked if asked is not None else usual[0]
    way = did_you_mean(wanted, there) or (f"Choose one with {option}." if option else "Rename one.")
    raise InvalidInputError(f"{path} has no column `{wanted}`.", fix=f"The columns are {join_words(there)}. {way}")


def _item(path: Path, row: Row, task: Task, places: Mapping[str, str], label: str, names: Mapping[str, str]) -> Item:
    where = f"{path}, {row.place}"
    values = {name: row.cells.get(column) for name, column in places.items()}
    try:
        inputs = values_of(task, values)
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: {error.message}", fix="Mend the row, or take it out.") from None
    return Item(row.place, inputs, _expected(where, row.cells.get(label), label, task, names))


def _expected(where: str, cell: object, column: str, task: Task, names: Mapping[str, str]) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        cell = str(cell)  # many data sets number their labels
    if not isinstance(cell, str) or not cell.strip():
        told = "is empty" if cell is None or cell == "" or isinstance(cell, str) else f"is {type(cell).__name__}"
        raise InvalidInputError(f"{where}: `{column}` {told}, not a label.", fix="Mend the row, or take it out.")
    found = names.get(cell.strip(), cell.strip())
    if task.is_closed and found not in task.labels:
        near = did_you_mean(found, task.labels)
        way = f'{near} Or say what the file means: --label-names "{found}={task.labels[0]},...".'.strip()
        raise InvalidInputError(f"{where}: `{found}` is no label of the task ({join_words(task.labels)}).", fix=way)
    return found
