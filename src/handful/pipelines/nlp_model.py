"""The loaded model behind the contract: checks that the task fits, takes turns, hands over to the task's own module."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from handful.errors import NotReadyError
from handful.model.precision import dtype_name
from handful.model.source import ModelFiles
from handful.nlp_types import (
    Answer,
    ClassificationOptions,
    Conversation,
    ConversationAnswer,
    FeatureOptions,
    Filled,
    FillMaskOptions,
    LabelScore,
    NlpTask,
    Question,
    QuestionOptions,
    SeqToSeqOptions,
    TableAnswer,
    TableOptions,
    TableQuestion,
    TokenEntity,
    TokenOptions,
    ZeroShotAnswer,
    ZeroShotOptions,
)
from handful.pipelines import answers, classification, dialogue, embedding, entities, masks, tables
from handful.pipelines import generate as generation
from handful.pipelines.network import Network
from handful.pipelines.sentences import SentenceFiles
from handful.pipelines.tasks import unfit


class LoadedModel:
    """See `NlpModel`. One call runs at a time; others wait for it."""

    def __init__(
        self,
        files: ModelFiles,
        network: Network,
        sentences: SentenceFiles | None,
        *,
        task: NlpTask,
        tasks: frozenset[NlpTask],
    ) -> None:
        self.name, self.revision = files.name, files.revision
        self.task, self.tasks = task, tasks
        self.num_parameters = sum(parameter.numel() for parameter in network.model.parameters())
        self.precision = dtype_name(network.model.dtype)
        tensors = [*network.model.parameters(), *network.model.buffers()]
        self.bytes_in_memory = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self._network: Network | None = network
        self._sentences = sentences
        self._turn = threading.Lock()

    def count_tokens(self, texts: Sequence[str]) -> int:
        """See `NlpModel`."""
        with self._in_turn() as network:
            return sum(len(ids) for ids in network.tokenizer(list(texts), verbose=False)["input_ids"]) if texts else 0

    def feature_extraction(self, texts: Sequence[str], options: FeatureOptions) -> list[NDArray[np.float32]]:
        """See `NlpModel`."""
        with self._running("feature-extraction") as network:
            return embedding.features(network, self._sentences, texts, options)

    def sentence_similarity(self, source: str, sentences: Sequence[str]) -> list[float]:
        """See `NlpModel`."""
        with self._running("sentence-similarity") as network:
            if self._sentences is None:
                raise unfit(self.name, self.task, "sentence-similarity")
            return embedding.similarity(network, self._sentences, source, sentences)

    def text_classification(self, texts: Sequence[str], options: ClassificationOptions) -> list[list[LabelScore]]:
        """See `NlpModel`."""
        with self._running("text-classification") as network:
            return classification.text_classification(network, texts, options)

    def zero_shot(self, texts: Sequence[str], options: ZeroShotOptions) -> list[ZeroShotAnswer]:
        """See `NlpModel`."""
        with self._running("zero-shot-classification") as network:
            return classification.zero_shot(network, texts, options)

    def token_classification(self, texts: Sequence[str], options: TokenOptions) -> list[list[TokenEntity]]:
        """See `NlpModel`."""
        with self._running("token-classification") as network:
            return entities.token_classification(network, texts, options)

    def question_answering(self, items: Sequence[Question], options: QuestionOptions) -> list[list[Answer]]:
        """See `NlpModel`."""
        with self._running("question-answering") as network:
            return answers.question_answering(network, items, options)

    def table_question_answering(self, items: Sequence[TableQuestion], options: TableOptions) -> list[TableAnswer]:
        """See `NlpModel`."""
        with self._running("table-question-answering") as network:
            return tables.table_question_answering(network, items, options)

    def fill_mask(self, texts: Sequence[str], options: FillMaskOptions) -> list[list[Filled]]:
        """See `NlpModel`."""
        with self._running("fill-mask") as network:
            return masks.fill_mask(network, texts, options)

    def generate(self, texts: Sequence[str], options: SeqToSeqOptions) -> list[str]:
        """See `NlpModel`."""
        task: NlpTask = options.task or ("text2text-generation" if self.task == "conversational" else self.task)
        with self._running(task) as network:
            return generation.generate(network, texts, options, task)

    def conversational(self, conversation: Conversation, options: SeqToSeqOptions) -> ConversationAnswer:
        """See `NlpModel`."""
        with self._running("conversational") as network:
            return dialogue.converse(network, conversation, options)

    def close(self) -> None:
        """See `NlpModel`; waits for the call that is running."""
        with self._turn:
            self._network = None

    @contextmanager
    def _running(self, task: NlpTask) -> Iterator[Network]:
        if task not in self.tasks:
            raise unfit(self.name, self.task, task)
        with self._in_turn() as network:
            yield network

    @contextmanager
    def _in_turn(self) -> Iterator[Network]:
        with self._turn:
            if self._network is None:
                raise NotReadyError(f"{self.name} was unloaded.", fix="Try again: it is loaded when it is asked for.")
            yield self._network
