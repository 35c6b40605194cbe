"""Which method of an `NlpModel` answers which task, and how many tokens were read and written for it."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from handful.nlp_types import Conversation, ConversationAnswer, NlpTask, Question, TableQuestion
from handful.pipelines.contract import NlpModel


@dataclass(frozen=True, slots=True)
class Computed:
    """The result of an item; tokens of its texts, and of the texts that were made of them."""

    result: Any
    num_read_tokens: int
    num_written_tokens: int


def compute(model: NlpModel, work: Hashable, items: Sequence[Any]) -> list[Computed]:
    """One result for each item. `work` is the task and its options. Raises what the model raises."""
    task, options = cast(tuple[NlpTask, Any], work)
    results = _CALLS[task](model, items, options)
    return [
        Computed(result, model.count_tokens(_texts_in(item)), model.count_tokens(_written(result)))
        for item, result in zip(items, results, strict=True)
    ]


def _texts_in(item: Any) -> list[str]:
    """All that a model reads of an item."""
    if isinstance(item, str):
        return [item]
    if isinstance(item, Question):
        return [item.question, item.context]
    if isinstance(item, TableQuestion):
        return [item.query, *(" ".join((name, *cells)) for name, cells in item.table.items())]
    if isinstance(item, Conversation):
        return [*item.past_user_inputs, *item.generated_responses, item.text]
    source, sentences = item
    return [source, *sentences]


def _written(result: Any) -> list[str]:
    """What a model wrote: of all results only texts and turns are written."""
    if isinstance(result, ConversationAnswer):
        return [result.generated_text]
    return [text for text in result if isinstance(text, str)] if isinstance(result, list) else []


def _features(model: NlpModel, items: Sequence[Any], options: Any) -> list[Any]:
    return model.feature_extraction(items, options)


def _similarities(model: NlpModel, items: Sequence[Any], _: Any) -> list[Any]:
    return [model.sentence_similarity(source, sentences) for source, sentences in items]


def _labels(model: NlpModel, items: Sequence[Any], options: Any) -> list[Any]:
    return model.text_classification(items, options)


def _zero_shot(model: NlpModel, items: Sequence[Any], options: Any) -> list[Any]:
    return model.zero_shot(items, options)


def _entities(model: NlpModel, items: Sequence[Any], options: Any) -> list[Any]:
    return model.token_classification(items, options)


def _answers(model: NlpModel, items: Sequence[Any], options: Any) -> list[Any]:
    return model.question_answering(items, options)


def _table_answers(model: NlpModel, items: Sequence[Any], options: Any) -> list[Any]:
    return model.table_question_answering(items, options)


def _words(model: NlpModel, items: Sequence[Any], options: Any) -> list[Any]:
    return model.fill_mask(items, options)


def _texts(model: NlpModel, items: Sequence[Any], options: Any) -> list[Any]:
    """The texts of each input: the model gives those of all inputs in a row."""
    texts, each = model.generate(items, options), options.num_return_sequences
    return [texts[start : start + each] for start in range(0, len(texts), each)]


def _turns(model: NlpModel, items: Sequence[Any], options: Any) -> list[Any]:
    return [model.conversational(conversation, options) for conversation in items]


_CALLS: dict[NlpTask, Callable[[NlpModel, Sequence[Any], Any], list[Any]]] = {
    "feature-extraction": _features,
    "sentence-similarity": _similarities,
    "text-classification": _labels,
    "zero-shot-classification": _zero_shot,
    "token-classification": _entities,
    "question-answering": _answers,
    "table-question-answering": _table_answers,
    "fill-mask": _words,
    "summarization": _texts,
    "translation": _texts,
    "text2text-generation": _texts,
    "conversational": _turns,
}
