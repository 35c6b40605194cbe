"""The answers of the native surface: values of `handful.types` as JSON, field by field, and back.

Numbers are written with as many digits as it takes to read the same number back. A client reads past fields that it
doesn't know, so a newer server may say more.
"""

import base64
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from handful.errors import RemoteError
from handful.types import Generation, ModelInfo, Score, StreamEvent

Vector = NDArray[np.float32]
_HIDDEN_INFO = ("source", "details")  # where a model lies on the server's disk is nobody's affair

GENERATIONS = TypeAdapter(list[Generation])
SCORES = TypeAdapter(list[Score])
EVENT = TypeAdapter(StreamEvent)
COUNTS = TypeAdapter(list[int])
_INFO = TypeAdapter(ModelInfo)
_VECTORS = TypeAdapter(list[str] | list[list[float]])


def described(info: ModelInfo, name: str) -> dict[str, Any]:
    """What a server says of a model, which it serves as `name`."""
    return {key: value for key, value in asdict(replace(info, name=name)).items() if key not in _HIDDEN_INFO}


def read_info(value: object, source: str) -> ModelInfo:
    """The model that `described` described; `source` is where it answers. Raises RemoteError."""
    if not isinstance(value, dict):
        raise RemoteError("The server doesn't say what its model is.", fix="Is it a handful server of this version?")
    known = {field.name for field in fields(ModelInfo)} - set(_HIDDEN_INFO)
    try:
        told = _INFO.validate_python({key: part for key, part in value.items() if key in known})
    except ValidationError:
        raise RemoteError("The server's description of its model has another shape than handful's.") from None
    return replace(told, source=source)


def vectors_on_the_wire(vectors: Sequence[Vector], encoding: Literal["float", "base64"]) -> list[Any]:
    """Vectors `[hidden]` as numbers, or as float32 (little-endian) in base64."""
    if encoding == "base64":
        return [base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii") for vector in vectors]
    return [vector.tolist() for vector in vectors]


def read_vectors(body: bytes, hidden_size: int) -> NDArray[np.float32]:
    """`[n, hidden_size]`. Raises RemoteError for another shape."""
    try:
        rows = [_read_vector(one) for one in _VECTORS.validate_json(body)]
        return np.stack(rows).reshape(len(rows), hidden_size) if rows else np.zeros((0, hidden_size), np.float32)
    except ValueError:
        raise RemoteError("The server's vectors have another shape than the model's.") from None


def _read_vector(value: str | list[float]) -> Vector:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
    return np.array(value, dtype=np.float32)
