"""What each task of the Inference API answers: its shapes, and an answer to the task's example."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from handful.nlp_types import (
    Answer,
    ConversationAnswer,
    Filled,
    LabelScore,
    NlpTask,
    TableAnswer,
    TokenEntity,
    ZeroShotAnswer,
)
from handful.protocol.generated_text import GeneratedText, answer
from handful.protocol.nlp_tasks import EXAMPLES, REQUESTS, TEXT_GENERATION
from handful.protocol.shapes import Example, Shape
from handful.protocol.text_generation import TextGenerationRequest
from handful.types import Completion, Generation


class ScoredLabel(Shape):
    """A label and how probable it is."""

    label: str
    score: float


class ZeroShotScores(Shape):
    """The labels of a text, the most probable first, and their scores in the same order."""

    sequence: str
    labels: list[str]
    scores: list[float]


class EntityGroup(Shape):
    """What `text[start:end]` names."""

    entity_group: str
    score: float
    word: str
    start: int
    end: int


class EntityToken(Shape):
    """A token that belongs to a name, with `aggregation_strategy: none`."""

    entity: str
    score: float
    index: int
    word: str
    start: int
    end: int


class AnswerSpan(Shape):
    """`context[start:end]`, which answers the question."""

    score: float
    start: int
    end: int
    answer: str


class TableCells(Shape):
    """Cells by row and column, and how they are put together."""

    answer: str
    coordinates: list[Annotated[list[int], Field(min_length=2, max_length=2)]]
    cells: list[str]
    aggregator: str | None = None


class FilledMask(Shape):
    """A word for the mask."""

    sequence: str
    score: float
    token: int
    token_str: str


class Summary(Shape):
    """A summary."""

    summary_text: str


class Translation(Shape):
    """A translation."""

    translation_text: str


class Turns(Shape):
    """A conversation, the new turn at its end."""

    past_user_inputs: list[str]
    generated_responses: list[str]


class ConversationTurn(Shape):
    """What the model says next."""

    generated_text: str
    conversation: Turns
    warnings: list[str]


Vector = list[float]
_Entities = list[EntityGroup | EntityToken]
_Labels = list[ScoredLabel]
_Texts = list[GeneratedText]

TASK_SHAPES: dict[NlpTask | Literal["text-generation"], Any] = {
    "text-generation": _Texts | list[_Texts],
    "feature-extraction": Vector | list[Vector] | list[list[Vector]] | list[list[list[Vector]]],
    "sentence-similarity": Vector,
    "text-classification": list[_Labels],
    "zero-shot-classification": ZeroShotScores | list[ZeroShotScores] | _Labels | list[_Labels],
    "token-classification": _Entities | list[_Entities],
    "question-answering": AnswerSpan | list[AnswerSpan] | list[list[AnswerSpan]],
    "table-question-answering": TableCells | list[TableCells],
    "fill-mask": list[FilledMask] | list[list[FilledMask]],
    "summarization": list[Summary] | list[list[Summary]],
    "translation": list[Translation] | list[list[Translation]],
    "text2text-generation": _Texts | list[_Texts],
    "conversational": ConversationTurn,
}
_SAMPLES: dict[NlpTask, Sequence[Any]] = {
    "feature-extraction": [np.array([0.6, 0.8], dtype=np.float32)],
    "sentence-similarity": [[0.31, 0.72]],
    "text-classification": [[LabelScore("POSITIVE", 0.99), LabelScore("NEGATIVE", 0.01)]],
    "zero-shot-classification": [ZeroShotAnswer("I loved every minute of it.", ("praise", "complaint"), (0.9, 0.1))],
    "token-classification": [[TokenEntity(label="PER", score=0.99, word="Clara", start=0, end=5)]],
    "question-answering": [[Answer(0.93, 15, 23, "Berkeley")]],
    "table-question-answering": [TableAnswer("SUM > 3, 4", ((0, 1), (1, 1)), ("3", "4"), "SUM")],
    "fill-mask": [[Filled("Paris is the capital of France.", 0.97, 3007, "capital")]],
    "summarization": [["The tower is 324 metres tall."]],
    "translation": [["Je m'appelle Clara."]],
    "text2text-generation": [["Guten Morgen."]],
    "conversational": [ConversationAnswer("Now we talk.", ("Hi", "And now?"), ("Hello", "Now we talk."))],
}


def _example(task: NlpTask) -> Example:
    body = json.dumps(EXAMPLES[task]).encode()
    return REQUESTS[task].from_body(body).answer(_SAMPLES[task])


def _generated_example() -> Example:
    asked = TextGenerationRequest.from_body(b'{"inputs": "Once upon a time"}')
    return answer(asked, [Generation((Completion(" there was a fox.", "length"),), 4)])


TASK_ANSWERS: dict[NlpTask | Literal["text-generation"], Example] = {
    TEXT_GENERATION: _generated_example(),
    **{task: _example(task) for task in REQUESTS},
}
"""What is answered to each task's example."""
