"""Zero-shot classification: a text and labels to choose from in, a score for each label out. Two shapes:

    {"sequence": "...", "labels": ["refund", "faq"], "scores": [0.9, 0.1]}         as the hosted API answered, 2021-2025
    [{"label": "refund", "score": 0.9}, {"label": "faq", "score": 0.1}]            as its clients expect since

Scores fall. Which shape is sent: what the header `x-zero-shot-shape` names (`dict` or `list`); otherwise the list to
huggingface_hub from 1.1.5 on, which refuses the other, and to huggingface.js, which takes both; and the dict to all
others: huggingface_hub before 1.1.5 refuses the list, and programs that post by themselves were written for the dict.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from handful.errors import InvalidParameterError
from handful.nlp_types import NlpTask, ZeroShotAnswer, ZeroShotOptions
from handful.protocol.fields import Texts, as_tuple, null_is_unset
from handful.protocol.nlp_classification import told_label
from handful.protocol.nlp_request import STRICT, Asked, NlpRequest, for_each, texts_of

SHAPE_HEADER = "x-zero-shot-shape"
_HUB = re.compile(r"\bhf_hub/(\d{1,6})\.(\d{1,6})\.(\d{1,6})")
_FIRST_WITH_LIST = (1, 1, 5)
_JAVASCRIPT = "@huggingface/inference"


class ZeroShotParameters(BaseModel):
    """The labels and how they are put."""

    model_config = STRICT

    candidate_labels: Texts = Field(description="Labels to choose from; in one string, between commas.")
    multi_label: bool | None = Field(
        default=None, description="Judge each label by itself instead of against the others."
    )
    multi_class: bool | None = Field(default=None, description="The older name of `multi_label`.")
    hypothesis_template: str | None = Field(default=None, description="A sentence with {} where a label goes.")
    truncation: bool = Field(default=False, description="Cut texts that are too long; otherwise they are an error.")


class ZeroShotRequest(NlpRequest):
    """Scores of labels that are given with the text."""

    inputs: Texts = Field(description="A text or a list of texts.")
    parameters: Annotated[ZeroShotParameters, BeforeValidator(null_is_unset)] = Field(
        default={},
        validate_default=True,  # so that what is missing without it is `parameters.candidate_labels`
    )

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`."""
        wire = self.parameters
        if wire.multi_label is not None and wire.multi_class is not None and wire.multi_label != wire.multi_class:
            raise InvalidParameterError("multi_class", "is the older name of `multi_label`.", fix="Send one of them.")
        given: dict[str, Any] = {"truncation": wire.truncation}
        if wire.hypothesis_template is not None:
            given["hypothesis_template"] = wire.hypothesis_template
        labels = _labels(wire.candidate_labels)
        options = ZeroShotOptions(
            candidate_labels=labels, multi_label=bool(wire.multi_label or wire.multi_class), **given
        )
        texts = texts_of(self.inputs)
        return Asked(task, texts, options, texts, answers_each=len(labels))

    def answer(self, results: Sequence[ZeroShotAnswer]) -> Any:
        """The labels of each text, as an object each."""
        return for_each(self.inputs, results, _told_dict)

    def answer_in_lists(self, results: Sequence[ZeroShotAnswer]) -> Any:
        """The labels of each text, as a list each."""
        return for_each(self.inputs, results, _told_list)


def reads_lists(headers: Mapping[str, str]) -> bool:
    """Whether a client expects the list, by its headers. Raises InvalidParameterError for a shape there isn't."""
    named = headers.get(SHAPE_HEADER)
    if named is not None and named not in ("dict", "list"):
        raise InvalidParameterError(SHAPE_HEADER, "must be dict or list.", fix="Leave the header out.")
    if named is not None:
        return named == "list"
    agent = headers.get("user-agent", "")
    found = _HUB.search(agent)
    is_new_hub = found is not None and tuple(map(int, found.groups())) >= _FIRST_WITH_LIST
    return is_new_hub or _JAVASCRIPT in agent


def _labels(given: str | list[str]) -> tuple[str, ...]:
    parts = given.split(",") if isinstance(given, str) else as_tuple(given)
    return tuple(part.strip() for part in parts)


def _told_dict(answer: ZeroShotAnswer) -> dict[str, Any]:
    return {"sequence": answer.sequence, "labels": list(answer.labels), "scores": list(answer.scores)}


def _told_list(answer: ZeroShotAnswer) -> list[dict[str, Any]]:
    return [told_label(label, score) for label, score in zip(answer.labels, answer.scores, strict=True)]
