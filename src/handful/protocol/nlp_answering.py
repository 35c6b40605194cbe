"""Question answering, over a text or over a table.

    {"inputs": {"question": "...", "context": "..."}}    {"score": 0.93, "start": 11, "end": 16, "answer": "Clara"}
    {"inputs": {"query": "...", "table": {"Stars": ["36542"]}}}
                      {"answer": "AVERAGE > 36542", "coordinates": [[0, 0]], "cells": ["36542"], "aggregator": ...}

With `top_k` above 1 the answers to a question are a list. A table may be asked several queries at once (a list), and
`sequential` then says that they follow from each other.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from handful.errors import InvalidParameterError
from handful.nlp_types import Answer, NlpTask, Question, QuestionOptions, TableAnswer, TableOptions, TableQuestion
from handful.protocol.fields import Texts, null_is_unset
from handful.protocol.nlp_request import (
    STRICT,
    Asked,
    NlpRequest,
    for_each,
    items_of,
    one_or_more,
    texts_of,
    truncates,
)

MAX_CELLS = 100_000
_PADDINGS = (True, False, "longest", "do_not_pad")


class QuestionInput(BaseModel):
    """A question and the text that holds the answer."""

    model_config = STRICT

    question: str
    context: str


class QuestionParameters(BaseModel):
    """How answers are looked for."""

    model_config = STRICT

    top_k: int = Field(default=1, description="Answers to return, from 1; a list where it is above 1.")
    doc_stride: int | None = Field(default=None, description="Tokens that two windows of a long context share.")
    max_answer_len: int = Field(default=15, description="Tokens of the longest answer.")
    max_seq_len: int | None = Field(default=None, description="Tokens of a window, the question included.")
    max_question_len: int = Field(default=64, description="Tokens of the longest question; a longer one is an error.")
    handle_impossible_answer: bool = Field(default=False, description="Whether an empty answer may be returned.")
    align_to_words: bool = Field(default=True, description="Widen an answer to whole words.")


class QuestionRequest(NlpRequest):
    """Answers out of texts."""

    bare_keys: ClassVar[frozenset[str]] = frozenset({"question", "context"})

    inputs: Annotated[QuestionInput | list[QuestionInput], one_or_more(QuestionInput)] = Field(
        description="A question with its context, or a list of such objects."
    )
    parameters: Annotated[QuestionParameters, BeforeValidator(null_is_unset)] = QuestionParameters()

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`."""
        options = QuestionOptions(**self.parameters.model_dump())
        given = items_of(self.inputs)
        items = tuple(Question(each.question, each.context) for each in given)
        return Asked(task, items, options, tuple(text for each in items for text in (each.question, each.context)))

    def answer(self, results: Sequence[Sequence[Answer]]) -> Any:
        """An object for each question, or a list of them where several were asked for."""

        def told(answers: Sequence[Answer]) -> Any:
            objects = [_told_answer(answer) for answer in answers]
            return objects[0] if self.parameters.top_k == 1 and objects else objects

        return for_each(self.inputs, results, told)


def _check_table(value: object) -> object:
    """Stop at the first thing that doesn't belong in a table, and at too many of them."""
    if not isinstance(value, dict):
        raise PydanticCustomError("table", "should be an object: the name of each column with the list of its cells")
    num_cells = 0
    for cells in value.values():
        if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
            raise PydanticCustomError("table", "should have lists of strings as its columns")
        num_cells += len(cells)
    if num_cells > MAX_CELLS:
        raise PydanticCustomError("table", "takes at most {limit} cells", {"limit": MAX_CELLS})
    return value


class TableInput(BaseModel):
    """A table and what is asked about it."""

    model_config = STRICT

    query: Texts = Field(
        validation_alias=AliasChoices("query", "question"), description="A question about the table, or a list of them."
    )
    table: Annotated[dict[str, list[str]], BeforeValidator(_check_table)] = Field(
        description="Columns and their cells."
    )


class TableParameters(BaseModel):
    """How a table is read."""

    model_config = STRICT

    sequential: bool = Field(default=False, description="The queries about one table follow from each other.")
    truncation: bool | str = Field(default=False, description="Leave out last rows of a table that is too long.")
    padding: bool | str = Field(default="longest", description="`longest` or `do_not_pad`: answers are the same.")
    model: str | None = Field(default=None, description="As the body's `model`: huggingface_hub repeats it here.")


class TableRequest(NlpRequest):
    """Answers out of a table."""

    bare_keys: ClassVar[frozenset[str]] = frozenset({"query", "question", "table"})

    inputs: TableInput = Field(description="A query and its table.")
    parameters: Annotated[TableParameters, BeforeValidator(null_is_unset)] = TableParameters()

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`."""
        wire = self.parameters
        if wire.padding not in _PADDINGS:
            raise InvalidParameterError(
                "padding", "must be longest or do_not_pad: batches are as long as they need be."
            )
        queries = texts_of(self.inputs.query, "query")
        table = {name: tuple(cells) for name, cells in self.inputs.table.items()}
        items = tuple(TableQuestion(query, table) for query in queries)
        options = TableOptions(sequential=wire.sequential, truncation=truncates(wire.truncation))
        texts = (*queries, *table, *(cell for cells in table.values() for cell in cells))
        # Queries that follow from each other mustn't follow from another request's.
        return Asked(task, items, options, texts, is_alone=wire.sequential)

    def answer(self, results: Sequence[TableAnswer]) -> Any:
        """One object a query."""
        return for_each(self.inputs.query, results, _told_table_answer)


def _told_answer(answer: Answer) -> dict[str, Any]:
    return {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.answer}


def _told_table_answer(answer: TableAnswer) -> dict[str, Any]:
    told: dict[str, Any] = {
        "answer": answer.answer,
        "coordinates": [list(place) for place in answer.coordinates],
        "cells": list(answer.cells),
    }
    return told if answer.aggregator is None else told | {"aggregator": answer.aggregator}
