"""A model of other tasks that is made up, and an app that serves it beside a language model."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from handful.errors import InvalidInputError
from handful.nlp_types import (
    Answer,
    Conversation,
    ConversationAnswer,
    Filled,
    LabelScore,
    NlpTask,
    Question,
    SeqToSeqOptions,
    TableAnswer,
    TableQuestion,
    TokenEntity,
    ZeroShotAnswer,
    ZeroShotOptions,
)
from handful.protocol.nlp_tasks import REQUESTS
from handful.server.model_entry import ModelSource
from handful.server.nlp_served import ServedNlpModel
from handful.server.registry import ModelRegistry
from handful.server.state import ServerState
from handful.server.task_registry import TaskRegistry
from tests.unit.server.serving import FakeModel, client_of, run

ALL: frozenset[NlpTask] = frozenset(REQUESTS)


@dataclass
class FakeNlp:
    """Answers every task from its inputs alone. `batches` has the number of inputs of each call."""

    task: NlpTask = "text-classification"
    tasks: frozenset[NlpTask] = ALL
    load_s: float = 0.0
    gate: threading.Event | None = None
    load_error: Exception | None = None
    error: Exception | None = None
    name: str = "fake"
    revision: str = "abc123"
    precision: str = "float32"
    num_parameters: int = 1
    bytes_in_memory: int = 4
    batches: list[int] = field(default_factory=list)
    num_loads: int = 0
    is_closed: bool = False

    def load(self) -> ServedNlpModel:
        self.num_loads += 1
        time.sleep(self.load_s)
        if self.load_error is not None:
            raise self.load_error
        return ServedNlpModel(self, self.name, max_waiting_items=8)

    def _note(self, items: Sequence[Any]) -> None:
        if self.gate is not None:
            self.gate.wait(5)
        self.batches.append(len(items))
        if self.error is not None:
            raise self.error
        if "bad" in items:
            raise InvalidInputError("An input is bad.")

    def count_tokens(self, texts: Sequence[str]) -> int:
        return sum(len(text.split()) for text in texts)

    def feature_extraction(self, texts: Sequence[str], options: Any) -> list[NDArray[np.float32]]:
        self._note(texts)
        vector = [0.6, 0.8] if options.normalize else [3.0, 4.0]
        return [np.array(vector, dtype=np.float32) for _ in texts]

    def sentence_similarity(self, source: str, sentences: Sequence[str]) -> list[float]:
        self._note(sentences)
        return [1.0 if sentence == source else 0.5 for sentence in sentences]

    def text_classification(self, texts: Sequence[str], options: Any) -> list[list[LabelScore]]:
        self._note(texts)
        return [[LabelScore(text, 0.75), LabelScore("other", 0.25)][: options.top_k] for text in texts]

    def zero_shot(self, texts: Sequence[str], options: ZeroShotOptions) -> list[ZeroShotAnswer]:
        self._note(texts)
        share = 1 / len(options.candidate_labels)
        return [
            ZeroShotAnswer(text, options.candidate_labels, (share,) * len(options.candidate_labels)) for text in texts
        ]

    def token_classification(self, texts: Sequence[str], options: Any) -> list[list[TokenEntity]]:
        self._note(texts)
        is_group = options.aggregation_strategy != "none"
        index = None if is_group else 1
        return [
            [TokenEntity(label="PER", score=0.5, word=text, start=0, end=len(text), is_group=is_group, index=index)]
            for text in texts
        ]

    def question_answering(self, items: Sequence[Question], options: Any) -> list[list[Answer]]:
        self._note(items)
        answers = [[Answer(0.5, 0, 5, item.context[:5]), Answer(0.25, 1, 5, item.context[1:5])] for item in items]
        return [each[: options.top_k] for each in answers]

    def table_question_answering(self, items: Sequence[TableQuestion], options: Any) -> list[TableAnswer]:
        self._note(items)
        cells = [next(iter(item.table.values()))[0] for item in items]
        return [TableAnswer(f"SUM > {cell}", ((0, 0),), (cell,), "SUM") for cell in cells]

    def fill_mask(self, texts: Sequence[str], options: Any) -> list[list[Filled]]:
        self._note(texts)
        return [[Filled(text.replace("[MASK]", "no"), 0.5, 7, "no")][: options.top_k] for text in texts]

    def generate(self, texts: Sequence[str], options: SeqToSeqOptions) -> list[str]:
        self._note(texts)
        return [f"{text} {i}" for text in texts for i in range(options.num_return_sequences)]

    def conversational(self, conversation: Conversation, options: SeqToSeqOptions) -> ConversationAnswer:
        self._note([conversation])
        said = "Yes."
        return ConversationAnswer(
            said,
            (*conversation.past_user_inputs, conversation.text),
            (*conversation.generated_responses, said),
        )

    def close(self) -> None:
        self.is_closed = True


def nlp_state(model: FakeNlp, *, is_lazy: bool = True, **fields: Any) -> ServerState:
    """A language model `fake`, and `model` as `nlp` and `org/nlp`."""
    sources = [
        ModelSource("fake", FakeModel().load),
        ModelSource("nlp", model.load, task=model.task, is_lazy=is_lazy),
        ModelSource("org/nlp", model.load, task=model.task, is_lazy=is_lazy),
        ModelSource("late", model.load, task=None),
    ]
    return ServerState(models=ModelRegistry(sources), tasks=TaskRegistry(), **fields)


def ask_nlp(model: FakeNlp, path: str, content: Any, **fields: Any) -> httpx.Response:
    """One POST to such an app, of JSON or of bytes."""
    headers = fields.pop("headers", {})

    async def post() -> httpx.Response:
        async with client_of(nlp_state(model, **fields), wait=False) as client:
            given = {"content": content} if isinstance(content, bytes) else {"json": content}
            return await client.post(path, headers={"x-wait-for-model": "1"} | headers, **given)

    return run(post())
