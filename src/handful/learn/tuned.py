"""Tuning an encoder with labelled examples, and keeping what it learned in a classifier's folder.

Tensors are none of this layer's affair: an encoder that can be tuned does it itself (`handful.pipelines.tuning`), and
what is saved are its weights as arrays, in safetensors.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from handful.errors import CheckpointError, InvalidInputError, InvalidParameterError
from handful.learn.ngrams import Encoder, texts_to_compare
from handful.learn.probability import Classes
from handful.task.inputs import Input
from handful.task.task import Task
from handful.types import EncoderTuning

ENCODER_FILE = "encoder.safetensors"
Weights = Mapping[str, NDArray[np.float32]]
Progress = Callable[[int, int], None]  # steps done, of how many
E = TypeVar("E", bound=Encoder)


@runtime_checkable
class TunableEncoder(Encoder, Protocol):
    """An encoder that labelled texts can change, as `handful.local.encoder.load_encoder` gives one."""

    weights: Weights

    def tuned(
        self, texts: Sequence[str], classes: Classes, settings: EncoderTuning, advance: Progress | None = None
    ) -> Self:
        """Another encoder for which texts of one class are alike. Raises InvalidInputError, PromptTooLongError."""
        ...

    def with_weights(self, weights: Weights) -> Self:
        """Another encoder with the weights that tuning gave. CheckpointError for those of another model."""
        ...


def tune(
    encoder: E,
    task: Task,
    labelled: tuple[Sequence[Input], Classes],
    settings: EncoderTuning,
    advance: Progress | None = None,
) -> E:
    """The encoder tuned with labelled inputs. InvalidParameterError for one that can't be."""
    if not isinstance(encoder, TunableEncoder):
        problem = f"can't be tuned: it is a {type(encoder).__name__}."
        raise InvalidParameterError("encoder", problem, fix="Give one of `load_encoder`, or don't ask for tuning.")
    inputs, classes = labelled
    return encoder.tuned(texts_to_compare(task, inputs), classes, settings, advance)


def save_weights(folder: Path, encoder: object) -> bool:
    """Write what tuning changed, and say whether anything was; what an earlier classifier left there goes away."""
    weights: Weights = getattr(encoder, "weights", {})
    file = folder / ENCODER_FILE
    file.unlink(missing_ok=True)
    if weights:
        save_file({name: np.ascontiguousarray(weight) for name, weight in weights.items()}, file)
    return bool(weights)


def with_saved_weights(encoder: E, folder: Path) -> E:
    """The encoder as the folder's classifier was fitted with it.

    Raises InvalidInputError for a file that is missing, damaged or of another encoder; InvalidParameterError for an
    encoder that can't be tuned.
    """
    if not isinstance(encoder, TunableEncoder):
        problem = "must be one that can be tuned: the classifier was fitted with a tuned one."
        raise InvalidParameterError("encoder", problem, fix="Give one of `load_encoder`.")
    try:
        return encoder.with_weights(load_file(folder / ENCODER_FILE))
    except (OSError, ValueError, SafetensorError, CheckpointError) as error:
        raise InvalidInputError(f"The tuned encoder in {folder} is damaged: {error}") from None
