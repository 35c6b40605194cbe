"""Feature extraction and sentence similarity: texts in, numbers out.

    {"inputs": "text", "normalize": true}    [0.1, ...]              from a model that makes one vector of a text
                                             [[[0.1, ...], ...]]     from any other: [1][tokens][dimensions]
    {"inputs": {"source_sentence": "a", "sentences": ["b", "c"]}}    [0.69, 0.94]

Parameters of feature extraction stand beside `inputs`, where huggingface_hub sends them, or under `parameters`.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field

from handful.errors import InvalidInputError, InvalidParameterError
from handful.nlp_types import FeatureOptions, NlpTask, TruncationDirection
from handful.protocol.fields import Texts, as_tuple, null_is_unset
from handful.protocol.nlp_request import STRICT, Asked, NlpRequest, for_each, texts_of


class FeatureParameters(BaseModel):
    """How to embed."""

    model_config = STRICT

    normalize: bool | None = Field(default=None, description="Scale vectors to length 1. Unset: as the model says.")
    prompt_name: str | None = Field(default=None, description="One of the model's prompts, put in front of each text.")
    truncate: bool | None = Field(default=None, description="Cut texts that are too long; otherwise they are an error.")
    truncation_direction: str | None = Field(
        default=None, description="`right` drops the end of a text, `left` its start."
    )
    encoding_format: str | None = Field(default=None, description="`float` only.")
    dimensions: Any = Field(default=None, description="Refused: vectors have the model's own length.")


class FeatureRequest(NlpRequest):
    """Vectors of texts."""

    inputs: Texts = Field(description="A text or a list of texts.")
    parameters: Annotated[FeatureParameters, BeforeValidator(null_is_unset)] = FeatureParameters()
    normalize: bool | None = Field(default=None, description="See `parameters`.")
    prompt_name: str | None = Field(default=None, description="See `parameters`.")
    truncate: bool | None = Field(default=None, description="See `parameters`.")
    truncation_direction: str | None = Field(default=None, description="See `parameters`.")
    encoding_format: str | None = Field(default=None, description="See `parameters`.")
    dimensions: Any = Field(default=None, description="Refused: see `parameters`.")

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`."""
        given = {name: self._given(name) for name in FeatureParameters.model_fields}
        if given["dimensions"] is not None:
            raise InvalidParameterError("dimensions", "isn't supported: vectors have the model's own length.")
        if given["encoding_format"] not in (None, "float"):
            raise InvalidParameterError("encoding_format", "must be float here.", fix="/v1/embeddings has base64 too.")
        options = FeatureOptions(
            normalize=given["normalize"],
            prompt_name=given["prompt_name"],
            truncate=bool(given["truncate"]),
            truncation_direction=_direction(given["truncation_direction"]),
        )
        texts = texts_of(self.inputs)
        return Asked(task, texts, options, texts)

    def _given(self, name: str) -> Any:
        """A parameter from where it was given."""
        beside, below = getattr(self, name), getattr(self.parameters, name)
        if beside is not None and below is not None and beside != below:
            raise InvalidParameterError(name, "is given twice.", fix="Send it once, beside `inputs`.")
        return below if beside is None else beside

    def answer(self, results: Sequence[NDArray[np.float32]]) -> Any:
        """A vector a text; of a model that makes one for each token, their lists in one more list."""
        return for_each(self.inputs, results, lambda made: made.tolist() if made.ndim == 1 else [made.tolist()])


def _direction(given: str | None) -> TruncationDirection:
    if given not in (None, "left", "right"):
        raise InvalidParameterError("truncation_direction", "must be left or right.")
    return "left" if given == "left" else "right"


class SimilarityInput(BaseModel):
    """A sentence and those to compare it with."""

    model_config = STRICT

    source_sentence: str = Field(description="The sentence.")
    sentences: Texts = Field(description="What it is compared with.")


class NoParameters(BaseModel):
    """Nothing can be set."""

    model_config = STRICT


class SimilarityRequest(NlpRequest):
    """How alike sentences are."""

    bare_keys: ClassVar[frozenset[str]] = frozenset({"source_sentence", "sentences"})

    inputs: SimilarityInput = Field(description="The sentences.")
    parameters: Annotated[NoParameters, BeforeValidator(null_is_unset)] = NoParameters()

    def asked(self, task: NlpTask) -> Asked:
        """See `NlpRequest.asked`."""
        sentences = as_tuple(self.inputs.sentences)
        if not sentences or not all(text.strip() for text in (self.inputs.source_sentence, *sentences)):
            raise InvalidInputError("A sentence is empty, or there is none.", fix="Send some text in each.")
        item = (self.inputs.source_sentence, sentences)
        texts = (self.inputs.source_sentence, *sentences)
        return Asked(task, (item,), None, texts, answers_each=len(texts))

    def answer(self, results: Sequence[list[float]]) -> list[float]:
        """One cosine a sentence."""
        return results[0]
