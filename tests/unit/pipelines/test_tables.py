"""Questions about a table, against Transformers' own pipeline."""

import warnings
from typing import Any

import pandas
import pytest
from transformers import pipeline

from handful.errors import InvalidInputError, PromptTooLongError
from handful.nlp_types import TableOptions, TableQuestion
from handful.pipelines.contract import NlpModel
from handful.pipelines.load import load_nlp_model
from tests.unit.pipelines.tiny_nlp import checkpoint, files

TABLE = {"name": ("clara", "the berkeley", "i"), "stars": ("365", "45", "39"), "live": ("2 in a", "77", "name")}
QUERIES = ["what is the name", "where do i live", "stars"]


def items(*queries: str) -> list[TableQuestion]:
    return [TableQuestion(query, TABLE) for query in queries]


@pytest.fixture(scope="module")
def model() -> NlpModel:
    return load_nlp_model(files("tapas"), "cpu")


def by_transformers(name: str, queries: list[str], **arguments: Any) -> list[dict[str, Any]]:
    reference = pipeline("table-question-answering", model=str(checkpoint(name)))
    table = pandas.DataFrame({name: list(cells) for name, cells in TABLE.items()}, dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = reference(table=table, query=queries, **arguments)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("name", ["tapas", "tapas-cells"])
@pytest.mark.parametrize("sequential", [False, True])
def test_answers_are_those_of_transformers_pipeline(name: str, sequential: bool) -> None:
    model = load_nlp_model(files(name), "cpu")
    expected = by_transformers(name, QUERIES, sequential=sequential)
    answers = model.table_question_answering(items(*QUERIES), TableOptions(sequential=sequential))
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer.answer == wanted["answer"]
        assert list(answer.coordinates) == wanted["coordinates"]
        assert list(answer.cells) == wanted["cells"]
        assert answer.aggregator == wanted.get("aggregator")
    assert any(answer.cells for answer in answers)


def test_cells_are_read_off_the_table(model: NlpModel) -> None:
    columns = list(TABLE.values())
    for answer in model.table_question_answering(items(*QUERIES), TableOptions()):
        assert answer.cells == tuple(columns[column][row] for row, column in answer.coordinates)


def test_questions_by_themselves_do_not_see_each_other(model: NlpModel) -> None:
    together = model.table_question_answering(items(*QUERIES), TableOptions())
    assert together == [model.table_question_answering(items(query), TableOptions())[0] for query in QUERIES]


@pytest.mark.parametrize(
    ("cell", "num_rows", "problem"),
    [("my name is clara and i live in " * 2, 30, r"\d+ tokens.*at most 256"), ("a", 40, "40 rows.*at most 31")],
)
def test_a_large_table_is_an_error_unless_it_may_be_cut(
    model: NlpModel, cell: str, num_rows: int, problem: str
) -> None:
    question = TableQuestion("what", {"name": (cell,) * num_rows})
    with pytest.raises(PromptTooLongError, match=f"{problem}.*truncation"):
        model.table_question_answering([question], TableOptions())
    (answer,) = model.table_question_answering([question], TableOptions(truncation=True))
    assert all(row < min(num_rows, 31) for row, _ in answer.coordinates)


def test_too_many_columns_are_an_error(model: NlpModel) -> None:
    table = {f"column {number}": ("a",) for number in range(32)}
    with pytest.raises(PromptTooLongError, match=r"32 columns.*at most 31"):
        model.table_question_answering([TableQuestion("what", table)], TableOptions(truncation=True))


@pytest.mark.parametrize(
    ("query", "table", "problem"),
    [
        ("", TABLE, "query"),
        ("a", {}, "no columns"),
        ("a", {"x": ()}, "no rows"),
        ("a", {"x": ("1",), "y": ("1", "2")}, "differ in length"),
        ("a", {"x": (1,)}, "isn't text"),
    ],
)
def test_a_table_that_is_none_is_refused(query: str, table: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        TableQuestion(query, table)


def test_no_questions_are_refused(model: NlpModel) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        model.table_question_answering([], TableOptions())
