"""What a loaded model of another task than generating text answers. The values are `handful.nlp_types`'.

`handful.pipelines.load.load_nlp_model(files, device)` makes one from a resolved model's files; a server holds it behind
this protocol. `handful.pipelines.tasks.task_of(folder)` tells beforehand, from JSON alone, what a model is for, and
`tasks_of(folder)` every task that it can be loaded for (`load_nlp_model(files, device, task=...)`).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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


class NlpModel(Protocol):
    """One loaded model. Safe to call from several threads: calls take turns.

    A method that the model isn't made for raises UserError naming the task that it is for (`tasks` says which fit). An
    empty text raises InvalidInputError. A text longer than the model takes raises PromptTooLongError with both counts
    unless the options say to cut it or the task reads it in windows. Answers come in the order of the inputs.
    """

    @property
    def name(self) -> str:
        """The name it was asked for by."""

    @property
    def revision(self) -> str:
        """The commit or checksum of its files; empty for a plain folder."""

    @property
    def task(self) -> NlpTask:
        """The task that its files say it is for."""

    @property
    def tasks(self) -> frozenset[NlpTask]:
        """Every task that it can do."""

    @property
    def num_parameters(self) -> int:
        """How many numbers it learnt."""

    @property
    def precision(self) -> str:
        """The number format of its weights: `float32`, `bfloat16`."""

    @property
    def bytes_in_memory(self) -> int:
        """What its weights take, in bytes."""

    def count_tokens(self, texts: Sequence[str]) -> int:
        """How many tokens the texts have in all, special ones included."""

    def feature_extraction(self, texts: Sequence[str], options: FeatureOptions) -> list[NDArray[np.float32]]:
        """One array for each text: `[dim]` from a sentence-transformers model, `[tokens, dim]` from a plain one."""

    def sentence_similarity(self, source: str, sentences: Sequence[str]) -> list[float]:
        """The cosine of the source's vector and each sentence's."""

    def text_classification(self, texts: Sequence[str], options: ClassificationOptions) -> list[list[LabelScore]]:
        """The labels of each text, the highest score first."""

    def zero_shot(self, texts: Sequence[str], options: ZeroShotOptions) -> list[ZeroShotAnswer]:
        """The candidate labels of each text, the highest score first. For models of natural language inference."""

    def token_classification(self, texts: Sequence[str], options: TokenOptions) -> list[list[TokenEntity]]:
        """The entities of each text, in its order."""

    def question_answering(self, items: Sequence[Question], options: QuestionOptions) -> list[list[Answer]]:
        """The answers to each question, the most probable first; a long context is read in windows."""

    def table_question_answering(self, items: Sequence[TableQuestion], options: TableOptions) -> list[TableAnswer]:
        """The answer to each question about its table."""

    def fill_mask(self, texts: Sequence[str], options: FillMaskOptions) -> list[list[Filled]]:
        """The tokens for the one mask of each text, the most probable first. Without a mask: InvalidInputError."""

    def generate(self, texts: Sequence[str], options: SeqToSeqOptions) -> list[str]:
        """`num_return_sequences` texts for each input, one input after another."""

    def conversational(self, conversation: Conversation, options: SeqToSeqOptions) -> ConversationAnswer:
        """The next turn of a conversation."""

    def close(self) -> None:
        """Give the memory back. A call after it raises NotReadyError."""
