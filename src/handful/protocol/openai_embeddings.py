"""OpenAI's `POST /v1/embeddings`: texts (or token ids) in, vectors of length 1 out, in the order of the inputs.

A vector is the model's final hidden state at the input's last token, scaled to length 1 as OpenAI's are, so that a dot
product is a cosine. `encoding_format` is `float` (numbers) or `base64` (float32, little-endian).
"""

import base64
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handful.errors import InvalidParameterError
from handful.protocol.fields import null_is_unset
from handful.protocol.openai_fields import STRICT, Prompts, prompts_of, refuse
from handful.protocol.payload import parse_request
from handful.protocol.problems import validate
from handful.types import Prompt

Vector = NDArray[np.float32]
_EXAMPLE: dict[str, JsonValue] = {"model": "default", "input": ["a joy", "a bore"]}


class EmbeddingRequest(BaseModel):
    """`POST /v1/embeddings`."""

    model_config = ConfigDict(**STRICT, json_schema_extra={"examples": [_EXAMPLE]})

    input: Prompts = Field(description="A text or several, or the token ids of one or several.")
    model: str | None = Field(default=None, description="A served model, or the URL of one. Unset: the first encoder.")
    encoding_format: Literal["float", "base64"] = Field(default="float", description="Numbers, or float32 in base64.")
    dimensions: int | None = Field(default=None, description="Must be the model's own where it is given.")
    user: Any = Field(default=None, description="Refused: callers are told apart by their API tokens.")

    @classmethod
    def from_body(cls, body: bytes) -> "EmbeddingRequest":
        """Parse and check a body. Raises InvalidInputError (or InvalidParameterError) naming what to change."""
        request = validate(cls, null_is_unset(parse_request(body)))
        refuse(request, {"user": "isn't supported: callers are told apart by their API tokens."})
        return request

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The inputs, none of them empty (InvalidInputError)."""
        return prompts_of(self.input, "input")

    def check_dimensions(self, hidden_size: int) -> None:
        """Refuse a number of dimensions that the model doesn't have."""
        if self.dimensions not in (None, hidden_size):
            raise InvalidParameterError("dimensions", f"must be the model's own, {hidden_size}.")


def unit_length(vector: Vector) -> Vector:
    """The vector scaled to length 1; one without a length stays as it is."""
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def embedding_answer(asked: EmbeddingRequest, model: str, vectors: Sequence[Vector], num_tokens: int) -> dict[str, Any]:
    """The body of an answer; one vector `[hidden]` for each input, and how many tokens they had in all."""
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(asked, unit_length(vector))}
        for index, vector in enumerate(vectors)
    ]
    counted = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    return {"object": "list", "data": data, "model": model, "usage": counted}


def _encoded(asked: EmbeddingRequest, vector: Vector) -> str | list[float]:
    if asked.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[float] = vector.tolist()
    return numbers
