"""Text classification, token classification and masks: texts in, labels, entities and words out.

text-classification    [[{"label": "POSITIVE", "score": 0.99}, ...]]     a list of labels a text, also for one text
token-classification   [{"entity_group": "PER", "score": 0.99, "word": "Sarah", "start": 11, "end": 16}, ...]
fill-mask              [{"sequence": "...", "score": 0.17, "token": 2053, "token_str": "no"}, ...]
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from handful.nlp_types import (
    ClassificationOptions,
    Filled,
    FillMaskOptions,
    LabelScore,
    NlpTask,
    TokenEntity,
    TokenOptions,
)
from handful.protocol.fields import Texts, as_tuple, null_is_unset
from handful.protocol.nlp_request import STRICT, Asked, NlpRequest, for_each, texts_of


class TextClassificationParameters(BaseModel):
    """How to classify."""

    model_config = STRICT

    function_to_apply: str | None = Field(default=None, description="sigmoid, softmax or none. Unset: as the model is.")
    top_k: int | None = Field(default=None, description="Labels to return, from 1. Unset: all.")
    truncation: bool = Field(default=False, description="Cut texts that are too long; otherwise they are an error.")


class TextClassificationRequest(NlpRequest):
    """Labels of texts."""

    inputs: Texts = Field(description="A text or a list of texts.")
    parameters: Annotated[TextClassificationParameters, BeforeValidator(null_is_unset)] = TextClassificationParameters()

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`."""
        texts = texts_of(self.inputs)
        options: Any = ClassificationOptions(**self.parameters.model_dump())
        return Asked(task, texts, options, texts)

    def answer(self, results: Sequence[Sequence[LabelScore]]) -> list[list[dict[str, Any]]]:
        """A list of labels for each text. huggingface_hub takes the first, so it is nested for one text too."""
        return [[told_label(each.label, each.score) for each in labels] for labels in results]


class TokenClassificationParameters(BaseModel):
    """How tokens become entities."""

    model_config = STRICT

    aggregation_strategy: str = Field(default="simple", description="none, simple, first, average or max.")
    ignore_labels: Texts | None = Field(default=None, description="Labels that are left out. Unset: O.")
    stride: int | None = Field(default=None, description="Read long texts in windows that share so many tokens.")


class TokenClassificationRequest(NlpRequest):
    """Entities in texts."""

    inputs: Texts = Field(description="A text or a list of texts.")
    parameters: Annotated[TokenClassificationParameters, BeforeValidator(null_is_unset)] = (
        TokenClassificationParameters()
    )

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`."""
        given: dict[str, Any] = self.parameters.model_dump(exclude_none=True)
        if "ignore_labels" in given:
            given["ignore_labels"] = as_tuple(given["ignore_labels"])
        texts = texts_of(self.inputs)
        return Asked(task, texts, TokenOptions(**given), texts)

    def answer(self, results: Sequence[Sequence[TokenEntity]]) -> Any:
        """The entities of each text."""
        return for_each(self.inputs, results, lambda entities: [_told_entity(entity) for entity in entities])


class FillMaskParameters(BaseModel):
    """Which words to consider."""

    model_config = STRICT

    top_k: int = Field(default=5, description="Words to return, from 1.")
    targets: Texts | None = Field(default=None, description="Words to choose from. Unset: all of the model's.")
    truncation: bool = Field(default=False, description="Cut texts that are too long; otherwise they are an error.")


class FillMaskRequest(NlpRequest):
    """Words for the mask of a text."""

    inputs: Texts = Field(description="A text with the model's mask in it, or a list of such texts.")
    parameters: Annotated[FillMaskParameters, BeforeValidator(null_is_unset)] = FillMaskParameters()

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`."""
        texts, wire = texts_of(self.inputs), self.parameters
        targets = None if wire.targets is None else as_tuple(wire.targets)
        return Asked(task, texts, FillMaskOptions(top_k=wire.top_k, targets=targets, truncation=wire.truncation), texts)

    def answer(self, results: Sequence[Sequence[Filled]]) -> Any:
        """The words of each text."""
        return for_each(self.inputs, results, lambda words: [_told_word(word) for word in words])


def told_label(label: str, score: float) -> dict[str, Any]:
    """A label as every task tells it."""
    return {"label": label, "score": score}


def _told_entity(entity: TokenEntity) -> dict[str, Any]:
    told: dict[str, Any] = {"entity_group" if entity.is_group else "entity": entity.label, "score": entity.score}
    if entity.index is not None:
        told["index"] = entity.index
    return told | {"word": entity.word, "start": entity.start, "end": entity.end}


def _told_word(word: Filled) -> dict[str, Any]:
    return {"sequence": word.sequence, "score": word.score, "token": word.token, "token_str": word.token_str}
