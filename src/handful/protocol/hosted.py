"""What the hosted Inference API said of models besides their answers: their status, and which are pinned."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handful.protocol.payload import parse_json
from handful.protocol.problems import validate

MAX_PINNED = 1_000
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_EXAMPLE: dict[str, JsonValue] = {"pinned_models": [{"model_id": "default", "compute_type": "cpu"}]}


class PinnedModel(BaseModel):
    """A model that stays in memory."""

    model_config = _STRICT

    model_id: str = Field(max_length=200, description="A served model.")
    compute_type: Literal["cpu", "gpu"] | None = Field(default=None, description="Must be where the server computes.")
    replicas: Literal[1] = Field(default=1, description="Only 1: a model is in memory once.")


class PinnedModels(BaseModel):
    """`POST /usage/pinned_models`: all models that are to be pinned from now on."""

    model_config = ConfigDict(**_STRICT, json_schema_extra={"examples": [_EXAMPLE]})

    pinned_models: list[PinnedModel] = Field(max_length=MAX_PINNED, description="Takes the place of those before.")

    @classmethod
    def from_body(cls, body: bytes) -> "PinnedModels":
        """Parse and check a body. Raises InvalidInputError naming what to change."""
        return validate(cls, parse_json(body))


def compute_type(device: str) -> str:
    """The hosted API's word for a device."""
    return "gpu" if device.startswith("cuda") else "cpu"


def status_answer(is_loaded: bool, is_too_big: bool, device: str, engine: str) -> dict[str, Any]:
    """The part of `GET /status/{model}` that huggingface_hub reads."""
    state = "Loaded" if is_loaded else "TooBig" if is_too_big else "Loadable"
    framework = "handful" if engine == "native" else "transformers"
    return {"loaded": is_loaded, "state": state, "compute_type": compute_type(device), "framework": framework}
