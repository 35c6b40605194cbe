"""What a causal language model answers beside generated text: labels, vectors, and the next turn of a conversation.

A text's vector is the final hidden state at its last token, as in /v1/embeddings. A model that was made for vectors
tells meanings apart far better: `handful serve --model default-embeddings`.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handful.backend import AsyncBackend
from handful.errors import InvalidInputError, InvalidParameterError
from handful.nlp_types import FeatureOptions, NlpTask
from handful.protocol.nlp_request import Asked, NlpRequest
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.protocol.nlp_zero_shot import ZeroShotRequest
from handful.protocol.openai_embeddings import unit_length
from handful.server.attend import side_by_side
from handful.server.nlp_conversation import next_turn
from handful.server.nlp_zero_shot import HYPOTHESIS, Choice, ZeroShot
from handful.server.openai_chat_renderer import ChatRenderer

Vector = NDArray[np.float32]
_INSTEAD: dict[str, str] = {
    "summarization": "Write a task file with a few texts and their summaries, or serve a model for summarization.",
    "translation": "Write a task file with a few translations, or serve a model for translation.",
    "text2text-generation": "Ask for text-generation, or serve a sequence-to-sequence model.",
    "text-classification": "Ask for zero-shot-classification, or write a task file with labels.",
}


class LanguageModelTasks:
    """The tasks of language models, by name."""

    def __init__(self, renderer: ChatRenderer) -> None:
        self._zero_shot, self._renderer = ZeroShot(), renderer
        self._answers: dict[str, Callable[[AsyncBackend, Any, Asked], Coroutine[Any, Any, list[Any]]]] = {
            "zero-shot-classification": self._classify,
            "feature-extraction": _features,
            "sentence-similarity": _similarities,
            "conversational": self._converse,
        }

    def check(self, task: NlpTask, name: str) -> None:
        """Refuse a task that no language model does here. Raises InvalidInputError."""
        if task not in self._answers:
            can = ", ".join((TEXT_GENERATION, *self._answers))
            fix = _INSTEAD.get(task, f"Serve a model for {task}.")
            raise InvalidInputError(f"Model {name} can't do {task}: it is a language model and does {can}.", fix=fix)

    async def answer(self, backend: AsyncBackend, wire: NlpRequest, asked: Asked) -> list[Any]:
        """One result for each item. Raises InvalidParameterError for what a language model can't honour."""
        return await self._answers[asked.task](backend, wire, asked)

    async def _classify(self, backend: AsyncBackend, wire: ZeroShotRequest, asked: Asked) -> list[Any]:
        if asked.options.truncation:
            raise InvalidParameterError("truncation", "isn't supported by this model.", fix="Shorten the text.")
        hypothesis = wire.parameters.hypothesis_template or HYPOTHESIS
        choice = Choice(asked.options.candidate_labels, hypothesis, asked.options.multi_label)
        return list(await self._zero_shot.classify(backend, asked.items, choice))

    async def _converse(self, backend: AsyncBackend, _: NlpRequest, asked: Asked) -> list[Any]:
        return [await next_turn(backend, self._renderer, each, asked.options) for each in asked.items]


async def _features(backend: AsyncBackend, _: NlpRequest, asked: Asked) -> list[Any]:
    options: FeatureOptions = asked.options
    if options.prompt_name is not None:
        raise InvalidParameterError("prompt_name", "names no prompt of this model: it has none.", fix="Leave it out.")
    if options.truncate:
        raise InvalidParameterError("truncate", "isn't supported by this model.", fix="Shorten the text.")
    vectors = await _vectors(backend, asked.items)
    return [unit_length(vector) for vector in vectors] if options.normalize else vectors


async def _similarities(backend: AsyncBackend, _: NlpRequest, asked: Asked) -> list[Any]:
    source, *others = [unit_length(vector) for vector in await _vectors(backend, asked.texts)]
    return [[float(source @ other) for other in others]]


async def _vectors(backend: AsyncBackend, texts: Sequence[str]) -> list[Vector]:
    return await side_by_side(backend.embed(text) for text in texts)
